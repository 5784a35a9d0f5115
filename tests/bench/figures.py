"""What is measured: each figure with its two sides and the bound to reach; and its samples as a table or JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tabulate import tabulate

from tests.support import Sandbox


@dataclass(frozen=True)
class Figure:
    """One row. With an `other` side the bound is on the ratio of the medians, without one on chatml's own median."""

    name: str
    ours: str
    other: str | None
    unit: str
    bound: float

    @property
    def title(self) -> str:
        return f"{self.ours} / {self.other}" if self.other else self.ours


FIGURES = (
    Figure("ls-running", "`ls --json`, 10 running", "`claude agents --json`, 10 running", "ms", 0.45),
    Figure("ls-rest", "`ls --json`, 10 at rest", "`claude agents --json`, 10 at rest", "ms", 0.42),
    Figure("ls-import", "`ls --json`, 10 at rest", "`python -c 'import click'`", "ms", 1.5),
    Figure("ls-terminal", "`ls` on a terminal, 10 at rest", "`python -c 'import click'`", "ms", 2.0),
    Figure("ls-many", "`ls --json`, 1,000 sessions at rest", "10 sessions", "ms", 1.6),
    Figure("ls-pulls", "`ls --json`, 50 with a pull request each", "50 without", "ms", 1.1),
    Figure("new-returns", "`new -q` returns", "`claude --bg` returns (warm)", "ms", 0.6),
    Figure("new-large", "`new -q` on a repository of 50,000 files", "on one of 50", "ms", 1.3),
    Figure("first-request", "`new` until the first request at the API", "`claude --bg` (warm)", "ms", 1.5),
    Figure("ten-started", "10 started in a shell loop, until all have asked the API", "`claude --bg`", "ms", 0.9),
    Figure("list-started", "10 started from a file, until all have asked the API", "`claude --bg`", "ms", 0.5),
    Figure("list-returns", "`new -f` of 50 tasks returns", "`new -q` of one", "ms", 15),
    Figure("memory", "memory that a running session adds", "`claude --bg`", "MB", 0.8),
    Figure("cpu", "CPU of a session that waits on the model", "`claude --bg`", "% of a core", 0.3),
    Figure("rest-processes", "processes of 10 sessions at rest", None, "processes", 0),
    Figure("rest-memory", "memory of 10 sessions at rest", None, "MB", 0),
    Figure("send", "`send` to a running agent, until the CLI has it", None, "ms", 200),
    Figure("send-import", "`send`, until the CLI has it", "`python -c 'import click'`", "ms", 2.2),
    Figure("attach-rest", "CPU of `attach` on a session at rest", None, "% of a core", 0.3),
    Figure("watch-rest", "CPU of `ls --watch` on ten at rest", None, "% of a core", 0.5),
    Figure(
        "conflicts-cold",
        "`conflicts`, 50 sessions on 1,000 files",
        "50 snapshots, and `git merge-tree --stdin` of the same 1,275 merges",
        "ms",
        1.3,
    ),
    Figure("conflicts-warm", "`conflicts` again", "`ls`, and `git status` in each worktree", "ms", 1.2),
    Figure("merge", "`merge` of one session, 1,000 files", "`git merge --squash && git commit`", "ms", 2),
    Figure("copy", "`copy` of a `node_modules` of 20,000 files", "`cp -a --reflink=auto`", "ms", 1.3),
    Figure("exec", "`exec` of a command, beyond what that takes", None, "ms", 80),
    Figure("run", "`run` until a server answers that needs a second", "the bare command", "ms", 1.2),
    Figure("diff-large", "`diff --stat`, 50,000 files with 3 changed", "`git status` there", "ms", 4),
)

NAMES = tuple(figure.name for figure in FIGURES)


@dataclass
class Samples:
    """What was measured so far, by figure and side; for information also where there is no bound on a side."""

    ours: dict[str, list[float]] = field(default_factory=dict)
    other: dict[str, list[float]] = field(default_factory=dict)
    steps: dict[str, list[float]] = field(default_factory=dict)
    """What `new` spends its time on until the first request, in ms by step, in their order."""
    unavailable: dict[str, str] = field(default_factory=dict)
    """Why a figure could not be measured."""

    def add(self, name: str, ours: float | None = None, other: float | None = None) -> None:
        if ours is not None:
            self.ours.setdefault(name, []).append(ours)
        if other is not None:
            self.other.setdefault(name, []).append(other)

    def add_step(self, step: str, value: float) -> None:
        self.steps.setdefault(step, []).append(value)


@dataclass(frozen=True)
class Row:
    """A figure's medians; `ratio` and `met` are None where it could not be measured."""

    figure: Figure
    ours: float | None
    other: float | None
    ratio: float | None
    met: bool | None


def row(figure: Figure, samples: Samples) -> Row:
    """The medians of a figure, and whether they reach its bound."""
    ours, other = (median(of[figure.name]) if of.get(figure.name) else None for of in (samples.ours, samples.other))
    if ours is None or (figure.other is not None and not other):
        return Row(figure, ours, other, None, None)
    ratio = ours / other if other and figure.other else None
    decisive = ours if figure.other is None else ratio
    return Row(figure, ours, other, ratio, decisive is not None and decisive <= figure.bound)


def machine(sandbox: Sandbox, cli_version: str) -> dict[str, Any]:
    """What it ran on; `load` is the machine's load average at the start."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_gb": round(memory, 1),
        "load": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "git": sandbox.git("--version").removeprefix("git version "),
        "cli": cli_version,
    }


def as_json(names: Sequence[str], samples: Samples, about: dict[str, Any]) -> dict[str, Any]:
    """All that was measured, every single sample included."""
    rows = [row(figure, samples) for figure in FIGURES if figure.name in names]
    return {
        "machine": about,
        "figures": [
            {
                "name": one.figure.name,
                "chatml_is": one.figure.ours,
                "other_is": one.figure.other,
                "unit": one.figure.unit,
                "chatml": one.ours,
                "other": one.other,
                "ratio": one.ratio,
                "bound": one.figure.bound,
                "met": one.met,
                "unavailable": samples.unavailable.get(one.figure.name),
                "samples": {
                    "chatml": samples.ours.get(one.figure.name, []),
                    "other": samples.other.get(one.figure.name, []),
                },
            }
            for one in rows
        ],
        "start_ms": {step: median(values) for step, values in samples.steps.items()},
    }


def as_text(names: Sequence[str], samples: Samples, about: dict[str, Any]) -> str:
    """The table for people, with what it ran on above and where a start's time goes below."""
    load = " ".join(f"{value:.2f}" for value in about["load"])
    head = (
        f"{about['system']}, {about['cores']} cores, {about['memory_gb']} GB, load {load} at the start and "
        f"{os.getloadavg()[0]:.2f} at the end\nPython {about['python']}, git {about['git']}, Claude Code {about['cli']}"
    )
    rows = [_cells(row(figure, samples), samples) for figure in FIGURES if figure.name in names]
    table = tabulate(
        rows,
        headers=["figure", "unit", "chatml", "other", "ratio", "to reach", "met?"],
        colalign=("left", "left", "right", "right", "right", "right", "left"),
        disable_numparse=True,
    )
    parts = [head, table]
    if samples.steps:
        lines = [f"  {median(values):5.0f} ms  {step}" for step, values in samples.steps.items()]
        parts.append("\n".join(["Where the time from `new` to the first request goes:", *lines]))
    return "\n\n".join(parts)


def _cells(one: Row, samples: Samples) -> list[str]:
    figure = one.figure
    ratio = f"{one.ratio:.2f}" if one.ratio is not None else ""
    reach = f"<= {figure.bound:g}" + (f" {figure.unit}" if figure.other is None else "")
    why = samples.unavailable.get(figure.name, "not measured")
    met = f"not available: {why}" if one.met is None else "yes" if one.met else "NO"
    return [figure.title, figure.unit, _number(one.ours), _number(one.other), ratio, reach, met]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 20 or value == 0 else f"{value:.1f}"
