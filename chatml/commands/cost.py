"""`chatml cost`."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import click

from chatml import output, render, sessions
from chatml.commands import completing


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1, shell_complete=completing.names())
@click.option(
    "--by",
    type=click.Choice(get_args(sessions.By)),
    default="session",
    help="What to sum up by (default: session). Days are those of your time zone.",
)
@output.json_option
@output.color_option
@click.pass_obj
def command(at: Path, names: tuple[str, ...], by: str, as_json: bool) -> int:
    """Show what sessions have cost.

    Without NAME, all of them; what was removed is gone from the sums. An agent that is a program of yours tells no
    cost. A turn under way, or stopped in its midst, counts with what it has cost so far.
    """
    project = sessions.open_project(at)
    found, trouble = sessions.find(project, names)
    code = max(map(output.complain, trouble), default=0)
    rows = sessions.costs(project, found, cast(sessions.By, by))
    if as_json:
        output.json_answer(
            [{by: row.of, "turns": row.turns, "cost_usd": row.usd, "tokens": vars(row.tokens)} for row in rows]
        )
    elif rows:
        output.answer(output.table(*render.cost_table(by, [(row.of, row.turns, row.usd, row.tokens) for row in rows])))
    return code
