"""What became of sessions that were stopped, resumed or sent a message, in words."""

from __future__ import annotations

from collections.abc import Mapping

from chatml.model import Session
from chatml.sessions.limits import NewLimits

SAYS: Mapping[str, str] = {
    "stopped": "stopped {}",
    "at rest": "{} is at rest already",
    "resumed": "resumed {}",
    "at work": "{} is at work already",
    "nothing to do": "{} has nothing to go on with: send it a message",
}
"""What `stop` and `resume` say of a session, by the outcome."""


def allowed(session: Session, limits: NewLimits) -> str:
    """What a session may use now, of what was changed."""
    said = []
    if limits.max_budget_usd is not None:
        said.append(f"${session.terms.max_budget_usd:.2f} in all, ${session.spent_usd:.2f} of it spent")
    if limits.max_turns is not None:
        said.append(f"{session.terms.max_turns} model turns in all, {session.exchange.agent_turns} of them taken")
    return f"{session.name} may use {'; '.join(said)}"
