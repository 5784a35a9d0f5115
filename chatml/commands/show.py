"""`chatml show`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, render, sessions
from chatml.commands import completing
from chatml.errors import ChatmlError, UsageError
from chatml.state import events


@click.command()
@click.argument("name", metavar="[NAME]", required=False, shell_complete=completing.names())
@click.option("--plan", is_flag=True, help="Print its last plan, as Markdown.")
@output.json_option
@output.color_option
@click.pass_obj
def command(at: Path, name: str | None, plan: bool, as_json: bool) -> None:
    """Show one session: what it does and needs, and its last answer.

    Inside a session's worktree NAME may be left out.
    """
    if plan and as_json:
        raise UsageError("--plan goes without --json", "'chatml logs --json' has the plan as a request")
    project = sessions.open_project(at)
    (session,) = sessions.with_processes(sessions.with_places(project, [sessions.resolve(project, name)]))
    if plan:
        text = events.last_plan(project.store.session(session.name).events)
        if text is None:
            raise ChatmlError(f"'{session.name}' has made no plan", "start one with --permission-mode plan")
        output.answer(output.printable(text.rstrip("\n")))
    elif as_json:
        output.json_answer(session.public())
    else:
        (session,) = sessions.recount(project, [session], every=True)
        for line in render.page(session):
            output.answer(line)
        for one in sessions.unsent(project.store.session(session.name), session):
            output.answer(f"{output.style(f'{one.state}:', dim=True)} {one.id}. {output.one_line(one.text)}")
        if session.result:
            output.answer(f"\n{output.printable(session.result.strip())}")
