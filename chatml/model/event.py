"""What a session's log holds: each kind of event as a type, built and read in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from chatml import typed
from chatml.model.parts import Tokens
from chatml.record import record, said


@record(frozen=True)
class StatusChanged:
    """The session came to another status, by its name in the contract."""

    TYPE: ClassVar[str] = "status"
    status: str


@record(frozen=True)
class MessageTaken:
    """An agent has read this message, by its id; `auto`: chatml itself wrote it."""

    TYPE: ClassVar[str] = "message"
    id: str
    text: str
    auto: bool = False


@record(frozen=True)
class ToldOfOthers:
    """An agent was told, ahead of a message, what the other sessions at work do: the lines as it got them."""

    TYPE: ClassVar[str] = "neighbours"
    lines: tuple[str, ...]


@record(frozen=True)
class Delta:
    """A piece of text as the model writes it; the whole follows as `Text`."""

    TYPE: ClassVar[str] = "delta"
    text: str


@record(frozen=True)
class Text:
    """A finished block of the agent's answer."""

    TYPE: ClassVar[str] = "text"
    text: str


@record(frozen=True)
class Thinking:
    """A finished block of the agent's reasoning."""

    TYPE: ClassVar[str] = "thinking"
    text: str


@record(frozen=True)
class ToolCall:
    """The agent calls a tool; `parent` is the call that runs the subagent which does so."""

    TYPE: ClassVar[str] = "tool"
    id: str
    name: str
    input: dict[str, Any]
    parent: str | None = None


@record(frozen=True)
class ToolResult:
    """What became of a tool call."""

    TYPE: ClassVar[str] = "tool_result"
    id: str
    ok: bool
    output: str
    parent: str | None = None


@record(frozen=True)
class Requested:
    """The agent needs a person; `tool` only where nobody could be asked."""

    TYPE: ClassVar[str] = "request"
    id: str
    kind: str
    summary: str
    detail: dict[str, Any] | None = None
    tool: str | None = None


@record(frozen=True)
class Replied:
    """What became of the request of this id."""

    TYPE: ClassVar[str] = "reply"
    id: str
    decision: str
    message: str | None = None
    answers: dict[str, Any] | None = None
    input: dict[str, Any] | None = None
    rules: tuple[str, ...] = ()


@record(frozen=True)
class SetUp:
    """A line that preparing the worktree has printed."""

    TYPE: ClassVar[str] = "setup"
    line: str


@record(frozen=True)
class CheckBegun:
    """The command runs that must pass for the session to be done."""

    TYPE: ClassVar[str] = "check"
    command: str


@record(frozen=True)
class CheckEnded:
    """How it came to its end, in a few words, and the last lines that it printed."""

    TYPE: ClassVar[str] = "check_result"
    said: str
    output: str
    ok: bool | None = None
    """None where it was broken off."""


@record(frozen=True)
class Mishap:
    """Something went wrong; with `retry`, the agent tries again by itself for the so-and-so-manieth time."""

    TYPE: ClassVar[str] = "error"
    kind: str
    message: str
    hint: str | None
    retry: int | None = None


@record(frozen=True)
class Turn:
    """The agent has ended its answer; cost (US dollars) and tokens are this turn's alone."""

    TYPE: ClassVar[str] = "turn"
    result: str | None
    cost_usd: float
    model: str | None
    tokens: Tokens
    duration_ms: int
    interrupted: bool


What = (
    StatusChanged
    | MessageTaken
    | ToldOfOthers
    | Delta
    | Text
    | Thinking
    | ToolCall
    | ToolResult
    | Requested
    | Replied
    | SetUp
    | CheckBegun
    | CheckEnded
    | Mishap
    | Turn
)

_KINDS: Mapping[str, type[What]] = {
    kind.TYPE: kind
    for kind in (
        *(StatusChanged, MessageTaken, ToldOfOthers, Delta, Text, Thinking, ToolCall),
        *(ToolResult, Requested, Replied, SetUp, CheckBegun, CheckEnded, Mishap, Turn),
    )
}


@record(frozen=True)
class Event:
    """One entry in a session's log; `seq` counts from 1."""

    seq: int
    time: str
    what: What

    def to_json(self) -> dict[str, Any]:
        """The event as JSON data; what doesn't apply is left out."""
        what = self.what
        data = said(what)
        if isinstance(what, Turn):
            data["tokens"] = dict(vars(what.tokens))
        return {"seq": self.seq, "time": self.time, "type": what.TYPE, **data}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Event:
        """The event of a line of a log; KeyError, TypeError or ValueError where the line is damaged."""
        if type(data["seq"]) is not int:
            raise TypeError("seq is no number")
        kind = data["type"]
        return cls(seq=data["seq"], time=str(data["time"]), what=typed.build(_KINDS[kind], data, f"the {kind}"))
