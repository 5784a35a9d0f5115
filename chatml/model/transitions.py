"""How a session comes from one status to the next: nobody else writes one. AssertionError for a step without sense."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chatml.model.parts import Failure, now
from chatml.model.request import Request
from chatml.model.session import Session
from chatml.model.status import TRANSITIONS, Status


def _moved(session: Session, status: Status, **changes: Any) -> Session:
    assert status in TRANSITIONS[session.status], f"{session.status.value} -> {status.value}"
    return replace(session, status=status, updated_at=now(), **changes)


def _unqueued(session: Session) -> Session:
    return session.with_queueing(queued_at=None)


def queued(session: Session, limit: int | None) -> Session:
    """At the end of the queue, or where it is in it: `limit` sessions may be at work for it to start.

    None where it waits for other sessions alone.
    """
    waits = session.with_terms(max_parallel=limit).with_queueing(queued_at=session.queueing.queued_at or now())
    return _moved(waits, Status.QUEUED, stopping=False, crash_told=False, pid=None)


def started(session: Session) -> Session:
    """A worker is being started for it. A new session was born so, and stays as it is."""
    new: dict[str, Any] = {"stopping": False, "crash_told": False, "looking": False, "pid": None}
    ready = _moved(_unqueued(session), Status.PREPARING, **new)
    return session if replace(ready, updated_at=session.updated_at) == session else ready


def prepared(session: Session, pid: int) -> Session:
    """Its worker is at the worktree."""
    new: dict[str, Any] = {"activity": "checkout", "error": None, "looking": False}
    return _moved(_unqueued(session), Status.PREPARING, pid=pid, **new)


def running(session: Session) -> Session:
    """Its agent runs."""
    return _moved(session, Status.RUNNING, activity=None)


def asked(session: Session, request: Request) -> Session:
    """Its agent needs a person."""
    return _with_requests(session, (*session.requests, request))


def answered(session: Session, request_id: str) -> Session:
    """A request is no longer open: it was answered, or taken back."""
    return _with_requests(session, tuple(one for one in session.requests if one.id != request_id))


def _with_requests(session: Session, requests: tuple[Request, ...]) -> Session:
    """One that came to rest meanwhile stays there."""
    if session.status in (Status.RUNNING, Status.WAITING):
        session = _moved(session, Status.WAITING if requests else Status.RUNNING)
    return replace(session, requests=requests)


def goes_on(session: Session) -> Session:
    """Its last open request was answered, and its living worker will take that in."""
    return _moved(session, Status.RUNNING)


def rested(session: Session, failure: Failure | None, broken_off: bool = False, leftovers: bool = True) -> Session:
    """Its worker has nothing more to do; `broken_off`, where the turn was not gone on with.

    `leftovers`, unless it has seen that its agent has left nothing running.
    """
    end = Status.FAILED if failure else Status.STOPPED if broken_off else Status.DONE
    rest: dict[str, Any] = {"activity": None, "requests": (), "pid": None, "error": failure}
    return _moved(_unqueued(session), end, leftovers=leftovers, watching=None, looking=False, **rest)


def stopped(session: Session) -> Session:
    """A person has stopped it."""
    rest: dict[str, Any] = {"activity": None, "requests": (), "pid": None, "stopping": False}
    return _moved(_unqueued(session), Status.STOPPED, watching=None, looking=False, **rest)


def unwatched(session: Session) -> Session:
    """A person has stopped it while it only looked after its pull request: its last turn has ended as it has."""
    return replace(rested(session, session.error), stopping=False)


def restored(session: Session) -> Session:
    """Back from the trash: as it was at rest, or stopped where it was at work."""
    status = session.status if session.status in (Status.DONE, Status.FAILED, Status.STOPPED) else Status.STOPPED
    rest: dict[str, Any] = {"pid": None, "requests": (), "stopping": False, "updated_at": now()}
    return replace(_unqueued(session), status=status, watching=None, looking=False, **rest)


# --- as it is read: never written ---------------------------------------------------------------------------------


def seen_starting(session: Session) -> Session:
    """Queued by its record, and its worker lives already."""
    return replace(session, status=Status.PREPARING)


def seen_crashed(session: Session) -> Session:
    """Active by its record, and no worker lives."""
    return replace(session, status=Status.CRASHED, pid=None)
