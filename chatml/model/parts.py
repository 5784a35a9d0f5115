"""What a session consists of, and times as the contract writes them."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from datetime import datetime, timezone
from typing import Any

from chatml.model.provision import SeenService
from chatml.record import record


def now() -> str:
    """The time, as `stamp` writes it."""
    return stamp(time.time())


def stamp(seconds: float) -> str:
    """A moment since the epoch as the contract writes it: UTC, ISO 8601, to the millisecond."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """The moment that `stamp` wrote down."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@record(frozen=True)
class Base:
    """What the session's branch started from; `ref` is a full sha where no name was given."""

    ref: str
    commit: str


@record(frozen=True)
class Exchange:
    """How far the session is in the exchange with its agent, in what its worker and the agent count."""

    started: bool = False
    """The agent has a conversation under `session_id` that can be resumed."""
    reported_usd: float = 0.0
    """What the agent itself has reported for its conversation so far; it counts cumulatively."""
    agent_turns: int = 0
    """Answers of the model over the whole session: what `max_turns` limits."""
    running_usd: float = 0.0
    """What the turn under way has cost so far, about; `cost_usd` has it once the turn has ended."""
    denied: int = 0
    """Tool calls of the last turn that were refused because nobody could be asked."""


@record(frozen=True)
class Checkout:
    """What the session's branch and worktree are made of, and how far that is."""

    start: str | None = None
    """The commit that its new branch is at until it's moved on to the base: by whoever fills the worktree."""
    carried: str | None = None
    """The commit of what was uncommitted where it was made, until its worktree has it."""
    owns_branch: bool = True
    """False for `new --branch EXISTING`: then `rm` keeps the branch."""
    scope_start: str | None = None
    """The commit that an existing branch was at: what it brought out of scope before is nobody's fault here."""
    populated: bool = False
    """The worktree has had its files once: from then on they are the agent's and the person's."""
    hook_due: bool = False
    """The post-checkout hook has not yet come to its end on those files."""
    rewrote: str | None = None
    """The commit that `pr` had pushed when `sync` made the branch's commits anew: those may replace it."""
    resolving: str | None = None
    """The commit of its base that `sync` has given to its agent, to resolve the conflicts with it."""


@record(frozen=True)
class RemovedChild:
    """A session that an agent had started and that was removed, by its id, and what it has cost."""

    id: str
    usd: float


@record(frozen=True)
class Family:
    """Who has started the session, and whom its agent has started."""

    parent: str | None = None
    """The name of the session whose agent has started this one, as long as that is there."""
    parent_id: str | None = None
    """That one's `id`."""
    children: int = 0
    """How many sessions its agent has started, also those that are removed."""
    removed_children: tuple[RemovedChild, ...] = ()
    """Those of them that are removed, and any that was about to be: what they have cost still counts."""


@record(frozen=True)
class Predecessor:
    """A session that another one comes after; by its `id`, because its name may become another one's."""

    name: str
    id: str


@record(frozen=True)
class Queueing:
    """What a session waits for before it may start."""

    queued_at: str | None = None
    """Since when it has been in the queue."""
    predecessors: tuple[Predecessor, ...] = ()
    """Those that it comes after; none any more once its base was made of what they have brought."""
    released: bool = False
    """A person wants it to start whatever has become of its predecessors."""


@record(frozen=True)
class Tokens:
    """Model tokens used by the whole session."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@record(frozen=True)
class Changes:
    """All that the session would bring to its base, in numbers."""

    files: int
    insertions: int
    deletions: int
    commits: int
    uncommitted: bool
    left_out: int = 0
    """How many things in the worktree can't come along, such as the files of a repository inside of it."""


@record(frozen=True)
class FileChange:
    """One changed path; insertions and deletions are None for a binary file."""

    path: str
    old_path: str | None
    status: str
    insertions: int | None
    deletions: int | None
    uncommitted: bool


@record(frozen=True)
class Process:
    """A process that an agent has left running after its turn: a development server, for one."""

    pid: int
    command: str
    """Its program and arguments, with a space between them."""


@record(frozen=True)
class Seen:
    """What was found out about a session as it was read, and is true just then."""

    queue_place: int | None = None
    """Its place in the queue, from 1."""
    stuck: bool = False
    """It is queued, and no predecessor's end will ever start it."""
    processes: tuple[Process, ...] | None = None
    """What its agent has left running, where no worker lives; None also where that can't be seen."""
    services: tuple[SeenService, ...] | None = None
    """The services that were started in its worktree; None without any."""
    not_counted: str | None = None
    """Why `changes` could not be counted."""
    not_counted_hint: str | None = None
    """What a person can do about that."""
    landed: bool | None = None
    """Whether all that it has is in its base; None where nobody knows, and while it is at work."""
    resolved: bool | None = None
    """Whether it has what `sync` has given to its agent to merge; None where that was nothing."""


@record(frozen=True)
class PullRequest:
    """The pull request that lands the session, as last seen."""

    number: int
    url: str
    state: str
    """open, closed or merged"""
    checks: str | None = None
    """passing, failing or pending; None without any, and where nobody may look."""
    draft: bool | None = None
    """None of this and what follows: not asked for yet."""
    review: str | None = None
    """approved, changes_requested or review_required; None also where the base asks for none and nobody gave one."""
    mergeable: bool | None = None
    """Whether it merges into its base without a conflict; None also where the forge has not tried yet."""
    at: str | None = None
    """When the forge was asked."""

    @property
    def open(self) -> bool:
        return self.state == "open"

    @property
    def label(self) -> str:
        """As its forge writes it: `#12`, or `!12` for a merge request of GitLab."""
        return f"{'!' if self.on_gitlab else '#'}{self.number}"

    @property
    def kind(self) -> str:
        """What its forge calls it."""
        return "merge request" if self.on_gitlab else "pull request"

    @property
    def on_gitlab(self) -> bool:
        """By its address: no other forge writes that."""
        return "/-/merge_requests/" in self.url


@record(frozen=True)
class Landed:
    """What `merge` has landed a session as."""

    commit: str
    """The newest commit that it made."""
    into: str
    """The branch that has it."""
    tip: str
    """The commit of the session's own branch that was landed by it."""


@record(frozen=True)
class CheckResult:
    """What became of the command that must pass for a session to be done, when it last came to its end."""

    command: str
    ok: bool | None = None
    """None before its first run."""
    commit: str | None = None
    """What was checked out there."""
    tries: int = 0
    """How often it ran since a person said something."""
    output: str | None = None
    """The last lines that it printed, harmless to a terminal."""
    at: str | None = None
    tree: str | None = None
    """All that the worktree held, as it was checked: a session that is still so needs no further run."""
    said: str | None = None
    """How it ended, in a few words."""
    current: bool | None = None
    """Whether what stood there when the changes were last counted is what was checked; None where nobody knows."""

    def seen(self, state: tuple[str | None, str] | None) -> CheckResult:
        """The same, now that the worktree was seen to hold this commit and tree; None where nobody could look."""
        current = None if state is None or self.ok is None else state == (self.commit, self.tree)
        return self if current is self.current else replace(self, current=current)

    def to_json(self) -> dict[str, Any]:
        """As the contract shows it."""
        return {name: value for name, value in vars(self).items() if name not in ("tree", "said")}


@record(frozen=True)
class Failure:
    """Why the session failed, and what a person can do about it."""

    kind: str
    message: str
    hint: str | None = None
    output: str | None = None
    """The last lines of what failed, harmless to a terminal."""
