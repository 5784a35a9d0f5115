"""What became of a session that was removed: its branch, its worktree, and what was kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Fate:
    """What became of a session's branch, and where its commits are now."""

    name: str
    became: Literal["deleted", "kept", "gone"]
    """`gone`: it was so before."""
    why: str | None = None
    """Why one that was to be deleted was kept."""
    landed_in: str | None = None
    """The ref that it has landed in, as people write it."""
    also_on: str | None = None
    """Where it has not landed, another ref that has its commits."""
    unknown: str | None = None
    """Why that could not be found out."""


@dataclass(frozen=True)
class Removed:
    """What became of a session's parts."""

    name: str
    fate: Fate | None = None
    """None for one whose record was damaged: branch and worktree stay as they are."""
    left_out: tuple[str, ...] = ()
    """Ignored files and folders that are too large for the trash."""
    kept_aside: tuple[Path, ...] = ()
    """Repositories that were inside the worktree, where they are now."""
    not_deleted: Path | None = None
    """What is left of the worktree, because it could not be deleted."""
    left_alone: Path | None = None
    """What stands in the worktree's place and is none of the session's."""
    complaints: tuple[str, ...] = ()
    """What could not be taken down before, a sentence each."""
    children: tuple[str, ...] = ()
    """The sessions that its agent has started: they stay, as sessions of their own."""
