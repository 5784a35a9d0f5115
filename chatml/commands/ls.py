"""`chatml ls`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from chatml import output, render, sessions
from chatml.commands import completing
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
        found, code = _find(project, names, statuses)
        _print(found, as_json, quiet)
        return code
    if as_json or quiet or not sys.stdout.isatty():
        raise UsageError(
            "--watch needs a terminal, without --json and --quiet", "to follow one from a script: chatml attach NAME"
        )
    return _watch(project, names, statuses)


def _find(project: sessions.Project, names: tuple[str, ...], statuses: tuple[str, ...]) -> tuple[list[Session], int]:
    if names:
        found, code = [], 0
        for name in dict.fromkeys(names):
            try:
                found.append(sessions.resolve(project, name))
            except (ChatmlError, OSError) as error:
                code = max(code, output.complain(error))
    else:
        found, damaged = sessions.load_all(project)
        code = max(map(output.complain, damaged), default=0)
    wanted = [session for session in found if not statuses or session.status.value in statuses]
    return sessions.recount(project, wanted, every=bool(names)), code


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
    shown = ""
    with output.screen() as draw:
        while True:
            found, _ = _find(project, names, statuses)
            text = render.session_table(found, output.width()) if found else "no sessions"
            if text != shown:
                draw(text)
                shown = text
            time.sleep(REDRAW)
