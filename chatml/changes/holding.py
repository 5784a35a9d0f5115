"""What a session holds, as a commit: all that is in its worktree, committed or not, without touching any of it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chatml.changes.snapshot import commit_in, indexed
from chatml.changes.standing import WorktreeGoneError, check_standing
from chatml.errors import ChatmlError, of_machine
from chatml.model import Session, Status
from chatml.repo import Repository, git
from chatml.text import counted

STATUS = (
    "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=none", "--no-renames",
)  # fmt: skip

SETTLED = 0.1
"""Seconds that a file must have been left alone for its times to tell that it is the same: disks count coarsely."""

UNBORN = "(initial)"


@dataclass(frozen=True)
class Held:
    """All that a session holds."""

    commit: str | None
    """None where it could not be found out."""
    why: str | None = None
    """Why not."""
    notes: tuple[str, ...] = ()
    """What a person has to know about it, a sentence each."""
    left_out: tuple[str, ...] = ()
    """What git could not take in, a sentence each."""
    mark: str | None = None
    """Another one means that the worktree may hold something else; None where nothing tells."""
    recalled: bool = False
    """Whether the commit was made by an earlier look, so is not there now."""


Known = Mapping[str, tuple[str, tuple[str, ...]]]
"""Commits of worktrees with uncommitted work, and what git could not take in, by the `mark` of what they held."""


def holding(repository: Repository, session: Session, known: Known, env: Mapping[str, str]) -> Held:
    """What the session holds now; new objects go where `env` says.

    What its branch holds where its worktree is gone, or was never filled.
    """
    worktree = Path(session.worktree)
    try:
        if not session.checkout.populated and session.status in (Status.QUEUED, Status.PREPARING):
            return Held(repository.tip(session.branch) or session.base.commit)
        try:
            check_standing(repository.common_dir, worktree)
        except WorktreeGoneError as gone:
            tip = repository.tip(session.branch)
            if tip is None:
                return Held(None, f"{gone.message}, and so is its branch")
            return Held(tip, notes=(f"{gone.message}; this is what its branch holds",))
        return _standing(session, worktree, known, env)
    except (ChatmlError, OSError) as error:
        return Held(None, (of_machine(error) if isinstance(error, OSError) else error).message)


def _standing(session: Session, worktree: Path, known: Known, env: Mapping[str, str]) -> Held:
    began = time.time() - SETTLED
    said = git(*STATUS, at=worktree, env=env).text
    entries = said.split("\0")[:-1]
    about = dict(entry[2:].split(" ", 1) for entry in entries if entry.startswith("# branch."))
    head, branch = about.get("branch.oid", UNBORN), about.get("branch.head", "")
    loose = [entry for entry in entries if not entry.startswith("# ")]
    if unmerged := sum(entry.startswith("u ") for entry in loose):
        return Held(None, f"it is in the middle of a merge with conflicts in {counted(unmerged, 'file')}")
    notes = _elsewhere(session, branch)
    if not loose and head != UNBORN:
        return Held(head, notes=notes)
    mark = _mark(worktree, head, loose, began)
    recalled = mark is not None and mark in known
    if mark is not None and recalled:
        commit, left_out = known[mark]
    else:
        with indexed(worktree, env) as now:
            commit, left_out = commit_in(worktree, now), now.left_out
    notes = (*notes, *(f"left out: {one}" for one in left_out))
    return Held(commit, None, notes, left_out, mark, recalled)


def _elsewhere(session: Session, branch: str) -> tuple[str, ...]:
    if branch == session.branch:
        return ()
    where = "on no branch" if branch == "(detached)" else f"on '{branch}'"
    return (f"its worktree is {where}, not on '{session.branch}'",)


def _mark(worktree: Path, head: str, loose: list[str], settled: float) -> str | None:
    """What tells whether a worktree still holds the same; None where that can't be told without git.

    As git's own index, it goes by sizes and times; what was written just now may be written again at the same time.
    """
    digest = hashlib.sha256(head.encode())
    for entry in loose:
        path = entry[2:] if entry[0] in "?!" else entry.split(" ", 8)[-1]
        if path.endswith("/") or (entry[0] == "1" and entry.split(" ", 3)[2] != "N..."):
            return None  # a repository in there, of which only git knows what it holds
        try:
            seen = os.lstat(worktree / path)
        except (FileNotFoundError, NotADirectoryError):
            digest.update(f"\0{entry}\0gone".encode("utf-8", "surrogateescape"))
            continue
        if max(seen.st_mtime, seen.st_ctime) >= settled:
            return None
        stamp = (seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)
        digest.update(f"\0{entry}\0{stamp}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
