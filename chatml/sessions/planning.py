"""A list of tasks against itself and what is there: all that is wrong with it, or what is to be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from chatml import config
from chatml.errors import ChatmlError, UsageError, of_machine
from chatml.model import Base, Issue, Session
from chatml.project import Project
from chatml.sessions import control, family, find, issues, trusting
from chatml.sessions.create import Task, base_of, clash, drafted
from chatml.sessions.names import check_name, slug
from chatml.sessions.naming import Naming
from chatml.sessions.outset import Outset, check_together
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
    after: tuple[str, ...] = ()
    with_changes: bool = False
    fetch: bool = False


@dataclass(frozen=True)
class Planned:
    """A task with its name, and its session: as it is there, or as it is to be."""

    row: TaskRow
    task: Task
    name: str
    session: Session
    there: bool

    @property
    def after(self) -> tuple[str, ...]:
        """Names of the sessions that it comes after."""
        return self.row.after or ()


@dataclass(frozen=True)
class Plan:
    """The tasks in the order in which they are made, and what a person should know of them."""

    tasks: tuple[Planned, ...]
    left_out: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def plan(project: Project, listed: TaskList, given: Given, found: Mapping[str, Issue] | None = None) -> Plan:
    """Every task in the order in which they are made: that of the list, but none before one that it comes after.

    `found` are issues that were looked up already, by what the rows call them. BadTasksError with all that is wrong
    with any of them; ChatmlError for what is given for all.
    """
    planner = Planner(project, given, list(listed.problems), found or {})
    planner.check_given()
    tasks = planner.planned(listed)
    planner.check_caller([one for one in tasks if not one.there])
    if planner.problems:
        raise BadTasksError(tuple(planner.problems))
    of_issues = [issues.told(planner.about[one.row.issue]) for one in tasks if one.row.issue and not one.there]
    outset = planner.outset
    return Plan(tuple(tasks), tuple(outset.left_out), (*outset.told, *(line for told in of_issues for line in told)))


class Planner:
    """Checks a list against itself and what is there, and collects all that is wrong."""

    def __init__(self, project: Project, given: Given, problems: list[ChatmlError], found: Mapping[str, Issue]) -> None:
        self.project = project
        self.given = given
        self.problems = problems
        self.found = found
        self.about: dict[str, Issue] = dict(found)
        self.no_issues: dict[str, ChatmlError] = {}
        self.bases: dict[str | None, Base] = {}
        self.no_bases: dict[str | None, ChatmlError] = {}
        self.branches: dict[str, list[str]] = {}
        self.outset = Outset(project)
        self.no_outsets: list[ChatmlError] = []
        self.naming = Naming(project, self._wrong, self.about)

    def check_given(self) -> None:
        """What is given for all is wrong once, and not in each of them."""
        given, settings = self.given, self.project.config
        trusting.check(self.project)
        config.terms_of(settings, given.flags, config.role_of(settings, given.role) if given.role else None)
        if given.base is not None:
            self.bases[given.base] = base_of(self.project.repo, given.base)
        for name in given.after:
            find.resolve(self.project, name)

    def check_caller(self, new: Sequence[Planned]) -> None:
        """What the agent that calls may not start is wrong, where it is one."""
        for place, error in family.foreseen(self.project, [one.session for one in new]):
            if place is None:
                self.problems.append(error)
            else:
                self._wrong(new[place].row, error)

    def planned(self, listed: TaskList) -> list[Planned]:
        rows = [row for row in map(self._whole, listed.rows) if self._understood(row)]
        named = self.naming.named(rows)
        self._check_branches(rows)
        known = {*listed.broken, *map(slug, listed.broken), *(row.name or slug(row.prompt) for row in listed.rows)}
        order = self._ordered(named, known)
        found = {name: one for name, row in named.items() if (one := self._one(row, name)) is not None}
        if len(found) == len(listed.rows) and not listed.broken:
            self._check_retries([*found.values()])
        return [found[name] for name in order if name in found]

    def _wrong(self, row: TaskRow, error: ChatmlError) -> None:
        self.problems.append(row.error(error.message, error.hint))

    def _whole(self, row: TaskRow) -> TaskRow:
        """The row with what is given for all where it says nothing itself."""
        given = self.given
        return replace(
            row,
            base=row.base or given.base,
            role=row.role or given.role,
            after=tuple(dict.fromkeys(row.after if row.after is not None else given.after)),
            with_changes=row.with_changes if row.with_changes is not None else given.with_changes,
            fetch=row.fetch if row.fetch is not None else given.fetch,
        )

    def _understood(self, row: TaskRow) -> bool:
        """Whether there is something to do in it; its issue is looked up."""
        try:
            if row.issue is None:
                control.check_message(row.prompt)
            else:
                self._look_up(row.issue)
        except ChatmlError as error:
            self._wrong(row, error)
            return False
        return True

    def _look_up(self, ref: str) -> None:
        if ref in self.no_issues:
            raise self.no_issues[ref]
        if ref not in self.about:
            try:
                self.about[ref] = issues.lookup(self.project, ref)
            except ChatmlError as error:
                self.no_issues[ref] = error
                raise

    def _check_retries(self, tasks: Sequence[Planned]) -> None:
        """What the command line says of retries is wrong where none of the tasks has a check."""
        said = self.given.flags.get("retries") is not None
        try:
            if tasks and not any(one.task.terms.check for one in tasks):
                config.check_retries(tasks[0].task.terms, said)
        except UsageError as error:
            self.problems.append(error)

    def _check_branches(self, rows: Sequence[TaskRow]) -> None:
        first: dict[str, TaskRow] = {}
        for row in rows:
            if row.branch is not None and (other := first.setdefault(row.branch, row)) is not row:
                complaint = f"task {other.number} ({other.place}) works on the branch '{row.branch}' too"
                self._wrong(row, UsageError(complaint, "a branch can have one worktree at a time"))

    def _one(self, row: TaskRow, name: str) -> Planned | None:
        whole = self._check_base(row)
        try:
            check_name(name)
            task = self._task(row, name)
            if name in self.naming.existing:
                return Planned(row, task, name, self._there(row, name), there=True)
            task = self._set_out(row, task) if whole else task
            draft = drafted(self.project, task, self.bases)
            if reason := clash(self.project, draft, name, self.branches):
                with suppress(ChatmlError, OSError):  # another run of the same list has made it just now
                    return Planned(row, task, name, self._there(row, name), there=True)
                raise UsageError(reason, self._rename(row))
            return Planned(row, task, name, draft, there=False)
        except (ChatmlError, OSError) as error:
            self._wrong(row, of_machine(error) if isinstance(error, OSError) else error)
            return None

    def _check_base(self, row: TaskRow) -> bool:
        """Whether the row's base is there; else it is wrong, and all else of it is checked too."""
        ref = self._base(row)
        try:
            if ref not in self.bases and ref not in self.no_bases:
                self.bases[ref] = base_of(self.project.repo, ref)
        except ChatmlError as error:
            self.no_bases[ref] = error
            self.bases[ref] = Base("", "")  # so that all else is checked too: nothing is made from it
        if ref in self.no_bases:
            self._wrong(row, self.no_bases[ref])
        return ref not in self.no_bases

    def _base(self, row: TaskRow) -> str | None:
        return None if row.with_changes else row.base or self.project.config.base

    def _set_out(self, row: TaskRow, task: Task) -> Task:
        """The task with where it starts; what many ask for in vain is wrong once."""
        try:
            return self.outset.of(task, with_changes=bool(row.with_changes), fetch=bool(row.fetch))
        except ChatmlError as error:
            if not any(error is told for told in self.no_outsets):
                self.no_outsets.append(error)
                self._wrong(row, error)
            return task

    def _there(self, row: TaskRow, name: str) -> Session:
        session = find.load(self.project, name)
        if not self.naming.is_of(session, row):
            other = "prompt" if row.issue is None else "task"
            raise UsageError(f"a session named '{name}' exists already, with another {other}", self._rename(row, name))
        return session

    def _rename(self, row: TaskRow, there: str | None = None) -> str:
        """What to do about a name that is taken: in a file it can be changed, and not in the answer to a search."""
        remove = f", or remove that session: chatml rm {there}" if there is not None else ""
        issue = self.found.get(row.issue or "")
        if issue is None:
            return f"give the task another name{remove}"
        ref = issue.ref.ref
        return f"give it another name first: chatml new --issue {ref} --name NAME; then call it again"

    def _task(self, row: TaskRow, name: str) -> Task:
        """What is asked for: by the settings, the command line, and the row, each of which the next one overrides."""
        given, settings, repo = self.given, self.project.config, self.project.repo
        plays = config.role_of(settings, row.role) if row.role is not None else None
        scope = config.scope_of(row.scope, repo.top or repo.home) if row.scope is not None else given.scope
        own = {"scope": scope, "after": row.after or None, "prompt": row.prompt}
        terms = config.terms_of(settings, {**given.flags, **row.settings, **own}, plays)
        config.check_retries(terms, said="retries" in row.own)
        check_together(
            with_changes=bool(row.with_changes),
            fetch=bool(row.fetch),
            base=row.base,
            branch=row.branch,
            after=row.after,
        )
        task = Task(terms, name, self._base(row), row.branch)
        return issues.made_of(self.about[row.issue], task) if row.issue is not None else task

    def _ordered(self, named: Mapping[str, TaskRow], broken: set[str]) -> list[str]:
        """The names in the order of the list, but none before those that it comes after."""
        known = {*named, *self.naming.existing, *broken}
        unnamed = tuple(f"{slug(ref)}-" for ref in self.no_issues)  # what these would be called nobody knows
        for row in named.values():
            for name in row.after or ():
                if name not in known and not name.startswith(unnamed):
                    hint = "'after' names other tasks of the list, or sessions that are there"
                    self._wrong(row, UsageError(f"comes after '{name}', which is unknown{nearest(name, known)}", hint))
        graph = {name: [one for one in row.after or () if one in named] for name, row in named.items()}
        while (cycle := find_cycle(graph)) is not None:
            row = min((named[name] for name in cycle), key=lambda one: one.number)
            self._wrong(row, UsageError(f"tasks wait for each other: {' after '.join(cycle)}", "take out one 'after'"))
            graph[cycle[0]] = [name for name in graph[cycle[0]] if name != cycle[1]]
        return in_order(graph)
