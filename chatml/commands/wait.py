"""`chatml wait`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options, rest
from chatml.commands.each import Each, places
from chatml.model import Session
from chatml.removal.homecoming import with_landed
from chatml.sessions.running import with_programs


@click.command()
@options.names(*options.AT_WORK)
@click.option("--any", "any_one", is_flag=True, help="Return as soon as one of them is at rest.")
@click.option(
    "--timeout", type=options.Seconds(), metavar="SECONDS", help="Give up after so many seconds (exit code 124)."
)
@options.everywhere("Sessions of all your repositories.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path,
    names: tuple[str, ...],
    any_one: bool,
    timeout: float | None,
    everywhere: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Wait until sessions come to rest.

    Without NAME, for all that are at work or need a person. Exit code 0 if all are done, 1 if one failed, crashed
    or was stopped, 3 as soon as one needs a person, 124 when the time is over.
    """
    watched: list[tuple[Each, rest.Waited]] = []
    for each in places(at, names, everywhere):
        wanted = list(dict.fromkeys(names)) or [session.name for session in each.everyone() if session.status.open]
        watched.append((each, rest.Waited(wanted)))
    code = rest.wait_in([(each.project, waited) for each, waited in watched], timeout, any_one)
    rested = [
        session
        for each, waited in watched
        for session in with_landed(each.project, with_programs(each.project, waited.rested))
    ]
    if as_json:
        output.json_answer(
            [{**one.public(), **({"repository": one.repository} if everywhere else {})} for one in rested]
        )
    else:
        for session in rested:
            output.answer(session.name if quiet else f"{_named(session, everywhere)}: {session.status.value}")
    for session in rested:
        if session.seen.stuck:
            rest.tell_stuck(session)
    if code == rest.TIMED_OUT:
        still = [name for _, waited in watched for name in waited.at_work]
        output.error(f"still at work after {timeout:g} s: {', '.join(still)}")
    return max(code, *(each.code for each, _ in watched), 0)


def _named(session: Session, everywhere: bool) -> str:
    return f"{Path(session.repository).name}: {session.name}" if everywhere else session.name
