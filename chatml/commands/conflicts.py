"""`chatml conflicts`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import Each, tell_runs
from chatml.errors import UsageError
from chatml.project import open_project
from chatml.render import conflicts as render
from chatml.sessions import meetings
from chatml.text import one_line


@click.command()
@options.names()
@click.option("--check", metavar="COMMAND", help="Run it on the merge of all that merges; say who makes it fail.")
@options.as_json
@options.color
@click.pass_obj
def command(at: Path, /, names: tuple[str, ...], check: str | None, as_json: bool) -> int:
    """Tell which sessions don't merge with each other.

    Merges each two sessions, and each one with its base as it is now: in memory, with all that is not committed, and
    with your merge drivers and settings. Nothing is touched, and what was merged before is not merged again. With one
    NAME only what that one is in; with several, those among each other.

    Tells of conflicts, with the files and lines; of files that both have changed and that merge cleanly (overlap); of
    what could not be found out (unknown); and the order in which to land them. Needs git 2.38 or later.

    With --check, COMMAND runs on the merge of all that merges, what is not committed included, in a clean checkout of
    its own. Where it fails, further runs find the smallest sets of sessions that make it fail, alone or only together,
    and the exit code is 1. What was tried once is not tried again. 'chatml logs --check' shows what each run printed.
    """
    if check is not None and not check.strip():
        raise UsageError("--check is empty")
    each = Each(open_project(at))
    named = each.sessions(names) if names else []
    if names and not named:
        return each.code
    found = meetings.look(each.project, each.everyone() if len(named) < 2 else [], named)
    for name, held in found.held.items():
        for sentence in held.notes:
            output.warning(f"{name}: {one_line(sentence)}")
    checked = None
    if check is not None:
        with output.progress() as show:
            checked = meetings.check(each.project, found, check, tell_runs(show))
    if as_json:
        output.json_answer(render.data(found, checked))
    elif found.sessions:
        width = output.width() if sys.stdout.isatty() else None
        output.answer(output.wanted("\n".join(render.page(found, checked, width))))
    elif sys.stdout.isatty():
        output.note('no sessions; start one: chatml new "what to do"')
    return max(each.code, int(checked is not None and not checked.ok))
