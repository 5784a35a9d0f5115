"""`chatml wait`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing, following


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1, shell_complete=completing.names(*completing.AT_WORK))
@click.option("--any", "any_one", is_flag=True, help="Return as soon as one of them is at rest.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after so many seconds (exit code 124)."
)
@output.json_option
@output.quiet_option
@output.color_option
@click.pass_obj
def command(at: Path, names: tuple[str, ...], any_one: bool, timeout: float | None, as_json: bool, quiet: bool) -> int:
    """Wait until sessions come to rest.

    Without NAME, for all that are at work or need a person. Exit code 0 if all are done, 1 if one failed, crashed
    or was stopped, 3 as soon as one needs a person, 124 when the time is over.
    """
    project = sessions.open_project(at)
    code = 0
    wanted = list(dict.fromkeys(names))
    if not wanted:
        found, damaged = sessions.load_all(project)
        code = max(map(output.complain, damaged), default=0)
        wanted = [session.name for session in found if session.status.open]
    waited = following.wait_for(project, wanted, timeout, any_one)
    if as_json:
        output.json_answer([session.public() for session in sessions.with_processes(waited.rested)])
    else:
        for session in waited.rested:
            output.answer(session.name if quiet else f"{session.name}: {session.status.value}")
    if waited.code == following.TIMED_OUT:
        output.error(f"still at work after {timeout:g} s: {', '.join(waited.at_work)}")
    return max(code, waited.code)
