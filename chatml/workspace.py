"""Makes a session's worktree: registers it, fills it, and finds it again after it was moved."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from chatml import repo
from chatml.errors import ChatmlError, Kind
from chatml.model import Session
from chatml.repo import Repository
from chatml.store import Store


def is_worktree(path: Path) -> bool:
    """Whether a checked out worktree stands there, as far as its folder tells."""
    return (path / ".git").is_file()


def prepare(session: Session, cancelled: Callable[[], bool]) -> str:
    """Make the session's worktree ready for its agent; returns what a post-checkout hook said.

    Safe to repeat after a crash at any point: files are only written until that has succeeded once. ChatmlError of
    kind `worktree` where it can't be made.
    """
    worktree = Path(session.worktree)
    if not is_worktree(worktree):
        restore_folder(session)
        return repo.populate(worktree, cancelled)
    if session.populated:
        return ""
    return repo.populate(worktree, cancelled)


def restore_folder(session: Session) -> None:
    """Register the worktree of an existing branch anew, where its folder was deleted."""
    repository = Repository.discover(Path(session.repository))
    worktree = Path(session.worktree)
    if worktree.exists() and os.listdir(worktree):
        raise ChatmlError(
            f"{worktree} is not the session's worktree any more", "move that folder away and try again", Kind.WORKTREE
        )
    if repository.tip(session.branch) is None and not _never_made(session):
        raise ChatmlError(
            f"both the worktree and the branch of '{session.name}' are gone",
            f"remove the session with 'chatml rm --force {session.name}'",
            Kind.WORKTREE,
        )
    made = repository.tip(session.branch) is not None
    with Store(repository.common_dir).lock():
        _drop_unfinished(repository.common_dir, worktree)
        repository.git("worktree", "prune")
        repository.add_worktree(worktree, session.branch, None if made else session.base.commit)


def _drop_unfinished(common_dir: Path, worktree: Path) -> None:
    """Unlock what a killed `git worktree add` has left: git itself keeps it for ever, as locked."""
    for place in common_dir.glob("worktrees/*/gitdir"):
        with contextlib.suppress(OSError):
            lock = place.with_name("locked")
            mine = os.fsdecode(place.read_bytes().rstrip(b"\n")) == str(worktree / ".git")
            if mine and lock.read_text().strip() == "initializing":  # the reason that git-worktree(1) gives
                lock.unlink()


def _never_made(session: Session) -> bool:
    """Whether the one who made the session died before it could make the branch."""
    return session.owns_branch and not session.agent_started


def glance(session: Session) -> str | None:
    """What a few `stat` calls tell of a worktree; another text means that `changes` may be another too.

    Sees every commit, every `git add`, every reset, and files made or removed at the top; a file that somebody edits
    deeper inside is only seen by git itself.
    """
    worktree = session.worktree
    try:
        with open(f"{worktree}/.git", encoding="utf-8", errors="surrogateescape") as link:
            admin = link.read().removeprefix("gitdir: ").strip()
        seen = [os.stat(worktree).st_mtime_ns]
    except OSError:
        return None
    return ",".join(map(str, seen + [_mtime(f"{admin}/{name}") for name in ("index", "logs/HEAD", "HEAD")]))


def _mtime(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def relocate(session: Session, repository: Repository) -> Session:
    """The session with its worktree and repository where they are now, after the repository was moved.

    Git keeps absolute paths in both directions; `git worktree repair` mends them once the new place is known.
    """
    from dataclasses import replace

    if session.repository == str(repository.home):
        return session
    relative = os.path.relpath(session.worktree, session.repository)
    moved = Path(os.path.normpath(repository.home / relative))
    here = Path(session.worktree) if is_worktree(Path(session.worktree)) else moved
    repository.git("worktree", "repair", str(here), check=False)
    return replace(session, repository=str(repository.home), worktree=str(here))
