"""Makes the base of a session that comes after others: its own base, and what their branches hold."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chatml import predecessors
from chatml.errors import ChatmlError, Kind
from chatml.model import Base, Predecessor, Session, Status
from chatml.repo import Repository
from chatml.repo.merging import MergeConflictError, merged
from chatml.state.store import Store
from chatml.workspace.branch import follow


@dataclass(frozen=True)
class _Brought:
    """What a predecessor has on its branch."""

    branch: str
    tip: str


def settle(session: Session, store: Store, record: Callable[[Callable[[Session], Session]], None]) -> list[str]:
    """Write the session's base down as it is once its predecessors have been merged; returns what a person has to know.

    The branch is moved there by whoever fills the worktree. Done once: a kill before the record is written leaves all
    as it was. ChatmlError of kind `worktree`, and nothing changed, where they can't be merged.
    """
    if not session.queueing.predecessors:
        return []
    repository = Repository.discover(Path(session.repository))
    notes: list[str] = []
    brought = [_look(repository, store, session, one, notes) for one in session.queueing.predecessors]
    base = session.base.commit
    branches: list[str] = []
    for one in brought:
        if one is not None:
            base = _joined(repository, session, base, one, branches)
            branches.append(one.branch)

    def settled(now: Session) -> Session:
        if base != session.base.commit:
            now = now.with_checkout(start=session.base.commit).changed(base=Base(session.base.ref, base))
        return now.with_queueing(predecessors=()).changed()

    record(settled)
    return [*([f"it starts from {' and '.join(branches)}"] if branches else []), *notes]


def _joined(repository: Repository, session: Session, base: str, one: _Brought, before: list[str]) -> str:
    try:
        return merged(repository, base, one.tip, f"Merge {one.branch} into {session.branch}")
    except MergeConflictError as conflict:
        others = " and ".join(before) or session.base.ref
        raise ChatmlError(
            f"{one.branch} conflicts with {others} in {conflict.message}",
            f"merge one into the other, and go on with 'chatml resume {session.name}'",
            Kind.WORKTREE,
        ) from conflict


def _look(
    repository: Repository, store: Store, session: Session, predecessor: Predecessor, notes: list[str]
) -> _Brought | None:
    """What a predecessor has brought; None where it is gone, and a person wants to start all the same."""
    name = predecessor.name
    found = predecessors.found(store, predecessor)
    branch = follow(found, repository).branch if found is not None else ""
    tip = repository.tip(branch) if branch else None
    if found is None or tip is None:
        lost = f"which {predecessors.GONE}" if found is None else f"whose branch {branch} is gone"
        if not session.queueing.released:
            hint = f"to start without it: chatml resume {session.name}"
            raise ChatmlError(f"it comes after '{name}', {lost}", hint, Kind.WORKTREE)
        notes.append(f"without {name}, {lost}")
        return None
    if found.status is not Status.DONE:
        notes.append(f"{name} is not done: {branch} is taken as it is now")
    with suppress(ChatmlError, OSError):
        if found.checkout.populated and repository.dirty(Path(found.worktree)):
            notes.append(f"what is not committed in {name} doesn't come along")
    return _Brought(branch, tip)
