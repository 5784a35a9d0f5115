"""`chatml try`."""
# ruff: noqa: N999

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.errors import ChatmlError, UsageError
from chatml.project import Project, open_project
from chatml.sessions import find, trying
from chatml.text import counted, printable
from chatml.trying.ending import Ended
from chatml.trying.showing import Update

LOOK = 1.0
"""Seconds between two looks of `--follow`."""


@click.command()
@options.name
@click.option("--follow", is_flag=True, help="Stay, and show what its agent does next; Ctrl-C leaves it as it is then.")
@click.option("--stop", is_flag=True, help="Put back exactly what was there.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, name: str | None, follow: bool, stop: bool, as_json: bool, quiet: bool) -> int:
    """Show a session's state in the main checkout.

    There your editor and your server are. Its files, uncommitted ones too, take the place of yours; HEAD and the index
    stay as they are. What was there is kept first, and --stop puts it back byte for byte, after a kill or a reboot
    too. What you edit meanwhile is kept then, and how to give it to the session is told. Untracked files of yours
    stay; where it can't promise to put all back, it changes nothing and says why. 'chatml merge' into that checkout
    has to wait.
    """
    project = open_project(at)
    say = output.narrator(as_json or quiet)
    if stop:
        if name is not None or follow:
            raise UsageError("--stop takes no name, and goes without --follow")
        return _stop(project, as_json, quiet)
    name = find.resolve(project, name).name
    update = trying.show(project, name)
    home = project.repo.home
    if as_json:
        output.json_answer({"name": name, "checkout": str(home), "files": update.files, "kept": list(update.kept)})
    else:
        output.answer(str(home))
    say(f"shows {name}: {counted(update.files, 'file')} changed; put back what was there: chatml try --stop")
    _tell_kept(update)
    while follow:
        time.sleep(LOOK)
        update = trying.show(project, name)
        if update.files:
            say(f"{name}: {counted(update.files, 'file')} changed")
        _tell_kept(update)
    return 0


def _tell_kept(update: Update) -> None:
    if update.kept:
        output.note(f"left as you have edited them: {printable(', '.join(update.kept))}")


def _stop(project: Project, as_json: bool, quiet: bool) -> int:
    ended = trying.stop(project)
    if ended.tried is None:
        raise ChatmlError("no session is shown here", "show one: chatml try NAME")
    if as_json:
        output.json_answer({"name": ended.tried.name, "edits": list(ended.edits), "ref": ended.ref})
        return 0
    if not quiet:
        output.note(f"put back what was in {project.repo.home} before {ended.tried.name} was shown")
    if ended.ref is not None:
        output.note(
            f"your edits of {counted(len(ended.edits), 'file')} are kept in {ended.ref}: {_give(project, ended)}"
        )
    return 0


def _give(project: Project, ended: Ended) -> str:
    """The line of shell that gives the edits to the session; where it is gone, that shows them."""
    assert ended.tried is not None
    show = f"git diff --binary {ended.ref}^ {ended.ref}"
    try:
        session = find.resolve(project, ended.tried.name)
    except ChatmlError:
        return f"see them with: {show}"
    if session.id != ended.tried.id:
        return f"see them with: {show}"
    return f"give them to it with: {show} | git -C {shlex.quote(session.worktree)} apply --3way"
