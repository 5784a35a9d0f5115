"""What the shells offer at TAB: the names of sessions and refs, read anew each time.

Runs while a person types: it says nothing, whatever goes wrong, and starts git only to find the repository.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from chatml.agents import table
from chatml.config.roles import BUILT_IN
from chatml.errors import ChatmlError
from chatml.project import Project, open_project
from chatml.render import rows
from chatml.sessions import find
from chatml.text import shorten


def offered(
    what: str, wanted: Sequence[str], ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """What goes on as it was begun, and is not on the line already."""
    given = ctx.params.get(param.name or "") or ()
    try:
        project = open_project(Path(ctx.find_root().params.get("at") or ".").expanduser().absolute())
        known = _known(project, what, wanted)
    except (ChatmlError, OSError, RuntimeError):  # RuntimeError: a home folder that is not known
        return []
    return [
        CompletionItem(name, help=shorten(text, 60) or None)
        for name, text in known.items()
        if name.startswith(incomplete) and name not in given
    ]


def _known(project: Project, what: str, wanted: Sequence[str]) -> Mapping[str, str]:
    """Each word with what to tell of it."""
    match what:
        case "names":
            return _names(project, wanted)
        case "removed":
            from chatml.removal import restoring

            return {name: f"removed {rows.age(when)} ago" for name, when in restoring.restorable(project)}
        case "refs":
            return dict.fromkeys(project.repo.short_refs(*wanted), "")
        case "agents":
            return dict.fromkeys([*table.BUILT_IN, *project.config.programs], "")
        case "roles":
            return dict.fromkeys([*BUILT_IN, *project.config.roles], "")
    raise AssertionError(what)


def _names(project: Project, wanted: Sequence[str]) -> Mapping[str, str]:
    """The sessions in one of these statuses, or all without any, with what each is doing."""
    readable, damaged = find.load_all(project)
    told = {
        one.name: f"{one.status.value}: {rows.activity(one)}"
        for one in readable
        if not wanted or one.status.value in wanted
    }
    return told if wanted else {**told, **{one.name: "damaged record" for one in damaged}}
