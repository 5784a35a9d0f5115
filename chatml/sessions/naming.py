"""Names for the tasks of a list: each run of it, also one that grew, gives each task the same."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from chatml.agents import briefing
from chatml.errors import ChatmlError, UsageError
from chatml.model import Issue, Session
from chatml.project import Project
from chatml.sessions import issues
from chatml.sessions.names import numbered, slug
from chatml.tasks import TaskRow

Identity = tuple[str, str | None]
"""A task's prompt, and its issue's key: two of the same are one task."""


class Naming:
    """Gives each task of a list its name, and says of each that can't have one why.

    `about` has the issues of tasks that are about one, by what the task calls it.
    """

    def __init__(
        self, project: Project, wrong: Callable[[TaskRow, ChatmlError], None], about: Mapping[str, Issue]
    ) -> None:
        self.project = project
        self._wrong = wrong
        self._about = about
        self.existing = frozenset(project.store.names())

    def named(self, rows: Sequence[TaskRow]) -> dict[str, TaskRow]:
        """The rows by name: their own, or one made from the prompt, with a number where several would have the same.

        A task that is there already keeps its name, so that each run of a list, also one that grew, means the same.
        """
        named: dict[str, TaskRow] = {}
        families: dict[str, dict[Identity, TaskRow]] = defaultdict(dict)
        for row in rows:
            if row.name is None:
                same = families[self.stem(row)].setdefault(self._identity(row), row)
                if same is not row:
                    self._twice(row, same)
            elif (other := named.setdefault(row.name, row)) is not row:
                complaint = f"task {other.number} ({other.place}) has the name '{row.name}' too"
                self._wrong(row, UsageError(complaint, "each session has a name of its own"))
        self._recognise_issues(rows, families, named)
        left = [(stem, self._recognised(stem, family, named)) for stem, family in families.items()]
        for stem, rest in left:
            _number(stem, rest, named)
        return dict(sorted(named.items(), key=lambda item: item[1].number))

    def stem(self, row: TaskRow) -> str:
        """The name that a row without one gets, but for a number."""
        return slug(row.prompt) if row.issue is None else issues.name_of(self._about[row.issue])

    def is_of(self, session: Session, row: TaskRow) -> bool:
        """Whether it is this task's session: by its issue, or else by its prompt."""
        key = self._issue(row)
        if key is None:
            return session.terms.prompt == row.prompt.strip()
        return session.issue is not None and issues.key_of(session.issue) == key

    def _identity(self, row: TaskRow) -> Identity:
        return row.prompt.strip(), self._issue(row)

    def _issue(self, row: TaskRow) -> str | None:
        return issues.key_of(self._about[row.issue].ref) if row.issue is not None else None

    def _twice(self, row: TaskRow, same: TaskRow) -> None:
        hint = "leave one out, or give each a name of its own"
        self._wrong(row, UsageError(f"is the same as task {same.number} ({same.place})", hint))

    def _recognise_issues(
        self, rows: Sequence[TaskRow], families: Mapping[str, dict[Identity, TaskRow]], named: dict[str, TaskRow]
    ) -> None:
        """Name those whose issue has a session already, whatever it is called.

        An issue of several tasks is told apart by what the person says of it.
        """
        if not any(row.issue is not None for row in rows):
            return
        workers = issues.workers(self.project)
        tasks = Counter(map(self._issue, rows))
        for family in families.values():
            for (prompt, key), row in [*family.items()]:
                for session in workers.get(key, ()) if key is not None else ():
                    same = tasks[key] == 1 or briefing.issue_said(session.terms.prompt, prompt)
                    if same and session.name not in named:
                        named[session.name] = row
                        del family[prompt, key]
                        break

    def _recognised(self, stem: str, family: Mapping[Identity, TaskRow], named: dict[str, TaskRow]) -> list[TaskRow]:
        """Name those that are there already, and return the others."""
        left = dict(family)
        for name in sorted(self.existing - {*named}):
            number = re.search(r"-(\d{1,9})$", name)
            if name in (stem, number and numbered(stem, int(number[1]))):
                row = left.pop((self._prompt_of(name) or "", None), None)
                if row is not None:
                    named[name] = row
        return [*left.values()]

    def _prompt_of(self, name: str) -> str | None:
        try:
            return self.project.store.session(name).read().terms.prompt
        except (ChatmlError, OSError):
            return None


def _number(stem: str, rows: Sequence[TaskRow], named: dict[str, TaskRow]) -> None:
    """Give each of them the next name that no other task of the list has."""
    names = (numbered(stem, number) for number in count(1))
    for row in rows:
        named[next(name for name in names if name not in named)] = row
