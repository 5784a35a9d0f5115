"""Names for the tasks of a list: each run of it, also one that grew, gives each task the same."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from chatml.errors import ChatmlError, UsageError
from chatml.project import Project
from chatml.sessions.names import numbered, slug
from chatml.tasks import TaskRow


class Naming:
    """Gives each task of a list its name, and says of each that can't have one why."""

    def __init__(self, project: Project, wrong: Callable[[TaskRow, ChatmlError], None]) -> None:
        self.project = project
        self._wrong = wrong
        self.existing = frozenset(project.store.names())

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


def _number(stem: str, rows: Sequence[TaskRow], named: dict[str, TaskRow]) -> None:
    """Give each of them the next name that no other task of the list has."""
    names = (numbered(stem, number) for number in count(1))
    for row in rows:
        named[next(name for name in names if name not in named)] = row
