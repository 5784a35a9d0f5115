"""What sessions have cost, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from chatml.model import Tokens
from chatml.text import one_line, paint

Table = tuple[list[list[str]], list[str]]
"""Rows of painted cells, and their headers."""

Row = tuple[str, int, float, Tokens]


def cost_table(by: str, rows: Sequence[Row]) -> Table:
    """The sums with their total; what went in counts whatever cache it came from."""
    total: Row = ("total", 0, 0.0, Tokens())
    for _, turns, usd, tokens in rows:
        total = (total[0], total[1] + turns, total[2] + usd, total[3] + tokens)
    cells = [_cells(row) for row in rows]
    if len(rows) > 1:
        cells.append([paint(cell, bold=True) for cell in _cells(total)])
    return cells, [by.upper(), "TURNS", "COST", "TOKENS IN", "OUT"]


def _cells(row: Row) -> list[str]:
    of, turns, usd, tokens = row
    into = tokens.input + tokens.cache_read + tokens.cache_creation
    cost = f"${usd:.2f}" if usd or tokens != Tokens() else "\N{EN DASH}"  # an agent that is a program tells none
    return [one_line(of), str(turns), cost, f"{into:,}", f"{tokens.output:,}"]
