"""All repositories of this user: each opened, or why it can't be looked into just now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from chatml.errors import ChatmlError, NotARepositoryError, of_machine
from chatml.project import Project, open_project
from chatml.state import repositories


def note(project: Project) -> None:
    """Keep this repository in mind, for those who ask about all of them; a disk that is full is no reason to stop."""
    with suppress(ChatmlError, OSError):
        repositories.note(project.repo.common_dir, project.repo.home)


def projects(at: Path) -> Iterator[Project | ChatmlError]:
    """Each known repository, the one at `at` too; an error that says which can't be looked into, and why.

    ChatmlError where the index itself can't be read.
    """
    with suppress(NotARepositoryError):
        note(open_project(at))
    for common_dir, home in sorted(repositories.without_gone().items()):
        try:
            project = open_project(home if home.is_dir() else common_dir)
            if project.repo.common_dir != common_dir:
                raise ChatmlError("another repository stands there")
            yield project
        except (ChatmlError, OSError) as error:
            known = of_machine(error) if isinstance(error, OSError) else error
            yield ChatmlError(f"can't look into {home}: {known.message}", known.hint)
