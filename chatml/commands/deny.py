"""`chatml deny`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing, deciding
from chatml.errors import UsageError
from chatml.model import Status


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1, shell_complete=completing.names(Status.WAITING))
@click.option("-m", "--message", "reason", metavar="REASON", help="Why, and what to do instead: the agent reads it.")
@click.option("--id", "request_id", metavar="ID", help="Which request, where a session has several.")
@output.quiet_option
@output.color_option
@click.pass_obj
def command(at: Path, names: tuple[str, ...], reason: str | None, request_id: str | None, quiet: bool) -> int:
    """Deny what an agent asks for; it reads why.

    The agent goes on without it; after a denied plan it plans again. Inside a session's worktree NAME may be left
    out.
    """
    if request_id and len(names) > 1:
        raise UsageError("--id takes one name")
    project = sessions.open_project(at)
    reason = sessions.check_message(reason) if reason is not None else None
    chosen = [(name, request_id) for name in names or (sessions.resolve(project, None).name,)]
    return deciding.decide(project, chosen, lambda request: deciding.denial(request, reason), quiet)
