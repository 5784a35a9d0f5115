"""A list of tasks against itself and what is there: all that is wrong with it, or what is to be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from chatml import config
from chatml.errors import ChatmlError, UsageError, of_machine
from chatml.model import Base, Session
from chatml.project import Project
from chatml.sessions import control, find
from chatml.sessions.create import Task, base_of, clash, drafted
from chatml.sessions.names import check_name, slug
from chatml.sessions.naming import Naming
from chatml.tasks import BadTasksError, TaskList, TaskRow
from chatml.tasks.order import find_cycle, in_order
from chatml.text import nearest


@dataclass(frozen=True)
class Given:
    """What holds for all tasks that don't say otherwise."""

    flags: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None
    role: str | None = None
    scope: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Planned:
    """A task with its name, and its session: as it is there, or as it is to be."""

    row: TaskRow
    task: Task
    name: str
    session: Session
    there: bool


def plan(project: Project, listed: TaskList, given: Given) -> list[Planned]:
    """Every task in the order in which they are made: that of the list, but none before one that it comes after.

    BadTasksError with all that is wrong with any of them; ChatmlError for what is given for all.
    """
    planner = Planner(project, given, list(listed.problems))
    planner.check_given()
    found = planner.planned(listed)
    if planner.problems:
        raise BadTasksError(tuple(planner.problems))
    return found


class Planner:
    """Checks a list against itself and what is there, and collects all that is wrong."""

    def __init__(self, project: Project, given: Given, problems: list[ChatmlError]) -> None:
        self.project = project
        self.given = given
        self.problems = problems
        self.bases: dict[str | None, Base] = {}
        self.no_bases: dict[str | None, ChatmlError] = {}
        self.branches: dict[str, list[str]] = {}
        self.naming = Naming(project, self._wrong)

    def check_given(self) -> None:
        """What is given for all is wrong once, and not in each of them."""
        given, settings = self.given, self.project.config
        config.terms_of(settings, given.flags, config.role_of(settings, given.role) if given.role else None)
        if given.base is not None:
            self.bases[given.base] = base_of(self.project.repo, given.base)

    def planned(self, listed: TaskList) -> list[Planned]:
        rows = [row for row in listed.rows if self._prompt(row)]
        named = self.naming.named(rows)
        self._check_branches(rows)
        known = {*listed.broken, *map(slug, listed.broken), *(row.name or slug(row.prompt) for row in listed.rows)}
        order = self._ordered(named, known)
        found = {name: one for name, row in named.items() if (one := self._one(row, name)) is not None}
        return [found[name] for name in order if name in found]

    def _wrong(self, row: TaskRow, error: ChatmlError) -> None:
        self.problems.append(row.error(error.message, error.hint))

    def _prompt(self, row: TaskRow) -> bool:
        try:
            control.check_message(row.prompt)
        except UsageError as error:
            self._wrong(row, error)
            return False
        return True

    def _check_branches(self, rows: Sequence[TaskRow]) -> None:
        first: dict[str, TaskRow] = {}
        for row in rows:
            if row.branch is not None and (other := first.setdefault(row.branch, row)) is not row:
                complaint = f"task {other.number} ({other.place}) works on the branch '{row.branch}' too"
                self._wrong(row, UsageError(complaint, "a branch can have one worktree at a time"))

    def _one(self, row: TaskRow, name: str) -> Planned | None:
        self._check_base(row)
        try:
            check_name(name)
            task = self._task(row, name)
            if name in self.naming.existing:
                return Planned(row, task, name, self._there(row, name), there=True)
            draft = drafted(self.project, task, self.bases)
            if reason := clash(self.project, draft, name, self.branches):
                with suppress(ChatmlError, OSError):  # another run of the same list has made it just now
                    return Planned(row, task, name, self._there(row, name), there=True)
                raise UsageError(reason, "give the task another name")
            return Planned(row, task, name, draft, there=False)
        except (ChatmlError, OSError) as error:
            self._wrong(row, of_machine(error) if isinstance(error, OSError) else error)
            return None

    def _check_base(self, row: TaskRow) -> None:
        ref = self._base(row)
        try:
            if ref not in self.bases and ref not in self.no_bases:
                self.bases[ref] = base_of(self.project.repo, ref)
        except ChatmlError as error:
            self.no_bases[ref] = error
            self.bases[ref] = Base("", "")  # so that all else is checked too: nothing is made from it
        if ref in self.no_bases:
            self._wrong(row, self.no_bases[ref])

    def _base(self, row: TaskRow) -> str | None:
        return row.base or self.given.base or self.project.config.base

    def _there(self, row: TaskRow, name: str) -> Session:
        session = find.load(self.project, name)
        if session.terms.prompt != row.prompt.strip():
            hint = f"give the task another name, or remove that session: chatml rm {name}"
            raise UsageError(f"a session named '{name}' exists already, with another prompt", hint)
        return session

    def _task(self, row: TaskRow, name: str) -> Task:
        """What is asked for: by the settings, the command line, and the row, each of which the next one overrides."""
        given, settings, repo = self.given, self.project.config, self.project.repo
        role = row.role or given.role
        plays = config.role_of(settings, role) if role is not None else None
        scope = config.scope_of(row.scope, repo.top or repo.home) if row.scope is not None else given.scope
        own = {"scope": scope, "after": row.after or None, "prompt": row.prompt}
        terms = config.terms_of(settings, {**given.flags, **row.settings, **own}, plays)
        return Task(terms, name, self._base(row), row.branch)

    def _ordered(self, named: Mapping[str, TaskRow], broken: set[str]) -> list[str]:
        """The names in the order of the list, but none before those that it comes after."""
        known = {*named, *self.naming.existing, *broken}
        for row in named.values():
            for name in row.after:
                if name not in known:
                    hint = "'after' names other tasks of the list, or sessions that are there"
                    self._wrong(row, UsageError(f"comes after '{name}', which is unknown{nearest(name, known)}", hint))
        graph = {name: [one for one in row.after if one in named] for name, row in named.items()}
        while (cycle := find_cycle(graph)) is not None:
            row = min((named[name] for name in cycle), key=lambda one: one.number)
            self._wrong(row, UsageError(f"tasks wait for each other: {' after '.join(cycle)}", "take out one 'after'"))
            graph[cycle[0]] = [name for name in graph[cycle[0]] if name != cycle[1]]
        return in_order(graph)
