"""`chatml unsend`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from chatml import output, render, sessions
from chatml.commands import completing
from chatml.errors import UsageError
from chatml.text import one_line, shorten

STATES = {"handed": "the agent has it", "queued": "queued", "unread": "unread"}


@click.command()
@click.argument("words", metavar="[NAME] [ID]…", nargs=-1, shell_complete=completing.names())
@click.option("--all", "all_of_them", is_flag=True, help="Take back all that can be.")
@output.json_option
@output.quiet_option
@output.color_option
@click.pass_obj
def command(at: Path, words: tuple[str, ...], all_of_them: bool, as_json: bool, quiet: bool) -> None:
    """List messages that no agent has read, or take them back.

    Without ID, lists them: those that are queued, and those that wait for the agent to run. What the agent's process
    has been given can't be taken back, also where it has not read it yet. Inside a session's worktree NAME may be
    left out.
    """
    project = sessions.open_project(at)
    name, ids = _understood(project, words)
    if ids and all_of_them:
        raise UsageError("--all takes no ID")
    if ids or all_of_them:
        back = sessions.unsend(project, name, None if all_of_them else ids)
        if as_json:
            _print_json(back)
        elif quiet:
            _print_ids(back)
        else:
            for one in back:
                output.note(f"took back {one.id}: {_short(one)}")
            if not back:
                output.note(f"{name} has nothing to take back")
        return
    found = sessions.unsent(project.store.session(name), sessions.resolve(project, name))
    if as_json:
        _print_json(found)
    elif quiet:
        _print_ids([one for one in found if one.state != sessions.HANDED])
    elif found:
        rows = [[one.id, STATES[one.state], render.age(one.time), _short(one)] for one in found]
        output.answer(output.table(rows, ["ID", "STATE", "AGE", "MESSAGE"]))
    else:
        output.note(f"the agent of {name} has read everything")


def _understood(project: sessions.Project, words: tuple[str, ...]) -> tuple[str, Sequence[str]]:
    """The session's name and the ids; a number that names no session is the id of a message to the one here."""
    names = project.store.names()
    if words and (words[0] in names or not words[0].isdecimal()):
        return sessions.resolve(project, words[0]).name, words[1:]
    return sessions.resolve(project, None).name, words


def _short(one: sessions.Unsent) -> str:
    return shorten(one_line(one.text), max(20, output.width() - 32))


def _print_json(messages: Sequence[sessions.Unsent]) -> None:
    output.json_answer([asdict(one) for one in messages])


def _print_ids(messages: Sequence[sessions.Unsent]) -> None:
    for one in messages:
        output.answer(one.id)
