"""The messages to an agent, on their way from the inbox: which it may have now, and what it has had already."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence

from chatml.agents.briefing import GO_ON
from chatml.model.entry import Entry, Handed, Message, Unsend
from chatml.model.event import Event
from chatml.state.inbox import Inbox, entries, post, taken_back
from chatml.state.log import taken
from chatml.state.store import SessionStore


class Mail:
    """What came in for one session's agent and has not been handed over."""

    def __init__(self, store: SessionStore, past: Sequence[Event]) -> None:
        self._store = store
        self._inbox = Inbox(store)
        self._seen = set(taken(past))
        self.waiting: list[Message] = []
        self.queued: list[Message] = []
        """What waits for the end of the turn, and then starts the next one, each its own."""

    def receive(self) -> list[Entry]:
        """Take what came in; returns what is no message."""
        others: list[Entry] = []
        for entry in self._inbox.take():
            if isinstance(entry, Message):
                self._add(entry)
            elif isinstance(entry, Unsend):
                self._forget(entry.messages)
            else:
                others.append(entry)
        return others

    def _add(self, message: Message) -> None:
        if message.id not in self._seen:
            self._seen.add(message.id)
            (self.queued if message.queue else self.waiting).append(message)

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
        """Those of the messages that nobody has taken back. From here on nobody can: it is marked under one lock.

        None where another worker has replaced this one, whose lock was removed by hand: they are for that one.
        """
        if not ready:
            return []
        self._forget({message.id for message in ready})
        with self._store.lock():
            if not self._store.worker_lock.ours():
                return []
            back = taken_back(entries(self._store))
            handed = [message for message in ready if message.id not in back]
            if handed:
                post(self._store, Handed(tuple(message.id for message in handed), os.getpid()))
        return handed

    def go_on(self) -> None:
        """Have the agent go on where it left off, unless a person has said something else."""
        self.waiting = self.waiting or [Message(GO_ON)]

    def take_out(self, known: Callable[[Message], bool | None]) -> list[Message]:
        """Those that the agent has had already, before it or the last worker was killed."""
        held = [message for message in self.waiting + self.queued if known(message)]
        self._forget({message.id for message in held})
        return held

    def _forget(self, ids: Collection[str]) -> None:
        self.waiting = [message for message in self.waiting if message.id not in ids]
        self.queued = [message for message in self.queued if message.id not in ids]
