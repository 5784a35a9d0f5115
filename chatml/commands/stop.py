"""`chatml stop`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing
from chatml.errors import ChatmlError, UsageError


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1, shell_complete=completing.names(*completing.AT_WORK))
@click.option("--all", "all_of_them", is_flag=True, help="Stop every session that is at work.")
@output.quiet_option
@output.color_option
@click.pass_obj
def command(at: Path, names: tuple[str, ...], all_of_them: bool, quiet: bool) -> int:
    """Stop a session's agent; keep everything.

    Ends the turn and the worker. The worktree, the branch and the conversation stay; 'chatml resume' goes on with
    the turn, 'chatml send' with a new message.
    """
    if names and all_of_them:
        raise UsageError("--all takes no names")
    project = sessions.open_project(at)
    if all_of_them:
        names = tuple(session.name for session in sessions.load_all(project)[0] if session.status.open)
    code = 0
    for name in dict.fromkeys(names or (sessions.resolve(project, None).name,) if not all_of_them else names):
        try:
            stopped = sessions.stop(project, name)
        except ChatmlError as error:
            output.error(error.message, error.hint)
            code = max(code, error.exit_code)
        else:
            if not quiet:
                output.note(f"stopped {name}" if stopped else f"{name} is at rest already")
    return code
