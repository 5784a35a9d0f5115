"""`chatml answer`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing, deciding
from chatml.model import Status


@click.command()
@click.argument(
    "words", metavar="[NAME] ANSWER…", nargs=-1, required=True, shell_complete=completing.names(Status.WAITING)
)
@click.option("--id", "request_id", metavar="ID", help="Which request, where a session has several.")
@output.quiet_option
@output.color_option
@click.pass_obj
def command(at: Path, words: tuple[str, ...], request_id: str | None, quiet: bool) -> None:
    """Answer an agent's question.

    ANSWER is the number of an option, its label, or anything in words; several options go with commas, several
    questions with one ANSWER each. Inside a session's worktree NAME may be left out.
    """
    project = sessions.open_project(at)
    name, *given = words
    if not given:
        name, given = sessions.resolve(project, None).name, [name]
    request = sessions.asked(project, name, request_id)
    reply = deciding.answer(request, given)
    sessions.reply(project, name, reply)
    if not quiet:
        output.note(f"{name}: {deciding.in_words(request, reply)}")
