"""`chatml logs`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing, following


@click.command()
@click.argument("name", required=False, shell_complete=completing.names())
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until the turn ends.")
@click.option("--json", "as_json", is_flag=True, help="Print one event a line, as JSON.")
@output.color_option
@click.pass_obj
def command(at: Path, name: str | None, follow: bool, as_json: bool) -> int:
    """Print a session's transcript.

    The whole of it: messages, answers, every tool call with its full input and output.
    """
    project = sessions.open_project(at)
    session = sessions.resolve(project, name)
    for _ in following.transcript(project, session, follow=follow, as_json=as_json, fold=False):
        pass
    return 0
