"""Messages that no agent has taken yet: which there are, and how they are taken back."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatml.agents import table
from chatml.errors import ChatmlError
from chatml.model import Session
from chatml.runners import table as runners
from chatml.sessions.find import Project, resolve
from chatml.state import events
from chatml.state.store import SessionStore

QUEUED, UNREAD, HANDED = "queued", "unread", "handed"
"""It waits for the end of the turn; for an agent to give it to; or the agent's process has it, and will read it."""


@dataclass(frozen=True)
class Unsent:
    """A message that the agent has not read; `id` is its number among all messages to the session, the task being 1."""

    id: str
    state: str
    text: str
    time: str


def unsent(store: SessionStore, session: Session) -> list[Unsent]:
    """The messages that no agent has taken yet, oldest first; without the task itself, and what chatml itself says."""
    entries = events.Inbox(store).take()
    gone = _taken(store) | events.taken_back(entries)
    handed = _handed(store, session, entries)
    return [
        Unsent(number, HANDED if i in handed else _state(entry), str(entry.get("text", "")), str(entry.get("time")))
        for number, (i, entry) in _numbered(entries).items()
        if i not in gone and number != "1" and not entry.get("auto")
    ]


def unsend(project: Project, name: str, ids: Sequence[str] | None) -> list[Unsent]:
    """Take these messages back, or all that can be; returns them. ChatmlError, and nothing done, for one that can't."""
    resolve(project, name)
    store = project.store.session(name)
    with store.lock():
        there = {one.id: one for one in unsent(store, store.read()) if one.state != HANDED}
        numbered = _numbered(events.Inbox(store).take())
        for i in ids or ():
            if i not in there:
                raise ChatmlError(*_why_not(store, i, numbered))
        chosen = list(there.values()) if ids is None else [there[i] for i in dict.fromkeys(ids)]
        if chosen:
            keys = [numbered[one.id][0] for one in chosen]
            events.post(store, {"id": str(uuid.uuid4()), "type": "unsend", "messages": keys})
    return chosen


def _numbered(entries: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The messages of the inbox, each with its own id, by their number."""
    messages = (entry for entry in entries if entry.get("type") == "message")
    return {str(number): (entry["id"], entry) for number, entry in enumerate(messages, 1)}


def _state(entry: Mapping[str, Any]) -> str:
    return QUEUED if entry.get("queue") is True else UNREAD


def _taken(store: SessionStore) -> set[Any]:
    return {event.data.get("id") for event in events.read(store.events) if event.type == "message"}


def _handed(store: SessionStore, session: Session, entries: Sequence[Mapping[str, Any]]) -> set[str]:
    """What the living agent has been given, and of what an earlier one was given, that which it has read."""
    now: set[str] = set()
    before: set[str] = set()
    alive = runners.alive(store, session)
    for entry in entries:
        if entry.get("type") == "handed" and isinstance(entry.get("messages"), list):
            (now if alive and entry.get("pid") == session.pid else before).update(map(str, entry["messages"]))
    unclear = before - _taken(store)
    memory = table.memory_of(session.terms, session.session_id) if unclear else None
    if memory is not None:
        now |= {i for i in unclear if memory.holds(i)}
    return now


def _why_not(
    store: SessionStore, number: str, numbered: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> tuple[str, str]:
    """Why the message of that number can't be taken back, and what can be done."""
    see = f"see 'chatml unsend {store.name}'"
    if number not in numbered:
        return f"'{store.name}' has no message {number}", see
    i = numbered[number][0]
    if i in events.taken_back(events.Inbox(store).take()):
        return f"message {number} was taken back already", see
    if number == "1" and i not in _taken(store):
        return (
            "message 1 is the session's task",
            f"'chatml stop {store.name}' ends it, 'chatml rm {store.name}' removes it",
        )
    return (
        f"the agent has message {number} already",
        f"tell it what to do instead: 'chatml send {store.name}', with --interrupt to stop its turn",
    )
