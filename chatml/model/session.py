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
    Checkout,
    CheckResult,
    Exchange,
    Failure,
    Family,
    Landed,
    PullRequest,
    Queueing,
    Seen,
    Tokens,
    now,
    parse_time,
)
from chatml.model.provision import Furnished, Furnishing
from chatml.model.request import Request
from chatml.model.status import Status
from chatml.model.terms import Terms
from chatml.record import altered, record, said

SCHEMA = 1
"""Version of the record's layout; a record of a later version is refused, never rewritten."""

ROOMS = ("exchange", "checkout", "queueing", "family", "furnishing", "furnished")
"""The parts that are notes of one room each; what is so by default is not written."""


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
    crash_told: bool = False
    """Somebody who saw that its worker had died has told a person; each crash is told once."""
    changes_seen: str | None = None
    """What the worktree looked like from outside when `changes` was counted (`checkout.glance`)."""
    pushed: str | None = None
    """The commit of the branch that `pr` pushed last: only that may be replaced by a rewritten branch."""
    landed_as: Landed | None = None
    """The commit that `merge` has landed it as, the last time."""
    leftovers: bool = False
    """Something may still run that the agent has started; False only where its worker has looked, and found none."""
    issue: IssueRef | None = None
    """The issue that its task was made of."""
    watching: str | None = None
    """Since when its worker looks after its pull request, until that is merged, closed, or green and approved."""
    looking: bool = False
    """Its worker does nothing but that just now: like one that waits for a person, it takes up no place."""
    stopping: bool = False
    """A person asked for the worker's end; without it, a worker that is told to end leaves the turn to be resumed."""
    exchange: Exchange = Exchange()
    checkout: Checkout = Checkout()
    queueing: Queueing = Queueing()
    family: Family = Family()
    furnishing: Furnishing = Furnishing()
    """What its worktree is given, as the settings were when it was made or set up last."""
    furnished: Furnished = Furnished()
    seen: Seen = Seen()
    """What was found out as it was read; never written."""

    @property
    def spent_usd(self) -> float:
        """What the whole session has cost by now."""
        return round(self.cost_usd + self.exchange.running_usd, 6)

    @property
    def checked(self) -> CheckResult | None:
        """What became of the check, also where it has not run yet; None for a session without one."""
        if self.terms.check is None:
            return None
        return self.check or CheckResult(self.terms.check)

    def with_terms(self, **changes: Any) -> Session:
        """This session with other terms, as a person has changed them."""
        return replace(self, terms=replace(self.terms, **changes))

    def with_exchange(self, **changes: Any) -> Session:
        """This session with other notes of the exchange with its agent."""
        return replace(self, exchange=replace(self.exchange, **changes))

    def with_checkout(self, **changes: Any) -> Session:
        """This session with other notes of its branch and worktree."""
        return replace(self, checkout=replace(self.checkout, **changes))

    def with_queueing(self, **changes: Any) -> Session:
        """This session with other notes of its queueing."""
        return replace(self, queueing=replace(self.queueing, **changes))

    def with_family(self, **changes: Any) -> Session:
        """This session with other notes of its family."""
        return replace(self, family=replace(self.family, **changes))

    def with_furnished(self, **changes: Any) -> Session:
        """This session with other notes of how far its worktree is with what it is given."""
        return replace(self, furnished=replace(self.furnished, **changes))

    def with_seen(self, **found: Any) -> Session:
        """This session with more that was found out about it."""
        return altered(self, seen=altered(self.seen, **found))

    def changed(self, **changes: Any) -> Session:
        """This session with something else about it; a status is changed by `transitions` alone."""
        return replace(self, updated_at=now(), **changes)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON data, for writing it: parts of it are those of this session itself."""
        # Not by `dataclasses.asdict`: its deep copies were a third of the time of `ls` with a thousand sessions.
        data = {**vars(self), **self._objects(), "terms": vars(self.terms)}
        del data["seen"]
        for room in ROOMS:
            if noted := _noted(data.pop(room)):
                data[room] = noted
        return data

    def _objects(self) -> dict[str, Any]:
        """What is an object of ours, as JSON data."""
        asked = tuple(vars(one) for one in self.requests)
        return {
            "status": self.status.value,
            "requests": asked,
            "base": vars(self.base),
            "tokens": vars(self.tokens),
            "changes": self.changes and vars(self.changes),
            "pr": self.pr and vars(self.pr),
            "check": self.check and vars(self.check),
            "landed_as": self.landed_as and vars(self.landed_as),
            "error": self.error and vars(self.error),
            "issue": self.issue and vars(self.issue),
        }

    def public(self) -> dict[str, Any]:
        """The session as `--json` shows it: the keys of the contract, those that don't apply yet as null."""
        data = {**vars(self.terms), **vars(self), **self._objects(), "cost_usd": self.spent_usd}
        left = self.seen.processes
        data |= {
            "agent_turns": self.exchange.agent_turns,
            "denied": self.exchange.denied,
            "parent": self.family.parent,
            "queue_place": self.seen.queue_place,
            "landed": self.seen.landed,
            "port": next(iter(self.furnished.ports.values()), None),
            "ports": self.furnished.ports or None,
            "services": self.seen.services and [vars(one) for one in self.seen.services],
            "processes": None if left is None else [vars(one) for one in left],
        }
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


def _noted(part: Any) -> dict[str, Any]:
    """What stands in a room's part, as JSON data."""
    values = said(part).items()
    return {name: list(map(_plain, value)) if type(value) is tuple else value for name, value in values}


def _plain(one: Any) -> Any:
    return one if type(one) is str else vars(one)


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
    "landed",
    "ports",
    "services",
)
"""The contract with other people's scripts: keys may be added, never taken away or renamed."""

_PUBLIC = itemgetter(*PUBLIC_KEYS)
