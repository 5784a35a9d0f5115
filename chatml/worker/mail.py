"""The messages to an agent, on their way from the inbox: which it may have now, and what it has had already."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any

from chatml.agents.base import Message
from chatml.agents.briefing import GO_ON
from chatml.model import Event
from chatml.state import events
from chatml.state.store import SessionStore


class Mail:
    """What came in for one session's agent and has not been handed over."""

    def __init__(self, store: SessionStore, past: Sequence[Event]) -> None:
        self._store = store
        self._inbox = events.Inbox(store)
        self._seen = {str(event.data.get("id")) for event in past if event.type == "message"}
        self.waiting: list[Message] = []
        self.queued: list[Message] = []
        """What waits for the end of the turn, and then starts the next one, each its own."""
        self.auto: set[str] = set()
        """The ids of the messages that no person wrote."""

    def receive(self) -> list[dict[str, Any]]:
        """Take what came in; returns what is no message."""
        others = []
        for entry in self._inbox.take():
            if entry.get("type") == "message":
                self._add(entry)
            elif entry.get("type") == "unsend":
                self._forget(events.taken_back([entry]))
            else:
                others.append(entry)
        return others

    def _add(self, entry: dict[str, Any]) -> None:
        if entry["id"] not in self._seen:
            self._seen.add(entry["id"])
            self.auto |= {entry["id"]} if entry.get("auto") is True else set()
            place = self.queued if entry.get("queue") is True else self.waiting
            place.append(Message(entry["id"], str(entry.get("text", ""))))

    def ready(self, *, idle: bool, failed: bool = False, joins: bool = True) -> list[Message]:
        """What the agent is to have now.

        What is queued goes one by one between turns, once all else is answered; not after a failed one, as the next
        would most likely fail too. So do all messages to an agent that can't be told anything within a turn.
        """
        if self.waiting and joins:
            return self.waiting
        between = self.waiting or (self.queued if not failed else [])
        return between[:1] if idle else []

    def hand_over(self, ready: Sequence[Message]) -> list[Message]:
        """Those of the messages that nobody has taken back. From here on nobody can: it is marked under one lock."""
        if not ready:
            return []
        self._forget({message.id for message in ready})
        with self._store.lock():
            back = events.taken_back(events.Inbox(self._store).take())
            handed = [message for message in ready if message.id not in back]
            mark = {"type": "handed", "messages": [message.id for message in handed], "pid": os.getpid()}
            events.post(self._store, {"id": str(uuid.uuid4()), **mark})
        return handed

    def go_on(self) -> None:
        """Have the agent go on where it left off, unless a person has said something else."""
        self.waiting = self.waiting or [Message(str(uuid.uuid4()), GO_ON)]

    def take_out(self, known: Callable[[Message], bool | None]) -> list[Message]:
        """Those that the agent has had already, before it or the last worker was killed."""
        held = [message for message in self.waiting + self.queued if known(message)]
        self._forget({message.id for message in held})
        return held

    def _forget(self, ids: Collection[str]) -> None:
        self.waiting = [message for message in self.waiting if message.id not in ids]
        self.queued = [message for message in self.queued if message.id not in ids]


def unanswered(past: Sequence[Event]) -> dict[str, Message]:
    """The messages that were taken since the last turn that ended with an answer, by id."""
    found: dict[str, Message] = {}
    for event in past:
        if event.type == "turn" and event.data.get("result") is not None:
            found.clear()
        elif event.type == "message":
            i = str(event.data.get("id"))
            found[i] = Message(i, str(event.data.get("text", "")))
    return found
