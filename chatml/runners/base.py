"""What chatml needs of the place where workers run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from chatml.model import Process, Session
from chatml.state.store import SessionStore


class Runner(Protocol):
    """Starts the workers of sessions, tells whether they live, and ends them. Keeps nothing in memory."""

    def start(self, store: SessionStore, session: Session) -> int | None:
        """Start the session's worker and hand it the worker lock; the caller holds the session's lock.

        Returns the worker's PID where it is known by now; None also where a worker lives already. OSError where the
        machine refuses. The caller may hold the worker lock, to keep others from starting one; it is free afterwards.
        """

    def alive(self, store: SessionStore) -> bool:
        """Whether the session has a worker, or one that is being started. Never guessed from a PID."""

    def signal(self, session: Session, number: int) -> bool:
        """Send the worker that the record knows a signal; False where it is not known yet, or gone."""

    def left(self, sessions: Sequence[Session]) -> Mapping[str, tuple[Process, ...]] | None:
        """What agents of these sessions have left running, by the session's id; without their workers, in one look.

        None where that can't be seen.
        """

    def end(self, session: Session) -> int:
        """End what a worker that is no more has left running, and return how many processes that were."""
