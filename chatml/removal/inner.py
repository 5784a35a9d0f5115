"""The repositories and worktrees inside a session's worktree: refused, or kept aside with what is in the trash."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from chatml.changes.standing import pointed, same
from chatml.removal.place import Place, walk
from chatml.repo import git
from chatml.repo.answers import OFFLINE, failed
from chatml.repo.plumbing import UNCOMMITTED
from chatml.text import is_safe


def inner_repositories(folder: Path, through: bool = False) -> list[Path]:
    """The git repositories inside a worktree; with `through` also those inside of submodules and other worktrees.

    ChatmlError where a folder can't be read: what is in there would be gone.
    """
    found = []
    for here, names, files in walk(folder):
        if Path(here) != folder and ".git" in names + files:
            found.append(Path(here))
            if not (through and ".git" in files):
                names.clear()
        names[:] = [name for name in names if name != ".git"]
    return found


def refusals(place: Place) -> list[str]:
    """Repositories inside the worktree whose work lies elsewhere, so that not even the trash could keep it."""
    if place.folder is None or place.admin is None:
        return []
    reasons = []
    for inner in inner_repositories(place.folder, through=True):
        target = pointed(inner / ".git")  # None for a folder: such a repository is kept as it is
        if target is None or not target.is_dir() or _is_linked(inner):
            continue
        name = shown(str(inner.relative_to(place.folder)))
        if not target.resolve().is_relative_to((place.admin / "modules").resolve()):
            reasons.append(f"the repository of '{name}' in it lies elsewhere: {target}")
        elif why := _busy(inner):
            reasons.append(f"the submodule '{name}' {why}")
    return reasons


def worktrees_inside(place: Place) -> list[str]:
    """The worktrees that somebody made inside of this one, in a sentence each."""
    if place.folder is None:
        return []
    found = [inner for inner in inner_repositories(place.folder) if _is_linked(inner)]
    return [f"'{shown(str(inner.relative_to(place.folder)))}' in it is a worktree of its own" for inner in found]


def _is_linked(inner: Path) -> bool:
    """Whether a folder is a worktree that its repository knows to be there."""
    admin = pointed(inner / ".git")
    return admin is not None and same(pointed(admin / "gitdir"), inner / ".git")


def shown(path: str) -> str:
    """A path as a message may name it."""
    return path if all(map(is_safe, path)) else ascii(path)[1:-1]


def _busy(inner: Path) -> str | None:
    """What a submodule has that no remote has, as far as can be seen."""
    status = git(*UNCOMMITTED, at=inner, check=False, env=OFFLINE)
    ahead = git("rev-list", "--max-count=1", "--all", "HEAD", "--not", "--remotes", at=inner, check=False, env=OFFLINE)
    if status.code or ahead.code:
        return f"could not be looked into: {failed(status if status.code else ahead).message}"
    return "has work of its own" if status.text or ahead.text else None


def take_out(folder: Path, kept: Path, before: Path) -> list[Path]:
    """Move the repositories inside a worktree out of it, as they are; returns where they are now.

    `before` is where the worktree was until just now: what lies in it names its own places by that.
    """
    there = Path(os.path.realpath(before))
    taken = [inner for inner in inner_repositories(folder) if _is_whole(inner, there, (folder, kept))]
    moved = []
    for inner in taken:
        target = kept / inner.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        _make_room(target)
        shutil.move(inner, target)
        _tell_git(target)
        moved.append(target)
    return moved


def _make_room(target: Path) -> None:
    """Rename what stands there: what an earlier `restore` could not put back, or half a copy of one who was killed."""
    if os.path.lexists(target):
        free = (target.with_name(f"{target.name}.earlier-{number}") for number in count(1))
        os.rename(target, next(place for place in free if not os.path.lexists(place)))


def _is_whole(inner: Path, before: Path, now: Sequence[Path]) -> bool:
    """Whether a folder is a repository, or a worktree of one: also of one that was moved along, to one of `now`."""
    admin = pointed(inner / ".git")
    if admin is None:
        return True
    places = [place / admin.relative_to(before) for place in now] if admin.is_relative_to(before) else [admin]
    return any((place / "gitdir").is_file() for place in places)


def _has_admin(inner: Path) -> bool:
    """Whether a folder is some repository's worktree, also one that was just moved."""
    admin = pointed(inner / ".git")
    return admin is not None and (admin / "gitdir").is_file()


def _tell_git(moved: Path) -> None:
    """Let their repositories know where worktrees are now: the one that was moved, and those inside of it."""
    for one in (moved, *inner_repositories(moved, through=True)):
        admin = pointed(one / ".git")
        if admin is not None and _has_admin(one):
            (admin / "gitdir").write_bytes(os.fsencode(one / ".git") + b"\n")


def put_back(kept: Path, folder: Path) -> None:
    """Move the repositories that were taken out of a worktree back into it, where nothing is in their way."""
    for inner in inner_repositories(kept) if kept.is_dir() else ():
        target = folder / inner.relative_to(kept)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()  # git makes an empty folder for what it takes for a submodule
        if not os.path.lexists(target):
            shutil.move(inner, target)
            _tell_git(target)
            prune(inner, kept.parent.parent)


def prune(gone: Path, top: Path) -> None:
    """Remove the folders, up to `top`, that the loss of a file or folder left empty."""
    for folder in gone.parents:
        if folder == top or not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()
