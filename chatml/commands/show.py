"""`chatml show`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.errors import ChatmlError, UsageError
from chatml.model import Session, Status
from chatml.project import Project, open_project
from chatml.removal.homecoming import with_landed
from chatml.render import requests
from chatml.sessions import find
from chatml.sessions.conflicts import with_conflicts
from chatml.sessions.pulls import with_pulls
from chatml.sessions.recount import recount
from chatml.sessions.running import with_programs
from chatml.sessions.unsend import unsent
from chatml.state import log
from chatml.text import one_line, printable


@click.command()
@options.name
@click.option("--plan", is_flag=True, help="Print its last plan, as Markdown.")
@options.as_json
@options.color
@click.pass_obj
def command(at: Path, name: str | None, plan: bool, as_json: bool) -> None:
    """Show one session: what it does and needs.

    At the end stands the agent's last answer. Inside a session's worktree NAME may be left out.
    """
    if plan and as_json:
        raise UsageError("--plan goes without --json", "'chatml logs --json' has the plan as a request")
    project = open_project(at)
    (session,) = with_programs(project, find.with_places(project, [find.resolve(project, name)]))
    if plan:
        text = log.last_plan(project.store.session(session.name).events)
        if text is None:
            raise ChatmlError(f"'{session.name}' has made no plan", "start one with --permission-mode plan")
        output.answer(printable(text.rstrip("\n")))
        return
    counted = with_conflicts(project, recount(project, [session], every=True))
    (session,) = with_landed(project, with_pulls(project, counted), every=True)
    if session.checkout.resolving is not None:
        from chatml.sessions import resolving  # here alone: few have a conflict

        session = session.with_seen(resolved=resolving.resolved(project, session))
    if as_json:
        output.json_answer(session.public())
    else:
        for line in requests.page(session, _check_began(project, session)):
            output.answer(output.wanted(line))
        for one in unsent(project.store.session(session.name), session):
            output.answer(f"{output.style(f'{one.state}:', dim=True)} {one.id}. {one_line(one.text)}")
        if session.result:
            output.answer(f"\n{printable(session.result.strip())}")


def _check_began(project: Project, session: Session) -> str | None:
    """When the check began that runs now."""
    if session.terms.check is None or session.status is not Status.RUNNING:
        return None
    return log.check_began(project.store.session(session.name).events)
