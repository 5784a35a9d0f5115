"""Plain typed data that all layers share: session, status and its transitions, event, changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from chatml import typed

SCHEMA = 1
"""Version of the record's layout; a record of a later version is refused, never rewritten."""


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
        return self in (Status.PREPARING, Status.RUNNING, Status.WAITING)

    @property
    def needs_person(self) -> bool:
        """Whether nothing goes on until a person looks."""
        return self in (Status.WAITING, Status.FAILED, Status.CRASHED)


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.PREPARING, Status.STOPPED, Status.FAILED}),
    Status.PREPARING: frozenset({Status.PREPARING, Status.RUNNING, Status.DONE, Status.FAILED, Status.STOPPED}),
    Status.RUNNING: frozenset(
        {Status.PREPARING, Status.RUNNING, Status.WAITING, Status.DONE, Status.FAILED, Status.STOPPED}
    ),
    Status.WAITING: frozenset({Status.PREPARING, Status.RUNNING, Status.DONE, Status.FAILED, Status.STOPPED}),
    Status.DONE: frozenset({Status.QUEUED, Status.PREPARING, Status.STOPPED}),
    Status.FAILED: frozenset({Status.QUEUED, Status.PREPARING, Status.STOPPED}),
    Status.STOPPED: frozenset({Status.QUEUED, Status.PREPARING, Status.STOPPED}),
}
"""From each written status, those that may follow. An active one may be prepared anew: its worker may have died."""


def now() -> str:
    """The time as the contract writes it: UTC, ISO 8601, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """The moment that `now` wrote down."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@dataclass(frozen=True)
class Base:
    """What the session's branch started from; `ref` is a full sha where no name was given."""

    ref: str
    commit: str


@dataclass(frozen=True)
class Tokens:
    """Model tokens used by the whole session."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Changes:
    """All that the session would bring to its base, in numbers."""

    files: int
    insertions: int
    deletions: int
    commits: int
    uncommitted: bool


@dataclass(frozen=True)
class FileChange:
    """One changed path; insertions and deletions are None for a binary file."""

    path: str
    old_path: str | None
    status: str
    insertions: int | None
    deletions: int | None
    uncommitted: bool


@dataclass(frozen=True)
class PullRequest:
    """The pull request that lands the session, as last seen."""

    number: int
    url: str
    state: str
    checks: str | None = None


@dataclass(frozen=True)
class Failure:
    """Why the session failed, and what a person can do about it."""

    kind: str
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Request:
    """What an agent needs a person for."""

    id: str
    kind: str
    summary: str
    detail: dict[str, Any]
    since: str


@dataclass(frozen=True)
class Session:
    """The record of one task; everything needed to go on with it later is in here."""

    name: str
    status: Status
    prompt: str
    branch: str
    base: Base
    worktree: str
    agent: str
    model: str | None
    permission_mode: str
    session_id: str | None
    created_at: str
    updated_at: str
    activity: str | None = None
    request: Request | None = None
    turns: int = 0
    cost_usd: float = 0.0
    tokens: Tokens = field(default_factory=Tokens)
    changes: Changes | None = None
    conflicts: tuple[str, ...] | None = None
    pr: PullRequest | None = None
    port: int | None = None
    result: str | None = None
    error: Failure | None = None
    pid: int | None = None
    # Not in the contract's example, needed to go on with the session:
    repository: str = ""
    """The main checkout (or bare repository) that the session belongs to."""
    id: str = ""
    """Unique for ever, unlike the name: what the worker marks its processes with."""
    max_turns: int | None = None
    max_budget_usd: float | None = None
    owns_branch: bool = True
    """False for `new --branch EXISTING`: then `rm` keeps the branch."""
    command: tuple[str, ...] | None = None
    """The program and arguments of an agent that is a command, `{prompt}` where the task goes."""
    resume_command: tuple[str, ...] | None = None
    """The same for going on with its conversation; None where it has none to go on with."""
    denied: int = 0
    """Tool calls of the last turn that were refused because nobody could be asked."""
    populated: bool = False
    """The worktree has had its files once: from then on they are the agent's and the person's."""
    agent_started: bool = False
    """The agent has a conversation under `session_id` that can be resumed."""
    agent_cost_usd: float = 0.0
    """What the agent itself has reported for its conversation so far; it counts cumulatively."""
    changes_seen: str | None = None
    """What the worktree looked like from outside when `changes` was counted (`workspace.glance`)."""
    pushed: str | None = None
    """The commit of the branch that `pr` pushed last: only that may be replaced by a rewritten branch."""
    stopping: bool = False
    """A person asked for the worker's end; without it, a worker that is told to end leaves the turn to be resumed."""

    def moved_to(self, status: Status, **changes: Any) -> Session:
        """This session in another status; AssertionError for a step that makes no sense."""
        assert status in TRANSITIONS[self.status], f"{self.status.value} -> {status.value}"
        return replace(self, status=status, updated_at=now(), **changes)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON data, with every key of the contract present."""
        # Not by `dataclasses.asdict`: its deep copies were a third of the time of `ls` with a thousand sessions.
        data = dict(vars(self))
        for key in ("base", "tokens", *_OPTIONAL):
            if data[key] is not None:
                data[key] = dict(vars(data[key]))
        data["status"] = self.status.value
        return data

    def public(self) -> dict[str, Any]:
        """The session as `--json` shows it: the keys of the contract, those that don't apply yet as null."""
        data = self.to_json()
        return {key: data[key] for key in PUBLIC_KEYS}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Session:
        """The session of a record; TypeError or ValueError, naming the key, where it is damaged."""
        session = typed.build(cls, data, "the record")
        for stamp in (session.created_at, session.updated_at):
            parse_time(stamp)
        if not session.name or "\0" in session.worktree + session.repository + session.branch:
            raise ValueError("name, worktree, repository or branch is none")
        return session


PUBLIC_KEYS = (
    "name",
    "status",
    "prompt",
    "activity",
    "request",
    "branch",
    "base",
    "worktree",
    "agent",
    "model",
    "permission_mode",
    "session_id",
    "created_at",
    "updated_at",
    "turns",
    "cost_usd",
    "tokens",
    "changes",
    "conflicts",
    "pr",
    "port",
    "result",
    "error",
    "pid",
    "denied",
)
"""The contract with other people's scripts: keys may be added, never taken away or renamed."""

_OPTIONAL = ("changes", "pr", "error", "request")


@dataclass(frozen=True)
class Event:
    """One entry in a session's log."""

    seq: int
    time: str
    type: str
    data: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"seq": self.seq, "time": self.time, "type": self.type, **self.data}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Event:
        """The event of a line of a log; TypeError or ValueError where the line is damaged."""
        rest = {key: value for key, value in data.items() if key not in ("seq", "time", "type")}
        for key, kind in _EVENT_TYPES.items():
            if type(rest.get(key)) not in kind:
                raise TypeError(f"{key} is of the wrong type")
        if type(data["seq"]) is not int:
            raise TypeError("seq is no number")
        return cls(seq=data["seq"], time=str(data["time"]), type=str(data["type"]), data=rest)


_EVENT_TYPES: Mapping[str, set[type]] = {
    "text": {str, type(None)},
    "input": {dict, type(None)},
    "duration_ms": {int, float, type(None)},
    "cost_usd": {int, float, type(None)},
    "tokens": {dict, type(None)},
    "result": {str, type(None)},
}
"""What those who show events rely on."""
