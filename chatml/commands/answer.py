"""`chatml answer`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml.commands import options
from chatml.commands.decisions import Decisions
from chatml.model import Status
from chatml.project import open_project
from chatml.sessions import answer


@click.command()
@options.words("[NAME] ANSWER…", Status.WAITING)
@options.request_id
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, words: tuple[str, ...], request_id: str | None, as_json: bool, quiet: bool) -> int:
    """Answer an agent's question.

    ANSWER is the number of an option, its label, or anything in words; several options go with commas, several
    questions with one ANSWER each. Inside a session's worktree NAME may be left out.
    """
    name, given = (words[:1], words[1:]) if len(words) > 1 else ((), words)
    decisions = Decisions(open_project(at), quiet)
    decisions.make(decisions.asked(name, request_id), lambda request: answer.answer(request, given))
    return decisions.end(as_json)
