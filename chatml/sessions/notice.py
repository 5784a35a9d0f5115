"""What is newly worth a person's eye or ear; word of crashes, which no worker is left to tell of."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from chatml import predecessors
from chatml.errors import ChatmlError
from chatml.model import Session, Status, transitions
from chatml.project import Project
from chatml.runners import table as runners
from chatml.sessions.find import failure_of
from chatml.state.store import SessionStore


def tell_crashes(project: Project, found: Iterable[Session]) -> None:
    """Tell a person of those of the sessions that crashed, each once, and of what waits for them; never raises."""
    for session in found:
        if session.status is Status.CRASHED and not session.crash_told:
            with suppress(OSError, ChatmlError):  # a read-only disk: whoever can write it down tells
                _tell_crash(project, project.store.session(session.name))


def _tell_crash(project: Project, store: SessionStore) -> None:
    with store.lock():
        session = store.read()
        gone = session.status.active and not runners.alive(store, session)
        # A person who ends a worker, by `stop` or `rm`, needs no word of it.
        if not gone or session.stopping or session.crash_told:
            return
        store.write(replace(session, crash_told=True))
    crashed = transitions.seen_crashed(session)
    from chatml import notify  # here alone: hardly any `ls` sees a crash

    notify.tell(replace(crashed, error=failure_of(crashed)), store.log)
    for one in predecessors.held_up_by(project.store, session):
        notify.tell(one, project.store.session(one.name).log)


class Alarm:
    """Says when a session newly needs a person, fails, crashes or is stuck; what is so at the first look is no news."""

    def __init__(self) -> None:
        self._known: set[tuple[str, ...]] | None = None

    def __call__(self, found: Iterable[Session]) -> bool:
        """Whether there is news since the last look."""
        reasons = {reason for session in found for reason in _reasons(session)}
        known, self._known = self._known, reasons
        return known is not None and not reasons <= known


def _reasons(session: Session) -> list[tuple[str, ...]]:
    """Why the session needs a person, each reason the same as long as it lasts."""
    if session.status is Status.WAITING:
        return [(session.id, request.id) for request in session.requests]
    if session.seen.stuck:
        return [(session.id, "stuck", session.activity or "")]
    # A second failure is another one, also where nobody saw that it ran in between.
    return [(session.id, session.status.value, session.updated_at)] if session.status.needs_person else []
