"""`chatml attach`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing, following, limiting


@click.command()
@click.argument("name", required=False, shell_complete=completing.names())
@click.option("--json", "as_json", is_flag=True, help="Print one event a line, as JSON.")
@output.color_option
@click.pass_obj
def command(at: Path, name: str | None, as_json: bool) -> int:
    """Look into a session live, and talk to it.

    Replays the conversation, then follows it. On a terminal, a line that you type is sent to the agent; Ctrl-C
    leaves and stops nothing. Elsewhere it is a plain text stream that ends with the turn.
    """
    project = sessions.open_project(at)
    name = sessions.resolve(project, name).name
    if not as_json:
        limiting.tell_queued(project, name)
    return following.attach(project, name, as_json)
