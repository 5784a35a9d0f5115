"""`chatml resume`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing, limiting
from chatml.errors import ChatmlError, UsageError

SAYS = {
    "resumed": "resumed {}",
    "at work": "{} is at work already",
    "nothing to do": "{} has nothing to go on with: send it a message",
}
"""What became of it, for people."""


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1, shell_complete=completing.names(*completing.INTERRUPTED))
@click.option("--all", "all_of_them", is_flag=True, help="Resume every session that was stopped, crashed or failed.")
@limiting.options
@output.quiet_option
@output.color_option
@click.pass_obj
def command(
    at: Path,
    names: tuple[str, ...],
    all_of_them: bool,
    max_turns: sessions.Amount | None,
    max_budget_usd: sessions.Amount | None,
    quiet: bool,
) -> int:
    """Go on with an interrupted turn.

    After a stop, a crash, a failure or a reboot: the agent gets what it has not read yet, or is told to go on.
    One that has used up its budget or its turns goes on with more of them: --max-budget-usd +2
    """
    if names and all_of_them:
        raise UsageError("--all takes no names")
    project = sessions.open_project(at)
    limits = sessions.Limits(max_turns, max_budget_usd)
    code = 0
    if all_of_them:
        found, damaged = sessions.load_all(project)
        code = max(map(output.complain, damaged), default=0)
        names = tuple(session.name for session in found if session.status in completing.INTERRUPTED)
    elif not names:
        names = (sessions.resolve(project, None).name,)
    for name in dict.fromkeys(names):
        try:
            amiss = sessions.remade(project, name)
            resumed = sessions.resume(project, name, limits)
        except (ChatmlError, OSError) as error:
            code = max(code, output.complain(error))
        else:
            if amiss:
                output.warning(f"{name}: {output.one_line(amiss)}")
            if not quiet:
                limiting.tell(project, name, limits)
                output.note(SAYS[resumed].format(name))
                limiting.tell_queued(project, name)
    return code
