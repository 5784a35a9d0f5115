"""The record of one task, as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from chatml import typed
from chatml.model.parts import Base, Changes, Failure, PullRequest, Tokens, now, parse_time
from chatml.model.request import Request
from chatml.model.status import TRANSITIONS, Status
from chatml.record import record

SCHEMA = 1
"""Version of the record's layout; a record of a later version is refused, never rewritten."""


@record(frozen=True)
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
    requests: tuple[Request, ...] = ()
    """What the agent needs a person for, oldest first; `request` in JSON is the first of them."""
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
    agent_turns: int = 0
    """Answers of the model over the whole session: what `max_turns` limits."""
    running_usd: float = 0.0
    """What the turn under way has cost so far, about; `cost_usd` has it once the turn has ended."""
    max_parallel: int | None = None
    """How many sessions may be at work for this one to start; None where it never had to queue."""
    queued_at: str | None = None
    """Since when it has been in the queue."""
    queue_place: int | None = None
    """Its place in the queue, from 1: computed when read, never written."""
    owns_branch: bool = True
    """False for `new --branch EXISTING`: then `rm` keeps the branch."""
    command: tuple[str, ...] | None = None
    """The program and arguments of an agent that is a command, `{prompt}` where the task goes."""
    resume_command: tuple[str, ...] | None = None
    """The same for going on with its conversation; None where it has none to go on with."""
    mode_after_plan: str | None = None
    """The mode to go on in once the plan is approved, for a session that began with planning."""
    notify: str | None = None
    """The command that tells a person who looks elsewhere; None for the desktop's own notifier, `off` for nothing."""
    crash_told: bool = False
    """Somebody who saw that its worker had died has told a person; each crash is told once."""
    on_request: str = "wait"
    """What becomes of a request: it waits for a person, is denied, or fails the session."""
    allow: tuple[str, ...] = ()
    """Rules of Claude Code for what this session may do without asking: from the settings, or approved by a person."""
    ask: tuple[str, ...] = ()
    """Rules for what is asked about in any case but a denied one."""
    deny: tuple[str, ...] = ()
    """Rules for what is denied in any case, whatever the mode."""
    sandbox: str = "auto"
    """Shell commands in a sandbox: where that is possible, or not at all without (`required`), or never (`off`)."""
    role: str | None = None
    instruction: str | None = None
    """What the agent is told beside its task, by its role."""
    tools: tuple[str, ...] | None = None
    """The only tools that the agent has, by its role."""
    scope: tuple[str, ...] = ()
    """The paths that may be changed, as patterns of gitignore(5); all of them without any."""
    scope_start: str | None = None
    """The commit that an existing branch was at: what it brought out of scope before is nobody's fault here."""
    reviews: str | None = None
    """The `id` of the session that this one reviews; its base is then a copy of what that one held."""
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
    """What the worktree looked like from outside when `changes` was counted (`workspace.glance`)."""
    pushed: str | None = None
    """The commit of the branch that `pr` pushed last: only that may be replaced by a rewritten branch."""
    stopping: bool = False
    """A person asked for the worker's end; without it, a worker that is told to end leaves the turn to be resumed."""

    @property
    def spent_usd(self) -> float:
        """What the whole session has cost by now."""
        return round(self.cost_usd + self.running_usd, 6)

    @property
    def after_plan(self) -> str:
        """The permission mode to go on in once a plan is approved."""
        if self.mode_after_plan is not None:
            return self.mode_after_plan
        return "default" if self.permission_mode == "plan" else self.permission_mode

    def moved_to(self, status: Status, **changes: Any) -> Session:
        """This session in another status; AssertionError for a step that makes no sense."""
        assert status in TRANSITIONS[self.status], f"{self.status.value} -> {status.value}"
        return replace(self, status=status, updated_at=now(), **changes)

    def stopped(self) -> Session:
        """This session as a person has stopped it."""
        return self.moved_to(Status.STOPPED, activity=None, requests=(), pid=None, stopping=False, queued_at=None)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON data, with every key of the contract present."""
        # Not by `dataclasses.asdict`: its deep copies were a third of the time of `ls` with a thousand sessions.
        data = dict(vars(self))
        for key in ("base", "tokens", *_OPTIONAL):
            if data[key] is not None:
                data[key] = dict(vars(data[key]))
        data["requests"] = [dict(vars(one)) for one in self.requests]
        data["request"] = data["requests"][0] if self.requests and self.status is Status.WAITING else None
        data["status"] = self.status.value
        return data

    def public(self) -> dict[str, Any]:
        """The session as `--json` shows it: the keys of the contract, those that don't apply yet as null."""
        data = {**self.to_json(), "cost_usd": self.spent_usd}
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
)
"""The contract with other people's scripts: keys may be added, never taken away or renamed."""

_OPTIONAL = ("changes", "pr", "error")
