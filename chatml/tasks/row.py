"""One task as a file says it, and what a file came to: the rows that can be understood, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chatml.config.files import brief
from chatml.errors import ChatmlError, UsageError


@dataclass(frozen=True)
class TaskRow:
    """What one session is to do, as it is written: each value is of the right type, and nothing of it is looked up."""

    prompt: str
    place: str
    """`file:line` where it begins."""
    number: int
    """Its place among the tasks of the file, from 1."""
    name: str | None = None
    base: str | None = None
    branch: str | None = None
    role: str | None = None
    scope: tuple[str, ...] | None = None
    after: tuple[str, ...] | None = None
    """Names of the sessions that have to be done before it starts; None where it says nothing of it."""
    issue: str | None = None
    """The issue that it is about, as `new --issue` takes it; the prompt, which may then be empty, adds own words."""
    repo: str | None = None
    """The repository that it is done in, as a path from its file's folder; None for the one where `new` is called."""
    with_changes: bool | None = None
    fetch: bool | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options of `new`, by the setting that each of them changes."""
    own: frozenset[str] = frozenset()
    """Those of the settings that it says itself, and not the top of its file."""

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"task {self.number} ({self.name or self.issue or brief(self.prompt)})"

    def error(self, complaint: str, hint: str | None = None) -> TaskError:
        """What is wrong with it, with its place."""
        line = self.place.rpartition(":")[2]
        order = (int(line) if line.isdecimal() else 0, self.number)
        return TaskError(f"{self.place}: {self.label}: {complaint}", hint, order)


class TaskError(UsageError):
    """What is wrong with a task; `order` is the line where, and the task's number: so errors of a list are told."""

    def __init__(self, message: str, hint: str | None = None, order: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message, hint)
        self.order = order


@dataclass(frozen=True)
class TaskList:
    """All that was read of a list of tasks."""

    rows: tuple[TaskRow, ...] = ()
    problems: tuple[ChatmlError, ...] = ()
    """Everything that is wrong with how it is written."""
    left_out: tuple[str, ...] = ()
    """A sentence for each text that is part of no task."""
    broken: tuple[str, ...] = ()
    """Names, or prompts, of tasks that are among the problems: others may be named after them."""
    ticked: int = 0
    """How many tasks are ticked off as done."""
    without: str = "nothing to do"
    """What is said where there is no task."""


class BadTasksError(UsageError):
    """Tasks that can't be had as they are written: all that is wrong with them, and nothing was made."""

    def __init__(self, problems: tuple[ChatmlError, ...]) -> None:
        count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
        super().__init__(f"nothing was made: {count} in the list of tasks")
        self.problems = tuple(sorted(problems, key=_order))


def _order(problem: ChatmlError) -> tuple[int, int]:
    return problem.order if isinstance(problem, TaskError) else (0, 0)
