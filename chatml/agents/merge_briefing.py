"""What is said to an agent whose work merges, and then fails a check."""

from __future__ import annotations

from collections.abc import Sequence

from chatml.agents.briefing import OTHERS, indented
from chatml.text import one_line, printable


def unfit(into: str, tip: str, command: str, said: str, output: str, together: Sequence[str]) -> str:
    """Asks to mend what a check has found of the work merged into a branch; `together`: with whose alone it fails."""
    if together:
        others = ", ".join(f"'{name}'" for name in together)
        whose = f"your work together with that of {others}, not with either alone"
    else:
        whose = "your work merged into it"
    return (
        f"{OTHERS} Your work was not landed in {one_line(into)} ({tip[:12]}): this command fails on {whose}:\n\n"
        f"{indented(command)}\n\n"
        f"It {said}. The last of what it printed:\n\n{indented(printable(output)[-4000:] or '(nothing)')}\n\n"
        f"Bring that branch into yours now (this once you may): git merge {tip}\n"
        "Then find the cause and mend it, and commit that. Don't drop what the other side has changed, and don't "
        "change what the command tests only to make it pass."
    )
