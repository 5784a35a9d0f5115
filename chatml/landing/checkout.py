"""The checkout that has a branch: which one that is, and what in it an update would touch of a person's."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chatml.errors import ChatmlError
from chatml.landing.move import BranchCheckout
from chatml.repo import Repository, git
from chatml.repo.answers import failed
from chatml.repo.layout import named_by
from chatml.state.paths import StatePaths

OPERATIONS = {
    "rebase-merge": "a rebase is in progress",
    "rebase-apply": "a rebase is in progress",
    "MERGE_HEAD": "a merge is in progress",
    "CHERRY_PICK_HEAD": "a cherry-pick is in progress",
    "REVERT_HEAD": "a revert is in progress",
    "BISECT_LOG": "a bisect is in progress",
}
"""What git keeps in a worktree's own folder while an operation goes on (gitrepository-layout(5))."""

_BEGUN_ON = ("rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START")
"""The files there that name the branch that an operation is on while none is checked out."""


@dataclass(frozen=True)
class Entry:
    """A path in a tree or an index."""

    mode: str
    blob: str

    @property
    def kind(self) -> str:
        """`120` for a link, `160` for another repository, `100` for a file."""
        return self.mode[:3]


@dataclass(frozen=True)
class Changed:
    """A path that two commits have differently; None where one of them has none."""

    path: str
    old: Entry | None
    new: Entry | None


def checkout_of(repository: Repository, branch: str) -> BranchCheckout | None:
    """The checkout that has the branch; None where none has it.

    ChatmlError where that is amid an operation of git, or where several have it: nobody may move the branch then.
    """
    found = []
    for number, worktree in enumerate(repository.worktrees()):
        top = repository.home if number == 0 else worktree.path
        if not top.is_dir() or (number == 0 and top == repository.common_dir):
            continue  # bare, or not there now
        link = top / ".git"
        if not link.exists():
            continue
        admin = repository.common_dir if number == 0 else Path(os.path.normpath(named_by(link)))
        _refuse_amid(admin, top, branch, on_it=worktree.branch == branch)
        if worktree.branch == branch:
            if number == 0 and StatePaths(repository.common_dir).trying.exists():
                raise ChatmlError(f"a session is shown in {top}", "put it back first: chatml try --stop")
            found.append(BranchCheckout(top, admin))
    if len(found) > 1:
        places = " and ".join(str(one.top) for one in found)
        raise ChatmlError(f"{branch} is checked out in {places}", "switch one of them to another branch first")
    return found[0] if found else None


def _refuse_amid(admin: Path, top: Path, branch: str, on_it: bool) -> None:
    names = (branch, f"refs/heads/{branch}")
    begun = any((admin / name).is_file() and (admin / name).read_text("utf-8", "surrogateescape").strip() in names
                for name in _BEGUN_ON)  # fmt: skip
    if (begun or on_it) and (what := operation(admin)) is not None:
        raise ChatmlError(f"{what} on {branch} in {top}", "end it first, or land elsewhere with --into BRANCH")


def operation(admin: Path) -> str | None:
    """The operation of git that goes on in a worktree, by its own folder, as a sentence; None without one."""
    return next((what for name, what in OPERATIONS.items() if (admin / name).exists()), None)


def changes(repository: Repository, old: str, new: str) -> list[Changed]:
    """Every path that differs, also those of submodules, each with both its entries. GitError."""
    form = ("-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--ignore-submodules=none")
    fields = iter(repository.git("diff-tree", *form, old, new).text.split("\0"))
    found = []
    for head in fields:
        if head:
            before, after, old_blob, new_blob = head.removeprefix(":").split(" ")[:4]
            sides = [Entry(mode, blob) if int(mode) else None for mode, blob in
                     ((before, old_blob), (after, new_blob))]  # fmt: skip
            found.append(Changed(next(fields), *sides))
    return found


def in_the_way(checkout: BranchCheckout, env: Mapping[str, str], old: str, changed: list[Changed]) -> list[str]:
    """The paths with something of a person's in them that an update would touch: none where it may go on.

    `env` names a copy of the index that may be written: what has changed in time alone is forgotten there.
    """
    refreshed = git("update-index", "-q", "--refresh", at=checkout.top, env=env, check=False)
    if refreshed.code > 1:
        raise failed(refreshed)
    said = git("diff-index", "-z", "--name-only", "--no-renames", "--ignore-submodules=none", old,
               at=checkout.top, env=env).text  # fmt: skip
    dirty = {path for path in said.split("\0") if path}
    going = {one.path for one in changed if one.new is None}
    found = [one.path for one in changed if one.path in dirty]
    for one in changed:
        if one.old is None and one.path not in dirty:
            found += untracked(checkout.top, one, going)
    return sorted(set(found))


def untracked(top: Path, one: Changed, going: set[str]) -> Iterator[str]:
    """What stands at a path that is new, or above or below it, and goes with no file of the branch."""
    for above in reversed(PurePosixPath(one.path).parents[:-1]):
        place = top / above
        if (place.is_symlink() or place.is_file()) and str(above) not in going:
            yield str(above)
            return
        if not place.is_dir() or place.is_symlink():
            return
    place = top / one.path
    if place.is_symlink() or not place.is_dir():
        if os.path.lexists(place):
            yield one.path
    elif one.new is not None and one.new.kind != "160":
        for here, _, names in os.walk(place):
            paths = (os.path.relpath(os.path.join(here, name), top) for name in names)
            yield from (path for path in paths if path not in going)


def copy_index(source: Path, target: Path) -> None:
    """Copy an index with its time, by which git tells what may have changed since. FileNotFoundError."""
    with source.open("rb") as old, target.open("wb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        times = os.fstat(old.fileno())
        os.fchmod(new.fileno(), stat.S_IMODE(times.st_mode))
        os.utime(new.fileno(), ns=(times.st_atime_ns, times.st_mtime_ns))
