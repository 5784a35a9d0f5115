"""What a worker needs of an agent: it takes messages, and tells what it does as a stream of signals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol

from chatml.errors import Kind
from chatml.model import Failure, Reply, Session, Tokens
from chatml.model.entry import Message
from chatml.model.event import Delta, Text, Thinking, ToolCall, ToolResult
from chatml.record import record


@record(frozen=True)
class Started:
    """The agent runs, with this model and under this id of its own."""

    session_id: str
    model: str | None


@record(frozen=True)
class Taken:
    """The agent has read these messages (by id): they need not be sent again."""

    ids: tuple[str, ...]


@record(frozen=True)
class Denied:
    """A tool call was refused because it needs a person's yes and nobody can be asked."""

    tool: str
    summary: str


@record(frozen=True)
class Ask:
    """The agent needs a person for this tool call, and waits. `detail` is what a person decides by."""

    call: str
    kind: str
    summary: str
    detail: dict[str, Any]


@record(frozen=True)
class Withdrawn:
    """The agent no longer waits for the answer to this call: its turn was interrupted."""

    call: str


@record(frozen=True)
class Trouble:
    """The agent has trouble and tries again by itself."""

    failure: Failure
    attempt: int
    attempts: int
    wait_ms: int


@record(frozen=True)
class Answered:
    """The model has answered once, to the agent itself: what `max_turns` counts."""


@record(frozen=True)
class Spent:
    """What the turn under way has cost so far, about."""

    usd: float


@record(frozen=True)
class TurnEnd:
    """The agent ended its answer. `cost_usd` and `tokens` are this turn's alone."""

    result: str | None
    cost_usd: float
    total_cost_usd: float
    tokens: Tokens
    duration_ms: int
    taken: tuple[str, ...] = ()
    failure: Failure | None = None
    interrupted: bool = False


@record(frozen=True)
class Idle:
    """The agent has nothing more to do: all that it took has been answered."""


Signal = (
    Started
    | Taken
    | Delta
    | Text
    | Thinking
    | ToolCall
    | ToolResult
    | Denied
    | Ask
    | Withdrawn
    | Trouble
    | Answered
    | Spent
    | TurnEnd
    | Idle
)


class AgentError(Exception):
    """The agent ended, or could not start; `resumable` says whether its conversation is still there."""

    def __init__(self, failure: Failure, resumable: bool = True) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.resumable = resumable


@record(frozen=True)
class Decided:
    """A tool call that an earlier worker asked about, and what a person decided after that had died."""

    tool: str
    input: Mapping[str, Any]
    reply: Reply


@record(frozen=True)
class Setting:
    """All that an agent is started with, beside its session."""

    worktree: Path
    state_dir: Path
    instruction: str
    env: Mapping[str, str] = field(default_factory=dict)
    decided: tuple[Decided, ...] = ()
    """Each counts for one such call: nobody is asked again."""
    unanswered: tuple[str, ...] = ()
    """Messages taken by those before it and not answered, oldest first, for an agent without a memory of its own."""
    max_turns: int | None = None
    """How often the model may answer before a turn is ended; above 0."""
    max_budget_usd: float | None = None
    """What the agent's process may spend; above 0."""


class Agent(Protocol):
    """A running agent. All methods are called from one event loop; `signals` is read without pause."""

    async def start(self) -> None:
        """Start, or resume the session's conversation. AgentError where that fails."""

    def holds(self, message: Message) -> bool | None:
        """Whether the conversation that is resumed has this message; None where that can't be told.

        A kill can hide that a message was taken, and can undo it.
        """

    async def send(self, message: Message) -> None:
        """Hand over a message, at once also in the middle of a turn; what stands `before` it goes ahead of it."""

    def answer(self, call: str, reply: Reply) -> None:
        """Tell the agent what a person decided about this call; nothing where it no longer asks."""

    async def interrupt(self) -> None:
        """End the current turn; what was sent but not taken stays queued."""

    async def stop(self) -> None:
        """End the agent and all its processes."""

    def signals(self) -> AsyncIterator[Signal]:
        """What the agent does, until it ends. AgentError where it ends by itself."""


MakeAgent = Callable[[Session, Setting], Agent]


def used_up(session: Session, kind: Kind) -> Failure:
    """Why a session may not go on, and how it goes on all the same."""
    if kind is Kind.BUDGET:
        message, more = f"the budget of ${session.terms.max_budget_usd:g} is used up", "--max-budget-usd +2"
    else:
        noun = "model turn" if session.terms.max_turns == 1 else "model turns"
        message, more = f"the limit of {session.terms.max_turns} {noun} is reached", "--max-turns +10"
    return Failure(kind.value, message, f'chatml send {session.name} {more} "go on"')


def summarize(name: str, tool_input: Mapping[str, Any], worktree: str) -> str:
    """A tool call in a few words: `Edit src/api.py`, `Bash: npm test`."""
    for key in ("file_path", "notebook_path", "path"):
        if isinstance(tool_input.get(key), str):
            path = tool_input[key]
            return f"{name} {path.removeprefix(worktree.rstrip('/') + '/')}"
    for key in ("command", "pattern", "query", "url", "description", "prompt", "skill"):
        value = tool_input.get(key)
        if isinstance(value, str) and value.strip():
            return f"{name}: {value.strip().splitlines()[0]}"
    return name
