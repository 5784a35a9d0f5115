"""What the shells offer at TAB: the names of sessions and refs, read anew each time.

Runs while a person types: it says nothing, whatever goes wrong, and starts git only to find the repository.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chatml import output, render, sessions
from chatml.agents.table import BUILT_IN as BUILT_IN_AGENTS
from chatml.config.roles import BUILT_IN
from chatml.errors import ChatmlError
from chatml.model import Session, Status

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]

AT_WORK = (Status.QUEUED, Status.PREPARING, Status.RUNNING, Status.WAITING)
INTERRUPTED = (Status.STOPPED, Status.FAILED, Status.CRASHED)


def names(*wanted: Status) -> Completer:
    """Completes the names of the sessions in one of these statuses, or of all, with what each is doing."""

    def found(project: sessions.Project) -> dict[str, str]:
        readable, damaged = sessions.load_all(project)
        told = {one.name: f"{one.status.value}: {render.activity(one)}" for one in readable if _fits(one, wanted)}
        return told if wanted else {**told, **{one.name: "damaged record" for one in damaged}}

    return _completer(found)


def _fits(session: Session, wanted: tuple[Status, ...]) -> bool:
    return not wanted or session.status in wanted


def removed() -> Completer:
    """Completes the names of the sessions that `restore` can bring back."""

    def found(project: sessions.Project) -> dict[str, str]:
        from chatml.removal import restoring

        return {name: f"removed {render.age(when)} ago" for name, when in restoring.restorable(project)}

    return _completer(found)


def refs(*places: str) -> Completer:
    """Completes refs under these places (`refs/heads`, …), as people write them."""
    return _completer(lambda project: dict.fromkeys(project.repo.short_refs(*places), ""))


def agents() -> Completer:
    """Completes the agents that `--agent` knows."""
    return _completer(lambda project: dict.fromkeys([*BUILT_IN_AGENTS, *project.config.agents], ""))


def roles() -> Completer:
    """Completes the roles that `--role` knows."""
    return _completer(lambda project: dict.fromkeys([*BUILT_IN, *project.config.roles], ""))


def _completer(find: Callable[[sessions.Project], dict[str, str]]) -> Completer:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        given = ctx.params.get(param.name or "") or ()
        try:
            found = find(sessions.open_project(Path(ctx.find_root().params.get("at") or ".").expanduser().absolute()))
        except (ChatmlError, OSError, RuntimeError):  # RuntimeError: a home folder that is not known
            return []
        return [
            CompletionItem(name, help=output.shorten(text, 60) or None)
            for name, text in found.items()
            if name.startswith(incomplete) and name not in given
        ]

    return complete
