"""Word of crashes: no worker is left to tell of one, so whoever sees it first does."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from chatml import notify
from chatml.errors import ChatmlError
from chatml.model import Session, Status
from chatml.runners import table as runners
from chatml.sessions.find import Project, failure_of
from chatml.state.store import SessionStore


def tell_crashes(project: Project, found: Iterable[Session]) -> None:
    """Tell a person of those of the sessions that crashed, each crash once; never raises."""
    for session in found:
        if session.status is Status.CRASHED and not session.crash_told:
            with suppress(OSError, ChatmlError):  # a read-only disk: whoever can write it down tells
                _tell_crash(project.store.session(session.name))


def _tell_crash(store: SessionStore) -> None:
    with store.lock():
        session = store.read()
        gone = session.status.active and not runners.alive(store, session)
        # A person who ends a worker, by `stop` or `rm`, needs no word of it.
        if not gone or session.stopping or session.crash_told:
            return
        store.write(replace(session, crash_told=True))
    crashed = replace(session, status=Status.CRASHED)
    notify.tell(replace(crashed, error=failure_of(crashed)), store.log)
