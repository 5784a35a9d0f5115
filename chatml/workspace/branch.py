"""The branch that a session is on, after it was renamed."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from chatml.changes.standing import pointed, registered
from chatml.model import Session
from chatml.repo import Repository


def follow(session: Session, repository: Repository) -> Session:
    """The session on the branch that its own was renamed to, by git's own log of that; as it is without one.

    Costs one look at a file where nothing was renamed.
    """
    worktree = Path(session.worktree)
    try:
        admin = pointed(worktree / ".git") or registered(repository.common_dir, worktree)
        head = os.fsdecode((admin / "HEAD").read_bytes()) if admin else ""
    except OSError:
        return session
    if admin is None or head == f"ref: refs/heads/{session.branch}\n" or repository.tip(session.branch) is not None:
        return session
    branch = _renamed(admin, session.branch)
    return session if repository.tip(branch) is None else replace(session, branch=branch)


def _renamed(admin: Path, branch: str) -> str:
    """What a branch is called after all the renamings that git has noted for the worktree where it is checked out."""
    try:
        log = (admin / "logs" / "HEAD").read_text("utf-8", "surrogateescape")
    except OSError:
        return branch
    for old, new in re.findall(r"\tBranch: renamed refs/heads/(\S+) to refs/heads/(\S+)$", log, re.MULTILINE):
        branch = new if old == branch else branch
    return branch
