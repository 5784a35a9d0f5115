"""Limits of a session that a person changes while it goes: more money, more turns."""

from __future__ import annotations

from chatml.errors import UsageError
from chatml.model import Session
from chatml.record import record


@record(frozen=True)
class Amount:
    """A new limit; or, with `more`, how much more than the old one, or than what is spent where that is more."""

    value: float
    more: bool = False

    def after(self, limit: float | None, spent: float) -> float:
        return max(limit or 0, spent) + self.value if self.more else self.value


@record(frozen=True)
class NewLimits:
    """What is to change about a session's limits; None leaves one as it is."""

    max_turns: Amount | None = None
    max_budget_usd: Amount | None = None

    def any(self) -> bool:
        """Whether one is to change."""
        return self != AS_BEFORE

    def of(self, session: Session) -> Session:
        """The session with these limits. UsageError where one would be reached already."""
        if self.max_budget_usd is not None:
            budget = round(self.max_budget_usd.after(session.terms.max_budget_usd, session.spent_usd), 6)
            if budget <= session.spent_usd:
                raise UsageError(
                    f"'{session.name}' has cost ${session.spent_usd:.2f} already",
                    "say how much more it may cost: --max-budget-usd +2",
                )
            session = session.with_terms(max_budget_usd=budget)
        if self.max_turns is not None:
            turns = int(self.max_turns.after(session.terms.max_turns, session.exchange.agent_turns))
            if turns <= session.exchange.agent_turns:
                raise UsageError(
                    f"'{session.name}' has had {session.exchange.agent_turns} turns already",
                    "say how many more it may have: --max-turns +10",
                )
            session = session.with_terms(max_turns=turns)
        return session


AS_BEFORE = NewLimits()
