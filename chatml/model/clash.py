"""How two branches meet: in which files, and whether what both did there goes together."""

from __future__ import annotations

from enum import Enum

from chatml.record import record

Lines = tuple[int, int]
"""The first and the last of some lines, from 1."""


class Meeting(str, Enum):
    """What becomes of a merge; a contract with other people's scripts."""

    CONFLICT = "conflict"
    OVERLAP = "overlap"
    """Both have changed the same file, and it merges cleanly."""
    CLEAN = "clean"
    UNKNOWN = "unknown"


@record(frozen=True)
class SharedFile:
    """A file that both sides of a merge have changed."""

    path: str
    kind: str | None = None
    """What they don't agree on, in plain words; None where the file merges cleanly."""
    lines: tuple[Lines, ...] = ()
    """Where they don't, in the version of the first side; of what that has deleted, the line before."""
    other_lines: tuple[Lines, ...] = ()
    """The same in the version of the second side."""
    driver: str | None = None
    """The merge driver of this repository that took part: a forge doesn't run it."""

    def turned(self) -> SharedFile:
        """The same, as the second side sees it."""
        return SharedFile(self.path, self.kind, self.other_lines, self.lines, self.driver)


@record(frozen=True)
class Encounter:
    """A merge of two, or of one with its base."""

    a: str
    b: str
    meeting: Meeting
    files: tuple[SharedFile, ...] = ()
    why: str | None = None
    """Why it is unknown."""
    size: int | None = None
    """How many lines it changes in its base; None of a pair, and where that is unknown."""

    def turned(self) -> Encounter:
        """The same, as the other side sees it."""
        return Encounter(self.b, self.a, self.meeting, tuple(one.turned() for one in self.files), self.why, self.size)


def meeting_of(files: tuple[SharedFile, ...]) -> Meeting:
    """What a merge with these files in common has become."""
    if any(one.kind is not None for one in files):
        return Meeting.CONFLICT
    return Meeting.OVERLAP if files else Meeting.CLEAN
