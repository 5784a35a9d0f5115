"""How much of what others say about a pull request an agent is told at once, and how it is cut to that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from chatml.model import Remark, ReviewThread
from chatml.text import counted, printable

MAX_CHECKS = 5
"""Failing checks whose output is told; what comes after them mostly fails for the same reasons."""

LINES = 150
"""Lines of an output, its last ones."""

LINE = 500
"""Characters of one such line."""

OUTPUT = 12_000
"""Bytes of an output: five of them leave half of what a program can be given in one argument to all else."""

MAX_THREADS = 30
THREADS = 16_000
"""Bytes of all that is said about lines."""

REMARK = 2_000
MAX_REVIEWS = 5
REVIEW = 1_000
"""Bytes of what somebody says, about a line and in general."""

HUNK = 6
"""Lines of code that are quoted, up to the one that somebody writes about."""


def talk(said: Sequence[tuple[str, str]]) -> tuple[Remark, ...]:
    """A conversation, each remark its author and text: where many talk, the question and how far they have come."""
    shown = [(author, text) for author, text in said if text.strip()]
    return tuple(Remark(author, beginning(text, REMARK)) for author, text in (*shown[:1], *shown[1:][-3:]))


def bounded(unresolved: Sequence[ReviewThread], left_out: list[str]) -> list[ReviewThread]:
    """As many as an agent is told; what is left out is said."""
    found: list[ReviewThread] = []
    room = THREADS
    for thread in unresolved[:MAX_THREADS]:
        said = chain.from_iterable((remark.author, remark.text) for remark in thread.remarks)
        room -= sum(len(text.encode("utf-8", "replace")) for text in (thread.path, thread.code, *said))
        if room < 0:
            break
        found.append(thread)
    if rest := len(unresolved) - len(found):
        left_out.append(counted(rest, "other unresolved comment"))
    return found


_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def ending(text: str, most: int, size: int) -> str:
    """The last lines, each cut, and as many as fit into so many bytes; a first line says where more was."""
    lines = [*_harmless(text)]
    kept = lines[-most:]
    while kept and sum(len(line.encode("utf-8", "replace")) + 1 for line in kept) > size:
        del kept[0]
    dropped = len(lines) - len(kept)
    return "\n".join([*([f"(… {counted(dropped, 'line')} before this)"] if dropped else []), *kept])


def beginning(text: str, size: int) -> str:
    """As much of a text as fits into so many bytes; a last line says how much more there was."""
    whole = printable(_COLOURS.sub("", text).replace("\r\n", "\n")).strip()
    kept = whole.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")
    more = len(whole) - len(kept)
    return f"{kept}\n(… and {counted(more, 'character')} more)" if more > 0 else kept


def _harmless(text: str) -> Iterator[str]:
    """The lines of a text without what would colour it, each cut where it's long."""
    for line in _COLOURS.sub("", text).strip("\r\n").splitlines():
        plain = printable(line)
        yield plain if len(plain) <= LINE else f"{plain[:LINE]} …"
