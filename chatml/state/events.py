"""Append-only log of a session, written by its worker alone; and its inbox, written by everyone under its lock."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.model import Event, now
from chatml.state.store import SessionStore

DURABLE = frozenset({"status", "message", "turn", "request", "reply", "checkpoint", "error"})
"""Events synced to disk at once: what a restarted worker decides by. Text of the agent is in its own transcript too."""

POLL = 0.03
"""Seconds between two looks at a growing log: a fifth of the 150 ms within which text must be seen."""


class Log:
    """The writing side: one a session, held by its worker."""

    def __init__(self, path: Path) -> None:
        """Continue the log at `path`. A line torn by a crash is closed off, and skipped by every reader."""
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._torn = False
        self._seq = self._last_seq()

    def _last_seq(self) -> int:
        size = os.fstat(self._fd).st_size
        window = 1 << 16
        while size:
            start = max(0, size - window)
            tail = os.pread(self._fd, size - start, start)
            self._torn = not tail.endswith(b"\n")
            for line in reversed(tail.splitlines()):
                event = _parse(line)
                if event is not None:
                    return event.seq
            if start == 0:
                break
            window *= 8
        return 0

    def append(self, type_: str, /, **data: Any) -> Event:
        """Add one event. OSError where the disk refuses; the next append then starts a line of its own."""
        event = Event(self._seq + 1, now(), type_, data)
        line = json.dumps(event.to_json(), ensure_ascii=False, separators=(",", ":"), default=str)
        raw = (b"\n" if self._torn else b"") + line.encode("utf-8", "surrogatepass") + b"\n"
        self._torn = True
        while raw:
            raw = raw[os.write(self._fd, raw) :]
        self._torn = False
        self._seq = event.seq
        if type_ in DURABLE:
            os.fsync(self._fd)
        return event

    def close(self) -> None:
        os.close(self._fd)


def _parse(line: bytes) -> Event | None:
    try:
        return Event.from_json(json.loads(line.decode("utf-8", "surrogatepass")))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _lines(path: Path, offset: int) -> tuple[list[bytes], int]:
    """The complete lines from `offset` on, and the offset behind them."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            chunk = file.read()
    except FileNotFoundError:
        return [], offset
    end = chunk.rfind(b"\n") + 1
    return chunk[:end].splitlines(), offset + end


def read(path: Path) -> list[Event]:
    """All events of the log; unreadable lines are skipped."""
    return [event for event in map(_parse, _lines(path, 0)[0]) if event]


def turns(path: Path) -> list[Event]:
    """The turns of the log alone: of a long one, most lines are not even parsed."""
    lines = (line for line in _lines(path, 0)[0] if b'"type":"turn"' in line)
    return [event for event in map(_parse, lines) if event and event.type == "turn"]


def last_plan(path: Path) -> str | None:
    """The newest plan in the log, as the person may have changed it; None without one."""
    plan, asked = None, None
    for event in read(path):
        detail = event.data.get("detail")
        if event.type == "request" and event.data.get("kind") == "plan" and isinstance(detail, dict):
            plan, asked = str(detail.get("plan") or ""), event.data.get("id")
        elif event.type == "reply" and event.data.get("id") == asked:
            changed = event.data.get("input")
            plan = str((changed or {}).get("plan") or plan)
    return plan


def follow(path: Path, ended: Callable[[], bool]) -> Iterator[Event | None]:
    """All events, then the new ones as they come, until `ended` and nothing more is there.

    Yields None whenever it has nothing new, after `POLL` seconds, so that the caller can look at other things.
    """
    offset = 0
    while True:
        last_look = ended()
        lines, offset = _lines(path, offset)
        for line in lines:
            event = _parse(line)
            if event is not None:
                yield event
        if lines:
            continue
        if last_look:
            return
        yield None
        time.sleep(POLL)


def post(store: SessionStore, entry: Mapping[str, Any]) -> None:
    """Add one entry to the inbox, synced; the caller holds the session's lock. OSError, and nothing added."""
    line = json.dumps({"time": now(), **entry}, ensure_ascii=False, separators=(",", ":"))
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
def posted(store: SessionStore, *entries: Mapping[str, Any]) -> Iterator[None]:
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


def messages(store: SessionStore) -> list[dict[str, Any]]:
    """All messages to the session, in order: the first is its task, and the number of each counts from 1."""
    return [entry for entry in Inbox(store).take() if entry.get("type") == "message"]


def taken_back(entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of the messages that a person has taken back."""
    lists = (entry.get("messages") for entry in entries if entry.get("type") == "unsend")
    return {str(i) for ids in lists if isinstance(ids, list) for i in ids}


class Inbox:
    """The reading side of the inbox: a worker's place in it."""

    def __init__(self, store: SessionStore) -> None:
        self._path = store.inbox
        self._offset = 0

    def take(self) -> list[dict[str, Any]]:
        """The entries that came since the last call; all of them again where the file has shrunk."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return []
        if size == self._offset:
            return []
        if size < self._offset:
            self._offset = 0
        lines, self._offset = _lines(self._path, self._offset)
        entries = []
        for line in lines:
            try:
                entry = json.loads(line.decode("utf-8", "surrogatepass"))
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                entries.append(entry)
        return entries
