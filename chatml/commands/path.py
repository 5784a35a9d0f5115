"""`chatml path`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.errors import ChatmlError
from chatml.sessions import find
from chatml.sessions.find import open_project


@click.command()
@options.name
@click.pass_obj
def command(at: Path, name: str | None) -> int:
    """Print the path of a session's worktree.

    For example: cd "$(chatml path add-rate-limiting)"
    """
    project = open_project(at)
    session = find.resolve(project, name)
    if not Path(session.worktree).is_dir():
        raise ChatmlError(
            f"the worktree of '{session.name}' is gone: {session.worktree}",
            f"its branch is {session.branch}; 'chatml resume {session.name}' makes the worktree again",
        )
    output.answer(session.worktree)
    return 0
