"""`chatml path`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.project import open_project
from chatml.sessions import find


@click.command()
@options.name
@options.as_json
@click.pass_obj
def command(at: Path, name: str | None, as_json: bool) -> None:
    """Print the path of a session's worktree.

    For example: cd "$(chatml path add-rate-limiting)"
    """
    project = open_project(at)
    session = find.resolve(project, name)
    if not Path(session.worktree).is_dir():
        raise find.worktree_gone(session)
    if as_json:
        output.json_answer({"name": session.name, "worktree": session.worktree})
    else:
        output.answer(session.worktree)
