"""`chatml logs`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml.commands import conversation, options
from chatml.project import open_project
from chatml.sessions import find


@click.command()
@options.name
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until the turn ends.")
@options.json_lines
@options.color
@click.pass_obj
def command(at: Path, name: str | None, follow: bool, as_json: bool) -> None:
    """Print a session's transcript.

    The whole of it: messages, answers, every tool call with its full input and output.
    """
    project = open_project(at)
    session = find.resolve(project, name)
    conversation.transcript(project, session, follow=follow, as_json=as_json, fold=False)
