"""What became of sessions that were to land: in words, and as data for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatml.sessions.landing import Landing
from chatml.sessions.offers import Left
from chatml.sessions.stacking import Stacked
from chatml.sessions.vetting import Testing
from chatml.text import counted, listed, one_line, printable

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


def testing(run: Testing) -> str:
    """What is tried now, and how many runs are left at the most."""
    most = "" if run.most is None else f" of at most {run.number + run.most}"
    return f"check {run.number}{most}: {', '.join(run.names) or one_line(run.into)}"


def flaky(names: tuple[str, ...], into: str, command: str) -> str:
    """That a check has failed, and passed when it was tried once more."""
    of = listed(names) if names else f"{one_line(into)} itself"
    return f"flaky: '{one_line(command)}' failed once with {of}, and passed when it was tried once more"


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
                "output": _output(one),
            }
            for one in landing.left
        ],
        "flaky": [name for name in landing.order if any(name in names for names in landing.flaky)],
    }  # fmt: skip


def _output(one: Left) -> str:
    """What a program has said, or why the session was left; both where the output alone doesn't tell with whom."""
    if one.output is None:
        return one.why
    return f"{one.why}\n{one.output}" if one.failed and one.failed.together else one.output
