"""`chatml path`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing
from chatml.errors import ChatmlError
from chatml.workspace import checkout


@click.command()
@click.argument("name", required=False, shell_complete=completing.names())
@click.pass_obj
def command(at: Path, name: str | None) -> int:
    """Print the path of a session's worktree.

    For example: cd "$(chatml path add-rate-limiting)"
    """
    project = sessions.open_project(at)
    session = sessions.resolve(project, name)
    if not Path(session.worktree).is_dir():
        raise ChatmlError(
            f"the worktree of '{session.name}' is gone: {session.worktree}",
            f"make it again from its branch: {checkout.how_to_make_again(session)}",
        )
    output.answer(session.worktree)
    return 0
