"""Which agents there are, and what each of them can: the table that a new one adds its row to.

Light: read by commands that start no agent. An agent's own code is loaded by the worker alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from chatml import plugins
from chatml.errors import UsageError
from chatml.model import Terms

if TYPE_CHECKING:
    from chatml.agents.base import MakeAgent

GROUP = "chatml.agents"
"""The entry points of packages that bring an agent: its name, and the class or function that makes one."""


@dataclass(frozen=True)
class Traits:
    """What chatml can expect of an agent; nothing, where it does not say so."""

    joins_turn: bool = False
    """It takes a message in the midst of a turn; else messages wait for the turn's end."""
    sandboxed: bool = False
    """Modes, rules, roles and the sandbox bind it: chatml has a say in what it may do."""


class Memory(Protocol):
    """An agent's own record of its conversation, readable while the agent does not run."""

    def holds(self, message: str) -> bool | None:
        """Whether the agent has this message (by id); None where that can't be told."""


@dataclass(frozen=True)
class Row:
    """One agent: where its code is, as `module:name`, and what it can."""

    make: str
    traits: Traits
    memory: str | None = None
    """Makes its `Memory` from the id of a conversation; None for an agent that keeps none."""


BUILT_IN: Mapping[str, Row] = {
    "claude": Row(
        "chatml.agents.claude.agent:ClaudeAgent",
        Traits(joins_turn=True, sandboxed=True),
        memory="chatml.agents.claude.transcript:ClaudeTranscript",
    ),
}

PROGRAM = Row("chatml.agents.command:CommandAgent", Traits())
"""Any program that a person has put under `agents:`."""


def row_of(terms: Terms, programs: Collection[str] = ()) -> Row:
    """The agent that the terms name. UsageError for an unknown one; `programs` are those that the settings know."""
    if terms.agent in BUILT_IN:
        return BUILT_IN[terms.agent]
    if terms.command is not None:
        return PROGRAM
    plugged = plugins.plugged(GROUP)
    if terms.agent in plugged:
        return Row(plugged[terms.agent], getattr(plugins.load(plugged[terms.agent]), "traits", Traits()))
    known = ", ".join([*BUILT_IN, *programs, *plugged])
    raise UsageError(
        f"no agent named '{terms.agent}'", f"known: {known}; others go under 'agents:' in the configuration"
    )


def load(terms: Terms) -> MakeAgent:
    """What makes the agent; loading its code may be slow."""
    make: MakeAgent = plugins.load(row_of(terms).make)
    return make


def memory_of(terms: Terms, conversation: str | None) -> Memory | None:
    """The agent's record of that conversation; None for an agent that keeps none."""
    place = row_of(terms).memory
    make: Callable[[str | None], Memory] | None = plugins.load(place) if place is not None else None
    return make(conversation) if make is not None else None
