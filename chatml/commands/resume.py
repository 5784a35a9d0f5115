"""`chatml resume`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import Each
from chatml.model import Session
from chatml.model.outcome import Outcome
from chatml.project import open_project
from chatml.removal import removing
from chatml.render import outcomes
from chatml.sessions import control
from chatml.sessions.limits import Amount, NewLimits
from chatml.text import printable


@click.command()
@options.names(*options.INTERRUPTED)
@options.everyone("Resume every session that was stopped, crashed or failed.")
@options.limits
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path,
    names: tuple[str, ...],
    everyone: bool,
    max_turns: Amount | None,
    max_budget_usd: Amount | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Go on with an interrupted turn.

    After a stop, a crash, a failure or a reboot: the agent gets what it has not read yet, or is told to go on.
    Of one that is done, the check runs where something else stands there now than it has seen. One that has used up its
    budget or its turns goes on with more of them: --max-budget-usd +2
    """
    each = Each(open_project(at))
    for sentence in removing.finish_interrupted(each.project):
        output.warning(printable(sentence))
    say = output.narrator(quiet)
    limits = NewLimits(max_turns, max_budget_usd)

    def resume(name: str) -> Outcome:
        amiss = control.remade(each.project, name)
        word = control.resume(each.project, name, limits)
        if amiss:
            output.warning(f"{name}: {amiss}")
        each.tell_limits(name, limits, say)
        say(outcomes.SAYS[word].format(name))
        return Outcome(name, word)

    each.do(each.chosen(names, everyone, _interrupted), resume)
    each.tell_places(say)
    return each.end(as_json)


def _interrupted(found: list[Session]) -> list[Session]:
    return [session for session in found if session.status in options.INTERRUPTED]
