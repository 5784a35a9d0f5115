"""Makes a session's worktree: registers it, fills it, and finds it again after it was moved."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chatml import repo
from chatml.changes import carrying
from chatml.changes.snapshot import FILLING
from chatml.changes.standing import Standing, check_standing, standing
from chatml.errors import ChatmlError, Kind
from chatml.model import Session
from chatml.repo import Repository
from chatml.repo.answers import answer
from chatml.state.store import Store, remove_tree
from chatml.workspace.branch import follow
from chatml.workspace.glance import git_folder, is_worktree
from chatml.workspace.mending import TOLD, mend

OURS = "chatml-index"
"""The index that git makes with them, in the worktree's git directory: whole, so are the files."""


def prepare(session: Session, common_dir: Path, record: Callable[..., None], cancelled: Callable[[], bool]) -> str:
    """Make the session's worktree ready for its agent; returns what was amiss, and what a post-checkout hook said.

    Safe to repeat after a crash at any point: what stands in the worktree stays as it is, and `record` writes each
    step down in the record's `checkout`. ChatmlError of kind `worktree` where it can't be made, TimeoutError once
    `cancelled` says so.
    """
    worktree, made_of = Path(session.worktree), session.checkout
    filled, told = made_of.populated, ""
    found = standing(common_dir, worktree)
    if found is Standing.GONE or (found is Standing.OURS and _half_registered(worktree)):
        restore_folder(session, record)
        told = remade(session) or ""
        filled = False
    elif found is Standing.CUT_OFF:
        told = TOLD if mend(Repository.discover(Path(session.repository)), session) else ""
    else:
        check_standing(common_dir, worktree)
    if filled:
        _check_head(session)
        if not made_of.hook_due:
            return told
    else:
        told = f"{told}\n{_move_on(session, record)}".strip()
        fill(worktree, cancelled, made_of.carried)
        record(populated=True, hook_due=True)
    _clear_up(worktree)
    # The moving has changed times by which git tells whether a file is as in the index.
    repo.git("update-index", "-q", "--refresh", at=worktree, check=False)
    said = repo.post_checkout(worktree, cancelled)
    if made_of.carried is not None:
        if not session.terms.scope or made_of.carried != made_of.scope_start:
            carrying.let_go(Repository.discover(Path(session.repository)), session)
        record(carried=None)
    record(hook_due=False)
    return f"{told}\n{said}".strip()


def _move_on(session: Session, record: Callable[..., None]) -> str:
    """Move a new branch on from where it was made to its base, if that is still to be done; returns what was amiss."""
    start = session.checkout.start
    if start is None:
        return ""
    worktree, base, told = Path(session.worktree), session.base.commit, ""
    tip = repo.head(worktree)
    if tip == start:
        reason = "chatml: start from what came before"
        repo.git("update-ref", "-m", reason, "HEAD", base, start, at=worktree)
    elif tip != base:
        told = f"{session.branch} had commits already, so it was not moved to what came before: git merge {base}"
    record(start=None)
    return told


def remade(session: Session) -> str | None:
    """What a person has to know about a worktree that is to be made anew; None where it has never had its files."""
    if not session.checkout.populated:
        return None
    return f"its worktree was gone: made anew from {session.branch}, without what was not committed"


def fill(worktree: Path, cancelled: Callable[[], bool] | None = None, carried: str | None = None) -> None:
    """Give a worktree registered without them its files and its index; what stands there already stays.

    The files are those of the commit `carried`, if there is one, as changes that are not committed.

    Git writes them into a folder beside their places, from where whole ones are moved: one that is killed leaves
    half a file there only, never among those that a person may have edited since.
    """
    admin = git_folder(worktree)
    index, ours = admin / "index", admin / OURS
    files = worktree / FILLING / "files"
    if not (ours.exists() and index.exists() and files.exists()):  # else git was done, and only the moving is left
        _clear_up(worktree)
        (worktree / FILLING).mkdir()
        (worktree / FILLING / ".gitignore").write_text("*\n")
        files.mkdir()
        env = {"GIT_DIR": str(admin), "GIT_WORK_TREE": str(files), "GIT_INDEX_FILE": str(ours)}
        repo.git(
            "read-tree", "-m", "-u", carried or "HEAD", at=files, env=env, cancelled=cancelled,
        )  # fmt: skip
        if carried is not None:
            repo.git("read-tree", "-m", "HEAD", at=files, env=env)
        _give(ours, index)
    give_all(files, worktree)


def _clear_up(worktree: Path) -> None:
    """Remove what is left of a filling, done or not: first what says that it is done, last what hides it from git."""
    ours = git_folder(worktree) / OURS
    for file in (ours, ours.with_name(f"{OURS}.lock")):
        file.unlink(missing_ok=True)
    for folder in (worktree / FILLING / "files", worktree / FILLING):
        remove_tree(folder)


def give_all(source: Path, target: Path) -> None:
    """Move what is in one folder into the other, each thing whole; what stands there already stays."""
    with os.scandir(source) as entries:
        found = list(entries)
    for entry in found:
        there = target / entry.name
        if not entry.is_dir(follow_symlinks=False):
            _give(Path(entry.path), there)
        elif there.is_dir() and not there.is_symlink():
            give_all(Path(entry.path), there)
        elif not os.path.lexists(there):
            os.rename(entry.path, there)


def _give(source: Path, target: Path) -> None:
    """Make a file appear at once and whole, unless something stands there; unlike a rename, a link replaces nothing."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        pass
    except (OSError, NotImplementedError):  # no hard links there
        if not os.path.lexists(target):
            os.rename(source, target)


def _check_head(session: Session) -> None:
    """An agent on a branch that is gone would commit a history of its own, without its base."""
    worktree = Path(session.worktree)
    if answer(repo.git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", at=worktree, check=False)) is not None:
        return
    try:
        last = (git_folder(worktree) / "logs" / "HEAD").read_text(errors="replace").splitlines()[-1].split()[1]
    except (OSError, IndexError):
        last = session.base.commit
    hint = f"bring it back where it was: git -C {shlex.quote(session.worktree)} update-ref HEAD {last}"
    raise ChatmlError(f"the branch that '{session.name}' works on is gone", hint, Kind.WORKTREE)


def restore_folder(session: Session, record: Callable[..., None]) -> None:
    """Register the worktree of an existing branch anew, where its folder was deleted or git did not get that far."""
    repository = Repository.discover(Path(session.repository))
    worktree = Path(session.worktree)
    left = os.listdir(worktree) if worktree.exists() else []
    if left not in ([], [".git"]):
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
    record(populated=False)  # before it is there: half filled, it would pass for what the agent has left
    with Store(repository.common_dir).lock():
        with contextlib.suppress(OSError):
            if left:
                (worktree / ".git").unlink()  # before the lock that tells that it is no good
            worktree.rmdir()
        _drop_unfinished(repository.common_dir, worktree)
        # Not `git worktree prune`: it would forget all those, too, whose disk just isn't mounted.
        repository.git("worktree", "remove", "--force", str(worktree), check=False)
        repository.add_worktree(worktree, session.branch, None if made else session.base.commit)


def _half_registered(worktree: Path) -> bool:
    """Whether a `git worktree add` was killed before it had given the worktree its HEAD."""
    try:
        return _is_unfinished(git_folder(worktree))
    except OSError:
        return False


def _is_unfinished(admin: Path) -> bool:
    return (admin / "locked").read_text().strip() == "initializing"  # the reason that git-worktree(1) gives


def _drop_unfinished(common_dir: Path, worktree: Path) -> None:
    """Unlock what a killed `git worktree add` has left: git itself keeps it for ever, as locked."""
    for place in common_dir.glob("worktrees/*/gitdir"):
        with contextlib.suppress(OSError):
            mine = os.fsdecode(place.read_bytes().rstrip(b"\n")) == str(worktree / ".git")
            if mine and _is_unfinished(place.parent):
                (place.parent / "locked").unlink()


def _never_made(session: Session) -> bool:
    """Whether the one who made the session died before it could make the branch."""
    return session.checkout.owns_branch and not session.exchange.started


def _is_ours(admin: Path, common_dir: Path) -> bool:
    """Whether a worktree belongs to this repository: the one that it names is this one, or is no more."""
    return not admin.exists() or os.path.realpath(admin.parent.parent) == os.path.realpath(common_dir)


def relocate(session: Session, repository: Repository) -> Session:
    """The session with its worktree and repository where they are now, and its branch by the name that it has now.

    Git keeps absolute paths in both directions; `git worktree repair` mends them once the new place is known. Where
    the repository was copied instead, the worktree stays with the first one: ChatmlError.
    """
    if session.repository == str(repository.home):
        return follow(session, repository)
    relative = os.path.relpath(session.worktree, session.repository)
    moved = Path(os.path.normpath(repository.home / relative))
    here = Path(session.worktree) if is_worktree(Path(session.worktree)) else moved
    if is_worktree(here) and not _is_ours(git_folder(here), repository.common_dir):
        raise ChatmlError(
            f"the worktree of '{session.name}' belongs to another copy of this repository: {here}",
            f"go on with it there; to forget it here, delete {repository.common_dir}/chatml/sessions/{session.name}",
            Kind.WORKTREE,
        )
    repository.git("worktree", "repair", str(here), check=False)  # what it could not repair is seen by the next look
    return follow(replace(session, repository=str(repository.home), worktree=str(here)), repository)
