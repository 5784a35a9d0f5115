"""What has become of the sessions that another one comes after, and so whether it may start."""

from __future__ import annotations

from dataclasses import replace

from chatml.errors import ChatmlError
from chatml.model import Predecessor, Session, Status
from chatml.runners import table as runners
from chatml.state.store import Store

GONE, UNKNOWN = "was removed", "can't be read"

ENDS = {
    Status.FAILED: "failed",
    Status.STOPPED: "was stopped",
    Status.CRASHED: "crashed",
    Status.WAITING: "needs you",
}
"""The statuses from which a session doesn't get on by itself."""

DEEP = 50
"""Sessions one after the other that are looked through for what holds up the last of them."""


def found(store: Store, predecessor: Predecessor) -> Session | None:
    """The session, as its record has it; None where it was removed. ChatmlError or OSError where that is unknown."""
    try:
        session = store.session(predecessor.name).read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return session if session.id == predecessor.id else None


def waits(session: Session) -> bool:
    """Whether it is queued, and starts once its predecessors are done."""
    return session.status is Status.QUEUED and bool(session.queueing.predecessors) and not session.queueing.released


def ready(store: Store, session: Session) -> bool:
    """Whether no predecessor keeps the session from starting."""
    return not waits(session) or all(_done(store, one) for one in session.queueing.predecessors)


def _done(store: Store, predecessor: Predecessor) -> bool:
    try:
        session = found(store, predecessor)
    except (ChatmlError, OSError):
        return False
    return session is not None and session.status is Status.DONE


def told(store: Store, session: Session) -> tuple[str, bool] | None:
    """What keeps a session from starting, in few words, and whether that never ends by itself; None where nothing."""
    if not waits(session):
        return None
    awaited = [one for one in session.queueing.predecessors if not _done(store, one)]
    held_up = [f"{one.name}, which {why}" for one in awaited if (why := _why_not(store, one))]
    if held_up:
        return f"waits for {'; '.join(held_up)}", True
    return (f"after {', '.join(one.name for one in awaited)}", False) if awaited else None


def held_up_by(store: Store, session: Session) -> list[Session]:
    """The queued sessions that come right after this one, and won't start by themselves; `activity` says why."""
    own = Predecessor(session.name, session.id)
    after = [one for one in store.of_status(Status.QUEUED) if own in one.queueing.predecessors]
    reasons = [(one, told(store, one)) for one in after]
    return [replace(one, activity=why[0]).with_seen(stuck=True) for one, why in reasons if why is not None and why[1]]


def _why_not(store: Store, predecessor: Predecessor, depth: int = 0) -> str | None:
    """Why a session won't be done by itself; None where it may be."""
    try:
        session = found(store, predecessor)
        if session is None:
            return GONE
        if waits(session) and depth < DEEP:
            reasons = ((one.name, _why_not(store, one, depth + 1)) for one in session.queueing.predecessors)
            return next((f"waits for {name}, which {why}" for name, why in reasons if why), None)
        session, crashed = runners.looked_after(store.session(session.name), session)
        return ENDS.get(Status.CRASHED if crashed else session.status)
    except (ChatmlError, OSError):
        return UNKNOWN
