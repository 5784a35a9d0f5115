"""The record of one task, as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from operator import itemgetter
from typing import Any

from chatml import typed
from chatml.model.issue import IssueRef
from chatml.model.parts import (
    Base,
    Changes,
    CheckResult,
    Failure,
    Predecessor,
    Process,
    PullRequest,
    RemovedChild,
    Tokens,
    now,
    parse_time,
)
from chatml.model.request import Request
from chatml.model.status import Status
from chatml.model.terms import Terms
from chatml.record import record

SCHEMA = 1
"""Version of the record's layout; a record of a later version is refused, never rewritten."""


@record(frozen=True)
class Session:
    """The record of one task; everything needed to go on with it later is in here."""

    name: str
    status: Status
    terms: Terms
    """All that it was asked to be."""
    branch: str
    base: Base
    worktree: str
    session_id: str | None
    created_at: str
    updated_at: str
    model: str | None = None
    """The model that the agent says it uses; until then, the one that was asked for."""
    activity: str | None = None
    requests: tuple[Request, ...] = ()
    """What the agent needs a person for, oldest first; `request` in JSON is the first of them."""
    turns: int = 0
    cost_usd: float = 0.0
    tokens: Tokens = field(default_factory=Tokens)
    changes: Changes | None = None
    conflicts: tuple[str, ...] | None = None
    pr: PullRequest | None = None
    port: int | None = None
    check: CheckResult | None = None
    """What became of the check, once it has run."""
    result: str | None = None
    error: Failure | None = None
    pid: int | None = None
    # Not in the contract's example, needed to go on with the session:
    repository: str = ""
    """The main checkout (or bare repository) that the session belongs to."""
    id: str = ""
    """Unique for ever, unlike the name: what the worker marks its processes with."""
    agent_turns: int = 0
    """Answers of the model over the whole session: what `max_turns` limits."""
    running_usd: float = 0.0
    """What the turn under way has cost so far, about; `cost_usd` has it once the turn has ended."""
    queued_at: str | None = None
    """Since when it has been in the queue."""
    queue_place: int | None = None
    """Its place in the queue, from 1: computed when read, never written."""
    predecessors: tuple[Predecessor, ...] = ()
    """Those that it comes after; none any more once its base was made of what they have brought."""
    released: bool = False
    """A person wants it to start whatever has become of its predecessors."""
    start: str | None = None
    """The commit that its new branch is at until it's moved on to the base: by whoever fills the worktree."""
    carried: str | None = None
    """The commit of what was uncommitted where it was made, until its worktree has it."""
    stuck: bool = False
    """It is queued, and no predecessor's end will ever start it: computed when read, never written."""
    owns_branch: bool = True
    """False for `new --branch EXISTING`: then `rm` keeps the branch."""
    crash_told: bool = False
    """Somebody who saw that its worker had died has told a person; each crash is told once."""
    scope_start: str | None = None
    """The commit that an existing branch was at: what it brought out of scope before is nobody's fault here."""
    denied: int = 0
    """Tool calls of the last turn that were refused because nobody could be asked."""
    populated: bool = False
    """The worktree has had its files once: from then on they are the agent's and the person's."""
    hook_due: bool = False
    """The post-checkout hook has not yet come to its end on those files."""
    agent_started: bool = False
    """The agent has a conversation under `session_id` that can be resumed."""
    agent_cost_usd: float = 0.0
    """What the agent itself has reported for its conversation so far; it counts cumulatively."""
    changes_seen: str | None = None
    """What the worktree looked like from outside when `changes` was counted (`checkout.glance`)."""
    not_counted: str | None = None
    """Why `changes` could not be counted just now: computed when read, never written."""
    not_counted_hint: str | None = None
    """What a person can do about it: computed with it."""
    pushed: str | None = None
    """The commit of the branch that `pr` pushed last: only that may be replaced by a rewritten branch."""
    leftovers: bool = False
    """Something may still run that the agent has started; False only where its worker has looked, and found none."""
    processes: tuple[Process, ...] | None = None
    """What that is, where no worker lives: computed when read, never written. None also where it can't be seen."""
    issue: IssueRef | None = None
    """The issue that its task was made of."""
    parent: str | None = None
    """The name of the session whose agent has started this one, as long as that is there."""
    parent_id: str | None = None
    """That one's `id`."""
    children: int = 0
    """How many sessions its agent has started, also those that are removed."""
    removed_children: tuple[RemovedChild, ...] = ()
    """Those of them that are removed, and any that was about to be: what they have cost still counts."""
    watching: str | None = None
    """Since when its worker looks after its pull request, until that is merged, closed, or green and approved."""
    looking: bool = False
    """Its worker does nothing but that just now: like one that waits for a person, it takes up no place."""
    stopping: bool = False
    """A person asked for the worker's end; without it, a worker that is told to end leaves the turn to be resumed."""

    @property
    def spent_usd(self) -> float:
        """What the whole session has cost by now."""
        return round(self.cost_usd + self.running_usd, 6)

    @property
    def checked(self) -> CheckResult | None:
        """What became of the check, also where it has not run yet; None for a session without one."""
        if self.terms.check is None:
            return None
        return self.check or CheckResult(self.terms.check)

    def with_terms(self, **changes: Any) -> Session:
        """This session with other terms, as a person has changed them."""
        return replace(self, terms=replace(self.terms, **changes))

    def changed(self, **changes: Any) -> Session:
        """This session with something else about it; a status is changed by `transitions` alone."""
        return replace(self, updated_at=now(), **changes)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON data, for writing it: parts of it are those of this session itself."""
        # Not by `dataclasses.asdict`: its deep copies were a third of the time of `ls` with a thousand sessions.
        return {**vars(self), **self._parts(), "terms": vars(self.terms)}

    def _parts(self) -> dict[str, Any]:
        """What is an object of ours, as JSON data."""
        asked = tuple(vars(one) for one in self.requests)
        return {
            "status": self.status.value,
            "requests": asked,
            "base": vars(self.base),
            "tokens": vars(self.tokens),
            "removed_children": tuple(vars(one) for one in self.removed_children),
            "predecessors": tuple(vars(one) for one in self.predecessors),
            "changes": self.changes and vars(self.changes),
            "pr": self.pr and vars(self.pr),
            "check": self.check and vars(self.check),
            "error": self.error and vars(self.error),
            "issue": self.issue and vars(self.issue),
            "processes": None if self.processes is None else [vars(one) for one in self.processes],
        }

    def public(self) -> dict[str, Any]:
        """The session as `--json` shows it: the keys of the contract, those that don't apply yet as null."""
        data = {**vars(self.terms), **vars(self), **self._parts(), "cost_usd": self.spent_usd}
        data["check"] = self.checked and self.checked.to_json()
        data["request"] = data["requests"][0] if self.requests and self.status is Status.WAITING else None
        return dict(zip(PUBLIC_KEYS, _PUBLIC(data), strict=True))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Session:
        """The session of a record; TypeError or ValueError, naming the key, where it is damaged."""
        session = typed.build(cls, data, "the record")
        seen = session.pr.at if session.pr is not None else None
        for stamp in (session.created_at, session.updated_at, *([seen] if seen is not None else [])):
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
    "requests",
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
    "queue_place",
    "agent_turns",
    "max_turns",
    "max_budget_usd",
    "role",
    "scope",
    "processes",
    "check",
    "after",
    "issue",
    "parent",
)
"""The contract with other people's scripts: keys may be added, never taken away or renamed."""

_PUBLIC = itemgetter(*PUBLIC_KEYS)
