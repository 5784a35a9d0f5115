"""`chatml review`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing, following
from chatml.errors import UsageError
from chatml.model import Session, Status
from chatml.text import one_line, printable


@click.command()
@click.argument("name", metavar="[NAME]", required=False, shell_complete=completing.names())
@click.option("--send", is_flag=True, help="Wait for the findings, and send them to NAME's agent.")
@click.option("--wait", is_flag=True, help="Wait for the findings, and print them.")
@click.option("--model", metavar="MODEL", help="Model that reviews.")
@output.json_option
@output.quiet_option
@output.color_option
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
    project = sessions.open_project(at)
    session = sessions.resolve(project, name)
    review, new, left_out = sessions.review(project, session, model)
    for sentence in left_out:
        output.warning(f"not reviewed: {one_line(sentence)}")
    if not (wait or send or as_json):
        _tell(session, review, new, quiet)
        return 0
    if new and not (quiet or as_json):
        output.note(f"{review.name} reviews {session.name}")
    waited = following.wait_for(project, [review.name], None)
    if not waited.rested:
        return waited.code  # removed meanwhile, which was told
    (rested,) = waited.rested
    if rested.status is not Status.DONE:
        following.tell_outcome(rested)
        return waited.code
    found = _print(rested, as_json, quiet)
    if send and found:
        sessions.send(project, session.name, sessions.message_of(found))
        if not quiet:
            output.note(f"sent {len(found)} finding{'' if len(found) == 1 else 's'} to {session.name}")
    return 0


def _tell(session: Session, review: Session, new: bool, quiet: bool) -> None:
    if quiet:
        output.answer(review.name)
        return
    what = "reviews" if new or review.status is not Status.DONE else "has reviewed"
    output.answer(f"{output.style(review.name, bold=True)} {what} {session.name}")
    output.note(output.style(f"its findings: chatml review {session.name} --wait", err=True, dim=True))


def _print(review: Session, as_json: bool, quiet: bool) -> list[sessions.Finding]:
    """Print what the review has found, and return it."""
    answer = review.result or ""
    found = sessions.findings(printable(answer))
    if as_json:
        output.json_answer([asdict(one) for one in found])
    for one in found if not as_json else ():
        output.answer(str(one))
    if not found and not sessions.found_nothing(answer):
        output.warning(f"no finding in the form that was asked for; read the answer: chatml logs {review.name}")
    elif not found and not quiet:
        output.note("no findings")
    return found
