"""`chatml send`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chatml import output
from chatml.commands import options, rest
from chatml.commands.each import Each
from chatml.errors import UsageError
from chatml.model.outcome import Outcome
from chatml.project import open_project
from chatml.removal import removing
from chatml.removal.homecoming import with_landed
from chatml.sessions import control
from chatml.sessions.limits import Amount, NewLimits
from chatml.sessions.running import with_programs
from chatml.text import printable


@click.command()
@options.words("[NAME]… MESSAGE")
@options.everyone("Send it to every session.")
@click.option("--interrupt", is_flag=True, help="Stop the current turn first.")
@click.option("--queue", is_flag=True, help="Wait for the end of the current turn; then it starts the next one.")
@click.option("--wait", is_flag=True, help="Wait until the sessions come to rest.")
@options.limits
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path,
    words: tuple[str, ...],
    everyone: bool,
    interrupt: bool,
    queue: bool,
    wait: bool,
    max_turns: Amount | None,
    max_budget_usd: Amount | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Send a message to a session's agent.

    A running agent reads it within its turn; a session at rest starts its next turn. MESSAGE - reads standard
    input. Inside a session's worktree NAME may be left out. 'chatml unsend' takes back what was not read yet. A
    session that has used up its budget or its turns goes on with more of them: --max-budget-usd +2
    """
    if interrupt and queue:
        raise UsageError("--interrupt goes without --queue", "one ends the turn, the other waits for its end")
    *names, message = words
    if everyone and names:
        raise UsageError("--all takes the message alone", "quote the message if it has spaces")
    each = Each(open_project(at))
    for sentence in removing.finish_interrupted(each.project):
        output.warning(printable(sentence))
    if not names and not everyone and message in each.project.store.names():
        raise UsageError(f"no message for '{message}'", f'chatml send {message} "what to do next"')
    text = control.check_message(_read(message))
    limits = NewLimits(max_turns, max_budget_usd)
    say = output.narrator(quiet)

    def send(name: str) -> Outcome:
        amiss = control.remade(each.project, name)
        number = control.send(each.project, name, text, interrupt, queue, limits)
        if amiss:
            output.warning(f"{name}: {amiss}")
        each.tell_limits(name, limits, say)
        return Outcome(name, "sent", {"id": number, "session": None})

    each.do(each.chosen(names, everyone, lambda found: found), send)
    sent = [outcome.name for outcome in each.done()]
    if sent:
        say(f"{'queued for' if queue else 'sent to'} {', '.join(sent)}")
    each.tell_places(say)
    if not (wait and sent):
        return each.end(as_json)
    waited = rest.wait_for(each.project, sent)
    each.add(
        "session",
        {
            session.name: session.public()
            for session in with_landed(each.project, with_programs(each.project, waited.rested))
        },
    )
    for session in waited.rested if not as_json else ():
        rest.tell(session)
    return max(each.end(as_json), waited.code)


def _read(message: str) -> str:
    return sys.stdin.buffer.read().decode("utf-8", "replace") if message == "-" else message
