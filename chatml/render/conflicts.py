"""How sessions meet: for people, and as data for scripts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from chatml.landing.outlook import Outlook
from chatml.model.clash import Encounter, Lines, Meeting, SharedFile
from chatml.sessions.meetings import Checked
from chatml.text import counted, listed, one_line, paint, printable, shorten

FILES = 5
"""Files of a pair that are shown, of those that it counts."""

OVERLAPS = 10
"""Pairs that are shown which overlap, and merge cleanly."""

RANGES = 6
"""Ranges of lines that are shown of a file."""

BUILT_IN = {"text", "binary", "union"}
"""The merge drivers that git has itself (gitattributes(5))."""

OUTPUT = 10
"""Lines shown of what a check has printed: its end."""

INDENT = "  "


def page(outlook: Outlook, checked: Checked | None, width: int | None) -> Iterator[str]:
    """What was found, painted: conflicts first; fitted into so many columns, None for a pipe."""
    found = [*outlook.base, *outlook.pairs]
    for one in _of(found, Meeting.CONFLICT):
        yield from _conflict(one, width)
    overlaps = _of(found, Meeting.OVERLAP)
    for one in overlaps[:OVERLAPS]:
        names = ", ".join(_named(file) for file in one.files[:FILES]) + _more(one.files)
        yield _fitted(f"{paint('overlap', fg='yellow')}   {_pair(one)}: {names}", width)
    if len(overlaps) > OVERLAPS:
        yield f"          and {counted(len(overlaps) - OVERLAPS, 'pair')} more"
    yield from _unknown(_of(found, Meeting.UNKNOWN), width)
    clean = len(_of(found, Meeting.CLEAN))
    if clean:
        other = "other " if clean < len(found) else ""
        yield f"{paint('clean', fg='green')}     {counted(clean, f'{other}merge')}"
    yield from _remarks(outlook)
    yield from _check(checked, width) if checked is not None else ()
    yield from _order(outlook, width)


def _of(found: Sequence[Encounter], meeting: Meeting) -> list[Encounter]:
    return [one for one in found if one.meeting is meeting]


def _pair(one: Encounter) -> str:
    return f"{one.a} + {one_line(one.b)}"


def _conflict(one: Encounter, width: int | None) -> Iterator[str]:
    yield _fitted(f"{paint('conflict', fg='red')}  {_pair(one)}", width)
    for file in one.files[:FILES]:
        where = f": {_ranges(file.lines)} of {one.a}" if file.lines else ""
        yield _fitted(f"{INDENT * 5}{_named(file)}  {file.kind}{where}", width)
    if len(one.files) > FILES:
        yield f"{INDENT * 5}and {counted(len(one.files) - FILES, 'file')} more"


def _named(file: SharedFile) -> str:
    return one_line(file.path) + (f" (by the merge driver {one_line(file.driver)})" if file.driver else "")


def _more(files: Sequence[SharedFile]) -> str:
    return f" and {len(files) - FILES} more" if len(files) > FILES else ""


def _ranges(lines: Sequence[Lines]) -> str:
    shown = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in lines[:RANGES])
    single = len(lines) == 1 and lines[0][0] == lines[0][1]
    return f"line{'' if single else 's'} {shown}{', …' if len(lines) > RANGES else ''}"


def _unknown(found: Sequence[Encounter], width: int | None) -> Iterator[str]:
    """Once each reason: one session of which nothing is known makes all its pairs unknown."""
    reasons: dict[str, list[Encounter]] = {}
    for one in found:
        reasons.setdefault(one.why or "", []).append(one)
    for why, some in reasons.items():
        where = f"{_pair(some[0])}: " if len(some) == 1 and not why.startswith(f"{some[0].a}: ") else ""
        yield _fitted(f"{paint('unknown', fg='magenta')}   {where}{one_line(why)}", width)


def _remarks(outlook: Outlook) -> Iterator[str]:
    drivers = {file.driver for one in (*outlook.pairs, *outlook.base) for file in one.files if file.driver} - BUILT_IN
    if drivers:
        yield f"note: a forge does not run merge drivers of yours: {one_line(', '.join(sorted(drivers)))}"
    if outlook.landed:
        yield f"note: landed already: {', '.join(outlook.landed)}"


def _check(checked: Checked, width: int | None) -> Iterator[str]:
    """How the check went, and who makes it fail."""
    mark = paint("check", fg="green" if checked.ok else "red")
    command = one_line(checked.command)
    if checked.ok:
        yield _fitted(f"{mark}     {command} passes with {listed(checked.names)}", width)
    elif checked.base_fails:
        yield _fitted(f"{mark}     {command} fails on {one_line(checked.base)} itself: it {checked.said}", width)
    else:
        yield _fitted(f"{mark}     {command} fails: it {checked.said}", width)
    for names in checked.culprits:
        alone = "fails alone" if len(names) == 1 else "fail only together"
        yield _fitted(f"{INDENT * 5}{paint(' + '.join(names), fg='red')} {alone}", width)
    for line in printable(checked.output).splitlines()[-OUTPUT:]:
        yield _fitted(f"{INDENT * 5}| {line}", width)
    if checked.left_out:
        yield _fitted(f"{INDENT * 5}without what conflicts: {listed(checked.left_out)}", width)


def _order(outlook: Outlook, width: int | None) -> Iterator[str]:
    if len(outlook.order) > 1:
        yield _fitted(f"order     {', '.join(outlook.order)}", width)
    if outlook.order:
        yield f"next      {following(outlook)}"


def following(outlook: Outlook) -> str:
    """The command that goes on from here."""
    return shlex.join(["chatml", "merge", "-n", *outlook.order])


def _fitted(line: str, width: int | None) -> str:
    return line if width is None else shorten(line, width)


def data(outlook: Outlook, checked: Checked | None) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "sessions": [one.name for one in outlook.sessions],
        "pairs": [
            {"a": one.a, "b": one.b, "verdict": one.meeting.value, "files": _files(one), "reason": one.why}
            for one in outlook.pairs
        ],
        "base": [
            {"name": one.a, "base": one.b, "verdict": one.meeting.value, "files": _files(one), "reason": one.why}
            for one in outlook.base
        ],
        "order": list(outlook.order),
        "check": checked
        and {
            "command": checked.command,
            "ok": checked.ok,
            "culprits": [list(names) for names in checked.culprits],
            "output": checked.output,
            "sessions": list(checked.names),
            "left_out": list(checked.left_out),
        },
    }


def _files(one: Encounter) -> list[dict[str, Any]]:
    return [
        {"path": file.path, "kind": file.kind, "lines": [list(two) for two in file.lines], "driver": file.driver}
        for file in one.files
    ]
