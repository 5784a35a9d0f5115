"""`chatml stop`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing
from chatml.errors import ChatmlError, UsageError
from chatml.model import Status


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1, shell_complete=completing.names(*completing.AT_WORK))
@click.option(
    "--all", "all_of_them", is_flag=True, help="Stop every session that is at work, or has left something running."
)
@output.quiet_option
@output.color_option
@click.pass_obj
def command(at: Path, names: tuple[str, ...], all_of_them: bool, quiet: bool) -> int:
    """Stop a session's agent; keep everything.

    Ends the turn, the worker, and what the agent has left running. The worktree, the branch and the conversation
    stay; 'chatml resume' goes on with the turn, 'chatml send' with a new message.
    """
    if names and all_of_them:
        raise UsageError("--all takes no names")
    project = sessions.open_project(at)
    code = 0
    if all_of_them:
        found, damaged = sessions.load_all(project)
        code = max(map(output.complain, damaged), default=0)
        # Those that wait for a place first: one that is at work lets the next of them begin.
        still = sorted(
            (one for one in found if one.status.open or one.leftovers), key=lambda one: one.status is not Status.QUEUED
        )
        names = tuple(session.name for session in still)
    elif not names:
        names = (sessions.resolve(project, None).name,)
    for name in dict.fromkeys(names):
        try:
            stopped = sessions.stop(project, name)
        except (ChatmlError, OSError) as error:
            code = max(code, output.complain(error))
        else:
            if not quiet:
                output.note(f"stopped {name}" if stopped else f"{name} is at rest already")
    return code
