"""`chatml unsend`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.errors import UsageError
from chatml.project import Project, open_project
from chatml.render import rows
from chatml.sessions import find, unsend
from chatml.text import one_line, shorten

STATES = {"handed": "the agent has it", "queued": "queued", "unread": "unread"}


@click.command()
@options.words("[NAME] [ID]…", required=False)
@options.everyone("Take back all that can be.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, words: tuple[str, ...], everyone: bool, as_json: bool, quiet: bool) -> None:
    """List messages that no agent has read, or take them back.

    Without ID, lists them: those that are queued, and those that wait for the agent to run. What the agent's process
    has been given can't be taken back, also where it has not read it yet. Inside a session's worktree NAME may be
    left out.
    """
    project = open_project(at)
    name, ids = _understood(project, words)
    if ids and everyone:
        raise UsageError("--all takes no ID")
    if ids or everyone:
        back = unsend.unsend(project, name, None if everyone else ids)
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
    found = unsend.unsent(project.store.session(name), find.resolve(project, name))
    if as_json:
        _print_json(found)
    elif quiet:
        _print_ids([one for one in found if one.state != unsend.HANDED])
    elif found:
        table = [[one.id, STATES[one.state], rows.age(one.time), _short(one)] for one in found]
        output.answer(output.table(table, ["ID", "STATE", "AGE", "MESSAGE"]))
    else:
        output.note(f"the agent of {name} has read everything")


def _understood(project: Project, words: tuple[str, ...]) -> tuple[str, Sequence[str]]:
    """The session's name and the ids; a number that names no session is the id of a message to the one here."""
    names = project.store.names()
    if words and (words[0] in names or not words[0].isdecimal()):
        return find.resolve(project, words[0]).name, words[1:]
    return find.resolve(project, None).name, words


def _short(one: unsend.Unsent) -> str:
    return shorten(one_line(one.text), max(20, output.width() - 32))


def _print_json(messages: Sequence[unsend.Unsent]) -> None:
    output.json_answer([asdict(one) for one in messages])


def _print_ids(messages: Sequence[unsend.Unsent]) -> None:
    for one in messages:
        output.answer(one.id)
