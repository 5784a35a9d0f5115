"""A repository and its sessions: finds them, and reconciles what their records say with what is true."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from chatml import config
from chatml.changes.compare import measure
from chatml.config import Config
from chatml.errors import ChatmlError, UsageError
from chatml.model import Failure, Request, Session, Status
from chatml.queue import Queue
from chatml.repo import Repository
from chatml.state import events
from chatml.state.store import CorruptRecordError, SessionStore, Store
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
    return Project(repository, Store(repository.common_dir))


def load(project: Project, name: str) -> Session:
    """The session as it is now: an active record without a living worker is a crashed one. FileNotFoundError.

    Starts what may run, where the session is queued.
    """
    session = _as_it_is(project, name)
    if session.status is Status.QUEUED and project.queue.look():
        session = _as_it_is(project, name)
    return session


def _as_it_is(project: Project, name: str) -> Session:
    store = project.store.session(name)
    session = store.read()
    if session.status is Status.QUEUED and store.worker_lock.held():
        session = store.read()  # its worker may be further by now
        if session.status is Status.QUEUED:
            return replace(session, status=Status.PREPARING)
    if session.status.active and not store.worker_lock.held():
        session = store.read()  # it may have come to rest between the two looks
        if session.status.active and not store.worker_lock.held():
            return replace(session, status=Status.CRASHED, pid=None)
    if session.status is Status.WAITING and not store.worker_lock.held():
        # Its request stays open, and an answer brings the worker back: unless whoever gave one was killed before that.
        return replace(session, pid=None, status=Status.WAITING if still_open(store, session) else Status.CRASHED)
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
    outside, or `every` one of them.
    """
    stale = [one for one in found if not one.status.active and _filled(one) and (every or _stale(one))]
    if not stale:
        return list(found)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        counted = dict(
            zip((one.name for one in stale), pool.map(lambda one: _counted(project, one), stale), strict=True)
        )
    return [counted.get(one.name, one) for one in found]


def _filled(session: Session) -> bool:
    """Whether its worktree has its files: a queued one may not have had them yet."""
    return session.populated or session.status is not Status.QUEUED


def _stale(session: Session) -> bool:
    seen = checkout.glance(session)
    return seen is not None and seen != session.changes_seen


def _counted(project: Project, session: Session) -> Session:
    """The session with its changes counted anew, also in its record; as it was where that is not possible."""
    try:
        changes = measure(Path(session.worktree), session.base.ref, session.base.commit)
        seen = checkout.glance(session)
        branch = checkout.follow(session, project.repo).branch
        counted = replace(session, changes=changes, changes_seen=seen, branch=branch)
        if counted != session:
            project.store.session(session.name).update(
                lambda now_: (
                    replace(now_, changes=changes, changes_seen=seen, branch=branch) if now_.id == session.id else now_
                )
            )
    except (ChatmlError, OSError):
        return session
    return counted


def resolve(project: Project, name: str | None) -> Session:
    """The session of that name, or the one in whose worktree the command was called."""
    if name is None:
        return _here(project)
    try:
        session = load(project, name)
        moved = session.repository != str(project.repo.home) and not project.store.session(name).worker_lock.held()
        if moved or checkout.follow(session, project.repo) != session:
            _mend(project, name)
            session = load(project, name)
        return session
    except (FileNotFoundError, NotADirectoryError, ValueError):
        from chatml.output import nearest

        raise ChatmlError(
            f"no session named '{name}'{nearest(name, project.store.names())}", "see 'chatml ls'"
        ) from None


def _mend(project: Project, name: str) -> None:
    """Find the session's worktree again after its repository was moved, and its branch after that was renamed."""
    store = project.store.session(name)
    with store.lock():
        relocated(project, store)


def _here(project: Project) -> Session:
    top = project.repo.top
    if top is not None:
        for session in load_all(project)[0]:
            if os.path.realpath(session.worktree) == os.path.realpath(top):
                return resolve(project, session.name)
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
