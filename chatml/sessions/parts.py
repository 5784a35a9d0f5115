"""A list of tasks for several repositories: each part of it planned in its own, and all before anything is made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.model import Issue
from chatml.project import Project, open_project
from chatml.sessions.planning import Given, Plan, plan
from chatml.tasks import BadTasksError, TaskList, TaskRow


@dataclass(frozen=True)
class Portion:
    """The tasks of one repository."""

    project: Project
    listed: TaskList
    plan: Plan


def apart(project: Project, file: str | None, listed: TaskList) -> list[tuple[Project, TaskList]]:
    """The tasks by the repository that each is done in; all else that was read goes with the first of them.

    A path is taken from the folder of the `file` that names it. BadTasksError for one that is no repository's.
    """
    folder = Path(file).parent if file is not None and file != "-" else Path()
    found: dict[str, tuple[Project, list[TaskRow]]] = {}
    opened: dict[str | None, Project] = {None: project}
    problems: list[ChatmlError] = []
    for row in listed.rows:
        try:
            if row.repo not in opened:
                opened[row.repo] = open_project(Path(os.path.abspath(folder / os.path.expanduser(row.repo or ""))))
        except ChatmlError as error:
            problems.append(row.error(error.message, error.hint))
            continue
        there = opened[row.repo]
        found.setdefault(str(there.repo.common_dir), (there, []))[1].append(row)
    if problems:
        raise BadTasksError((*listed.problems, *problems))
    parts = [*found.values()] or [(project, [])]
    (first, rows), *others = parts
    whole = replace(listed, rows=tuple(rows))
    return [(first, whole), *((there, TaskList(tuple(rows), without=listed.without)) for there, rows in others)]


def planned_apart(parts: Sequence[tuple[Project, TaskList]], given: Given, found: Mapping[str, Issue]) -> list[Portion]:
    """All is checked before anything is made, in any of them. BadTasksError with all that is wrong."""
    planned: list[Portion] = []
    problems: list[ChatmlError] = []
    for project, listed in parts:
        try:
            planned.append(Portion(project, listed, plan(project, listed, given, found)))
        except BadTasksError as error:
            problems += error.problems
    if problems:
        raise BadTasksError(tuple(problems))
    return planned
