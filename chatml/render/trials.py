"""What checks of merged sessions have printed: in words, and as data for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatml import checking
from chatml.landing.triallog import TrialRun
from chatml.text import one_line, paint


def transcript(run: TrialRun) -> Iterator[str]:
    """One run, line by line, painted: what it ran on, all that it has printed, how it ended."""
    yield paint(f"── {', '.join(run.names) or 'the base alone'} · {run.at}", dim=True)
    yield paint(f"$ {one_line(run.command)}", bold=True)
    try:
        with run.output.open("rb") as file:
            for line in file:
                yield checking.harmless(line.decode("utf-8", "replace").removesuffix("\n"))
    except FileNotFoundError:
        pass  # the run after it has just made room
    color = "green" if run.ok else "yellow" if run.ok is None else "red"
    yield paint(f"  └ {run.said or 'has not ended'}", fg=color)


def data(run: TrialRun) -> dict[str, Any]:
    """The same for scripts."""
    try:
        output = run.output.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        output = ""
    return {
        "command": run.command,
        "tree": run.tree,
        "names": list(run.names),
        "at": run.at,
        "said": run.said,
        "ok": run.ok,
        "output": output,
    }
