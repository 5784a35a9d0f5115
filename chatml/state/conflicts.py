"""What merges of sessions in memory have come to, kept so that none is made twice, and none while somebody waits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from chatml.model.clash import SharedFile
from chatml.state.paths import StatePaths
from chatml.state.store import read_whole, write_json

MERGES = 5000
"""Merges that are remembered: those of a hundred sessions with each other."""

OTHERS = 1000
"""States of worktrees, and attributes of bases, that are remembered."""

SIGNIFICANT = 20
"""Digits of a commit's id that tell it from others here."""

VERSION = 1


@dataclass(frozen=True)
class Met:
    """What one merge has come to."""

    files: tuple[SharedFile, ...] = ()
    size: int | None = None
    """How many lines it changes, where somebody asked for that."""


@dataclass
class ConflictCache:
    """What is remembered: none of it can be wrong, as it is known by what has been merged and how."""

    merges: dict[str, list[Any]] = field(default_factory=dict)
    """By `key`."""
    marks: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """The commits of worktrees with uncommitted work, by what these look like; and what git could not take in."""
    attributes: dict[str, str] = field(default_factory=dict)
    """What tells the attributes of a base from others, by its commit."""
    seen: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """By a session's id: what its record said when it was looked at, the commit that it was, and how it was merged."""
    looked_at: set[str] = field(default_factory=set)
    """The ids of sessions that were looked at since it was read."""
    changed: bool = False
    """Whether it holds something that the file doesn't."""

    def met(self, key: str) -> Met | None:
        """What a merge has come to; None where that is not known."""
        try:
            files, size = self.merges[key]
            return Met(tuple(_file(one) for one in files), size) if _sound(files, size) else None
        except (KeyError, TypeError, ValueError):
            return None

    def note(self, key: str, met: Met) -> None:
        """Remember a merge."""
        self.merges.pop(key, None)
        self.merges[key] = [[_data(one) for one in met.files], met.size]
        self.changed = True

    def note_seen(self, session_id: str, seen: tuple[str, str, str]) -> None:
        """Remember what a session has been."""
        if self.seen.get(session_id) != seen:
            self.changed = True
        self.seen[session_id] = seen
        self.looked_at.add(session_id)


def key(how: str, ours: str, theirs: str) -> str:
    """What a merge of two commits is remembered by, made with such settings and attributes."""
    return f"{how[:SIGNIFICANT]}:{ours[:SIGNIFICANT]}:{theirs[:SIGNIFICANT]}"


def read(paths: StatePaths) -> ConflictCache:
    """What is there; nothing where it can't be read or is damaged."""
    try:
        found = json.loads(read_whole(str(paths.conflicts)).decode("utf-8", "surrogatepass"))
        if found["version"] != VERSION:
            return ConflictCache()
        marks = {mark: (str(commit), tuple(map(str, left))) for mark, (commit, left) in found["marks"].items()}
        seen = {one: (str(said), str(commit), str(how)) for one, (said, commit, how) in found["seen"].items()}
        attributes = {commit: str(how) for commit, how in found["attributes"].items()}
        return ConflictCache(dict(found["merges"]), marks, attributes, seen)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ConflictCache()


def write(paths: StatePaths, cache: ConflictCache) -> None:
    """Replace what is there, by the newest of what is remembered. OSError."""
    write_json(
        paths.conflicts,
        {
            "version": VERSION,
            "seen": _last(cache.seen, OTHERS),
            "marks": _last(cache.marks, OTHERS),
            "attributes": _last(cache.attributes, OTHERS),
            "merges": _last(cache.merges, MERGES),
        },
    )


def merged(mine: ConflictCache, others: ConflictCache) -> ConflictCache:
    """What is remembered in both; `mine` was read before, and is newer in all that was looked at since."""
    return ConflictCache(
        {**others.merges, **mine.merges},
        {**others.marks, **mine.marks},
        {**others.attributes, **mine.attributes},
        {**mine.seen, **others.seen, **{one: mine.seen[one] for one in mine.looked_at}},
    )


def _last(known: Mapping[str, Any], most: int) -> dict[str, Any]:
    return dict([*known.items()][-most:])


def conflicting(cache: ConflictCache) -> Iterator[tuple[str, str, str, bool]]:
    """All merges: how they were made, the beginnings of both commits' ids, and whether they conflict."""
    for known, value in cache.merges.items():
        with suppress(TypeError, ValueError, IndexError, KeyError):  # damaged
            how, ours, theirs = known.split(":")
            yield how, ours, theirs, any(file[1] is not None for file in value[0])


def _data(one: SharedFile) -> list[Any]:
    """A file as it is read again."""
    lines, others = ([[*two] for two in some] for some in (one.lines, one.other_lines))
    return [one.path, one.kind, lines, others, one.driver]


def _file(data: list[Any]) -> SharedFile:
    path, kind, lines, others, driver = data
    return SharedFile(path, kind, tuple((a, b) for a, b in lines), tuple((a, b) for a, b in others), driver)


def _sound(files: list[Any], size: object) -> bool:
    return (size is None or type(size) is int) and all(
        type(one) is list
        and len(one) == 5
        and type(one[0]) is str
        and (one[1] is None or type(one[1]) is str)
        and all(type(part) is list and all(map(_range, part)) for part in one[2:4])
        and (one[4] is None or type(one[4]) is str)
        for one in files
    )


def _range(lines: object) -> bool:
    return type(lines) is list and len(lines) == 2 and all(type(one) is int for one in lines)
