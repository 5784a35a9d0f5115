"""`chatml ls`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from chatml import output, render, sessions
from chatml.commands import completing, watching
from chatml.errors import ChatmlError, UsageError
from chatml.model import Session, Status

REDRAW = 0.25
"""Seconds between two looks of `--watch`."""


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1, shell_complete=completing.names())
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in Status]),
    help="Only these (repeatable).",
)
@click.option("-w", "--watch", is_flag=True, help="Redraw in place as things change.")
@output.json_option
@output.quiet_option
@output.color_option
@click.pass_obj
def command(
    at: Path, names: tuple[str, ...], statuses: tuple[str, ...], watch: bool, as_json: bool, quiet: bool
) -> int:
    """List sessions and what each is doing.

    Sessions that need you come first. CHANGES counts all that a session would bring to its base; a star means that
    some of it is not committed yet.
    """
    project = sessions.open_project(at)
    if not watch:
        found, trouble = _find(project, names, statuses)
        code = max(map(output.complain, trouble), default=0)
        _print(found, as_json, quiet)
        return code
    if as_json or quiet or not sys.stdout.isatty():
        raise UsageError(
            "--watch needs a terminal, without --json and --quiet", "to follow one from a script: chatml attach NAME"
        )
    return _watch(project, names, statuses)


def _find(
    project: sessions.Project, names: tuple[str, ...], statuses: tuple[str, ...]
) -> tuple[list[Session], list[ChatmlError | OSError]]:
    """The sessions to show, and why others can't be shown."""
    found, trouble = sessions.find(project, names)
    sessions.tell_crashes(project, found)
    wanted = [session for session in found if not statuses or session.status.value in statuses]
    wanted = sessions.with_processes(sessions.with_places(project, wanted))
    return sessions.recount(project, wanted, every=bool(names)), trouble


def _print(found: list[Session], as_json: bool, quiet: bool) -> None:
    if as_json:
        output.json_answer([session.public() for session in render.by_need(found)])
    elif quiet:
        for session in render.by_need(found):
            output.answer(session.name)
    elif found:
        output.answer(render.session_table(found, output.width() if sys.stdout.isatty() else None))
    elif sys.stdout.isatty():
        output.note('no sessions; start one: chatml new "what to do"')


def _watch(project: sessions.Project, names: tuple[str, ...], statuses: tuple[str, ...]) -> int:
    shown, alarm = "", watching.Alarm()
    with output.screen() as draw:
        while True:
            found, trouble = _find(project, names, statuses)
            table = render.session_table(found, output.width()) if found else "no sessions"
            text = "\n".join([table, *(output.one_line(f"error: {error}") for error in trouble)])
            if text != shown:
                draw(text)
                shown = text
            if alarm(found):
                output.ring()
            time.sleep(REDRAW)
