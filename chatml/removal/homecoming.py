"""Which sessions have landed, for those who look at many: from memory, and found out where that is not known."""

from __future__ import annotations

import time
from collections.abc import Sequence

from chatml.model import Session
from chatml.project import Project
from chatml.state import landed
from chatml.state.landed import Arrivals
from chatml.workspace.glance import looks_the_same

PATIENCE = 0.3
"""Seconds for finding out about sessions of which nothing is known; others stay unknown until somebody looks again."""


def with_landed(project: Project, found: Sequence[Session], every: bool = False) -> list[Session]:
    """The sessions, each with whether it has landed: as it is known, or found out in a short time; `every` in any time.

    Their changes were counted before: one with uncommitted work has not landed, whatever its branch has. One that is
    at work is not asked about.
    """
    resting = [one for one in found if not one.status.open]
    if not resting:
        return list(found)
    known = landed.read(project.store)
    told = _remembered(project, known, resting)
    if len(told) < len(resting):
        from chatml.removal.inquiry import Inquiry  # here alone: mostly all is known

        unknown = [one for one in resting if one.id not in told]
        told |= Inquiry(project, known, None if every else time.monotonic() + PATIENCE).about(unknown)
    return [_with(one, told[one.id]) if one.id in told else one for one in found]


def _with(session: Session, verdict: bool | None) -> Session:
    if session.changes is not None and session.changes.uncommitted:
        verdict = False
    elif session.seen.not_counted is not None or (verdict and not _seen_as_it_is(session)):
        verdict = None
    return session.with_seen(landed=verdict)


def _seen_as_it_is(session: Session) -> bool:
    """Whether nobody was at its worktree since its changes were counted, as far as a glance tells."""
    return (session.changes_seen or "").startswith("branch at ") or looks_the_same(session)


def _remembered(project: Project, known: Arrivals, resting: Sequence[Session]) -> dict[str, bool | None]:
    """Those of which a verdict holds without a question to git: no ref has changed since."""
    if not known.rows or not known.hold(project.store):
        return {}
    told: dict[str, bool | None] = {}
    for one in resting:
        verdict = known.of(one.id)
        if verdict is not None and verdict.seen == (one.changes_seen or ""):
            told[one.id] = verdict.landed
    return told
