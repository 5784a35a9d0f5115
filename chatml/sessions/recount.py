"""Counts again what the sessions have changed, where a person was at their worktrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.model import Session, Status
from chatml.project import Project
from chatml.workspace.glance import glance


def recount(project: Project, found: Sequence[Session], every: bool = False) -> list[Session]:
    """The sessions with their changes as they are now: counted again, in parallel, where a person was at them.

    A living worker counts by itself. Those at rest are counted again where the worktree looks different from
    outside, or `every` one of them.
    """
    stale = [one for one in found if not one.status.active and _filled(one) and (every or _stale(one))]
    if not stale:
        return list(found)
    from concurrent.futures import ThreadPoolExecutor  # here alone, as git's comparing: mostly nothing is counted

    with ThreadPoolExecutor(8) as pool:
        counted = dict(
            zip((one.name for one in stale), pool.map(lambda one: _counted(project, one), stale), strict=True)
        )
    return [counted.get(one.name, one) for one in found]


def _filled(session: Session) -> bool:
    """Whether its worktree has its files: a queued one may not have had them yet."""
    return session.populated or session.status is not Status.QUEUED


def _stale(session: Session) -> bool:
    seen = glance(session)
    return seen is not None and seen != session.changes_seen


def _counted(project: Project, session: Session) -> Session:
    """The session with its changes counted anew, also in its record; as it was where that is not possible."""
    from chatml.changes import compare

    try:
        changes = compare.measure(Path(session.worktree), session.base.ref, session.base.commit)
        seen = glance(session)
        if changes != session.changes or seen != session.changes_seen:
            project.store.session(session.name).update(
                lambda now_: replace(now_, changes=changes, changes_seen=seen) if now_.id == session.id else now_
            )
    except (ChatmlError, OSError):
        return session
    return replace(session, changes=changes, changes_seen=seen)
