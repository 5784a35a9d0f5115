"""The pipes to a command: fed and drained without waiting for whoever else still holds their other ends."""

from __future__ import annotations

import os
import selectors
import time
from io import FileIO
from types import TracebackType

CHUNK = 1 << 16
"""Bytes read or written at once: what a pipe holds on Linux (pipe(7))."""

CAPACITY = 1 << 20
"""Bytes that a pipe may hold at most without privilege (pipe(7), /proc/sys/fs/pipe-max-size)."""

LINGER = 0.1
"""Seconds that what a command has left in the background is still listened to after its end."""


class Pipes:
    """The standard streams of one command: `stdin`, `stdout` and `stderr` are for it, the other ends are ours.

    A command's child that goes on in the background holds the command's ends: their being closed says nothing about
    the command. So `tend` waits for a while only, and the caller looks meanwhile whether the command has ended.
    """

    def __init__(self, given: bytes | None, joined: bool = False) -> None:
        """With `joined`, both outputs are one, in the order in which they come."""
        self._selector = selectors.DefaultSelector()  # on Linux and macOS a file itself, so that others can wait for it
        self._given = memoryview(given or b"")
        self._said: dict[int, bytearray] = {}
        self.stdin: FileIO | None = None
        self._ours: list[int] = []
        if given is not None:
            theirs, ours = os.pipe()
            self.stdin = FileIO(theirs, "rb")
            self._own(ours, selectors.EVENT_WRITE)
        self.stdout, self._out = self._output()
        self.stderr, self._err = (self.stdout, self._out) if joined else self._output()

    def _output(self) -> tuple[FileIO, int]:
        ours, theirs = os.pipe()
        self._said[ours] = bytearray()
        self._own(ours, selectors.EVENT_READ)
        return FileIO(theirs, "wb"), ours

    def _own(self, end: int, what: int) -> None:
        os.set_blocking(end, False)
        self._ours.append(end)
        self._selector.register(end, what)

    def __enter__(self) -> Pipes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.started()
        self._selector.close()
        for end in self._ours:
            os.close(end)

    def started(self) -> None:
        """The command has its ends: ours of them are closed."""
        for end in (self.stdin, self.stdout, self.stderr):
            if end is not None:
                end.close()

    @property
    def open(self) -> bool:
        """Whether anybody could still say something, or take what is given."""
        return bool(self._selector.get_map())

    def fileno(self) -> int:
        """A file that can be read from whenever `tend` has something to do."""
        return self._selector.fileno()

    def take(self, errors: bool = False) -> bytes:
        """What came on the standard output, or with `errors` on the standard error, since it was taken last."""
        said = self._said[self._err if errors else self._out]
        news = bytes(said)
        said.clear()
        return news

    @property
    def said(self) -> tuple[bytes, bytes]:
        """What came so far on the standard output and the standard error."""
        return bytes(self._said[self._out]), bytes(self._said[self._err])

    def tend(self, seconds: float | None) -> None:
        """Pass on what can be passed on; waits up to so many seconds (None: for ever) for the first of it."""
        for key, _ in self._selector.select(seconds):
            if key.fd in self._said:
                self._read(key.fd)
            else:
                self._write(key.fd)

    def _read(self, end: int) -> int:
        """Take in what is there, up to one chunk; returns how much."""
        try:
            chunk = os.read(end, CHUNK)
        except BlockingIOError:
            return 0
        if not chunk:
            self._drop(end)
        self._said[end] += chunk
        return len(chunk)

    def _write(self, end: int) -> None:
        try:
            self._given = self._given[os.write(end, self._given[:CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not want the rest
            self._given = self._given[:0]
        if not self._given:
            self._drop(end)

    def _drop(self, end: int) -> None:
        """Be done with an end; one that is given to is closed, so that its reader knows."""
        self._selector.unregister(end)
        if end not in self._said:
            self._ours.remove(end)
            os.close(end)

    def finish(self) -> None:
        """The command has ended: take in all that it has said, and what comes within a moment after."""
        for end in self._said:
            room = CAPACITY  # what others say meanwhile must not keep us here
            while room > 0 and end in self._selector.get_map() and (size := self._read(end)):
                room -= size
        for end in [end for end in self._ours if end not in self._said]:
            self._drop(end)  # nobody is left to take what is given
        deadline, room = time.monotonic() + LINGER, self._size() + CAPACITY
        while self.open and self._size() < room and (left := deadline - time.monotonic()) > 0:
            self.tend(left)

    def _size(self) -> int:
        """Bytes that came so far."""
        return sum(map(len, self._said.values()))

    @property
    def left(self) -> list[int]:
        """The ends from which something may still come, as another program reads them."""
        ends = [end for end in self._said if end in self._selector.get_map()]
        for end in ends:
            os.set_blocking(end, True)
        return ends
