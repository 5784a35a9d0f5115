"""Shared by the commands that keep looking (`attach`, `ls --watch`): what is newly worth a person's eye or ear."""

from __future__ import annotations

from collections.abc import Iterable

from chatml import sessions
from chatml.model import Session, Status
from chatml.state.store import SessionStore


class Alarm:
    """Says when a session newly needs a person, fails or crashes; what is so at the first look is no news."""

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
    # A second failure is another one, also where nobody saw that it ran in between.
    return [(session.id, session.status.value, session.updated_at)] if session.status.needs_person else []


class Queue:
    """Says what newly waits for the end of a session's turn; asked often, it reads only when something came in."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._size = 0
        self._shown: set[str] = set()

    def __call__(self, session: Session) -> list[sessions.Unsent]:
        """What was queued since the last look; what is no longer queued is not told."""
        size = self._store.inbox.stat().st_size if self._store.inbox.exists() else 0
        if size == self._size:
            return []
        self._size = size
        queued = [one for one in sessions.unsent(self._store, session) if one.state == sessions.QUEUED]
        new = [one for one in queued if one.id not in self._shown]
        self._shown |= {one.id for one in new}
        return new
