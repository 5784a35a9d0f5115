"""`chatml restore`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, removal, render, sessions
from chatml.commands import completing
from chatml.errors import ChatmlError


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1, shell_complete=completing.removed())
@output.quiet_option
@output.color_option
@click.pass_obj
def command(at: Path, names: tuple[str, ...], quiet: bool) -> int:
    """Bring back a removed session.

    Branch, worktree with its uncommitted files, conversation and record. Without NAME, lists what can come back.
    """
    project = sessions.open_project(at)
    if not names:
        for name, when in removal.removed_names(project):
            output.answer(name if quiet else f"{name}\tremoved {render.age(when)} ago")
    code = 0
    for name in dict.fromkeys(names):
        try:
            session = removal.restore(project, name)
        except ChatmlError as error:
            output.error(error.message, error.hint)
            code = max(code, error.exit_code)
        else:
            output.answer(session.name) if quiet else output.note(f"restored {name} in {session.worktree}")
    return code
