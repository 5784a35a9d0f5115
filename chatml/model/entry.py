"""What a session's inbox holds: each kind of entry as a type, built and read in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

from chatml import typed
from chatml.model.parts import now
from chatml.model.request import Reply
from chatml.record import record, said


def _new_id() -> str:
    import uuid

    return str(uuid.uuid4())


@record(frozen=True)
class Message:
    """A message to the agent."""

    TYPE: ClassVar[str] = "message"
    text: str
    id: str = field(default_factory=_new_id)
    time: str = field(default_factory=now)
    auto: bool = False
    """Chatml itself wrote it, no person."""
    queue: bool = False
    """It waits for the end of the turn."""
    scope: tuple[str, ...] = ()
    """The paths that it asks the agent to take back, as they are out of scope."""
    check: bool = False
    """It tells the agent that the check failed."""
    about: tuple[str, ...] = ()
    """What of a pull request it tells the agent: nothing of that is told again."""
    before: str = ""
    """What chatml tells the agent ahead of it; set as it is handed over, and never written."""


@record(frozen=True)
class Interrupt:
    """The turn is to end."""

    TYPE: ClassVar[str] = "interrupt"
    id: str = field(default_factory=_new_id)
    time: str = field(default_factory=now)


@record(frozen=True)
class Answer:
    """What a person decided about a request."""

    TYPE: ClassVar[str] = "reply"
    reply: Reply
    id: str = field(default_factory=_new_id)
    time: str = field(default_factory=now)


@record(frozen=True)
class Unsend:
    """A person takes these messages (by id) back."""

    TYPE: ClassVar[str] = "unsend"
    messages: tuple[str, ...]
    id: str = field(default_factory=_new_id)
    time: str = field(default_factory=now)


@record(frozen=True)
class Handed:
    """The worker of this PID has given these messages (by id) to its agent: from here on nobody takes them back."""

    TYPE: ClassVar[str] = "handed"
    messages: tuple[str, ...]
    pid: int
    id: str = field(default_factory=_new_id)
    time: str = field(default_factory=now)


Entry = Message | Interrupt | Answer | Unsend | Handed

_KINDS: Mapping[str, type[Entry]] = {kind.TYPE: kind for kind in (Message, Interrupt, Answer, Unsend, Handed)}


def to_json(entry: Entry) -> dict[str, Any]:
    """The entry as JSON data; what doesn't apply is left out, and a reply's parts stand in the entry itself."""
    data = said(entry)
    if isinstance(entry, Answer):
        data |= vars(data.pop("reply"))
    return {"type": entry.TYPE, **data}


def from_json(data: Mapping[str, Any]) -> Entry:
    """The entry of a line of an inbox; KeyError, TypeError or ValueError where the line is damaged."""
    if type(data["id"]) is not str:
        raise TypeError("id is no text")
    kind = _KINDS[data["type"]]
    if kind is Answer:
        data = {**data, "reply": dict(data)}
    return typed.build(kind, data, f"the {kind.TYPE}")
