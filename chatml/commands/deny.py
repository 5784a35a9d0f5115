"""`chatml deny`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml.commands import options
from chatml.commands.decisions import Decisions
from chatml.model import Status
from chatml.project import open_project
from chatml.sessions import answer, control


@click.command()
@options.names(Status.WAITING)
@click.option("-m", "--message", "reason", metavar="REASON", help="Why, and what to do instead: the agent reads it.")
@options.request_id
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path, names: tuple[str, ...], reason: str | None, request_id: str | None, as_json: bool, quiet: bool
) -> int:
    """Deny what an agent asks for; it reads why.

    The agent goes on without it; after a denied plan it plans again. Inside a session's worktree NAME may be left
    out.
    """
    decisions = Decisions(open_project(at), quiet)
    reason = control.check_message(reason) if reason is not None else None
    decisions.make(decisions.asked(names, request_id), lambda request: answer.denial(request, reason))
    return decisions.end(as_json)
