"""Shared by the commands that change a session's limits: `resume` and `send`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from chatml import output, sessions
from chatml.errors import ChatmlError
from chatml.model import Session, Status
from chatml.sessions import Amount, Limits

if TYPE_CHECKING:
    _ParamType = click.ParamType[Amount]  # generic since click 8.4 only
else:
    _ParamType = click.ParamType


class _Amount(_ParamType):
    """A number above 0, or how much more with a plus."""

    name = "amount"

    def __init__(self, number: type[int] | type[float], example: str) -> None:
        self._number = number
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Amount:
        if isinstance(value, Amount):
            return value
        try:
            number = self._number(str(value).removeprefix("+"))
        except ValueError:
            number = 0
        if not (number > 0 and math.isfinite(number)) or str(value).startswith("++"):
            self.fail(f"'{value}' is neither a number above 0 nor one more, such as {self._example}", param, ctx)
        return Amount(number, more=str(value).startswith("+"))


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--max-turns` and `--max-budget-usd` for sessions that are there already."""
    turns = click.option(
        "--max-turns",
        type=_Amount(int, "+10"),
        metavar="N|+N",
        help="New limit for the session's model turns; with + so many more.",
    )
    budget = click.option(
        "--max-budget-usd",
        type=_Amount(float, "+2"),
        metavar="USD|+USD",
        help="New limit for the session's cost; with + so much more.",
    )
    return turns(budget(command))


def tell(project: sessions.Project, name: str, limits: Limits) -> None:
    """What a session may use now, where that was changed."""
    for session in _there(project, name) if limits != sessions.AS_BEFORE else ():
        said = []
        if limits.max_budget_usd is not None:
            said.append(f"${session.terms.max_budget_usd:.2f} in all, ${session.spent_usd:.2f} of it spent")
        if limits.max_turns is not None:
            said.append(f"{session.terms.max_turns} model turns in all, {session.agent_turns} of them taken")
        output.note(f"{name} may use {'; '.join(said)}")


def tell_queued(project: sessions.Project, *names: str) -> None:
    """Which of the sessions don't start yet."""
    for session in sessions.with_places(project, _there(project, *names)):
        if session.status is Status.QUEUED:
            output.note(f"{session.name} is queued as number {session.queue_place}: all places are taken")


def _there(project: sessions.Project, *names: str) -> list[Session]:
    """The sessions as they are now; what became of one that isn't there any more is for others to say."""
    found = []
    for name in names:
        with contextlib.suppress(ChatmlError, OSError):
            found.append(sessions.load(project, name))
    return found
