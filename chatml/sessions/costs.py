"""What sessions have cost, summed up from their logs: by session, day or model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from chatml.model import Session, Tokens, parse_time
from chatml.project import Project
from chatml.state import log

By = Literal["session", "day", "model"]


@dataclass(frozen=True)
class Cost:
    """One row: a session's name, a day (ISO 8601, of this machine's time zone) or a model, and what it has cost."""

    of: str
    turns: int = 0
    usd: float = 0.0
    tokens: Tokens = field(default_factory=Tokens)

    def __add__(self, other: Cost) -> Cost:
        usd = round(self.usd + other.usd, 6)
        return Cost(self.of, self.turns + other.turns, usd, self.tokens + other.tokens)


def costs(project: Project, found: Sequence[Session], by: By) -> list[Cost]:
    """The sums, those of days in their order, all others the dearest first."""
    return summed((cost for session in found for cost in _costs(project, session, by)), by)


def summed(found: Iterable[Cost], by: By) -> list[Cost]:
    """One row for all that are of the same, in the order of `costs`."""
    sums: dict[str, Cost] = {}
    for cost in found:
        sums[cost.of] = sums.get(cost.of, Cost(cost.of)) + cost
    if by == "day":
        return sorted(sums.values(), key=lambda cost: cost.of)
    return sorted(sums.values(), key=lambda cost: (-cost.usd, cost.of))


def _costs(project: Project, session: Session, by: By) -> Iterator[Cost]:
    """One for each turn of the session; what the turn under way has cost so far is one of no turn yet."""

    def key(time: str, model: str | None) -> str:
        if by == "session":
            return session.name
        return model or session.terms.agent if by == "model" else parse_time(time).astimezone().date().isoformat()

    for time, turn in log.turns(project.store.session(session.name).events):
        yield Cost(key(time, turn.model or session.model), 1, turn.cost_usd, turn.tokens)
    if session.exchange.running_usd:
        yield Cost(key(session.updated_at, session.model), 0, session.exchange.running_usd)
