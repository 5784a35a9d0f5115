"""`chatml send`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing, following, limiting
from chatml.errors import ChatmlError, UsageError


@click.command()
@click.argument("words", metavar="[NAME]… MESSAGE", nargs=-1, required=True, shell_complete=completing.names())
@click.option("--all", "to_all", is_flag=True, help="Send it to every session.")
@click.option("--interrupt", is_flag=True, help="Stop the current turn first.")
@click.option("--queue", is_flag=True, help="Wait for the end of the current turn; then it starts the next one.")
@click.option("--wait", is_flag=True, help="Wait until the sessions come to rest.")
@limiting.options
@output.quiet_option
@output.color_option
@click.pass_obj
def command(
    at: Path,
    words: tuple[str, ...],
    to_all: bool,
    interrupt: bool,
    queue: bool,
    wait: bool,
    max_turns: sessions.Amount | None,
    max_budget_usd: sessions.Amount | None,
    quiet: bool,
) -> int:
    """Send a message to a session's agent.

    A running agent reads it within its turn; a session at rest starts its next turn. MESSAGE - reads standard
    input. Inside a session's worktree NAME may be left out. 'chatml unsend' takes back what was not read yet. A
    session that has used up its budget or its turns goes on with more of them: --max-budget-usd +2
    """
    if interrupt and queue:
        raise UsageError("--interrupt goes without --queue", "one ends the turn, the other waits for its end")
    *given, message = words
    if to_all and given:
        raise UsageError("--all takes the message alone", "quote the message if it has spaces")
    project = sessions.open_project(at)
    if not given and not to_all and message in project.store.names():
        raise UsageError(f"no message for '{message}'", f'chatml send {message} "what to do next"')
    if message == "-":
        message = sys.stdin.buffer.read().decode("utf-8", "replace")
    message = sessions.check_message(message)
    if to_all:
        names = project.store.names()
    else:
        names = list(dict.fromkeys(given)) or [sessions.resolve(project, None).name]
    limits = sessions.Limits(max_turns, max_budget_usd)
    code, sent = 0, []
    for name in names:
        try:
            amiss = sessions.remade(project, name)
            sessions.send(project, name, message, interrupt, queue, limits)
            sent.append(name)
        except (ChatmlError, OSError) as error:
            code = max(code, output.complain(error))
        else:
            if amiss:
                output.warning(f"{name}: {output.one_line(amiss)}")
            if not quiet:
                limiting.tell(project, name, limits)
    if not quiet and sent:
        output.note(f"{'queued for' if queue else 'sent to'} {', '.join(sent)}")
        limiting.tell_queued(project, *sent)
    if wait and sent:
        code = max(code, _wait(project, sent))
    return code


def _wait(project: sessions.Project, names: list[str]) -> int:
    waited = following.wait_for(project, names, None)
    for session in waited.rested:
        following.tell_outcome(session)
    return waited.code
