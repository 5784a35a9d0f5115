"""A list of tasks as people write it: bullets of any kind, or a task on each line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chatml.config.files import brief
from chatml.errors import ChatmlError, UsageError
from chatml.tasks.row import TaskList, TaskRow

BULLET = re.compile(r"([ \t]*)(?:[-*+•]|\d{1,9}[.)])(?:[ \t]+|$)")
BOX = re.compile(r"\[([ xX])\](?:[ \t]+|$)")
HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
RULE = re.compile(r"[ \t]*([-*_=])(?:[ \t]*\1){2,}[ \t]*$")
"""A line across, or one that makes a heading of the text above it."""
FENCE = re.compile(r"(`{3,})[^`]*$|(~{3,})")
TAB = 4
"""Columns of a tab stop (CommonMark 2.2)."""


@dataclass
class _Item:
    """A task while it is read: where its bullet stands, where its text begins, and its lines so far."""

    line: int
    indent: int = 0
    column: int = 0
    ticked: bool = False
    lines: list[str] = field(default_factory=list)

    def prompt(self) -> str:
        """Its text, without the indentation that only says whose it is."""
        first, *rest = self.lines
        margin = min(self.column, next((_indent(line) for line in rest if line.strip()), 0))
        return "\n".join([first, *(_without(line, margin) for line in rest)]).strip()


def read_list(text: str, name: str) -> TaskList:
    """The tasks of a list; `name` is what messages call it. Every text is one: what is no task is said to be left out.

    A task is a bullet with all that is indented below it, and with the lines that directly follow. Without any bullet
    each line is one. A block of code always belongs to the task above it.
    """
    lines = re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff"))
    code, unclosed = _fenced(lines)
    if unclosed is not None:
        place = f"{name}:{unclosed + 1}"
        return TaskList(problems=(UsageError(f"{place}: this block of code has no end", "close it with ``` or ~~~"),))
    bulleted = any(number not in code and _bullet(line) for number, line in enumerate(lines))
    reader = _Bulleted(lines, code) if bulleted else _Plain(lines, code)
    reader.read()
    rows: list[TaskRow] = []
    for item in reader.items:
        if not item.ticked and (prompt := item.prompt()):
            rows.append(TaskRow(prompt, f"{name}:{item.line + 1}", len(rows) + 1))
    ticked = sum(item.ticked for item in reader.items)
    problems: tuple[ChatmlError, ...] = ()
    if not rows and not ticked:
        problems = (UsageError(f"{name}: holds no task", "write one a line, as in: - add rate limiting"),)
    left_out = tuple(f"{name}:{number + 1}: part of no task: {brief(lines[number])}" for number in reader.left_out)
    return TaskList(tuple(rows), problems, left_out, ticked=ticked)


def _fenced(lines: Sequence[str]) -> tuple[set[int], int | None]:
    """The lines of blocks of code, each with its fences; and the first line of one that has no end."""
    inside: set[int] = set()
    fence, start = "", 0
    for number, line in enumerate(lines):
        if fence:
            inside.add(number)
            end = line.strip()
            if len(end) >= len(fence) and not end.strip(fence[0]):
                fence = ""
        elif opening := FENCE.match(_content(line)):
            fence, start = opening[1] or opening[2], number
            if not BULLET.match(line):  # else it is the first line of a task
                inside.add(number)
    return inside, start if fence else None


def _content(line: str) -> str:
    """The line without its indentation, bullet and box."""
    if found := BULLET.match(line):
        line = line[found.end() :]
        line = line[box.end() :] if (box := BOX.match(line)) else line
    return line.lstrip()


def _bullet(line: str) -> re.Match[str] | None:
    return None if RULE.match(line) else BULLET.match(line)


def _columns(text: str) -> int:
    return len(text.expandtabs(TAB))


def _indent(line: str) -> int:
    return _columns(line[: len(line) - len(line.lstrip(" \t"))])


def _without(line: str, columns: int) -> str:
    """The line without so many columns of its indentation; of a tab that reaches further, the rest stays."""
    column = 0
    for position, char in enumerate(line):
        if column >= columns or char not in " \t":
            return " " * (column - columns) + line[position:]
        column += 1 if char == " " else TAB - column % TAB
    return ""


class _Plain:
    """Reads a list without bullets."""

    def __init__(self, lines: Sequence[str], code: set[int]) -> None:
        self.lines = lines
        self.code = code
        self.items: list[_Item] = []
        self.left_out: list[int] = []

    def read(self) -> None:
        for number, line in self._within():
            if number in self.code and self.items:
                self.items[-1].lines.append(line)
            elif number in self.code or (line.strip() and not self.separates(number)):
                self.items.append(_Item(number, lines=[line]))

    def _within(self) -> Iterator[tuple[int, str]]:
        return iter(enumerate(self.lines))

    def separates(self, number: int) -> bool:
        """Whether the line is a heading or a line across, and so part of no task."""
        line = self.lines[number]
        below = self.lines[number + 1] if number + 1 < len(self.lines) else ""
        underlined = RULE.match(below) and below.strip()[0] in "=-" and not BULLET.match(line)
        return bool(HEADING.match(line) or RULE.match(line) or underlined)


class _Bulleted(_Plain):
    """Reads a list with bullets."""

    def read(self) -> None:
        current: _Item | None = None
        blank = False
        for number, line in self._within():
            if number in self.code:
                (current.lines if current else []).append(line)
                self._note(number, current)
            elif not line.strip():
                (current.lines if current else []).append("")
            elif current and _indent(line) >= current.indent + 2:
                current.lines.append(line)
            elif bullet := _bullet(line):
                current = self._begun(number, bullet)
            elif self.separates(number):
                current = None
            elif current and (not blank or _indent(line) > current.indent):
                current.lines.append(line)
            else:
                current = None
                self.left_out.append(number)
            blank = not line.strip()

    def _note(self, number: int, current: _Item | None) -> None:
        if current is None:
            self.left_out.append(number)

    def _begun(self, number: int, bullet: re.Match[str]) -> _Item:
        line = self.lines[number]
        end = bullet.end()
        box = BOX.match(line, end)
        end = box.end() if box else end
        ticked = box is not None and box[1] != " "
        item = _Item(number, _columns(bullet[1]), _columns(line[:end]), ticked, [line[end:]])
        self.items.append(item)
        return item
