"""What became of sessions that were to land: in words, and as data for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatml.sessions.landing import Landing, Stacked
from chatml.sessions.offers import Left
from chatml.text import counted, one_line, printable

SHOWN = 5
"""Files that a line names, of those that it counts."""

LINES = 10
"""Lines shown of what a program has said: its end."""


def landed(one: Stacked, into: str) -> str:
    """That a session has landed."""
    return f"landed {one.session.name} in {one_line(into)} as {one.commit[:7]}"


def would_land(one: Stacked, into: str) -> str:
    """That it would."""
    return f"would land {one.session.name} in {one_line(into)}"


def left(one: Left) -> Iterator[str]:
    """Why a session was left, and the last lines of what a program has said about it."""
    shown = ", ".join(map(one_line, one.files[:SHOWN]))
    more = f" and {len(one.files) - SHOWN} more" if len(one.files) > SHOWN else ""
    files = f" ({counted(len(one.files), 'file')}: {shown}{more})" if one.files else ""
    yield f"left {one.name}: {one_line(one.why)}{files}"
    for line in printable(one.output or "").splitlines()[-LINES:]:
        yield f"  {line}"


def data(landing: Landing, dry_run: bool) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "into": landing.into,
        "order": list(landing.order),
        "landed": [
            {"name": one.session.name, "commit": None if dry_run else one.commit} for one in landing.landed
        ],
        "left": [
            {
                "name": one.name,
                "reason": one.reason.value,
                "files": list(one.files),
                "output": one.why if one.output is None else one.output,
            }
            for one in landing.left
        ],
        "flaky": list(landing.flaky),
    }  # fmt: skip
