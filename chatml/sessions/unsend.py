"""Messages that no agent has taken yet: which there are, and how they are taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatml.agents import table
from chatml.errors import ChatmlError
from chatml.model import Session
from chatml.model.entry import Handed, Message, Unsend
from chatml.project import Project
from chatml.runners import table as runners
from chatml.sessions.caller import hands_off
from chatml.sessions.find import resolve
from chatml.state import inbox
from chatml.state.store import SessionStore

QUEUED, UNREAD, HANDED = "queued", "unread", "handed"
"""It waits for the end of the turn; for an agent to give it to; or the agent's process has it, and will read it."""


TASK = "1"
"""The number of the message that is the session's task."""


@dataclass(frozen=True)
class Unsent:
    """A message that the agent has not read; `id` is its number among all messages to the session, the task being 1."""

    id: str
    state: str
    text: str
    time: str


def unsent(store: SessionStore, session: Session) -> list[Unsent]:
    """The messages that no agent has taken yet, oldest first; without the task itself, and what chatml itself says."""
    handed = _handed(store, session)
    return [
        Unsent(number, _state(message, handed), message.text, message.time)
        for number, message in _waiting(store).items()
        if number != TASK and not message.auto
    ]


def unsend(project: Project, name: str, ids: Sequence[str] | None) -> list[Unsent]:
    """Take these messages back, or all that can be; returns them. ChatmlError, and nothing done, for one that can't."""
    resolve(project, name)
    hands_off(project, name, "unsend")
    store = project.store.session(name)
    with store.lock():
        there = {one.id: one for one in unsent(store, store.read()) if one.state != HANDED}
        numbered = _waiting(store)
        for i in ids or ():
            if i not in there:
                raise ChatmlError(*_why_not(store, i))
        chosen = list(there.values()) if ids is None else [there[i] for i in dict.fromkeys(ids)]
        if chosen:
            inbox.post(store, Unsend(tuple(numbered[one.id].id for one in chosen)))
    return chosen


def _numbered(store: SessionStore) -> dict[str, Message]:
    """The messages of the inbox by their number."""
    return {str(number): message for number, message in enumerate(inbox.messages(store), 1)}


def _waiting(store: SessionStore) -> dict[str, Message]:
    """Those that no agent has read and nobody has taken back."""
    pending = {message.id for message in inbox.pending(store)}
    return {number: message for number, message in _numbered(store).items() if message.id in pending}


def _state(message: Message, handed: set[str]) -> str:
    return HANDED if message.id in handed else QUEUED if message.queue else UNREAD


def _handed(store: SessionStore, session: Session) -> set[str]:
    """What the living agent has been given, and of what an earlier one was given, that which it has read."""
    now: set[str] = set()
    before: set[str] = set()
    alive = runners.alive(store, session)
    for entry in inbox.entries(store):
        if isinstance(entry, Handed):
            (now if alive and entry.pid == session.pid else before).update(entry.messages)
    unclear = before & {message.id for message in inbox.pending(store)}
    memory = table.memory_of(session.terms, session.session_id) if unclear else None
    if memory is not None:
        now |= {i for i in unclear if memory.holds(i)}
    return now


def _why_not(store: SessionStore, number: str) -> tuple[str, str]:
    """Why the message of that number can't be taken back, and what can be done."""
    see = f"see 'chatml unsend {store.name}'"
    message = _numbered(store).get(number)
    if message is None:
        return f"'{store.name}' has no message {number}", see
    if message.id in inbox.taken_back(inbox.entries(store)):
        return f"message {number} was taken back already", see
    if number == TASK and number in _waiting(store):
        return (
            "message 1 is the session's task",
            f"'chatml stop {store.name}' ends it, 'chatml rm {store.name}' removes it",
        )
    return (
        f"the agent has message {number} already",
        f"tell it what to do instead: 'chatml send {store.name}', with --interrupt to stop its turn",
    )
