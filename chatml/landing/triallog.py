"""All that the last trials have printed: a file for each, and one that says what it was."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatml.model import now
from chatml.state.paths import StatePaths
from chatml.state.store import write_json

LOGS = 60
"""Runs whose output is kept."""

SIZE = 4 << 20
"""Bytes of one output that are kept, its first ones: its last lines are in the result."""


@dataclass(frozen=True)
class TrialRun:
    """A run whose output is kept."""

    command: str
    tree: str
    names: tuple[str, ...]
    """The sessions that were in it; none for the base alone."""
    at: str
    """When it began."""
    said: str | None
    """How it ended, in words that follow the command; None where it did not, or runs yet."""
    ok: bool | None
    output: Path
    trial: str = ""
    """Which command of chatml's it belonged to: the same for all runs of one `merge`."""


class TrialLog:
    """The output of one run while it is written. A disk that can't take it stops no run."""

    def __init__(self, paths: StatePaths, command: str, tree: str, names: Sequence[str], trial: str = "") -> None:
        self.name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.log"
        self._path = paths.trial_logs / self.name
        about = {"command": command, "tree": tree, "names": [*names], "at": now(), "trial": trial}
        self._about = {**about, "said": None, "ok": None}
        self._room = SIZE
        self._left_out = 0

        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _make_room(self._path.parent)
            write_json(self._path.with_suffix(".json"), self._about)
            self._path.touch()

    def hear(self, piece: bytes) -> None:
        """Take in what was printed."""
        taken = piece[: self._room]
        self._room -= len(taken)
        self._left_out += len(piece) - len(taken)
        if taken:
            self._write(taken)

    def ended(self, said: str, ok: bool) -> None:
        """Note how the run has ended."""
        if self._left_out:
            self._write(f"\n[{self._left_out:,} bytes more are not kept]\n".encode())
        with contextlib.suppress(OSError):
            write_json(self._path.with_suffix(".json"), {**self._about, "said": said, "ok": ok})

    def _write(self, piece: bytes) -> None:
        with contextlib.suppress(OSError), self._path.open("ab") as file:
            file.write(piece)


def _make_room(folder: Path) -> None:
    """Remove the oldest, so that there is room for one more."""
    for path in sorted(folder.glob("*.json"))[: 1 - LOGS]:
        for file in (path.with_suffix(".log"), path):
            file.unlink(missing_ok=True)


def kept(paths: StatePaths) -> Iterator[TrialRun]:
    """The runs whose output is kept, the newest first."""
    for path in sorted(paths.trial_logs.glob("*.json"), reverse=True):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            about = json.loads(path.read_text("utf-8", "surrogatepass"))
            yield TrialRun(**{**about, "names": tuple(about["names"])}, output=path.with_suffix(".log"))
