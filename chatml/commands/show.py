"""`chatml show`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.errors import ChatmlError, UsageError
from chatml.render import requests
from chatml.sessions import find
from chatml.sessions.find import open_project
from chatml.sessions.unsend import unsent
from chatml.state import events
from chatml.text import one_line, printable


@click.command()
@options.name
@click.option("--plan", is_flag=True, help="Print its last plan, as Markdown.")
@options.as_json
@options.color
@click.pass_obj
def command(at: Path, name: str | None, plan: bool, as_json: bool) -> None:
    """Show one session: what it does and needs.

    Inside a session's worktree NAME may be left out.
    """
    if plan and as_json:
        raise UsageError("--plan goes without --json", "'chatml logs --json' has the plan as a request")
    project = open_project(at)
    (session,) = find.with_places(project, [find.resolve(project, name)])
    if plan:
        text = events.last_plan(project.store.session(session.name).events)
        if text is None:
            raise ChatmlError(f"'{session.name}' has made no plan", "start one with --permission-mode plan")
        output.answer(printable(text.rstrip("\n")))
    elif as_json:
        output.json_answer(session.public())
    else:
        (session,) = find.recount(project, [session], every=True)
        for line in requests.page(session):
            output.answer(output.wanted(line))
        for one in unsent(project.store.session(session.name), session):
            output.answer(f"{output.style(f'{one.state}:', dim=True)} {one.id}. {one_line(one.text)}")
