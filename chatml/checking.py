"""How a check runs, and how it ended: a shell command that must pass, and the end of what it says."""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from chatml import containment, environment, marking, proc
from chatml.record import record
from chatml.text import beginning, one_line, printable

LINES = 150
"""Lines of the output that are kept, its last ones."""

LINE = 500
"""Characters of one such line."""

KEPT = 1 << 18
"""Bytes of the output that are held while the command runs."""

TOLD = 60_000
"""Bytes of what is kept: half of what a program can be given in one argument."""

NOT_RUN = (126, 127)
"""Exit codes by which a shell says that it could not run a command (POSIX, "Exit Status for Commands")."""


@record(frozen=True)
class CheckRun:
    """How one run of the command ended: `said`, in words that follow its name."""

    said: str
    output: str
    code: int | None = None
    """None where it did not come to its end by itself."""
    cancelled: bool = False

    @property
    def not_run(self) -> bool:
        """Whether the command itself is at fault, so that no agent can mend it."""
        return self.code in NOT_RUN

    @property
    def last_line(self) -> str:
        """The last line that it printed."""
        return one_line(self.output.rpartition("\n")[2])

    def complaint(self, command: str) -> str:
        """What went wrong with it, in one sentence."""
        return f"'{beginning(command)}' {self.said}" + (f": {self.last_line}" if self.last_line else "")


class Tail:
    """The end of an output, however long all of it is."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._cut = False

    def hear(self, piece: bytes) -> None:
        """Take in what came."""
        self._kept += piece
        if len(self._kept) > 2 * KEPT:
            del self._kept[:-KEPT]
            self._cut = True

    def text(self) -> str:
        """Its last lines, without what would move a terminal's cursor or recolour it."""
        lines = bytes(self._kept).decode("utf-8", "replace").rstrip("\r\n").split("\n")
        lines = [_cut(harmless(line)) for line in (lines[1:] or lines if self._cut else lines)[-LINES:]]
        room = TOLD
        for number in range(len(lines) - 1, -1, -1):
            room -= len(lines[number].encode("utf-8", "replace")) + 1
            if room < 0:
                return "\n".join(lines[number + 1 :])
        return "\n".join(lines)


_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
"""Colours, movements, titles (ECMA-48: CSI and OSC sequences, and those of two characters)."""


def harmless(line: str) -> str:
    """One line as a terminal would have left it: of what was written over itself, the last."""
    return printable(_ESCAPES.sub("", line.rstrip("\r")).rpartition("\r")[2])


def shown_line(line: bytes) -> str:
    """One line of an output, harmless, and not longer than anybody reads."""
    return _cut(harmless(line.decode("utf-8", "replace")))


def _cut(text: str) -> str:
    return text if len(text) <= LINE else text[:LINE] + " …"


def execute(
    command: str,
    worktree: Path,
    env: Mapping[str, str],
    *,
    timeout: float,
    contained: bool,
    cancelled: Callable[[], bool],
    listener: Callable[[bytes], None] | None = None,
    mark: str | None = None,
    leaves: bool = False,
) -> CheckRun:
    """Run the command in a worktree, for `timeout` seconds at the most or until `cancelled` says so.

    Whatever it has started ends with it: it is known by its `mark`, one of its own where none is given. With `leaves`,
    what a command that has passed left running may stay. `contained`: in a sandbox, so that it writes there alone.
    The `listener` is given all of the output as it comes.
    """
    tail, mark = Tail(), mark or str(uuid.uuid4())

    def hear(piece: bytes) -> None:
        tail.hear(piece)
        if listener is not None:
            listener(piece)

    own = {"PWD": str(worktree), environment.CHECK: mark}
    argv = ["sh", "-c", command]
    code = None
    with tempfile.TemporaryDirectory(prefix="chatml-", ignore_cleanup_errors=True) as temporary:
        if contained:
            argv = containment.contained(argv, worktree, Path(temporary))
            own["TMPDIR"] = temporary
        try:
            code = proc.run(
                argv,
                cwd=worktree,
                env={**env, **own},
                timeout=timeout,
                cancelled=cancelled,
                listener=hear,
                leaves=leaves,
            ).code
        except TimeoutError:
            pass
        except OSError as error:
            return CheckRun("could not be started", (error.strerror or str(error)).lower(), NOT_RUN[0])
        finally:
            if not (leaves and code == 0):
                marking.sweep(mark, variable=environment.CHECK)  # what has left its group: a server, a daemon
    if code is not None:
        return CheckRun("passed" if code == 0 else f"exited with code {code}", tail.text(), code)
    if cancelled():
        return CheckRun("was broken off", tail.text(), cancelled=True)
    return CheckRun(f"did not end within {_duration(timeout)}", tail.text())


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 and not seconds % 60 else f"{seconds:g} s"
