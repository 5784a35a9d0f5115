"""What a task starts from beside its base: what is uncommitted here, or the base once it was fetched."""

from __future__ import annotations

from dataclasses import replace

from chatml.errors import ChatmlError, UsageError
from chatml.project import Project
from chatml.sessions.create import Task
from chatml.sessions.fetching import Fetched, fetched


def check_together(*, with_changes: bool, fetch: bool, base: str | None, branch: str | None, after: object) -> None:
    """UsageError for what can't be asked of one session at once; `base` is what was asked for, not what is set."""
    if with_changes and (base is not None or branch is not None or after or fetch):
        raise UsageError(
            "--with-changes goes with none of --base, --branch, --after and --fetch",
            "what is uncommitted belongs to what is checked out here",
        )
    if fetch and branch is not None:
        raise UsageError("--fetch goes without --branch", "a branch that exists is worked on as it is")


class Outset:
    """Tells of each task where it starts. Each base is fetched once, and what is uncommitted picked up once.

    What went wrong with one of them is raised for each task that asks for it, as the same error.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.left_out: list[str] = []
        """A sentence for each thing that can't come along."""
        self.told: list[str] = []
        """What a person has to know of the bases that were fetched."""
        self._fetched: dict[str | None, Fetched | ChatmlError] = {}
        self._carried: tuple[str | None, str | None] | ChatmlError | None = None

    def of(self, task: Task, *, with_changes: bool, fetch: bool) -> Task:
        """The task with where it starts. ChatmlError where that can't be had."""
        if with_changes:
            return self._with_changes(task)
        return self._from_fetched(task) if fetch else task

    def _with_changes(self, task: Task) -> Task:
        if self._carried is None:
            try:
                self._carried = self._picked_up()
            except ChatmlError as error:
                self._carried = error
        if isinstance(self._carried, ChatmlError):
            raise self._carried
        carried, start = self._carried
        return replace(task, base=None, carried=carried, start=start)

    def _picked_up(self) -> tuple[str | None, str | None]:
        """The commit of what is uncommitted here, if anything is, and the one to start from."""
        from chatml.changes import carrying  # here alone: comparing is heavy, and this is rare

        top = self.project.repo.top
        if top is None:
            raise ChatmlError("there are no changes to take along: this repository is bare", "leave --with-changes out")
        if self.project.store.trying.exists() and top == self.project.repo.home:
            raise ChatmlError("a session is shown in this checkout", "put back your own first: chatml try --stop")
        carried, left_out = carrying.pick_up(top)
        self.left_out += (f"left out: {sentence}" for sentence in left_out)
        # On the commit that it was taken from, whatever is checked out by the time that the session is made.
        return carried, self.project.repo.resolve(f"{carried}^1") if carried else None

    def _from_fetched(self, task: Task) -> Task:
        if task.base not in self._fetched:
            try:
                self._fetched[task.base] = found = fetched(self.project.repo, task.base)
                self.told += [found.note] if found.note is not None else []
            except ChatmlError as error:
                self._fetched[task.base] = error
        known = self._fetched[task.base]
        if isinstance(known, ChatmlError):
            raise known
        return replace(task, base=known.base, start=known.commit)
