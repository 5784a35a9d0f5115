"""What was found out about which sessions have landed, kept with the commits that it holds for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from chatml.errors import ChatmlError
from chatml.record import record
from chatml.state.locks import lock
from chatml.state.paths import StatePaths
from chatml.state.store import read_whole, write_json

KEPT = 10_000
"""Sessions of which it is remembered, those found out last."""

BRIEFLY = 1.0
"""Seconds to wait for another that writes: what is not remembered is found out again."""

SETTLED = 2.5
"""Seconds after which a file that is changed again is sure to have another time: the coarsest clocks of disks."""


@record(frozen=True)
class Arrival:
    """What was found out about one session."""

    tip: str
    """The commit of its branch; empty where that is gone."""
    homes: str
    """The commits of all refs where it may have landed, in few letters."""
    seen: str
    """What its worktree looked like."""
    landed: bool | None = None
    """None where nobody can tell."""


_KINDS: tuple[Any, ...] = (str, str, str, (bool, type(None)))


@record(frozen=True)
class Arrivals:
    """All that was found out, by the sessions' ids."""

    refs: Mapping[str, int]
    """When the files changed that hold the repository's refs; none where they had changed just before."""
    rows: Mapping[str, list[Any]]

    def of(self, session_id: str) -> Arrival | None:
        """What was found out about the session; None for nothing, and for what is damaged."""
        row = self.rows.get(session_id)
        if type(row) is not list or len(row) != len(_KINDS):
            return None
        if not all(isinstance(value, kind) for value, kind in zip(row, _KINDS, strict=True)):
            return None
        return Arrival(*row)

    def hold(self, paths: StatePaths) -> bool:
        """Whether no ref has changed since."""
        return bool(self.refs) and all(_time(paths, name) == at for name, at in self.refs.items())


def read(paths: StatePaths) -> Arrivals:
    """What is there; nothing where it can't be read or is damaged."""
    try:
        data = json.loads(read_whole(str(paths.landed)).decode("utf-8", "surrogatepass"))
        refs, rows = data["refs"], data["rows"]
        if type(refs) is dict and type(rows) is dict:
            return Arrivals(refs, rows)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return Arrivals({}, {})


def remember(paths: StatePaths, refs: Mapping[str, int], found: Mapping[str, Arrival]) -> None:
    """Add what was found out, as far as the disk takes it. `refs` is what `times` said before that."""
    with suppress(OSError, ChatmlError), lock(paths.landed_lock, BRIEFLY):
        rows = dict(read(paths).rows)
        for session_id, one in found.items():
            rows.pop(session_id, None)
            rows[session_id] = list(vars(one).values())
        newest = dict(list(rows.items())[-KEPT:])
        settled = time.time() - max(refs.values(), default=0) / 1e9 > SETTLED
        write_json(paths.landed, {"refs": dict(refs) if settled else {}, "rows": newest})


def times(paths: StatePaths) -> dict[str, int]:
    """When each file and folder changed that says where a branch is; git replaces them, so a folder tells as well."""
    common_dir = paths.root.parent
    found = ["HEAD", "config", "packed-refs", "reftable", *_folders(common_dir, "refs")]
    return {name: _time(paths, name) for name in found}


def _folders(common_dir: os.PathLike[str], name: str) -> Iterable[str]:
    yield name
    with suppress(OSError), os.scandir(os.path.join(common_dir, name)) as entries:
        for entry in entries:
            below = f"{name}/{entry.name}"
            if entry.is_dir(follow_symlinks=False) and below not in ("refs/chatml", "refs/tags"):
                yield from _folders(common_dir, below)


def _time(paths: StatePaths, name: str) -> int:
    try:
        return os.stat(paths.root.parent / name).st_mtime_ns
    except OSError:
        return 0
