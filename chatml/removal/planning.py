"""What `rm` would remove, and whether it would refuse; changes nothing but the paths of a repository that was moved."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Home:
    """Whether what a session at rest brought has come home."""

    tip: str | None
    """The commit of its branch; None where that is gone."""
    ref: str | None = None
    """The ref that has all that its branch brought; None where none has, or it brought nothing."""
    untold: bool = False
    """Nobody can tell whether it made these commits, though they are there."""
    reasons: tuple[str, ...] = ()
    """What it has beside, or what else speaks against removing it."""

    @property
    def landed(self) -> bool | None:
        """Whether nothing of it is anywhere but at home; None where nobody can tell."""
        if self.tip is None or self.untold:
            return None
        return self.ref is not None and not self.reasons


def home(project: Project, session: Session) -> Home:
    """What has become of a session that is at rest. ChatmlError or OSError where that can't be found out."""
    session, place = find(project, session.name)
    tip = project.repo.tip(session.branch)
    brought = False if tip is None else safety.brought(session, project.repo, place, tip)
    if tip is None or brought is False:
        return Home(tip)
    ref = landed.landed_in(project.repo, session, tip)
    if ref is None:
        return Home(tip)
    return Home(tip, ref, brought is None, tuple(safety.objections(project.repo, session, place)))


def merged(project: Project, session: Session) -> list[str] | None:
    """What speaks against removing a session at rest that brought something that has landed; None for any other."""
    if session.status.open:
        return None
    at_home = home(project, session)
    if at_home.ref is None:
        return None
    untold = ["its reflog is gone, so nobody can tell whether it made these commits"] if at_home.untold else []
    return [*untold, *at_home.reasons]


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
