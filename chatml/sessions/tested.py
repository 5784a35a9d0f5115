"""The tests that an agent ran, as its log has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from chatml.model.event import Event, ToolCall, ToolResult
from chatml.record import record
from chatml.sessions.testcalls import RunnerCall, calls
from chatml.sessions.testcounts import Printed, printed

SHELL = "Bash"
"""The tool that runs commands."""

_RAN = re.compile(r"(?:Error: )?Exit code \d+")
"""How Claude Code begins the output of a command that failed; without it, the command was refused, or cut short."""

_CUT = re.compile(r"Command timed out|timed out after")

_LEFT = re.compile(r"Command .*\bbackground")
"""How it begins where the command goes on in the background: nobody hears of its end."""


@record(frozen=True)
class RanTests:
    """The last run of one test command."""

    command: str
    ok: bool | None
    """Whether they passed; None where neither the exit status nor the output tells."""
    count: int | None
    """How many passed, where the runner says so."""


def runs_of(events: Iterable[Event], worktree: str) -> tuple[RanTests, ...]:
    """The last run of each test command, in the order of these runs; what was not let run is no run."""
    asked: dict[str, ToolCall] = {}
    runs: dict[str, RanTests] = {}
    for event in events:
        what = event.what
        if isinstance(what, ToolCall) and what.name == SHELL:
            asked[what.id] = what
        elif isinstance(what, ToolResult) and (call := asked.pop(what.id, None)) is not None:
            for run in _runs(call, what, worktree):
                runs.pop(run.command, None)
                runs[run.command] = run
    return tuple(runs.values())


def _runs(call: ToolCall, result: ToolResult, worktree: str) -> Iterator[RanTests]:
    command = call.input.get("command")
    if not isinstance(command, str) or not (result.ok or _RAN.match(result.output) or _CUT.search(result.output)):
        return
    found = calls(command, worktree)
    left = bool(call.input.get("run_in_background") or _LEFT.match(result.output))
    # Of several in one command, nobody can tell whose the numbers are.
    said = printed(result.output) if len(found) == 1 and not left else Printed()
    for one in found:
        yield RanTests(one.command, None if left else outcome(one, result.ok, said), said.count)


def outcome(call: RunnerCall, ok: bool, said: Printed) -> bool | None:
    """Whether the tests passed: by the exit status where that is theirs, else by what they printed."""
    if call.if_zero and ok:
        return True
    if call.if_not and not ok:
        return False
    return said.ok
