"""`chatml ls`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import places
from chatml.errors import UsageError
from chatml.model import Session, Status
from chatml.project import Project, open_project
from chatml.removal.homecoming import with_landed
from chatml.render import rows
from chatml.sessions import find, notice
from chatml.sessions.conflicts import with_conflicts
from chatml.sessions.pulls import with_pulls
from chatml.sessions.recount import recount
from chatml.sessions.running import with_programs
from chatml.text import one_line
from chatml.workspace.sizes import sizes, total

REDRAW = 0.25
"""Seconds between two looks of `--watch`."""

RESTING = 1.0
"""Seconds between two looks at the worktrees and workers of sessions at rest: in their records, all else is seen."""


@click.command()
@options.names()
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in Status]),
    help="Only these (repeatable).",
)
@click.option("-w", "--watch", is_flag=True, help="Redraw in place as things change.")
@click.option("--size", is_flag=True, help="Tell what each worktree takes up on the disk.")
@options.everywhere("Sessions of all your repositories.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path,
    names: tuple[str, ...],
    statuses: tuple[str, ...],
    watch: bool,
    size: bool,
    everywhere: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """List sessions and what each is doing.

    Sessions that need you come first. CHANGES counts all that a session would bring to its base; a star means that
    some of it is not committed yet. STATUS says of a session at rest that it has landed where all that it has is in
    its base, here or as last fetched, also squashed or rebased. CONFLICTS names the sessions with which it is known
    not to merge, as 'chatml conflicts' and the workers have last found out. SIZE counts the blocks of the disk; what
    worktrees share by links counts once.
    """
    if watch:
        if size or everywhere:
            raise UsageError("--watch goes with neither --size nor --everywhere")
        return _watch(open_project(at), names, statuses, as_json or quiet)
    shown: list[Session] = []
    code = 0
    for each in places(at, names, everywhere):
        shown += _as_they_are(each.project, each.sessions(names), statuses, every=bool(names))
        code = max(code, each.code)
    _print(shown, as_json, quiet, size, everywhere)
    return code


def _as_they_are(project: Project, found: list[Session], statuses: tuple[str, ...], every: bool) -> list[Session]:
    """The sessions to show, with their place in the queue, pull requests, changes and conflicts.

    Of `every` one the changes are counted anew; else these are all sessions that there are.
    """
    notice.tell_crashes(project, found)
    wanted = [session for session in found if not statuses or session.status.value in statuses]
    counted = recount(project, with_programs(project, find.with_places(project, wanted)), every)
    shown = with_conflicts(project, counted, None if every else found)
    return with_landed(project, with_pulls(project, shown), every)


def _print(found: list[Session], as_json: bool, quiet: bool, size: bool, everywhere: bool) -> None:
    ordered = rows.by_need(found)
    taken = sizes({one.id: Path(one.worktree) for one in ordered}) if size else {}
    if as_json:
        more = [
            {**({"repository": one.repository} if everywhere else {}), **({"size": taken[one.id]} if size else {})}
            for one in ordered
        ]
        output.json_answer([{**one.public(), **extra} for one, extra in zip(ordered, more, strict=True)])
    elif quiet:
        for session in ordered:
            output.answer(session.name)
    elif found:
        width = output.width() if sys.stdout.isatty() else None
        output.answer(output.wanted(rows.session_table(found, width, everywhere, taken)))
        if size:
            output.note(f"{rows.size(total(taken.values()))} in all")
    elif sys.stdout.isatty():
        output.note('no sessions; start one: chatml new "what to do"')


def _watch(project: Project, names: tuple[str, ...], statuses: tuple[str, ...], for_scripts: bool) -> int:
    if for_scripts or not sys.stdout.isatty():
        raise UsageError(
            "--watch needs a terminal, without --json and --quiet", "to follow one from a script: chatml attach NAME"
        )
    shown, alarm, calm = "", notice.Alarm(), Calm(project)
    with output.screen() as draw:
        while True:
            everyone, trouble = find.find(project, names)
            found = _as_they_are(project, everyone, statuses, every=bool(names))
            table = output.wanted(rows.session_table(found, output.width())) if found else "no sessions"
            text = "\n".join([table, *(one_line(f"error: {error}") for error in trouble)])
            if text != shown:
                draw(text)
                shown = text
            if alarm(found):
                output.ring()
            calm.wait(everyone)


class Calm:
    """The time between two looks of `--watch`: longer while all sessions are at rest and no record is written."""

    def __init__(self, project: Project) -> None:
        self._store = project.store
        self._stamps = self._look()

    def _look(self) -> object:
        try:
            return self._store.stamps()
        except OSError:
            return object()  # never the same as before: a session was removed just now

    def wait(self, everyone: list[Session]) -> None:
        """Wait until it's time to look at these sessions again."""
        until = time.monotonic() + (RESTING if all(one.status.at_rest for one in everyone) else REDRAW)
        while True:
            time.sleep(REDRAW)
            before, self._stamps = self._stamps, self._look()
            if self._stamps != before or time.monotonic() >= until:
                return
