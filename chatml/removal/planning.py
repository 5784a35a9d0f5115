"""What `rm` would remove, and whether it would refuse; changes nothing but the paths of a repository that was moved."""

from __future__ import annotations

from pathlib import Path

from chatml.errors import ChatmlError
from chatml.landing import landed
from chatml.model import Session
from chatml.project import Project
from chatml.removal import safety
from chatml.removal.place import Place, locate
from chatml.runners import table as runners
from chatml.sessions.find import resolve
from chatml.state.store import CorruptRecordError, SessionStore, UnreadableRecordError
from chatml.workspace import checkout


def find(project: Project, name: str) -> tuple[Session, Place]:
    """The session and its worktree as they are now, also after the repository was moved."""
    session = checkout.relocate(resolve(project, name), project.repo)
    return session, locate(project.repo, Path(session.worktree))


def merged(project: Project, session: Session) -> list[str] | None:
    """What speaks against removing a session at rest that brought something that has landed; None for any other."""
    if session.status.open:
        return None
    session, place = find(project, session.name)
    tip = project.repo.tip(session.branch)
    brought = False if tip is None else safety.brought(session, project.repo, place, tip)
    if tip is None or brought is False or not landed.landed_in(project.repo, session, tip):
        return None
    untold = ["its reflog is gone, so nobody can tell whether it made these commits"] if brought is None else []
    return [*untold, *safety.objections(project.repo, session, place)]


def plan(project: Project, name: str, force: bool, keep_branch: bool) -> Session | None:
    """The session that `remove` would remove; None for a damaged record. ChatmlError where it would refuse."""
    try:
        session, place = find(project, name)
    except UnreadableRecordError:
        raise
    except CorruptRecordError:
        if not force:
            raise
        check_idle(project.store.session(name))
        return None
    safety.check(project.repo, session, place, force, keep_branch)
    return session


def check_idle(damaged: SessionStore) -> None:
    """ChatmlError where a worker lives whose record can't be read, so that nobody could end it."""
    if any(runners.named(name).alive(damaged) for name in runners.known()):
        raise ChatmlError(f"the worker of '{damaged.name}' is at work", "end it first; its record can't be read")
