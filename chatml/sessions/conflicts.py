"""What sessions do to each other: found out by merging them, and as it was last found out."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from chatml.errors import ChatmlError
from chatml.model import Session, Status
from chatml.project import Project
from chatml.record import altered
from chatml.workspace.glance import looks_the_same, recorded

if TYPE_CHECKING:
    from chatml.state.conflicts import ConflictCache


def with_conflicts(
    project: Project, found: Sequence[Session], others: Sequence[Session] | None = None
) -> list[Session]:
    """The sessions with the names of those that they conflict with, as far as that is known of what they are now.

    None where no conflict is known and not all merges are. Nothing is merged, and git isn't asked. `others` are all
    sessions, where somebody has them already.
    """
    if not os.path.exists(project.store.conflicts):
        return list(found)
    from chatml.state import conflicts as state  # here alone: a single session has nothing to conflict with

    cache = state.read(project.store)
    if not cache.seen:
        return list(found)
    peers = [one for one in _everyone(project, found, others) if _changes(one)]
    branches = {one.branch for one in peers}
    peers = [one for one in peers if one.base.ref not in branches]
    known = {one.name: _known_commit(cache, one) for one in peers}
    landed = {one.name for one in peers if one.landed_as is not None and one.landed_as.tip == known[one.name]}
    peers = [one for one in peers if one.name not in landed]
    commits: dict[str, list[Session]] = {}
    for one in peers:
        if (commit := known[one.name]) is not None:
            commits.setdefault(commit[: state.SIGNIFICANT], []).append(one)
    met: dict[str, dict[str, bool]] = {one.name: {} for one in peers}
    for how, ours, theirs, conflict in state.conflicting(cache):
        for a in commits.get(ours, ()):
            if cache.seen[a.id][2][: state.SIGNIFICANT] == how:
                for b in commits.get(theirs, ()):
                    if (a.created_at, a.name) < (b.created_at, b.name):
                        met[a.name][b.name] = met[b.name][a.name] = conflict
    return [altered(one, conflicts=_told(one, met, landed, len(peers) - 1)) for one in found]


def _told(
    session: Session, met: dict[str, dict[str, bool]], landed: Collection[str], others: int
) -> tuple[str, ...] | None:
    if session.name not in met:
        idle = session.changes is not None and not session.changes.files
        return () if idle or session.name in landed else None
    names = tuple(sorted(name for name, conflict in met[session.name].items() if conflict))
    return names if names or len(met[session.name]) == others else None


def _everyone(project: Project, found: Sequence[Session], others: Sequence[Session] | None) -> list[Session]:
    have = {one.name: one for one in (*(others or ()), *found)}
    for name in project.store.names() if others is None else ():
        if name not in have:
            with suppress(ChatmlError, OSError):  # what it is can't be told, so nothing is said of it
                have[name] = project.store.session(name).read()
    return list(have.values())


def _known_commit(cache: ConflictCache, session: Session) -> str | None:
    """What the session holds, where its record and its worktree look as they did when that was found out."""
    said, commit, _ = cache.seen.get(session.id, (None, None, None))
    return commit if commit is not None and said == recorded(session) and looks_the_same(session) else None


def _changes(session: Session) -> bool:
    """Whether it may conflict with others: it changes something, or that is not known."""
    if session.terms.reads_only or session.terms.reviews is not None:
        return False
    if session.changes is None:
        return session.checkout.populated or session.status not in (Status.QUEUED, Status.PREPARING)
    return session.changes.files > 0
