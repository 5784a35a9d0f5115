"""`chatml attach`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import conversation, options
from chatml.commands.each import tell_places
from chatml.project import open_project
from chatml.sessions import find


@click.command()
@options.name
@options.json_lines
@options.color
@click.pass_obj
def command(at: Path, name: str | None, as_json: bool) -> None:
    """Look into a session live, and talk to it.

    Replays the conversation, then follows it. On a terminal, a line that you type is sent to the agent; Ctrl-C
    leaves and stops nothing. Elsewhere it is a plain text stream that ends with the turn.
    """
    project = open_project(at)
    session = find.resolve(project, name)
    if not as_json:
        tell_places(project, [session.name], output.note)
    conversation.attach(project, session.name, as_json)
