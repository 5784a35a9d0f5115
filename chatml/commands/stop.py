"""`chatml stop`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import Each
from chatml.model import Session, Status
from chatml.model.outcome import Outcome
from chatml.project import open_project
from chatml.render import outcomes
from chatml.sessions import control, family, find


@click.command()
@options.names(*options.AT_WORK)
@options.everyone("Stop every session that is at work, or has left something running.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, names: tuple[str, ...], everyone: bool, as_json: bool, quiet: bool) -> int:
    """Stop a session's agent; keep everything.

    Ends the turn, the worker, and what the agent has left running. The worktree, the branch and the conversation
    stay; 'chatml resume' goes on with the turn, 'chatml send' with a new message.
    """
    each = Each(open_project(at))
    say = output.narrator(quiet)

    def stop(name: str) -> Outcome:
        word = "stopped" if control.stop(each.project, name) else "at rest"
        say(outcomes.SAYS[word].format(name))
        session = find.resolve(each.project, name)
        children = [one.name for one in family.children_of(each.project, session) if one.status.open]
        if children:
            say(f"  {', '.join(children)}: started by its agent, go on")
        return Outcome(name, word, {"children": children})

    each.do(each.chosen(names, everyone, _at_work), stop)
    return each.end(as_json)


def _at_work(found: list[Session]) -> list[Session]:
    """Those that wait for a place first: one that is at work lets the next of them begin."""
    busy = (one for one in found if one.status.open or one.leftovers)
    return sorted(busy, key=lambda one: one.status is not Status.QUEUED)
