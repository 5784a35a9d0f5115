"""A repository and its sessions: finds them, and reconciles what their records say with what is true."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from chatml import config
from chatml.changes.compare import measure, measure_branch
from chatml.changes.standing import Standing, WorktreeGoneError, standing
from chatml.config import Config
from chatml.errors import ChatmlError, UsageError
from chatml.model import Changes, Failure, Request, Session, Status, transitions
from chatml.queue import Queue
from chatml.repo import Repository
from chatml.runners import table as runners
from chatml.state import events
from chatml.state.store import CorruptRecordError, SessionStore, Store
from chatml.text import nearest
from chatml.workspace import checkout


@dataclass(frozen=True)
class Project:
    """One repository and its sessions, as seen from one directory."""

    repo: Repository
    store: Store

    @cached_property
    def config(self) -> Config:
        return config.load(state_dir=self.store.root, top=self.repo.top)

    @cached_property
    def queue(self) -> Queue:
        return Queue(self.store, lambda: config.max_parallel(state_dir=self.store.root, top=self.repo.top))


def open_project(start: Path) -> Project:
    """The project that `start` lies in. ChatmlError outside of a repository."""
    repository = Repository.discover(start)
    store = Store(repository.common_dir)
    repository.noted = store.repositories
    return Project(repository, store)


def load(project: Project, name: str) -> Session:
    """The session as it is now: an active record without a living worker is a crashed one. FileNotFoundError.

    Starts what may run, where the session is queued.
    """
    try:
        session = _as_it_is(project, name)
        if session.status is Status.QUEUED and project.queue.look():
            session = _as_it_is(project, name)
    except UsageError as error:  # its runner came with a package that is not installed any more
        raise CorruptRecordError(name, project.store.session(name).record, error.message) from error
    return session


def _as_it_is(project: Project, name: str) -> Session:
    store = project.store.session(name)
    session = store.read()
    if session.status is Status.QUEUED and runners.alive(store, session):
        session = store.read()  # its worker may be further by now
        if session.status is Status.QUEUED:
            return transitions.seen_starting(session)
    if session.status.active and not runners.alive(store, session):
        session = store.read()  # it may have come to rest between the two looks
        if session.status.active and not runners.alive(store, session):
            return transitions.seen_crashed(session)
    if session.status is Status.WAITING and not runners.alive(store, session):
        # Its request stays open, and an answer brings the worker back: unless whoever gave one was killed before that.
        return replace(session, pid=None) if still_open(store, session) else transitions.seen_crashed(session)
    return session


def still_open(store: SessionStore, session: Session) -> list[Request]:
    """What the session asks and nobody has answered, oldest first."""
    if session.status is not Status.WAITING:
        return []
    answered = {entry.get("request") for entry in events.Inbox(store).take() if entry.get("type") == "reply"}
    return [request for request in session.requests if request.id not in answered]


def load_all(project: Project) -> tuple[list[Session], list[CorruptRecordError]]:
    """All sessions, oldest first, and the records that can't be read."""
    found, damaged = [], []
    for name in project.store.names():
        try:
            found.append(load(project, name))
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed meanwhile
        except CorruptRecordError as error:
            damaged.append(error)
    return sorted(found, key=lambda session: (session.created_at, session.name)), damaged


def find(project: Project, names: Sequence[str]) -> tuple[list[Session], list[ChatmlError | OSError]]:
    """The sessions of these names, or all without any; and why others can't be had."""
    if not names:
        everyone, damaged = load_all(project)
        return everyone, [*damaged]
    found: list[Session] = []
    trouble: list[ChatmlError | OSError] = []
    for name in dict.fromkeys(names):
        try:
            found.append(resolve(project, name))
        except (ChatmlError, OSError) as error:
            trouble.append(error)
    return found, trouble


def with_places(project: Project, found: Sequence[Session]) -> list[Session]:
    """The sessions, those that are queued with their place in the queue."""
    if not any(session.status is Status.QUEUED for session in found):
        return list(found)
    places = {session.id: place for place, session in enumerate(project.queue.members(), 1)}
    return [
        replace(session, queue_place=places.get(session.id)) if session.status is Status.QUEUED else session
        for session in found
    ]


def recount(project: Project, found: Sequence[Session], every: bool = False) -> list[Session]:
    """The sessions with their changes as they are now: counted again, in parallel, where a person was at them.

    A living worker counts by itself. Those at rest are counted again where the worktree looks different from
    outside, or `every` one of them. Where that is not possible, they have none, and `not_counted` says why.
    """
    stale = [one for one in found if _filled(one) and (_doubtful(project, one) or (not one.status.active and every))]
    if not stale:
        return list(found)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        counted = dict(
            zip((one.name for one in stale), pool.map(lambda one: _counted(project, one, every), stale), strict=True)
        )
    return [counted.get(one.name, one) for one in found]


def _filled(session: Session) -> bool:
    """Whether its worktree has its files: a queued one may not have had them yet, one in preparation not all."""
    return session.populated or session.status not in (Status.QUEUED, Status.PREPARING)


def _doubtful(project: Project, session: Session) -> bool:
    """Whether the count in the record may be wrong, as far as that can be told without git."""
    if session.status.active:
        try:
            return standing(project.repo.common_dir, Path(session.worktree)) is not Standing.OURS
        except OSError:
            return True
    seen = checkout.glance(session)
    return seen is None or seen != session.changes_seen


def _counted(project: Project, session: Session, anew: bool) -> Session:
    """The session with its changes counted anew, also in its record, or with the reason why they can't be."""
    try:
        if session.repository != str(project.repo.home) and not session.status.active:
            _mend(project, session.name)
            session = replace(load(project, session.name), queue_place=session.queue_place)
        changes, seen = _measured(project, session, anew)
        if changes != session.changes or seen != session.changes_seen:
            project.store.session(session.name).update(
                lambda now_: replace(now_, changes=changes, changes_seen=seen) if now_.id == session.id else now_
            )
    except (ChatmlError, OSError) as error:
        return replace(session, changes=None, not_counted=str(error))
    return replace(session, changes=changes, changes_seen=seen)


def _measured(project: Project, session: Session, anew: bool) -> tuple[Changes, str | None]:
    """The changes, and what tells that they are still the same; those of the branch where the worktree is gone."""
    try:
        changes = measure(project.repo.common_dir, Path(session.worktree), session.base)
        return changes, checkout.glance(session)
    except WorktreeGoneError:
        tip = project.repo.tip(session.branch)
        if tip is None:
            raise
        seen = f"branch at {tip}"
        known = session.changes if seen == session.changes_seen and not anew else None
        return known or measure_branch(project.repo.common_dir, tip, session.base), seen


def resolve(project: Project, name: str | None) -> Session:
    """The session of that name, or the one in whose worktree the command was called."""
    if name is None:
        return _here(project)
    try:
        session = load(project, name)
        if session.repository != str(project.repo.home) and not runners.alive(project.store.session(name), session):
            _mend(project, name)
            session = load(project, name)
        return session
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise ChatmlError(
            f"no session named '{name}'{nearest(name, project.store.names())}", "see 'chatml ls'"
        ) from None


def _mend(project: Project, name: str) -> None:
    """Find the session's worktree again, after its repository was moved."""
    store = project.store.session(name)
    with store.lock():
        relocated(project, store)


def _here(project: Project) -> Session:
    top = project.repo.top
    if top is not None:
        for session in load_all(project)[0]:
            if os.path.realpath(session.worktree) == os.path.realpath(top):
                return session
    raise UsageError("no session named", "name one (see 'chatml ls'), or go into a session's worktree")


def relocated(project: Project, store: SessionStore) -> Session:
    """The record, mended if the repository was moved; the caller holds the session's lock."""
    try:
        session = store.read()
    except FileNotFoundError:
        raise ChatmlError(f"session '{store.name}' was removed just now") from None
    here = checkout.relocate(session, project.repo)
    if here != session:
        store.write(here)
    return here


def failure_of(session: Session) -> Failure | None:
    """Why a session is not going on, also for one that crashed."""
    if session.status is Status.CRASHED:
        return Failure("internal", "its worker ended without a word", f"go on with 'chatml resume {session.name}'")
    return session.error
