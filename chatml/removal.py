"""Removes a session so that nothing is left behind and nothing is lost, and brings it back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from chatml import sessions, trash
from chatml.errors import ChatmlError
from chatml.landing import landed
from chatml.model import Session, Status, now
from chatml.repo import git
from chatml.sessions import Project
from chatml.store import SessionStore, remove_tree


@dataclass(frozen=True)
class Removed:
    """What became of a session's parts."""

    name: str
    branch: str
    branch_fate: str
    trash: str
    not_saved: tuple[str, ...]


def objections(project: Project, session: Session, keep_branch: bool = False) -> list[str]:
    """Why removing the session would lose work. GitError where that can't be found out: then nothing is removed."""
    reasons: list[str] = []
    worktree = Path(session.worktree)
    if (worktree / ".git").exists():
        reasons += _uncommitted(worktree)
        reasons += _unlanded(project, session, git("rev-parse", "HEAD", at=worktree).text.strip(), "checked out")
    tip = project.repo.tip(session.branch)
    if tip is not None and session.owns_branch and not keep_branch:
        reasons += _unlanded(project, session, tip, f"on {session.branch}")
    return list(dict.fromkeys(reasons))


def _uncommitted(worktree: Path) -> list[str]:
    listed = git("status", "--porcelain", "-z", "--untracked-files=all", at=worktree).text
    count = sum(1 for entry in listed.split("\0") if entry[2:3] == " ")
    return [f"{count} uncommitted {'file' if count == 1 else 'files'}"] if count else []


def _unlanded(project: Project, session: Session, tip: str, where: str) -> list[str]:
    if tip == session.base.commit or landed.landed_in(project.repo, session, tip):
        return []
    if landed.pushed_to(project.repo, tip):
        return []
    if where == "checked out" and tip == project.repo.tip(session.branch):
        return []  # the branch has it, and is asked about by itself
    count = project.repo.git("rev-list", "--count", tip, "--not", session.base.commit).text.strip()
    return [f"{count} {'commit' if count == '1' else 'commits'} {where} not landed in {session.base.ref}"]


def is_merged(project: Project, session: Session) -> bool:
    """Whether the session is at rest, brought something, and all of it has landed."""
    if session.status.active or session.status is Status.QUEUED:
        return False
    tip = project.repo.tip(session.branch)
    if tip is None or tip == session.base.commit:
        return False
    return landed.landed_in(project.repo, session, tip) is not None and not objections(project, session)


def check(project: Project, session: Session, keep_branch: bool) -> None:
    """ChatmlError that says exactly why the session must not be removed without force."""
    reasons = objections(project, session, keep_branch)
    if reasons:
        raise ChatmlError(
            f"'{session.name}' has work that is nowhere else: {', '.join(reasons)}",
            f"land it ('chatml pr {session.name}'), or remove it all the same with --force: "
            f"'chatml restore {session.name}' brings it back",
        )


def remove(project: Project, name: str, *, force: bool = False, keep_branch: bool = False) -> Removed:
    """Stop the session, put all of it into the trash, and remove it.

    ChatmlError, and nothing removed, where that would lose work and `force` is not given; looked at before the
    worker is stopped and once more after, because the agent worked until then.
    """
    session = sessions.resolve(project, name)
    if not force:
        check(project, session, keep_branch)
    sessions.stop(project, name)
    store = project.store.session(name)
    with store.lock():
        current = _still(store, session)
        if store.worker_lock.held():
            raise ChatmlError(f"'{name}' was started again just now", "try again")
        if not force:
            check(project, current, keep_branch)
        return _remove(project, store, current, keep_branch)


def _still(store: SessionStore, expected: Session) -> Session:
    """The session, if it is the one that was looked at."""
    try:
        session = store.read()
    except FileNotFoundError:
        session = None
    if session is None or session.id != expected.id:
        raise ChatmlError(f"session '{expected.name}' was removed just now")
    return session


def _remove(project: Project, store: SessionStore, session: Session, keep_branch: bool) -> Removed:
    repository = project.repo
    saved = trash.save(repository, store, session)
    with trash.set_aside(repository, session) as aside:
        # From here on nobody finds the folder by its path: what came in since is saved now, if anything did.
        if aside is not None and (aside / ".git").is_file():
            moved = replace(session, worktree=str(aside))
            saved = _again(project, store, moved, saved)
    repository.git("worktree", "remove", "--force", "--force", session.worktree, check=False)
    fate = _branch_fate(project, session, keep_branch)
    gone = store.folder.with_name(f".gone-{session.id}")
    store.folder.rename(gone)
    remove_tree(gone)
    if aside is not None:
        trash.delete_folder(aside)
    with suppress(OSError):
        Path(session.worktree).parent.rmdir()
    return Removed(session.name, session.branch, fate, trash.PREFIX + session.name, saved.not_saved)


def _again(project: Project, store: SessionStore, moved: Session, saved: trash.Saved) -> trash.Saved:
    tree = trash.tree_of(Path(moved.worktree))
    return saved if tree == saved.tree else trash.save(project.repo, store, moved)


def _branch_fate(project: Project, session: Session, keep_branch: bool) -> str:
    """Delete the branch if that is ours to do, and say what became of it."""
    repository = project.repo
    tip = repository.tip(session.branch)
    if tip is None:
        return "was gone already"
    if keep_branch or not session.owns_branch:
        return "kept"
    for worktree in repository.worktrees():
        if worktree.branch == session.branch:
            return f"kept: it is checked out in {worktree.path}"
    if not repository.delete_branch(session.branch, tip):
        return "kept: it was moved just now"
    repository.git("config", "--remove-section", f"branch.{session.branch}", check=False)
    return "deleted"


def removed_names(project: Project) -> Sequence[tuple[str, str]]:
    """The sessions that can be brought back, with the time of their removal, newest first."""
    return trash.names(project.repo)


def restore(project: Project, name: str) -> Session:
    """Bring a removed session back: branch, worktree with all its files, conversation and record."""
    found = trash.find(project.repo, name)
    if project.store.session(name).folder.exists():
        raise ChatmlError(f"a session named '{name}' exists", "remove that one first: it stays recoverable too")
    with ExitStack() as undo:
        staged = undo.enter_context(project.store.stage())
        trash.extract(project.repo, found, staged.folder)
        session = _rested(SessionStore(staged.folder).read(name))
        _bring_back_worktree(project, session, found, undo)
        staged.write(session)
        try:
            project.store.claim(staged, name)
        except FileExistsError:
            raise ChatmlError(f"a session named '{name}' exists", "remove that one first") from None
        undo.pop_all()
    trash.bring_back_embedded(project.repo, session)
    trash.drop(project.repo, found)
    return session


def _rested(session: Session) -> Session:
    ended = {Status.DONE, Status.FAILED, Status.STOPPED}
    status = session.status if session.status in ended else Status.STOPPED
    return replace(session, status=status, pid=None, request=None, stopping=False, updated_at=now())


def _bring_back_worktree(project: Project, session: Session, found: trash.Found, undo: ExitStack) -> None:
    repository, worktree = project.repo, Path(session.worktree)
    if os.path.lexists(worktree):
        raise ChatmlError(f"{worktree} is in the way", "move it away and try again")
    tip: str | None = found.note.get("tip")
    there = repository.tip(session.branch)
    if there is not None and there != tip:
        raise ChatmlError(
            f"branch '{session.branch}' exists and is at another commit", "rename that branch and try again"
        )
    if tip is None and there is None:
        return
    repository.add_worktree(worktree, session.branch, None if there else tip)
    undo.callback(repository.git, "worktree", "remove", "--force", "--force", str(worktree), check=False)
    if there is None and tip is not None:
        undo.callback(repository.delete_branch, session.branch, tip)
    trash.checkout(repository, found, worktree)
