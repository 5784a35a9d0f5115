"""Moves a branch on to a commit by compare-and-swap, and brings the checkout that has it along.

As a fast-forward `git merge` does, with two differences: also ignored files of a person's are in the way, and it may be
broken off at any point: `settling` then puts all back, or ends it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chatml.errors import ChatmlError, GitError
from chatml.landing import hooks, settling
from chatml.landing.checkout import changes, checkout_of, copy_index, in_the_way
from chatml.landing.move import BranchCheckout, Mark, Move
from chatml.repo import Repository, git
from chatml.state.store import Store

PATIENCE = 2.0
"""Seconds to wait for the lock of an index: a `git status` holds it for a moment."""


class MovedError(ChatmlError):
    """The branch is not where it was: somebody else has moved it."""


class InTheWayError(ChatmlError):
    """The checkout has something of a person's in these paths, and nothing was changed."""

    def __init__(self, checkout: BranchCheckout, paths: Sequence[str]) -> None:
        super().__init__(f"uncommitted or untracked files in {checkout.top} would be overwritten")
        self.checkout = checkout
        self.paths = tuple(paths)


@dataclass(frozen=True)
class Advanced:
    """A branch that was moved."""

    checkout: BranchCheckout | None
    """The checkout that came along."""
    remark: str
    """What its `post-merge` hook has said."""


def advance(
    repository: Repository, store: Store, branch: str, old: str, new: str, why: str, marks: Sequence[Mark] = ()
) -> Advanced:
    """Move the branch from `old`, where it must be, to its descendant `new`, and mark the sessions; all or nothing.

    The caller holds the lock of merges. MovedError, InTheWayError and other ChatmlError: then nothing has changed, or
    what could not be put back at once is, by the next command. `why` is what the reflog says.
    """
    checkout = checkout_of(repository, branch)
    move = Move(str(uuid.uuid4()), branch, old, new, checkout, marks)
    move.write(store)
    try:
        if checkout is None:
            _swap(repository, move, why)
        else:
            with _locked(checkout):
                _bring_along(repository, move, checkout, why)
    except BaseException as error:
        settling.ended(repository, store)
        if not isinstance(error, (ChatmlError, OSError)) or not settling.has_moved(repository, move):
            raise
    else:
        settling.mark(store, marks)
        store.moving.unlink()
    return Advanced(checkout, hooks.after_merge(checkout.top) if checkout else "")


def blocked(repository: Repository, store: Store, branch: str, old: str, new: str) -> InTheWayError | None:
    """Why `advance` would refuse, as far as the files of the checkout are concerned; changes nothing.

    The folder of `settling.rooms` is there.
    """
    checkout = checkout_of(repository, branch)
    if checkout is None:
        return None
    copy = store.merging / "index"
    copy_index(checkout.index, copy)
    found = in_the_way(checkout, {"GIT_INDEX_FILE": str(copy)}, old, changes(repository, old, new))
    return InTheWayError(checkout, found) if found else None


@contextlib.contextmanager
def _locked(checkout: BranchCheckout) -> Iterator[None]:
    """Hold the lock of the index, as git does; what is left of it after a failure is for `settling`."""
    for path in checkout.spare:
        path.unlink(missing_ok=True)
    deadline = time.monotonic() + PATIENCE
    while not _lock(checkout):
        if time.monotonic() >= deadline:
            raise ChatmlError(
                f"another git is at work in {checkout.top}, or was killed: {checkout.lock} exists",
                "try again once it has ended",
            )
        time.sleep(0.02)
    yield
    checkout.lock.unlink()
    checkout.kept.unlink()


def _lock(checkout: BranchCheckout) -> bool:
    """Make the lock of the index, with the index as it is now in it; False where another git has it."""
    try:
        before = checkout.index.stat()
        copy_index(checkout.index, checkout.kept)
        os.link(checkout.kept, checkout.lock)
    except FileExistsError:
        return False
    except FileNotFoundError:
        place = shlex.quote(str(checkout.top))
        raise ChatmlError(f"{checkout.top} has no files yet", f"git -C {place} reset --hard") from None
    after = checkout.index.stat()
    if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
        return True
    checkout.lock.unlink()
    return False


def _bring_along(repository: Repository, move: Move, checkout: BranchCheckout, why: str) -> None:
    """Give the checkout the files and the index of the new commit, and then move the branch."""
    env = {"GIT_INDEX_FILE": str(checkout.own), **move.env}
    copy_index(checkout.kept, checkout.own)
    said = git("rev-parse", "HEAD", "--symbolic-full-name", "HEAD", at=checkout.top).text.splitlines()
    if said != [move.old, f"refs/heads/{move.branch}"]:
        raise _moved(move)
    if found := in_the_way(checkout, env, move.old, changes(repository, move.old, move.new)):
        raise InTheWayError(checkout, found)
    checkout.own.replace(checkout.begun)
    begun = {**env, "GIT_INDEX_FILE": str(checkout.begun)}
    git("read-tree", "-m", "-u", move.old, move.new, at=checkout.top, env=begun)
    checkout.begun.replace(checkout.index)
    _swap(repository, move, why)


def _swap(repository: Repository, move: Move, why: str) -> None:
    """Move the branch itself, and nothing else."""
    # From its checkout, so that what is noted of HEAD there has it too.
    at = move.checkout.top if move.checkout else repository.common_dir
    where = [] if move.checkout else [f"--git-dir={repository.common_dir}"]
    command = (*where, "update-ref", "-m", why, f"refs/heads/{move.branch}", move.new, move.old)
    try:
        git(*command, at=at, env=move.env)
    except GitError as error:
        if repository.tip(move.branch) not in (move.old, move.new):
            raise _moved(move) from error
        raise


def _moved(move: Move) -> MovedError:
    return MovedError(f"{move.branch} was moved just now by somebody else", "try again")
