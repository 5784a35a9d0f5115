"""Where a session is, and where it may go from there."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Status(str, Enum):
    """Where a session is; the names are a contract with other people's scripts."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    CRASHED = "crashed"  # computed when read, never written

    @property
    def active(self) -> bool:
        """Whether a living worker must stand behind a record with this status."""
        return self in (Status.PREPARING, Status.RUNNING)

    @property
    def at_rest(self) -> bool:
        """Whether nothing happens until somebody does something; a request waits also without a worker."""
        return not self.active and self is not Status.QUEUED

    @property
    def open(self) -> bool:
        """Whether a turn is under way, or waits for its place or for an answer."""
        return self.active or self in (Status.QUEUED, Status.WAITING)

    @property
    def needs_person(self) -> bool:
        """Whether nothing goes on until a person looks."""
        return self in (Status.WAITING, Status.FAILED, Status.CRASHED)


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.QUEUED, Status.PREPARING, Status.STOPPED, Status.FAILED}),
    Status.PREPARING: frozenset(
        {Status.QUEUED, Status.PREPARING, Status.RUNNING, Status.DONE, Status.FAILED, Status.STOPPED}
    ),
    Status.RUNNING: frozenset(
        {Status.QUEUED, Status.PREPARING, Status.RUNNING, Status.WAITING, Status.DONE, Status.FAILED, Status.STOPPED}
    ),
    Status.WAITING: frozenset(
        {Status.PREPARING, Status.RUNNING, Status.WAITING, Status.DONE, Status.FAILED, Status.STOPPED}
    ),
    Status.DONE: frozenset({Status.QUEUED, Status.PREPARING, Status.STOPPED}),
    Status.FAILED: frozenset({Status.QUEUED, Status.PREPARING, Status.STOPPED}),
    Status.STOPPED: frozenset({Status.QUEUED, Status.PREPARING, Status.STOPPED}),
}
"""From each written status, those that may follow. An active one may be queued or prepared anew: its worker may die."""
