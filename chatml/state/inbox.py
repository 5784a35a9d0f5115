"""The inbox of a session: written by everyone under its lock, read by its worker and by whoever asks what waits."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence

from chatml.errors import ChatmlError
from chatml.model.entry import Answer, Entry, Message, Unsend, from_json, to_json
from chatml.model.event import Event, MessageTaken, Turn
from chatml.state.log import complete_lines, read, taken
from chatml.state.store import SessionStore


def post(store: SessionStore, entry: Entry) -> None:
    """Add one entry to the inbox, synced; the caller holds the session's lock. OSError, and nothing added."""
    line = json.dumps(to_json(entry), ensure_ascii=False, separators=(",", ":"))
    raw = line.encode("utf-8", "surrogatepass") + b"\n"
    # Unbuffered: a buffer would be written after all when it is closed, once a full disk has space again.
    with store.inbox.open("ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            raw = b"\n" + raw  # the line before was torn by a crash
        try:
            while raw:
                raw = raw[file.write(raw) :]
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise


@contextlib.contextmanager
def posted(store: SessionStore, *entries: Entry) -> Iterator[None]:
    """Add entries to the inbox, and take them back where what follows fails; the caller holds the session's lock.

    So that nobody sends a message twice because the first time was said to have failed.
    """
    size = store.inbox.stat().st_size if store.inbox.exists() else 0
    try:
        for entry in entries:
            post(store, entry)
        yield
    except (OSError, ChatmlError):
        with contextlib.suppress(OSError):
            os.truncate(store.inbox, size)
        raise


def entries(store: SessionStore) -> list[Entry]:
    """All that came in so far, in order."""
    return Inbox(store).take()


def messages(store: SessionStore) -> list[Message]:
    """All messages to the session, in order: the first is its task, and the number of each counts from 1."""
    return [entry for entry in entries(store) if isinstance(entry, Message)]


def since_person(store: SessionStore) -> list[Message]:
    """The messages since a person said something last, which is the first of them."""
    found = messages(store)
    by_person = [place for place, message in enumerate(found) if not message.auto]
    return found[by_person[-1] if by_person else 0 :]


def taken_back(found: Iterable[Entry]) -> set[str]:
    """The ids of the messages that a person has taken back."""
    return {message for entry in found if isinstance(entry, Unsend) for message in entry.messages}


def answered(store: SessionStore) -> set[str]:
    """The ids of the requests that a person has answered, whether a worker has seen that or not."""
    return {entry.reply.request for entry in entries(store) if isinstance(entry, Answer)}


def pending(store: SessionStore) -> list[Message]:
    """The messages that no agent has read yet and nobody has taken back, oldest first."""
    gone = taken(read(store.events)).keys() | taken_back(entries(store))
    return [message for message in messages(store) if message.id not in gone]


def unanswered(past: Sequence[Event]) -> dict[str, Message]:
    """The messages that were taken since the last turn that ended with an answer, by id."""
    found: dict[str, Message] = {}
    for event in past:
        what = event.what
        if isinstance(what, Turn) and what.result is not None:
            found.clear()
        elif isinstance(what, MessageTaken):
            found[what.id] = Message(what.text, what.id)
    return found


class Inbox:
    """The reading side of the inbox: a worker's place in it."""

    def __init__(self, store: SessionStore) -> None:
        self._path = store.inbox
        self._offset = 0

    def take(self) -> list[Entry]:
        """The entries that came since the last call; all of them again where the file has shrunk."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return []
        if size == self._offset:
            return []
        if size < self._offset:
            self._offset = 0
        lines, self._offset = complete_lines(self._path, self._offset)
        return [entry for entry in map(_parse, lines) if entry is not None]


def _parse(line: bytes) -> Entry | None:
    try:
        return from_json(json.loads(line.decode("utf-8", "surrogatepass")))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
