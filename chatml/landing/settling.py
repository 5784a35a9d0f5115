"""Ends a move of a branch that was broken off, by a kill, a full disk or an error of git's, at whatever point.

The branch is moved last: where it has moved, its checkout is up to date already; where not, the checkout is put back.
What a person has changed in between stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from chatml import marking, proc
from chatml.errors import ChatmlError
from chatml.landing import move
from chatml.landing.checkout import Changed, Entry, changes, copy_index
from chatml.landing.move import BranchCheckout, Mark, Move
from chatml.repo import Repository, git
from chatml.repo.answers import holds
from chatml.state.locks import lock
from chatml.state.store import SessionStore, Store, remove_tree
from chatml.text import one_line

ENDING = 5.0
"""Seconds that a git of ours may need to end whose chatml was killed."""

OTHERS_LOCK = 1.0
"""Seconds for which somebody else's git may hold the lock of a ref."""

SHOWN = 3
"""Paths that a sentence names, of those that it counts."""


def recover(repository: Repository, store: Store) -> list[str]:
    """End what a killed `merge` or `sync` has left, unless one is at work; returns what a person has to know."""
    if not (store.moving.exists() or store.merging.exists()):
        return []
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(store.merge_lock, timeout=0))
        except (ChatmlError, OSError):
            return []
        try:
            told = ended(repository, store)
            clear(store)
            return told
        except (ChatmlError, OSError) as error:
            return [f"can't end an interrupted merge or sync: {error}; see {store.moving}"]
    return []


def ended(repository: Repository, store: Store, held: SessionStore | None = None) -> list[str]:
    """The same for whoever holds the lock of merges, and maybe that of a session.

    ChatmlError or OSError where it can't be ended now.
    """
    left = move.read(store)
    told: list[str] = []
    if left is not None:
        told = settle(repository, store, left, held)
        store.moving.unlink(missing_ok=True)
    return told


def settle(repository: Repository, store: Store, left: Move, held: SessionStore | None = None) -> list[str]:
    """Put branch, checkout and records where they belong; the note of it stays. Errors as of `ended`."""
    if not proc.wait_until(lambda: not marking.marked(left.id, move.MARKER), ENDING):
        marking.sweep(left.id, variable=move.MARKER)
    _free(repository, left)
    moved = has_moved(repository, left)
    told = _checkout(repository, left, left.checkout, moved) if left.checkout else []
    if moved:
        mark(store, left.marks, held)
    return told


def has_moved(repository: Repository, left: Move) -> bool:
    """Whether the branch has what was to come onto it."""
    tip = repository.tip(left.branch)
    return tip is not None and (
        tip == left.new or holds(repository.git("merge-base", "--is-ancestor", left.new, tip, check=False))
    )


def mark(store: Store, marks: Iterable[Mark], held: SessionStore | None = None) -> None:
    """Write down of each session, if it is still there, what is true of it; the caller has the lock of the `held`."""
    for one in marks:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, ChatmlError):
            if held is not None and held.name == one.name:
                held.write(one.on(held.read()))
            else:
                store.session(one.name).update(one.on)


def _free(repository: Repository, left: Move) -> None:
    """Remove the locks of refs that a git of ours has left, which was to write this very commit."""
    places = [repository.common_dir / "refs" / "heads" / f"{left.branch}.lock", repository.common_dir / "HEAD.lock"]
    if left.checkout:
        places.append(left.checkout.admin / "HEAD.lock")
    for place in places:
        if not proc.wait_until(lambda place=place: not place.exists(), OTHERS_LOCK):  # type: ignore[misc]
            with contextlib.suppress(FileNotFoundError):
                if f"{left.new}\n".encode().startswith(place.read_bytes()):
                    place.unlink()


def _checkout(repository: Repository, left: Move, checkout: BranchCheckout, moved: bool) -> list[str]:
    told = []
    if _ours(checkout):
        if not moved:
            told = _sentence(left, _put_back(repository, left, checkout), checkout.top) if _begun(checkout) else []
            checkout.kept.replace(checkout.index)
        checkout.lock.unlink()
    elif checkout.begun.exists() and not moved:
        told = [f"a {left.verb} was broken off in {checkout.top}, and its lock removed by hand: see 'git status' there"]
    for path in checkout.spare:
        path.unlink(missing_ok=True)
    return told


def _begun(checkout: BranchCheckout) -> bool:
    """Whether files may have been touched; until then a file that is missing is one that a person has removed."""
    if checkout.own.exists():
        return False
    return checkout.begun.exists() or checkout.index.read_bytes() != checkout.kept.read_bytes()


def _ours(checkout: BranchCheckout) -> bool:
    """Whether the lock of the index is that of the move: as long as it is, nobody else has changed the index."""
    try:
        return os.path.samefile(checkout.kept, checkout.lock)
    except FileNotFoundError:
        return False


def _sentence(left: Move, paths: list[str], top: Path) -> list[str]:
    if not paths:
        return []
    shown = one_line(", ".join(paths[:SHOWN])) + (" and more" if len(paths) > SHOWN else "")
    return [f"a {left.verb} was broken off, and files changed since are left as they are in {top}: {shown}"]


# --- the files of a checkout, as they were ------------------------------------------------------------------------


def _put_back(repository: Repository, left: Move, checkout: BranchCheckout) -> list[str]:
    """Give every path that was touched what the index has of it; returns those that somebody else has changed."""
    changed = [one for one in changes(repository, *left.files) if "160" not in (_kind(one.old), _kind(one.new))]
    env = {"GIT_INDEX_FILE": str(checkout.back), **left.env}
    for path in (checkout.back, checkout.back.with_name(f"{checkout.back.name}.lock")):
        path.unlink(missing_ok=True)
    now = _present(checkout, env, changed)
    copy_index(checkout.held if left.content else checkout.kept, checkout.back)
    wanted, unseen = _entries(checkout, env)
    foreign, back = [], []
    for one in changed:
        want, there = wanted.get(one.path), now.get(one.path)
        if one.path in unseen or there == want:
            continue
        if _touched(checkout, left, one, want, there):
            back.append((one.path, want))
        else:
            foreign.append(one.path)
    foreign += _restore(checkout, env, back)
    return foreign


def _touched(checkout: BranchCheckout, left: Move, one: Changed, want: Entry | None, there: Entry | None) -> bool:
    """Whether what stands at a path is what we have made of it: nothing, a part of the new content, or all of that."""
    if there is None:
        return not os.path.isdir(checkout.top / one.path) or os.path.islink(checkout.top / one.path)
    for side in (want, one.new):
        if side is not None and (side.kind, side.blob) == (there.kind, there.blob):
            return True
    if one.new is None or there.kind != "100":
        return False
    whole = git("cat-file", "--filters", f"{left.files[1]}:{one.path}", at=checkout.top, env=left.env, check=False)
    return whole.code == 0 and whole.stdout.startswith((checkout.top / one.path).read_bytes())


def _restore(checkout: BranchCheckout, env: dict[str, str], back: list[tuple[str, Entry | None]]) -> list[str]:
    """Remove or write these; returns those in whose place a folder with other things stands."""
    for path, want in back:
        if want is None:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                (checkout.top / path).unlink()
            for above in Path(path).parents[:-1]:
                with contextlib.suppress(OSError):
                    (checkout.top / above).rmdir()
    blocked = [path for path, want in back if want is not None and _folder(checkout.top / path)]
    paths = [path for path, want in back if want is not None and path not in blocked]
    if paths:
        listed = "".join(f"{path}\0" for path in paths).encode("utf-8", "surrogateescape")
        git("checkout-index", "--force", "--quiet", "-z", "--stdin", at=checkout.top, env=env, stdin=listed)
    return blocked


def _folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _kind(entry: Entry | None) -> str:
    return entry.kind if entry else ""


def _entries(checkout: BranchCheckout, env: dict[str, str]) -> tuple[dict[str, Entry], set[str]]:
    """What an index has at each path, and which of those are left out of the checkout on purpose."""
    found, unseen = {}, set()
    for line in git("ls-files", "-s", "-t", "-z", at=checkout.top, env=env).text.split("\0"):
        head, _, path = line.partition("\t")
        if head:
            tag, mode, blob, _ = head.split(" ")
            found[path] = Entry(mode, blob)
            if tag == "S":
                unseen.add(path)
    return found, unseen


def _present(checkout: BranchCheckout, env: dict[str, str], changed: list[Changed]) -> dict[str, Entry]:
    """What stands in the checkout at these paths, as git would take it in."""
    there = [one.path for one in changed if _is_file(checkout.top, one.path)]
    listed = "".join(f"{path}\0" for path in there).encode("utf-8", "surrogateescape")
    git("update-index", "-z", "--add", "--remove", "--replace", "--stdin", at=checkout.top, env=env, stdin=listed)
    return _entries(checkout, env)[0]


def _is_file(top: Path, path: str) -> bool:
    """Whether a file or link stands at the path, and no link on the way to it."""
    if any((top / above).is_symlink() for above in Path(path).parents[:-1]):
        return False
    place = top / path
    return place.is_symlink() or place.is_file()


def rooms(store: Store) -> Path:
    """The folder for what is needed in between, empty."""
    shutil.rmtree(store.merging, ignore_errors=True)
    store.merging.mkdir(parents=True)
    return store.merging


def clear(store: Store) -> None:
    """Remove that folder."""
    remove_tree(store.merging)
