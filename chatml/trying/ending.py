"""Puts back exactly what was in the main checkout before a session was shown there."""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.landing.checkout import Changed, changes, operation
from chatml.repo import Repository, git
from chatml.repo.answers import answer
from chatml.repo.plumbing import NOBODY
from chatml.state.locks import lock
from chatml.state.store import Store, write_file
from chatml.trying import putting
from chatml.trying.kept import EDITS, KeptState, edits, forget, kept
from chatml.trying.showing import ShownSession, apply, checkout_top, edited, held_now, paths_of, tried, write_down


@dataclass(frozen=True)
class Ended:
    """What came of putting the checkout back."""

    tried: ShownSession | None
    edits: tuple[str, ...] = ()
    """The paths that the person has edited meanwhile."""
    ref: str | None = None
    """Where those edits are kept."""


def stop(repository: Repository, store: Store) -> Ended:
    """Put back exactly what was there; what the person has edited meanwhile is kept first, under a ref.

    May be repeated after a kill at any point. ChatmlError, and nothing changed, where HEAD was moved meanwhile.
    """
    top = checkout_top(repository)
    store.root.mkdir(parents=True, exist_ok=True)
    with lock(store.trying_lock):
        known, state = tried(store), kept(repository)
        if known is None or state is None:
            if known is not None:
                raise ChatmlError(f"what was in {top} before is not kept any more", f"see {store.trying}")
            forget(repository)
            putting.sweep(repository.common_dir)
            return Ended(None)
        _check_head(repository, top, state)
        files = held_now(top)
        changed = edited(repository, top, files, state, known)
        ref = _keep_edits(repository, top, known, changed) if changed else None
        # From here on, what is as it was before is no edit any more.
        write_down(store, replace(known, shown=tuple(dict.fromkeys((state.files, *known.shown)))))
        _put_back(repository, top, state, files)
        store.trying.unlink()
        forget(repository)
        putting.sweep(repository.common_dir)
        return Ended(known, tuple(sorted(changed)), ref)


def _check_head(repository: Repository, top: Path, state: KeptState) -> None:
    head = (repository.common_dir / "HEAD").read_text("utf-8", "surrogateescape")
    commit = answer(git("rev-parse", "--verify", "--quiet", "HEAD", at=top, check=False))
    if (what := operation(repository.common_dir)) is not None:
        raise ChatmlError(f"{what} in {top}", "end it first, then: chatml try --stop")
    if head != state.head:
        raise ChatmlError(
            f"another branch was checked out in {top} meanwhile",
            f"go back first, files as they are: git symbolic-ref HEAD {state.head.removeprefix('ref: ').strip()}",
        )
    if commit != state.head_commit:
        raise ChatmlError(
            f"there are new commits in {top} since the session was shown",
            f"keep them on a branch of their own: git branch kept && git reset --soft {state.head_commit}; then stop",
        )


def _keep_edits(repository: Repository, top: Path, known: ShownSession, edited: dict[str, Changed]) -> str:
    """A commit of the edits alone, on what was shown, under the next number."""
    shown = known.shown[-1]
    lines = "".join(
        f"{one.new.mode} {one.new.blob}\t{one.path}\0" if one.new else f"0 {'0' * len(shown)}\t{one.path}\0"
        for one in edited.values()
    )
    index = repository.common_dir / "chatml" / f"{putting.STAGE}edits"
    env = {"GIT_INDEX_FILE": str(index), **NOBODY}
    try:
        git("read-tree", shown, at=top, env=env)
        git("update-index", "-z", "--index-info", at=top, env=env, stdin=lines.encode("utf-8", "surrogateescape"))
        tree = git("write-tree", at=top, env=env).text.strip()
    finally:
        index.unlink(missing_ok=True)
    words = ("commit-tree", tree, "-p", shown, "-m", f"Edits made while {known.name} was shown")
    commit = git(*words, at=top, env=env).text.strip()
    number = 1 + max(edits(repository), default=0)
    repository.git("update-ref", f"{EDITS}{number}", commit, "0" * len(commit))
    return f"{EDITS}{number}"


def _put_back(repository: Repository, top: Path, state: KeptState, files: str) -> None:
    """The files as they were, then the folders, then the index."""
    changed = changes(repository, files, state.files)
    here = [one for one in changed if one.path not in state.raw]
    for path, one in state.raw.items():
        if one.blob is None:
            putting.take_away(top, path)
    apply(repository, top, here, state.files)
    putting.give_raw(repository, top, state.raw)
    others = (path for path in paths_of(repository, state.files) if path not in state.raw)
    putting.put_modes_right(top, others, state.modes)
    putting.put_folders_right(top, state.folders, state.made)
    index = repository.common_dir / "index"
    if state.index is not None and (not index.exists() or index.read_bytes() != state.index):
        mode = stat.S_IMODE(index.stat().st_mode) if index.exists() else 0o644
        write_file(index, state.index)
        index.chmod(mode)
