"""Gives the conflict of a session with its base to its agent: a merge in its worktree, and a message about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chatml.agents import merge_briefing
from chatml.changes.snapshot import commit_of
from chatml.errors import ChatmlError
from chatml.landing import advance, settling
from chatml.model import Session
from chatml.project import Project
from chatml.repo import git
from chatml.repo.answers import holds
from chatml.repo.merging import merges
from chatml.sessions import control, find, syncing
from chatml.sessions.basing import SyncConflictError, Target, target_of
from chatml.sessions.landing import PATIENCE
from chatml.sessions.syncing import Synced, Way
from chatml.state.locks import lock
from chatml.workspace.glance import git_folder


@dataclass(frozen=True)
class HandedOver:
    """A conflict that the session's agent has got."""

    target: Target
    files: tuple[str, ...]


def resolve(project: Project, name: str, way: Way) -> HandedOver | Synced:
    """Give the agent the conflict with its base, unless a merge has none. ChatmlError, and all is as it was, else."""
    if way is Way.REBASE:
        try:
            return syncing.sync(project, name, Way.MERGE)
        except SyncConflictError as error:
            if error.uncommitted:
                raise
    with lock(project.store.merge_lock, PATIENCE):
        settling.ended(project.repo, project.store)
        try:
            given = _merge(project, find.resolve(project, name))
        finally:
            settling.clear(project.store)
    try:
        _send(project, name, given)
    except (ChatmlError, OSError):
        _take_back(project, name)
        raise
    return given


def again(project: Project, name: str) -> HandedOver | None:
    """Tell the agent once more of a conflict that it has, and has not resolved; None where it has none."""
    session = find.resolve(project, name)
    top = Path(session.worktree)
    if session.checkout.resolving is None or session.status.open or not _merging(top):
        return None
    given = HandedOver(target_of(project, session), _unmerged(top))
    _send(project, name, given)
    return given


def resolved(project: Project, session: Session) -> bool | None:
    """Whether the session has what its agent was to merge; None where it was given nothing."""
    if session.checkout.resolving is None:
        return None
    tip = project.repo.tip(session.branch)
    asked = ("merge-base", "--is-ancestor", session.checkout.resolving)
    return tip is not None and holds(project.repo.git(*asked, tip, check=False))


def _send(project: Project, name: str, given: HandedOver) -> None:
    target = given.target
    control.send(project, name, merge_briefing.merging(target.name, target.tip, given.files))


def _merge(project: Project, session: Session) -> HandedOver:
    """Begin the merge in the session's worktree. ChatmlError, and nothing begun, where that can't be."""
    top = syncing.ready(project, session, Way.MERGE).top
    old = git("rev-parse", "HEAD", at=top).text.strip()
    if commit_of(project.repo.common_dir, top)[0] != old:
        raise ChatmlError(
            f"'{session.name}' has uncommitted work, with which a conflict would get mixed up",
            f"have it committed first: chatml send {session.name} 'Commit your work'",
        )
    target = target_of(project, session)
    (found,) = merges(project.repo, [(old, target.onto)])
    settling.rooms(project.store)
    blocked = advance.blocked(project.repo, project.store, session.branch, old, found.tree)
    if blocked is not None:
        raise SyncConflictError(session.name, target, list(blocked.paths), uncommitted=True)
    store = project.store.session(session.name)
    with store.lock():
        syncing.check_at_rest(project, store.read())
        text = f"Merge branch '{target.name}' into {session.branch}"
        begun = git("merge", "--no-commit", "--no-ff", "--no-autostash", "-m", text, target.onto, at=top, check=False)
        if not _merging(top):
            raise ChatmlError(f"the merge could not be begun: {begun.errors.strip()}", f"see 'git status' in {top}")
        store.write(store.read().with_checkout(resolving=target.onto))
    return HandedOver(target, _unmerged(top))


def _take_back(project: Project, name: str) -> None:
    """End the merge as if it had never been begun."""
    store = project.store.session(name)
    with store.lock():
        session = store.read()
        git("merge", "--abort", at=Path(session.worktree))
        store.write(session.with_checkout(resolving=None))


def _merging(top: Path) -> bool:
    return (git_folder(top) / "MERGE_HEAD").exists()


def _unmerged(top: Path) -> tuple[str, ...]:
    said = git("diff", "--name-only", "--diff-filter=U", "-z", at=top).text
    return tuple(dict.fromkeys(filter(None, said.split("\0"))))
