"""Shared by the commands that keep looking : what is newly worth a person's eye."""

from __future__ import annotations

from chatml import sessions
from chatml.model import Session
from chatml.store import SessionStore


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
