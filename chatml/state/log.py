"""Append-only log of a session, written by its worker alone, read by everybody."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from chatml.model import now
from chatml.model.event import (
    CheckBegun,
    CheckEnded,
    Event,
    MessageTaken,
    Mishap,
    Replied,
    Requested,
    StatusChanged,
    Turn,
    What,
)

DURABLE = (StatusChanged, MessageTaken, Turn, Requested, Replied, Mishap)
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

    def append(self, what: What) -> Event:
        """Add one event. OSError where the disk refuses; the next append then starts a line of its own."""
        event = Event(self._seq + 1, now(), what)
        line = json.dumps(event.to_json(), ensure_ascii=False, separators=(",", ":"), default=str)
        raw = (b"\n" if self._torn else b"") + line.encode("utf-8", "surrogatepass") + b"\n"
        self._torn = True
        while raw:
            raw = raw[os.write(self._fd, raw) :]
        self._torn = False
        self._seq = event.seq
        if isinstance(what, DURABLE):
            os.fsync(self._fd)
        return event

    def close(self) -> None:
        os.close(self._fd)


def _parse(line: bytes) -> Event | None:
    try:
        return Event.from_json(json.loads(line.decode("utf-8", "surrogatepass")))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def complete_lines(path: Path, offset: int) -> tuple[list[bytes], int]:
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
    return [event for event in map(_parse, complete_lines(path, 0)[0]) if event]


def only(path: Path, *kinds: type[What]) -> list[Event]:
    """The events of these kinds alone: of a long log, most lines are not even parsed."""
    marks = [f'"type":"{kind.TYPE}"'.encode() for kind in kinds]
    lines = (line for line in complete_lines(path, 0)[0] if any(mark in line for mark in marks))
    return [event for event in map(_parse, lines) if event is not None and isinstance(event.what, kinds)]


def check_began(path: Path) -> str | None:
    """When the check began that runs now, as far as the log of a session at work tells; None where none does."""
    last = next(reversed(only(path, CheckBegun, CheckEnded, StatusChanged)), None)
    return last.time if last is not None and isinstance(last.what, CheckBegun) else None


def turns(path: Path) -> list[tuple[str, Turn]]:
    """The turns of the log, each with its time."""
    return [(event.time, event.what) for event in only(path, Turn) if isinstance(event.what, Turn)]


def taken(events: Iterable[Event]) -> dict[str, str]:
    """The messages that an agent has read: their texts, by their ids, oldest first."""
    return {event.what.id: event.what.text for event in events if isinstance(event.what, MessageTaken)}


def last_plan(path: Path) -> str | None:
    """The newest plan in the log, as the person may have changed it; None without one."""
    plan, asked = None, None
    for event in read(path):
        what = event.what
        if isinstance(what, Requested) and what.kind == "plan" and what.detail is not None:
            plan, asked = str(what.detail.get("plan") or ""), what.id
        elif isinstance(what, Replied) and what.id == asked:
            plan = str((what.input or {}).get("plan") or plan)
    return plan


def follow(
    path: Path, ended: Callable[[], bool], pause: Callable[[], object] = lambda: time.sleep(POLL)
) -> Iterator[Event | None]:
    """All events, then the new ones as they come, until `ended` and nothing more is there.

    Yields None whenever it has nothing new, so that the caller can look at other things, and then makes a `pause`.
    """
    offset = size = 0
    while True:
        last_look = ended()
        before, size = size, _size(path)  # looked at first: what is added meanwhile is read twice rather than never
        lines, offset = complete_lines(path, offset) if size != before else ([], offset)
        for line in lines:
            event = _parse(line)
            if event is not None:
                yield event
        if lines:
            continue
        if last_look:
            return
        yield None
        pause()


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
