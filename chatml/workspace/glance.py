"""What a worktree looks like from outside, by a few `stat` calls: `ls` takes one of each session."""

from __future__ import annotations

import os
from pathlib import Path

from chatml.model import Session
from chatml.repo.layout import named_by


def git_folder(worktree: Path) -> Path:
    """Where git keeps what it knows of a linked worktree (gitrepository-layout(5)). OSError where none stands there."""
    return named_by(worktree / ".git")


def is_worktree(path: Path) -> bool:
    """Whether a checked out worktree stands there, as far as its folder tells."""
    return (path / ".git").is_file()


def glance(session: Session) -> str | None:
    """What a few `stat` calls tell of a worktree; another text means that `changes` may be another too.

    Sees every commit, every `git add`, every reset, and files made or removed at the top; a file that somebody edits
    deeper inside is only seen by git itself. First stands what is enough to see that nothing has happened.
    """
    worktree = session.worktree
    try:
        admin = git_folder(Path(worktree))
        top = os.stat(worktree).st_mtime_ns
    except OSError:
        return None
    exact = [top, *(_mtime(f"{admin}/{name}") for name in ("index", "logs/HEAD", "HEAD"))]
    return f"{_quick(worktree, str(admin))} {','.join(map(str, exact))} {admin}"


def looks_the_same(session: Session) -> bool:
    """Whether the session's worktree looks as it did when its `changes` were counted.

    By three `stat` calls where nothing was done there: git replaces each file in its folder of the worktree through a
    lock beside it. Where it only looked, that folder has changed, and what it holds has not.
    """
    seen = session.changes_seen
    if seen is None:
        return False
    quick, _, exact = seen.partition(" ")
    if _quick(session.worktree, exact.partition(" ")[2]) == quick:
        return True
    now = glance(session)
    return now is not None and now.partition(" ")[2] == exact


def recorded(session: Session) -> str | None:
    """What the record says of what the worktree holds: another text means that it may be another by now.

    None where nobody has looked.
    """
    if session.changes_seen is None or session.changes is None:
        return None
    counted = vars(session.changes).values()
    return f"{session.changes_seen.partition(' ')[2]} {','.join(map(str, counted))}"


def _quick(worktree: str, admin: str) -> str:
    return f"{_mtime(worktree)},{_mtime(f'{worktree}/.git')},{_mtime(admin)}"


def _mtime(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
