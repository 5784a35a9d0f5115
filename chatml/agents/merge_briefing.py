"""What is said to an agent whose work merges, and then fails a check."""

from __future__ import annotations

from collections.abc import Sequence

from chatml.agents.briefing import MOST_FILES, OTHERS, indented
from chatml.text import one_line, printable, shorten


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


def merging(base: str, tip: str, files: Sequence[str]) -> str:
    """Asks to end the merge of its base that was begun in its worktree."""
    listed = "".join(f"- {shorten(one_line(path), 200)}\n" for path in files[:MOST_FILES])
    more = f"- and {len(files) - MOST_FILES} more\n" if len(files) > MOST_FILES else ""
    what = f"These files conflict, and have conflict markers:\n\n{listed}{more}\n" if files else ""
    return (
        f"{OTHERS} Your base {one_line(base)} ({tip[:12]}) has moved on, and is being merged into your branch: "
        f"a merge is in progress in your worktree.\n\n{what}"
        "Resolve each conflict so that both sides keep what they were made for, run the tests, and commit the merge "
        "(this once you may): git add the files, then git commit --no-edit. Don't abort the merge, and don't drop what "
        "the other side has changed. Where you can't tell which side is right, say so in your answer."
    )
