"""The branch that a session is on, after it was renamed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from chatml.model import Session
from chatml.repo import Repository
from chatml.workspace.glance import git_folder


def follow(session: Session, repository: Repository) -> Session:
    """The session on the branch that its own was renamed to, by git's own log of that; as it is without one.

    Costs one look at a file where nothing was renamed.
    """
    admin = _registered(session, repository)
    try:
        head = (admin / "HEAD").read_text() if admin else ""
    except OSError:
        return session
    if admin is None or head == f"ref: refs/heads/{session.branch}\n" or repository.tip(session.branch) is not None:
        return session
    branch = _renamed(admin, session.branch)
    return session if repository.tip(branch) is None else replace(session, branch=branch)


def _registered(session: Session, repository: Repository) -> Path | None:
    """Git's own folder for the session's worktree, also where that itself is gone."""
    link = Path(session.worktree) / ".git"
    if link.is_file():
        return git_folder(link.parent)
    places = (repository.common_dir / "worktrees").glob("*/gitdir")
    return next((place.parent for place in places if place.read_text().rstrip("\n") == str(link)), None)


def _renamed(admin: Path, branch: str) -> str:
    """What a branch is called after all the renamings that git has noted for the worktree where it is checked out."""
    try:
        log = (admin / "logs" / "HEAD").read_text("utf-8", "surrogateescape")
    except OSError:
        return branch
    for old, new in re.findall(r"\tBranch: renamed refs/heads/(\S+) to refs/heads/(\S+)$", log, re.MULTILINE):
        branch = new if old == branch else branch
    return branch
