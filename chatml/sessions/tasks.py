"""Many sessions from a list of tasks: all of it is checked first, and then made, each task once whatever happens."""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import count
from typing import Any

from chatml import config
from chatml.errors import ChatmlError, Kind, UsageError, of_machine
from chatml.model import Base, Session, Status
from chatml.project import Project
from chatml.runners import table as runners
from chatml.sessions import control, find
from chatml.sessions.create import Task, base_of, clash, drafted, make
from chatml.sessions.names import check_name, numbered, slug
from chatml.tasks import BadTasksError, TaskList, TaskRow
from chatml.text import nearest

MADE, THERE, RESUMED, FAILED = "made", "there", "resumed", "failed"


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


@dataclass(frozen=True)
class Made:
    """What became of a task: `made`, `there` already, `resumed`, or `failed` for the reason given."""

    name: str
    word: str
    session: Session | None = None
    failure: ChatmlError | None = None


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


def carry_out(project: Project, planned: Sequence[Planned], retry: bool) -> Iterator[Made]:
    """Make what is not there, one after the other; what fails is no reason to stop.

    What a killed run has left before its worker ran is gone on with, and with `retry` what failed too.
    """
    with runners.together():
        try:
            for one in planned:
                yield _again(project, one, retry) if one.there else _made(project, one)
        finally:
            project.queue.fill()


def _made(project: Project, one: Planned) -> Made:
    try:
        return Made(one.name, MADE, make(project, one.task, one.session, checked=True))
    except (ChatmlError, OSError) as error:
        try:  # another run of the same list was faster
            if (session := find.load(project, one.name)).terms.prompt == one.session.terms.prompt:
                return Made(one.name, THERE, session)
        except (ChatmlError, OSError):
            pass
        return _failed(one.name, error)


def _again(project: Project, one: Planned, retry: bool) -> Made:
    session = one.session
    unborn = session.status is Status.CRASHED and not project.store.session(one.name).events.exists()
    if not unborn and not (retry and session.status in (Status.FAILED, Status.CRASHED)):
        return Made(one.name, THERE, session)
    try:
        if session.error is not None and session.error.kind == Kind.CHECK.value:
            control.send(project, one.name, session.terms.prompt)  # resuming would run the check alone
        else:
            control.resume(project, one.name)
        return Made(one.name, RESUMED, find.load(project, one.name))
    except (ChatmlError, OSError) as error:
        return _failed(one.name, error)


def _failed(name: str, error: ChatmlError | OSError) -> Made:
    return Made(name, FAILED, failure=of_machine(error) if isinstance(error, OSError) else error)


class Planner:
    """Checks a list against itself and what is there, and collects all that is wrong."""

    def __init__(self, project: Project, given: Given, problems: list[ChatmlError]) -> None:
        self.project = project
        self.given = given
        self.problems = problems
        self.bases: dict[str | None, Base] = {}
        self.no_bases: dict[str | None, ChatmlError] = {}
        self.branches: dict[str, list[str]] = {}
        self.existing = frozenset(project.store.names())

    def check_given(self) -> None:
        """What is given for all is wrong once, and not in each of them."""
        given, settings = self.given, self.project.config
        config.terms_of(settings, given.flags, config.role_of(settings, given.role) if given.role else None)
        if given.base is not None:
            self.bases[given.base] = base_of(self.project.repo, given.base)

    def planned(self, listed: TaskList) -> list[Planned]:
        rows = [row for row in listed.rows if self._prompt(row)]
        named = self.named(rows)
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

    def named(self, rows: Sequence[TaskRow]) -> dict[str, TaskRow]:
        """The rows by name: their own, or one made from the prompt, with a number where several would have the same.

        A task that is there already keeps its number, so that each run of a list, also one that grew, means the same.
        """
        named: dict[str, TaskRow] = {}
        families: dict[str, dict[str, TaskRow]] = defaultdict(dict)
        for row in rows:
            if row.name is None:
                same = families[slug(row.prompt)].setdefault(row.prompt.strip(), row)
                if same is not row:
                    self._twice(row, same)
            elif (other := named.setdefault(row.name, row)) is not row:
                complaint = f"task {other.number} ({other.place}) has the name '{row.name}' too"
                self._wrong(row, UsageError(complaint, "each session has a name of its own"))
        left = [(stem, self._recognised(stem, family, named)) for stem, family in families.items()]
        for stem, rest in left:
            _number(stem, rest, named)
        return dict(sorted(named.items(), key=lambda item: item[1].number))

    def _twice(self, row: TaskRow, same: TaskRow) -> None:
        hint = "leave one out, or give each a name of its own"
        self._wrong(row, UsageError(f"is the same as task {same.number} ({same.place})", hint))

    def _recognised(self, stem: str, family: Mapping[str, TaskRow], named: dict[str, TaskRow]) -> list[TaskRow]:
        """Name those that are there already, and return the others."""
        left = dict(family)
        for name in sorted(self.existing - {*named}):
            number = re.search(r"-(\d{1,9})$", name)
            if name in (stem, number and numbered(stem, int(number[1]))):
                row = left.pop(self._prompt_of(name) or "", None)
                if row is not None:
                    named[name] = row
        return [*left.values()]

    def _prompt_of(self, name: str) -> str | None:
        try:
            return self.project.store.session(name).read().terms.prompt
        except (ChatmlError, OSError):
            return None

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
            if name in self.existing:
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
        known = {*named, *self.existing, *broken}
        for row in named.values():
            for name in row.after:
                if name not in known:
                    hint = "'after' names other tasks of the list, or sessions that are there"
                    self._wrong(row, UsageError(f"comes after '{name}', which is unknown{nearest(name, known)}", hint))
        graph = {name: [one for one in row.after if one in named] for name, row in named.items()}
        while (cycle := _cycle(graph)) is not None:
            row = min((named[name] for name in cycle), key=lambda one: one.number)
            self._wrong(row, UsageError(f"tasks wait for each other: {' after '.join(cycle)}", "take out one 'after'"))
            graph[cycle[0]] = [name for name in graph[cycle[0]] if name != cycle[1]]
        return _sorted(graph)


def _number(stem: str, rows: Sequence[TaskRow], named: dict[str, TaskRow]) -> None:
    """Give each of them the next name that no other task of the list has."""
    names = (numbered(stem, number) for number in count(1))
    for row in rows:
        named[next(name for name in names if name not in named)] = row


def _cycle(graph: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Names of which each comes after the next one, the last being the first again."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1][::-1]
        return found
    return None


def _sorted(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """The names, each behind those that it comes after, and else in their order."""
    places = {name: place for place, name in enumerate(graph)}
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ready: list[tuple[int, str]] = []
    found = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, (places[name], name))
        name = heapq.heappop(ready)[1]
        sorter.done(name)
        found.append(name)
    return found
