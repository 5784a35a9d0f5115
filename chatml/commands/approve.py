"""`chatml approve`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing, deciding
from chatml.errors import UsageError
from chatml.model import Reply, Request, Status
from chatml.text import one_line


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1, shell_complete=completing.names(Status.WAITING))
@click.option("--id", "request_id", metavar="ID", help="Which request, where a session has several.")
@click.option("--always", is_flag=True, help="Don't ask for such a call again in this session.")
@click.option(
    "--for-all", is_flag=True, help="Nor in any session that is started later: writes the rule into .git/chatml."
)
@click.option("--edit", is_flag=True, help="Change the call's input, or the plan, in $EDITOR first.")
@click.option("--all", "all_of_them", is_flag=True, help="Everything that the sessions ask, shown first.")
@output.quiet_option
@output.color_option
@click.pass_obj
def command(
    at: Path,
    names: tuple[str, ...],
    request_id: str | None,
    always: bool,
    for_all: bool,
    edit: bool,
    all_of_them: bool,
    quiet: bool,
) -> int:
    """Approve what an agent asks for: a call, or its plan.

    The agent goes on at once. With --always the rule that would have let the call run holds for this session from
    now on; with --for-all also for each session that is started from now on: it is added to 'allow' in
    .git/chatml/config.yaml. Inside a session's worktree NAME may be left out.
    """
    if all_of_them and (request_id or edit):
        raise UsageError("--all goes with neither --id nor --edit")
    if request_id and len(names) > 1:
        raise UsageError("--id takes one name")
    project = sessions.open_project(at)
    if all_of_them:
        chosen = _everything(project, names)
    else:
        chosen = [(name, request_id) for name in names or (sessions.resolve(project, None).name,)]

    def approved(request: Request) -> Reply:
        edited = deciding.edit(request) if edit else None
        reply = deciding.approval(request, always=always or for_all, edited=edited)
        if for_all:
            sessions.allow_for_all(project, reply.rules)
        return reply

    return deciding.decide(project, chosen, approved, quiet, suffix=" (all sessions)" * for_all)


def _everything(project: sessions.Project, names: tuple[str, ...]) -> list[tuple[str, str | None]]:
    """Each open request but the questions, once the person has seen them; on a terminal, and has agreed."""
    chosen = [sessions.resolve(project, name) for name in names] or sessions.load_all(project)[0]
    found = [
        (session.name, request)
        for session in chosen
        for request in sessions.still_open(project.store.session(session.name), session)
    ]
    asked = [(name, request) for name, request in found if request.kind != "question"]
    _show(asked)
    if len(asked) < len(found):
        count = len(found) - len(asked)
        output.note(f"({count} {'question is' if count == 1 else 'questions are'} left: see 'chatml ls')")
    if not asked:
        output.note("nothing to approve")
    elif sys.stdin.isatty() and not click.confirm("Approve all of these?", err=True):
        return []
    return [(name, request.id) for name, request in asked]


def _show(asked: Iterable[tuple[str, Request]]) -> None:
    for name, request in asked:
        output.note(f"{output.style(name, err=True, bold=True)} {one_line(request.summary)}")
