"""`chatml cost`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import places
from chatml.render.costs import cost_table
from chatml.sessions.costs import By, Cost, costs, summed


@click.command()
@options.names()
@click.option(
    "--by",
    type=click.Choice(get_args(By)),
    default="session",
    help="What to sum up by (default: session). Days are those of your time zone.",
)
@options.everywhere("Of all your repositories together.")
@options.as_json
@options.color
@click.pass_obj
def command(at: Path, names: tuple[str, ...], by: str, everywhere: bool, as_json: bool) -> int:
    """Show what sessions have cost.

    Without NAME, all of them; what was removed is gone from the sums. An agent that is a program of yours tells its
    cost where the configuration says how to read it. A turn under way, or stopped in its midst, counts with what it has
    cost so far. With --everywhere, sessions are named by their repository.
    """
    found: list[Cost] = []
    code = 0
    for each in places(at, names, everywhere):
        some = costs(each.project, each.sessions(names), cast(By, by))
        where = f"{each.project.repo.name}/" if everywhere and by == "session" else ""
        found += [replace(row, of=f"{where}{row.of}") for row in some]
        code = max(code, each.code)
    rows = summed(found, cast(By, by))
    if as_json:
        output.json_answer(
            [{by: row.of, "turns": row.turns, "cost_usd": row.usd, "tokens": vars(row.tokens)} for row in rows]
        )
    elif rows:
        output.answer(output.table(*cost_table(by, [(row.of, row.turns, row.usd, row.tokens) for row in rows])))
    return code
