"""Arguments and options that several commands have: each declared once, with its help and its completion."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from chatml import output
from chatml.model import Status

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from chatml.sessions.limits import Amount

    _ParamType = click.ParamType[Amount]  # generic since click 8.4 only
else:
    _ParamType = click.ParamType

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

AT_WORK = (Status.QUEUED, Status.PREPARING, Status.RUNNING, Status.WAITING)
INTERRUPTED = (Status.STOPPED, Status.FAILED, Status.CRASHED)


def offer(what: str, *wanted: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]:
    """Completes with `what` (names, removed, refs, agents, roles); what that takes is loaded at TAB alone."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        from chatml.commands import completion

        return completion.offered(what, wanted, ctx, param, incomplete)

    return complete


def name(command: Command) -> Command:
    """`[NAME]`: one session, or the one here."""
    return click.argument("name", metavar="[NAME]", required=False, shell_complete=offer("names"))(command)


def names(*likely: Status, metavar: str = "[NAME]…", of: str = "names") -> Decorator:
    """`[NAME]…`: several sessions; those in a `likely` status are completed, or all."""
    return click.argument("names", metavar=metavar, nargs=-1, shell_complete=offer(of, *likely))


def words(metavar: str, *likely: Status, required: bool = True) -> Decorator:
    """Names, and then something else."""
    return click.argument("words", metavar=metavar, nargs=-1, required=required, shell_complete=offer("names", *likely))


def everyone(what: str) -> Decorator:
    """`--all`."""
    return click.option("--all", "everyone", is_flag=True, help=what)


def everywhere(what: str) -> Decorator:
    """`--everywhere`."""
    return click.option("--everywhere", is_flag=True, help=what)


def dry_run(what: str) -> Decorator:
    return click.option("-n", "--dry-run", is_flag=True, help=what)


def as_json(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")(command)


def json_lines(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print one event a line, as JSON.")(command)


def quiet(command: Command) -> Command:
    return click.option("-q", "--quiet", is_flag=True, help="Print only the answer, one a line.")(command)


def color(command: Command) -> Command:
    """`--color auto|always|never`, settled for all printing before the command runs."""

    def settle(ctx: click.Context, param: click.Parameter, value: str) -> None:  # noqa: ARG001
        output.set_color(value)

    return click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        expose_value=False,
        callback=settle,
        help="When to print colours.",
    )(command)


def request_id(command: Command) -> Command:
    return click.option("--id", "request_id", metavar="ID", help="Which request, where a session has several.")(command)


def limits(command: Command) -> Command:
    """`--max-turns` and `--max-budget-usd` for sessions that are there already."""
    turns: Decorator = click.option(
        "--max-turns",
        type=_Amount(int, "+10"),
        metavar="N|+N",
        help="New limit for the session's model turns; with + so many more.",
    )
    budget: Decorator = click.option(
        "--max-budget-usd",
        type=_Amount(float, "+2"),
        metavar="USD|+USD",
        help="New limit for the session's cost; with + so much more.",
    )
    return turns(budget(command))


class Seconds(click.FloatRange):
    """A time, 0 or more. No moment is ever later than `nan`, so it would be waited for without an end."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"'{value}' is no time in seconds", param, ctx)
        return number


class _Amount(_ParamType):
    """A number above 0, or how much more with a plus."""

    name = "amount"

    def __init__(self, number: type[int] | type[float], example: str) -> None:
        self._number = number
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Amount:
        from chatml.sessions.limits import Amount

        if isinstance(value, Amount):
            return value
        try:
            number = self._number(str(value).removeprefix("+"))
        except ValueError:
            number = 0
        if not (number > 0 and math.isfinite(number)) or str(value).startswith("++"):
            self.fail(f"'{value}' is neither a number above 0 nor one more, such as {self._example}", param, ctx)
        return Amount(number, more=str(value).startswith("+"))
