"""`chatml wait`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options, rest
from chatml.commands.each import Each
from chatml.project import open_project
from chatml.removal.homecoming import with_landed
from chatml.sessions.running import with_programs


@click.command()
@options.names(*options.AT_WORK)
@click.option("--any", "any_one", is_flag=True, help="Return as soon as one of them is at rest.")
@click.option(
    "--timeout", type=options.Seconds(), metavar="SECONDS", help="Give up after so many seconds (exit code 124)."
)
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, names: tuple[str, ...], any_one: bool, timeout: float | None, as_json: bool, quiet: bool) -> int:
    """Wait until sessions come to rest.

    Without NAME, for all that are at work or need a person. Exit code 0 if all are done, 1 if one failed, crashed
    or was stopped, 3 as soon as one needs a person, 124 when the time is over.
    """
    each = Each(open_project(at))
    wanted = list(dict.fromkeys(names)) or [session.name for session in each.everyone() if session.status.open]
    waited = rest.wait_for(each.project, wanted, timeout, any_one)
    if as_json:
        output.json_answer(
            [session.public() for session in with_landed(each.project, with_programs(each.project, waited.rested))]
        )
    else:
        for session in waited.rested:
            output.answer(session.name if quiet else f"{session.name}: {session.status.value}")
    for session in waited.rested:
        if session.seen.stuck:
            rest.tell_stuck(session)
    if waited.code == rest.TIMED_OUT:
        output.error(f"still at work after {timeout:g} s: {', '.join(waited.at_work)}")
    return max(each.code, waited.code)
