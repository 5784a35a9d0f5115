"""`chatml setup`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import Each
from chatml.errors import ChatmlError, Kind
from chatml.model import Status
from chatml.model.event import SetUp
from chatml.model.outcome import Outcome
from chatml.project import Project, open_project
from chatml.removal import removing
from chatml.sessions import control, find, living
from chatml.state import log
from chatml.text import printable


@click.command()
@options.names()
@click.option("--all", "anew", is_flag=True, help="Every step, also those that have passed.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, names: tuple[str, ...], anew: bool, as_json: bool, quiet: bool) -> int:
    """Set up a session's worktree again.

    Runs what is due of 'setup' in the configuration, as that is now: a step is due until it has passed, and where a
    file changed that its if_changed names. What it prints goes to standard error; the command ends with the setup, and
    fails with it. Afterwards the agent goes on where it was due.
    """
    each = Each(open_project(at))
    for sentence in removing.finish_interrupted(each.project):
        output.warning(printable(sentence))
    say = output.narrator(as_json or quiet)

    def set_up(name: str) -> Outcome:
        path = control.locate(each.project, name).events
        seen = max((event.seq for event in log.only(path, SetUp)), default=0)
        if living.set_up(each.project, name, anew) == "nothing to do":
            say(f"{name} is set up already")
            return Outcome(name, "nothing to do")
        _follow(each.project, name, path, seen, quiet or as_json)
        session = find.resolve(each.project, name)
        if session.error is not None and session.error.kind == Kind.SETUP.value:
            raise ChatmlError(session.error.message, session.error.hint)
        if session.status in (Status.CRASHED, Status.STOPPED):
            raise ChatmlError(f"the setup of '{name}' was broken off", f"try again: chatml setup {name}")
        say(f"set up {name}")
        return Outcome(name, "set up")

    each.do(each.named(names), set_up)
    return each.end(as_json)


def _follow(project: Project, name: str, path: Path, seen: int, quiet: bool) -> None:
    """Show what the setup prints, until its worker has come to the end of it."""

    def ended() -> bool:
        return find.resolve(project, name).status not in (Status.QUEUED, Status.PREPARING)

    for event in log.follow(path, ended):
        if event is not None and event.seq > seen and isinstance(event.what, SetUp) and not quiet:
            output.note(printable(event.what.line))
