"""Takes what is uncommitted in a checkout along into a new session's worktree; the checkout stays as it is."""

from __future__ import annotations

from pathlib import Path

from chatml.changes.compare import Comparison
from chatml.changes.snapshot import commit_in, indexed
from chatml.errors import ChatmlError
from chatml.model import Session
from chatml.repo import Repository, git

PREFIX = "refs/chatml/carried/"
"""Where it is kept from git's garbage collection until the worktree has its files."""


def pick_up(top: Path) -> tuple[str | None, tuple[str, ...]]:
    """A commit of all that the checkout holds, on what is checked out there; and what can't come along.

    None where nothing is uncommitted. ChatmlError in the middle of a merge with conflicts.
    """
    if git("ls-files", "--unmerged", "-z", at=top).stdout:
        raise ChatmlError("there are conflicts here that are not resolved", "resolve them first, or do without them")
    with indexed(top) as now:
        commit = commit_in(top, now)
        if now.head is None or commit == now.head:
            return None, now.left_out
        return commit, Comparison(top, now.head, now, top).left_out


def keep(repository: Repository, session: Session) -> None:
    """Keep what the session carries, and what its scope is held against, until `let_go`."""
    made_of = session.checkout
    kept = made_of.carried or (made_of.scope_start if session.terms.scope else None)
    if kept is not None:
        repository.git("update-ref", PREFIX + session.id, kept)


def let_go(repository: Repository, session: Session) -> None:
    """Keep it no longer, if it was kept."""
    if session.checkout.carried is not None or session.checkout.scope_start is not None:
        repository.git("update-ref", "-d", PREFIX + session.id, check=False)
