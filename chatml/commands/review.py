"""`chatml review`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from chatml import output
from chatml.commands import options, rest
from chatml.errors import UsageError
from chatml.model import Session, Status
from chatml.project import open_project
from chatml.sessions import control, find, review
from chatml.text import one_line, printable


@click.command()
@options.name
@click.option("--send", is_flag=True, help="Wait for the findings, and send them to NAME's agent.")
@click.option("--wait", is_flag=True, help="Wait for the findings, and print them.")
@click.option("--model", metavar="MODEL", help="Model that reviews.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, name: str | None, send: bool, wait: bool, model: str | None, as_json: bool, quiet: bool) -> int:
    """Have another agent review a session's changes.

    Starts the session NAME-review, in the role 'reviewer', on a copy of all that NAME has changed, committed or not,
    and returns. With --wait, --json or --send it waits for the findings and prints them, one a line: severity (high,
    medium or low), file:line, text. What was reviewed already is not reviewed again as long as it stays the same, so
    'chatml review NAME --send' also sends what an earlier call has found.
    """
    if quiet and as_json:
        raise UsageError("choose one of --json and --quiet")
    project = open_project(at)
    session = find.resolve(project, name)
    reviewer, new, left_out = review.review(project, session, model)
    for sentence in left_out:
        output.warning(f"not reviewed: {one_line(sentence)}")
    if not (wait or send or as_json):
        _tell(session, reviewer, new, quiet)
        return 0
    if new and not (quiet or as_json):
        output.note(f"{reviewer.name} reviews {session.name}")
    waited = rest.wait_for(project, [reviewer.name])
    if not waited.rested:
        return waited.code  # removed meanwhile, which was told
    (rested,) = waited.rested
    if rested.status is not Status.DONE:
        rest.tell(rested)
        return waited.code
    found = _print(rested, as_json, quiet)
    if send and found:
        control.send(project, session.name, review.message_of(found))
        if not quiet:
            output.note(f"sent {len(found)} finding{'' if len(found) == 1 else 's'} to {session.name}")
    return 0


def _tell(session: Session, reviewer: Session, new: bool, quiet: bool) -> None:
    if quiet:
        output.answer(reviewer.name)
        return
    what = "reviews" if new or reviewer.status is not Status.DONE else "has reviewed"
    output.answer(f"{output.style(reviewer.name, bold=True)} {what} {session.name}")
    output.note(output.style(f"its findings: chatml review {session.name} --wait", err=True, dim=True))


def _print(reviewer: Session, as_json: bool, quiet: bool) -> list[review.Finding]:
    """Print what the review has found, and return it."""
    answer = reviewer.result or ""
    found = review.findings(printable(answer))
    if as_json:
        output.json_answer([asdict(one) for one in found])
    for one in found if not as_json else ():
        output.answer(str(one))
    if not found and not review.found_nothing(answer):
        output.warning(f"no finding in the form that was asked for; read the answer: chatml logs {reviewer.name}")
    elif not found and not quiet:
        output.note("no findings")
    return found
