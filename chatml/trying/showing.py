"""Shows a session's state in the main checkout, keeps it up to date, and puts back exactly what was there.

Nothing of HEAD and of the index is changed: only files. What the person edits meanwhile is told by its content: it is
neither what was there before nor what was shown.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from chatml.changes.snapshot import commit_in, commit_of, indexed
from chatml.errors import ChatmlError
from chatml.landing.checkout import Changed, changes, operation, untracked
from chatml.model import Session, now
from chatml.repo import Repository, git
from chatml.repo.answers import answer
from chatml.state.locks import lock
from chatml.state.store import Store, write_json
from chatml.text import counted
from chatml.trying import putting
from chatml.trying.kept import KEPT, SHOWN, KeptState, edits, folders_of, forget, keep, kept, odd_modes, raw_files

BACK = "put it back first: chatml try --stop"

LISTED = 5
"""Paths that a message names."""


@dataclass(frozen=True)
class ShownSession:
    """What is shown in the checkout just now."""

    name: str
    id: str
    since: str
    shown: tuple[str, ...]
    """The commits that files may be of: the last is what is shown; of the one before, where it was broken off."""


@dataclass(frozen=True)
class Update:
    """What came of showing a state."""

    files: int
    """How many were changed."""
    kept: tuple[str, ...] = ()
    """Those that the person has edited meanwhile, and that were left as they are."""


def tried(store: Store) -> ShownSession | None:
    """What is shown just now; None where nothing is. ChatmlError where that can't be understood."""
    try:
        data = json.loads(store.trying.read_text("utf-8", "surrogatepass"))
        return ShownSession(data["name"], data["id"], data["since"], tuple(data["shown"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ChatmlError(f"{store.trying}: damaged", f"what was there is in {KEPT}; see git log -p there") from error


def show(repository: Repository, store: Store, session: Session) -> Update:
    """Show the session's state as it is now; for the first time, or once more.

    ChatmlError, and nothing changed, where the checkout could not be put back exactly, or shows another session.
    """
    top = checkout_top(repository)
    store.root.mkdir(parents=True, exist_ok=True)
    with lock(store.trying_lock):
        known = tried(store)
        if known is not None and known.id != session.id:
            raise ChatmlError(f"'{known.name}' is shown in {top}", BACK)
        commit, _ = commit_of(repository.common_dir, Path(session.worktree))
        if known is None:
            return _begin(repository, store, top, session, commit)
        return _update(repository, store, top, known, commit)


def checkout_top(repository: Repository) -> Path:
    """The main checkout. ChatmlError where there is none."""
    top = repository.home
    if not (top / ".git").exists():
        raise ChatmlError(f"{repository.home} has no checkout to show anything in", "there is only a bare repository")
    return top


def _refuse(repository: Repository, top: Path) -> None:
    """ChatmlError where what is there could not be put back exactly."""
    if (what := operation(repository.common_dir)) is not None:
        raise ChatmlError(f"{what} in {top}", "end it first")
    if (repository.common_dir / "index.lock").exists():
        raise ChatmlError(f"another git is at work in {top}", "wait for it; or remove the index.lock that it has left")
    if git("ls-files", "--unmerged", "-z", at=top).stdout:
        raise ChatmlError(f"there are conflicts in {top} that are not resolved", "resolve them first")
    if (repository.setting("core.sparseCheckout") or "").lower() == "true":
        raise ChatmlError(f"{top} is a sparse checkout", "look at the session's own worktree instead")


def _begin(repository: Repository, store: Store, top: Path, session: Session, commit: str) -> Update:
    _refuse(repository, top)
    forget(repository)  # of one who was killed before anything moved
    putting.sweep(repository.common_dir)
    with indexed(top) as held:
        if held.head is None:
            raise ChatmlError(f"there is no commit yet in {top}", "make a first one")
        if held.left_out:
            raise ChatmlError(f"could not keep all of {top}: {held.left_out[0]}", "put that right first")
        files = commit_in(top, held)
    changed = _to_show(repository, top, files, commit)
    touched = [one.path for one in changed]
    raw = raw_files(top, {*touched, *_delicate(top, held.head, files)})
    modes, missing = folders_of(top, touched)
    index = repository.common_dir / "index"
    state = KeptState(
        "",
        files,
        (repository.common_dir / "HEAD").read_text("utf-8", "surrogateescape"),
        held.head,
        index.read_bytes() if index.exists() else None,
        raw,
        odd_modes(top, paths_of(repository, files)),
        modes,
        missing,
    )
    keep(repository, top, state, None)
    repository.git("update-ref", SHOWN, commit)
    known = ShownSession(session.name, session.id, now(), (files, commit))
    write_down(store, known)
    apply(repository, top, changed, commit)
    write_down(store, replace(known, shown=(commit,)))
    return Update(len(changed))


def _from_before(repository: Repository, top: Path, before: str, commit: str) -> list[Changed]:
    """What has to change for the commit's files to be there; a person's untracked ones stay beside them."""
    mine = set(git("ls-files", "-z", "--others", "--exclude-standard", at=top).text.split("\0"))
    return [one for one in changes(repository, before, commit) if one.new is not None or one.path not in mine]


def _to_show(repository: Repository, top: Path, before: str, commit: str) -> list[Changed]:
    """The same. ChatmlError for submodules, and where something that git ignores is in the way."""
    changed = _from_before(repository, top, before, commit)
    for one in changed:
        if "160" in {entry.kind for entry in (one.old, one.new) if entry is not None}:
            raise ChatmlError(f"the submodule {one.path} is another one there", "look at the session's own worktree")
    going = {one.path for one in changed if one.new is None}
    blocked = sorted({path for one in changed if one.old is None for path in untracked(top, one, going)})
    if blocked:
        more = f" and {counted(len(blocked) - LISTED, 'more')}" if len(blocked) > LISTED else ""
        raise ChatmlError(
            f"in the way in {top}, and ignored by git: {', '.join(blocked[:LISTED])}{more}", "move them away first"
        )
    return changed


def _delicate(top: Path, head: str, files: str) -> set[str]:
    """The paths that git might not bring back byte for byte: what is not as committed, and what filters change."""
    form = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", head, files)
    found = {path for path in git(*form, at=top).text.split("\0") if path}
    attributes = git("ls-files", "-z", "--", ".gitattributes", "**/.gitattributes", at=top).stdout
    private = git("rev-parse", "--path-format=absolute", "--git-path", "info/attributes", at=top).text.strip()
    crlf = answer(git("config", "--get", "core.autocrlf", at=top, check=False))
    if attributes or Path(private).exists() or (crlf or "false").lower() != "false":
        found |= {path for path in git("ls-files", "-z", at=top).text.split("\0") if path}
    return found


def paths_of(repository: Repository, commit: str) -> list[str]:
    """The paths of all files of a commit."""
    listed = repository.git("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit).text
    return [path for path in listed.split("\0") if path]


def apply(repository: Repository, top: Path, changed: Iterable[Changed], commit: str) -> None:
    """Change the files: first all that goes, then all that comes."""
    changed = list(changed)
    coming = [one.path for one in changed if one.new is not None]
    with putting.staged(repository, top, commit, coming) as folder:
        for one in changed:
            if one.new is None:
                putting.take_away(top, one.path)
        for path in coming:
            if os.path.lexists(folder / path):
                putting.give(folder / path, top, path)


def write_down(store: Store, known: ShownSession) -> None:
    """Note what is shown, at once and whole."""
    write_json(store.trying, {"name": known.name, "id": known.id, "since": known.since, "shown": list(known.shown)})


def held_now(top: Path) -> str:
    """A commit of all that the checkout holds now."""
    with indexed(top) as held:
        return commit_in(top, held)


def edited(repository: Repository, top: Path, files: str, state: KeptState, known: ShownSession) -> dict[str, Changed]:
    """The paths that a person has changed since they were shown: their content is of no commit that was.

    Where one is as it was before, that is an edit only of what the showing has changed.
    """
    found = {one.path: one for one in changes(repository, known.shown[-1], files)}
    kept_just_now = edits(repository).values() if known.shown[0] == state.files else []  # by a stop that was broken off
    for commit in (*known.shown[:-1], *kept_just_now):
        other = {one.path for one in changes(repository, commit, files)}
        found = {path: one for path, one in found.items() if path in other}
    moved = {one.path for one in changes(repository, state.files, files)}
    touched = {one.path for one in _from_before(repository, top, state.files, known.shown[-1])}
    return {
        path: one
        for path, one in found.items()
        if (path in moved or path in touched) and (one.new is not None or not os.path.lexists(top / path))
    }


def _update(repository: Repository, store: Store, top: Path, known: ShownSession, commit: str) -> Update:
    """Show what has come since: but nothing over what the person has edited."""
    state = kept(repository)
    if state is None:
        raise ChatmlError("what was there before is not kept any more", "see 'git for-each-ref refs/chatml/try'")
    if known.shown == (commit,):
        return Update(0)
    touched = edited(repository, top, held_now(top), state, known)
    if known.shown[0] == state.files:  # its first showing was broken off
        changed = _from_before(repository, top, state.files, commit)
    else:
        changed = changes(repository, known.shown[0], commit)
    going = {one.path for one in changed if one.new is None}
    mine = {one.path for one in changed if one.path in touched or (one.old is None and [*untracked(top, one, going)])}
    submodules = {one.path for one in changed for entry in (one.old, one.new) if entry and entry.kind == "160"}
    changed = [one for one in changed if one.path not in mine | submodules]
    new = [one.path for one in changed if one.path not in state.raw]
    if new:
        modes, missing = folders_of(top, new)
        raw = {**raw_files(top, new), **state.raw}
        made = tuple(dict.fromkeys((*state.made, *(one for one in missing if one not in state.folders))))
        more = replace(state, raw=raw, folders={**modes, **state.folders}, made=made)
        keep(repository, top, more, state.commit)
    repository.git("update-ref", SHOWN, commit)
    write_down(store, replace(known, shown=tuple(dict.fromkeys((*known.shown, commit)))))
    apply(repository, top, changed, commit)
    write_down(store, replace(known, shown=(commit,)))
    return Update(len(changed), tuple(sorted(mine | submodules)))
