"""Places for workers: where `max_parallel` of them are at work, sessions queue, and start in the order they came.

One that comes after others is queued too until those are done, and holds up nobody.

There is no process that minds the queue. Whoever ends a worker's work, and whoever reads the sessions, starts what may
run: so nothing is stuck, whatever is killed. A session is queued until its worker itself writes that it prepares.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from chatml import predecessors
from chatml.errors import ChatmlError
from chatml.model import Session, Status, transitions
from chatml.runners import table as runners
from chatml.state.store import SessionStore, Store

LOOK_EVERY = 0.2
"""Seconds at least between two looks at the queue of one who reads again and again."""

READER_PATIENCE = 0.1
"""Seconds that a reader waits for the repository's lock: who holds it most likely fills the places just now."""


def enter(store: SessionStore, session: Session, limit: int | None) -> Session:
    """Put the session at the end of the queue, or leave it where it is in it; the caller holds the session's lock.

    The caller calls `Queue.fill` once it has let go of that. Nothing happens where a worker lives.
    """
    if not store.worker_lock.take():
        return session
    try:
        queued = transitions.queued(session, limit)
        store.write(queued)
    finally:
        store.worker_lock.release()
    return queued


class Queue:
    """The sessions of one repository that wait for a place."""

    def __init__(self, store: Store, configured: Callable[[], int | None]) -> None:
        """`configured` tells `max_parallel` as it is now, where it is; else each session has its own."""
        self._store = store
        self._configured = configured
        self._look_next = 0.0

    def members(self) -> list[Session]:
        """The queued sessions, the next one first."""
        queued = self._store.of_status(Status.QUEUED)
        return sorted(queued, key=lambda one: (one.queueing.queued_at or one.created_at, one.created_at, one.name))

    def waiting(self) -> Iterator[Session]:
        """Those of them that wait for a place, and are not being started already; the next one first."""
        for session in self.members():
            if not predecessors.ready(self._store, session):
                continue
            try:
                started = runners.alive(self._store.session(session.name), session)
            except ChatmlError:  # its runner came with a package that is gone: it waits for that, and nobody for it
                continue
            if not started:
                yield session

    def limit(self, session: Session) -> int | None:
        """How many may be at work at once for this session to start."""
        return self._configured() or session.terms.max_parallel

    def look(self) -> bool:
        """Start what may run, for one who only reads; False where that was done just now."""
        if time.monotonic() < self._look_next:
            return False
        self.fill(READER_PATIENCE)
        self._look_next = time.monotonic() + LOOK_EVERY
        return True

    def fill(self, patience: float = 20.0) -> None:
        """Start queued sessions, the oldest first, while there are places.

        Never fails: what can't be started now stays in the queue, and is tried again by the next one who looks.
        """
        with contextlib.suppress(OSError, ChatmlError):
            while (store := self._reserve(patience)) is not None:
                _start(store)

    def _reserve(self, patience: float) -> SessionStore | None:
        """The next one to start, with its worker lock taken: from then on it counts as at work."""
        if next(self.waiting(), None) is None:
            return None
        with self._store.lock(patience):
            for session in self.waiting():
                store = self._store.session(session.name)
                limit = self.limit(session)
                if limit is not None and self._at_work() >= limit:
                    return None  # nobody overtakes
                if store.worker_lock.take():
                    return store
        return None

    def _at_work(self) -> int:
        """How many workers live, without those that wait for a person, or for what comes of a pull request."""
        # One that is being started has not yet written that it prepares.
        candidates = self._store.of_status(Status.QUEUED, Status.PREPARING, Status.RUNNING)
        return sum(not session.looking and _is_alive(self._store, session) for session in candidates)


def _is_alive(store: Store, session: Session) -> bool:
    try:
        return runners.alive(store.session(session.name), session)
    except (OSError, ChatmlError):  # its runner came with a package that is gone
        return False


def _start(store: SessionStore) -> None:
    """Start the worker of a session whose worker lock is held, if it is still queued."""
    try:
        with store.lock():
            session = store.read()
            if session.status is Status.QUEUED and session.stopping:
                store.write(transitions.stopped(session))  # who was to stop it has been killed before
            elif session.status is Status.QUEUED:
                runners.of(session).start(store, session)
    finally:
        store.worker_lock.release()
