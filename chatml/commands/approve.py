"""`chatml approve`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from chatml import output
from chatml.commands import options
from chatml.commands.decisions import Asked, Decisions
from chatml.errors import ChatmlError, UsageError
from chatml.model import Reply, Request, Status
from chatml.project import open_project
from chatml.sessions import allow, answer, find
from chatml.text import one_line


@click.command()
@options.names(Status.WAITING)
@options.request_id
@click.option("--always", is_flag=True, help="Don't ask for such a call again in this session.")
@click.option(
    "--for-all", is_flag=True, help="Nor in any session that is started later: writes the rule into .git/chatml."
)
@click.option("--edit", is_flag=True, help="Change the call's input, or the plan, in $EDITOR first.")
@options.everyone("Everything that the sessions ask, shown first.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path,
    names: tuple[str, ...],
    request_id: str | None,
    always: bool,
    for_all: bool,
    edit: bool,
    everyone: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Approve what an agent asks for: a call, or its plan.

    The agent goes on at once. With --always the rule that would have let the call run holds for this session from
    now on; with --for-all also for each session that is started from now on: it is written into
    .git/chatml/approvals.json. Inside a session's worktree NAME may be left out.
    """
    if everyone and (request_id or edit):
        raise UsageError("--all goes with neither --id nor --edit")
    decisions = Decisions(open_project(at), quiet)

    def approved(request: Request) -> Reply:
        edited = _edited(request) if edit else None
        reply = answer.approval(request, always=always or for_all, edited=edited)
        if for_all:
            allow.allow_for_all(decisions.project, reply.rules)
        return reply

    asked = _everything(decisions, names) if everyone else decisions.asked(names, request_id)
    decisions.make(asked, approved, suffix=" (all sessions)" * for_all)
    return decisions.end(as_json)


def _everything(decisions: Decisions, names: tuple[str, ...]) -> list[Asked]:
    """Each open request but the questions, once the person has seen them; on a terminal, and has agreed."""
    found = [
        (session.name, request)
        for session in decisions.sessions(names)
        for request in find.still_open(decisions.project.store.session(session.name), session)
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
    return [Asked(name, request.id) for name, request in asked]


def _show(asked: Iterable[tuple[str, Request]]) -> None:
    for name, request in asked:
        output.note(f"{output.style(name, err=True, bold=True)} {one_line(request.summary)}")


def _edited(request: Request) -> dict[str, Any]:
    """What the person makes of the input in $EDITOR: of a plan or a command as text, of anything else as JSON.

    ChatmlError where nothing usable comes back.
    """
    before: dict[str, Any] = request.detail.get("input") or {}
    if request.kind == "question":
        raise ChatmlError(f"this is a question: {request.summary}", "answer it with 'chatml answer'")
    if request.kind == "plan":
        return {"plan": _in_editor(str(request.detail.get("plan") or ""), ".md")}
    if isinstance(before.get("command"), str):
        return {**before, "command": _in_editor(before["command"], ".sh").rstrip("\n")}
    text = _in_editor(json.dumps(before, indent=2, ensure_ascii=False), ".json")
    try:
        after = json.loads(text)
    except ValueError as error:
        raise ChatmlError(f"that is no JSON: {error}", "nothing was approved; try again") from None
    if not isinstance(after, dict):
        raise ChatmlError("that is no JSON object", "nothing was approved; try again")
    return after


def _in_editor(text: str, suffix: str) -> str:
    after = click.edit(text, extension=suffix, require_save=True)
    if after is None or not after.strip():
        raise UsageError("the editor was left without saving", "nothing was approved")
    return after
