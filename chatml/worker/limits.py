"""What a session may still spend: counted over its whole life, whatever agent process does the counting."""

from __future__ import annotations

from dataclasses import replace

from chatml.agents import base
from chatml.agents.base import AgentError, used_up
from chatml.errors import Kind
from chatml.model import Failure
from chatml.worker.journal import Journal

KINDS = (Kind.BUDGET.value, Kind.MAX_TURNS.value)


class LimitReachedError(AgentError):
    """The agent was ended because a limit is reached; the log says so already."""


class Limits:
    """The limits of one session, while its worker lives."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._exceeded: Failure | None = None
        """Set while the agent works on beyond a limit, until it has been interrupted."""
        self._overdrawn = False
        self.reached: Failure | None = None
        """Set once a turn has ended at a limit: what the same process says after that counts no more."""

    def used_up(self) -> Failure | None:
        """The limit that leaves nothing; None where the agent may go on."""
        session = self._journal.session
        if session.terms.max_budget_usd is not None and session.spent_usd >= session.terms.max_budget_usd:
            return used_up(session, Kind.BUDGET)
        if session.terms.max_turns is not None and session.exchange.agent_turns >= session.terms.max_turns:
            return used_up(session, Kind.MAX_TURNS)
        return None

    def raised(self) -> bool:
        """Whether a person has given more meanwhile than was there when the agent was started."""
        self._journal.update()
        return self.used_up() is None

    def within(self, setting: base.Setting) -> base.Setting:
        """What an agent that starts now may spend. AgentError where nothing is left."""
        self.raised()
        self.allow(idle=True)
        self._exceeded = self.reached = None
        session = self._journal.session
        had = session.exchange.agent_turns
        return replace(
            setting,
            max_turns=None if session.terms.max_turns is None else session.terms.max_turns - had,
            max_budget_usd=None
            if session.terms.max_budget_usd is None
            else session.terms.max_budget_usd - session.spent_usd,
        )

    def allow(self, idle: bool) -> bool:
        """Whether the agent may get another message. AgentError where it may not, and is idle."""
        failure = self.used_up()
        if failure and idle:
            raise AgentError(failure)
        return failure is None

    def overdrawn(self) -> bool:
        """Whether the agent is to be interrupted, told once."""
        overdrawn, self._overdrawn = self._overdrawn, False
        return overdrawn

    def answered(self) -> None:
        """The model has answered once more. The agent itself begins to count anew with each message."""
        session = self._journal.session
        self._journal.note_exchange(agent_turns=session.exchange.agent_turns + 1)
        session = self._journal.session
        if session.terms.max_turns is not None and session.exchange.agent_turns > session.terms.max_turns:
            self._overdrawn = self._exceeded is None
            self._exceeded = used_up(session, Kind.MAX_TURNS)

    def end(self, one: base.TurnEnd) -> base.TurnEnd:
        """The end of a turn, as what it is where a limit is behind it."""
        if self._exceeded:
            one = replace(one, failure=self._exceeded, result=None)
        if one.failure is not None and one.failure.kind in KINDS:
            self.reached = one.failure
        return one
