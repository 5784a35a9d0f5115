"""Whether what stands at the path of a session's worktree is that worktree: asked before git is, which never says no.

Git answers in any folder: for a repository that somebody made there, or for one around it.
"""

from __future__ import annotations

import os
import shlex
from enum import Enum
from pathlib import Path

from chatml.errors import ChatmlError, Kind
from chatml.repo.layout import named_by


class Standing(Enum):
    """What stands at the path of a worktree."""

    OURS = "ours"
    """The worktree: it and git's own folder for it, below `.git/worktrees`, name each other."""
    GONE = "gone"
    """Nothing, or an empty folder."""
    CUT_OFF = "cut off"
    """The files of the worktree; git's own folder for it is gone."""
    FOREIGN = "foreign"
    """Something else: nobody may touch it, and git must not be asked in it."""


class WorktreeGoneError(ChatmlError):
    """Nothing stands where a session's worktree was: what its branch holds is all that there is."""


def standing(common_dir: Path, worktree: Path) -> Standing:
    """What stands there, for the repository with this common directory. OSError where that can't be read."""
    if not os.path.lexists(worktree):
        return Standing.GONE
    if worktree.is_symlink() or not worktree.is_dir():
        return Standing.FOREIGN
    admin = pointed(worktree / ".git")
    if admin is None:
        return Standing.FOREIGN if any(worktree.iterdir()) else Standing.GONE
    if os.path.realpath(admin.parent) != os.path.realpath(common_dir / "worktrees"):
        return Standing.FOREIGN
    if not os.path.lexists(admin):
        return Standing.CUT_OFF
    return Standing.OURS if same(pointed(admin / "gitdir"), worktree / ".git") else Standing.FOREIGN


def check_standing(common_dir: Path, worktree: Path) -> None:
    """Check that the worktree is there. WorktreeGoneError where it is gone; else ChatmlError that says what to do."""
    found = standing(common_dir, worktree)
    name = worktree.name
    if found is Standing.GONE:
        raise WorktreeGoneError(f"the worktree is gone: {worktree}", kind=Kind.WORKTREE)
    if found is Standing.CUT_OFF:
        raise ChatmlError(
            f"could not look: git's own folder for the worktree is gone: {pointed(worktree / '.git')}",
            f"its files are all there: 'chatml resume {name}' makes that folder anew around them",
            Kind.WORKTREE,
        )
    if found is Standing.FOREIGN:
        what = "another git repository" if os.path.lexists(worktree / ".git") else "something else"
        raise ChatmlError(
            f"could not look: {what} stands in the worktree's place: {worktree}",
            _way_back(common_dir, worktree),
            Kind.WORKTREE,
        )


def _way_back(common_dir: Path, worktree: Path) -> str:
    """How a person gets the worktree back, without losing what stands in its place."""
    place, aside = shlex.quote(str(worktree)), shlex.quote(f"{worktree}.aside")
    away = f"move it away (mv {place} {aside}), and 'chatml resume {worktree.name}' makes the worktree from its branch"
    if worktree.is_symlink() or not worktree.is_dir() or registered(common_dir, worktree) is None:
        return away
    dot_git = shlex.quote(f"{worktree}/.git")
    first = f"mv {dot_git} {aside}.git && " if os.path.lexists(worktree / ".git") else ""
    back = f"{first}git -C {shlex.quote(str(common_dir))} worktree repair"
    return f"where its files are the session's own: {back}; else {away}"


def registered(common_dir: Path, worktree: Path) -> Path | None:
    """Git's own folder for a worktree at that path, whatever stands there; None where git knows of none."""
    admins = (common_dir / "worktrees").glob("*/gitdir")
    return next((file.parent for file in admins if same(pointed(file), worktree / ".git")), None)


def pointed(file: Path) -> Path | None:
    """Where a file of git points to, absolute or from its own folder; None where none stands there.

    OSError for one that can't be read: that is no answer.
    """
    if file.is_symlink():
        return None
    try:
        target = str(named_by(file))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    return Path(os.path.normpath(target)) if "\0" not in target else None


def same(one: Path | None, other: Path) -> bool:
    """Whether two paths of a `.git` mean the same place; its folder itself must not be a link."""
    if one is None or one.parent.name != other.parent.name:
        return False
    return one.name == other.name and os.path.realpath(one.parent.parent) == os.path.realpath(other.parent.parent)
