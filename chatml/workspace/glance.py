"""What a worktree looks like from outside, by a few `stat` calls: `ls` takes one of each session."""

from __future__ import annotations

import os
from pathlib import Path

from chatml.model import Session


def git_folder(worktree: Path) -> Path:
    """Where git keeps what it knows of a linked worktree (gitrepository-layout(5)). OSError where none stands there."""
    link = os.fsdecode((worktree / ".git").read_bytes())
    return Path(worktree, link.removeprefix("gitdir: ").rstrip("\n"))


def glance(session: Session) -> str | None:
    """What a few `stat` calls tell of a worktree; another text means that `changes` may be another too.

    Sees every commit, every `git add`, every reset, and files made or removed at the top; a file that somebody edits
    deeper inside is only seen by git itself.
    """
    worktree = session.worktree
    try:
        admin = git_folder(Path(worktree))
        seen = [os.stat(worktree).st_mtime_ns]
    except OSError:
        return None
    return ",".join(map(str, seen + [_mtime(f"{admin}/{name}") for name in ("index", "logs/HEAD", "HEAD")]))


def _mtime(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
