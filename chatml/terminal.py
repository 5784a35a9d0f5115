"""A line to type on under a live stream: what streams in and what is typed never mix.

As long as nothing is typed, text is printed as it comes, to the character. While a line is being typed, finished
lines go above it and the rest waits.
"""

from __future__ import annotations

import codecs
import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chatml.text import display_width, is_safe, paint, printable

MARK = "> "
PASTE_BEGIN, PASTE_END = "\x1b[200~", "\x1b[201~"
PASTE_ON, PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"


class Leave(Exception):  # noqa: N818 - no error
    """The person pressed Ctrl-C, or Ctrl-D on an empty line."""


class Prompt:
    """The terminal while `opened`: `write` what streams in, `typed` for the lines that were entered."""

    def __init__(self, put: Callable[[str], None], columns: Callable[[], int]) -> None:
        """`put` prints painted text at once, as it is; `columns` says how wide the terminal is now."""
        self._put = put
        self._columns = columns
        self._line = ""
        self._held = ""
        self._at_start = True
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._keys = ""

    @contextmanager
    def opened(self) -> Iterator[Prompt]:
        """Take keys as they are pressed; the terminal is as it was when this ends, however it ends."""
        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)
        try:
            tty.setcbreak(fd, termios.TCSANOW)
            after = termios.tcgetattr(fd)
            after[3] &= ~termios.ISIG  # Ctrl-C leaves; it must not reach anybody else
            termios.tcsetattr(fd, termios.TCSANOW, after)
            self._put(PASTE_ON)
            yield self
        finally:
            self._put(PASTE_OFF + ("" if self._at_start and not self._line else "\n"))
            termios.tcsetattr(fd, termios.TCSANOW, before)

    def write(self, text: str) -> None:
        """Print what streams in, as soon as it doesn't disturb the typing."""
        self._held += text
        ready = self._held
        if self._line:
            ready = self._held[: self._held.rfind("\n") + 1]
        if not ready:
            return
        self._held = self._held[len(ready) :]
        self._put(("\r\x1b[K" if self._line else "") + ready)
        self._at_start = ready.endswith("\n")
        self._show()

    def note(self, text: str) -> None:
        """Print a line of our own, not in the middle of one that streams in."""
        self.write(("" if self._at_start or self._line else "\n") + text + "\n")

    def ring(self) -> None:
        """Ring the terminal's bell."""
        self._put("\a")

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a key is pressed."""
        select.select([sys.stdin], [], [], seconds)

    def typed(self) -> Iterator[str]:
        """The lines entered since the last call; never waits. Leave where the person wants to go."""
        yield from self._take_keys()  # the caller may have stopped at a line before them
        while select.select([sys.stdin], [], [], 0)[0]:
            raw = os.read(sys.stdin.fileno(), 4096)
            if not raw:
                raise Leave
            self._keys += self._decoder.decode(raw)
            yield from self._take_keys()

    def _take_keys(self) -> Iterator[str]:
        while self._keys:
            if self._keys.startswith(PASTE_BEGIN):
                body, end, rest = self._keys[len(PASTE_BEGIN) :].partition(PASTE_END)
                if not end:
                    return  # the rest of the paste is still to come
                self._keys = rest
                self._edit(self._line + body.replace("\r\n", "\n").replace("\r", "\n"))
            elif self._keys[0] == "\x1b":
                self._keys = _after_escape(self._keys)
            else:
                key, self._keys = self._keys[0], self._keys[1:]
                entered = self._key(key)
                if entered is not None:
                    yield entered

    def _key(self, key: str) -> str | None:
        """Act on one key; the whole line once it is entered."""
        if key in "\r\n":
            line = self._line
            self._edit("")
            return line
        if key == "\x03" or (key == "\x04" and not self._line):
            raise Leave
        if key in "\x7f\x08":
            self._edit(self._line[:-1])
        elif key == "\x15":
            self._edit("")
        elif key == "\x17":
            self._edit(self._line.rstrip().rpartition(" ")[0])
        elif is_safe(key):
            self._edit(self._line + key)
        return None

    def _edit(self, line: str) -> None:
        """Show another line; when the first character comes, on a line of its own."""
        if line and not self._line and not self._at_start:
            self._put("\n")
            self._at_start = True
        had, self._line = self._line, line
        if had and not line:
            self._put("\r\x1b[K")
            self.write("")
        self._show()

    def _show(self) -> None:
        if self._line:
            text = printable(self._line.replace("\n", "⏎"))
            room = self._columns() - len(MARK) - 1
            while display_width(text) > room:
                text = text[1:]
            self._put("\r\x1b[K" + paint(MARK, bold=True) + text)


def _after_escape(keys: str) -> str:
    """What follows an escape sequence (an arrow, a function key): such keys do nothing here."""
    if keys.startswith("\x1b[") or keys.startswith("\x1bO"):
        for index, char in enumerate(keys[2:], 2):
            if "@" <= char <= "~":
                return keys[index + 1 :]
        return ""
    return keys[1:]
