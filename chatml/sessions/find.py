"""Finds sessions, and reconciles what their records say with what is true."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from chatml import predecessors
from chatml.errors import ChatmlError, UsageError
from chatml.model import Failure, Request, Session, Status, transitions
from chatml.project import Project
from chatml.runners import table as runners
from chatml.state.store import CorruptRecordError, SessionStore, UnreadableRecordError
from chatml.text import nearest
from chatml.workspace.branch import follow


def load(project: Project, name: str) -> Session:
    """The session as it is now: an active record without a living worker is a crashed one. FileNotFoundError.

    Starts what may run, where the session is queued. Of one that waits for others, `activity` says for which.
    """
    try:
        session = _as_it_is(project, name)
        if session.status is Status.QUEUED and project.queue.look():
            session = _as_it_is(project, name)
        if (kept := predecessors.told(project.store, session)) is not None:
            session = replace(session, activity=kept[0]).with_seen(stuck=kept[1])
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
    session, crashed = runners.looked_after(store, session)
    if crashed:
        return transitions.seen_crashed(session)
    if session.status is Status.WAITING and not runners.alive(store, session):
        # Its request stays open, and an answer brings the worker back: unless whoever gave one was killed before that.
        return replace(session, pid=None) if still_open(store, session) else transitions.seen_crashed(session)
    return session


def still_open(store: SessionStore, session: Session) -> list[Request]:
    """What the session asks and nobody has answered, oldest first."""
    if session.status is not Status.WAITING:
        return []
    from chatml.state.inbox import answered  # here alone, as below: hardly any look at the sessions needs it

    closed = answered(store)
    return [request for request in session.requests if request.id not in closed]


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
        except OSError as error:
            damaged.append(UnreadableRecordError(name, project.store.session(name).record, error))
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
    places = {session.id: place for place, session in enumerate(project.queue.waiting(), 1)}
    return [
        session.with_seen(queue_place=places.get(session.id)) if session.status is Status.QUEUED else session
        for session in found
    ]


def resolve(project: Project, name: str | None) -> Session:
    """The session of that name, or the one in whose worktree the command was called."""
    if name is None:
        return _here(project)
    try:
        project.store.named(name)
        session = load(project, name)
        moved = session.repository != str(project.repo.home) and not runners.alive(project.store.session(name), session)
        if moved or follow(session, project.repo) != session:
            session = mended(project, name)
        return session
    except (FileNotFoundError, NotADirectoryError):
        raise ChatmlError(
            f"no session named '{name}'{nearest(name, project.store.names())}", "see 'chatml ls'"
        ) from None


def mended(project: Project, name: str) -> Session:
    """The session, once its record says where its worktree is since its repository was moved, and its branch's name."""
    store = project.store.session(name)
    with store.lock():
        relocated(project, store)
    return load(project, name)


def _here(project: Project) -> Session:
    top = project.repo.top
    if top is not None:
        for session in load_all(project)[0]:
            if os.path.realpath(session.worktree) == os.path.realpath(top):
                return resolve(project, session.name)
    raise UsageError("no session named", "name one (see 'chatml ls'), or go into a session's worktree")


def relocated(project: Project, store: SessionStore) -> Session:
    """The record, mended if the repository was moved or the branch renamed; the caller holds the session's lock."""
    try:
        session = store.read()
    except FileNotFoundError:
        raise ChatmlError(f"session '{store.name}' was removed just now") from None
    if session.repository == str(project.repo.home):
        here = follow(session, project.repo)
    else:
        from chatml.workspace import checkout  # here alone: hardly ever is a repository moved

        here = checkout.relocate(session, project.repo)
    if here != session:
        store.write(here)
    return here


def worktree_gone(session: Session) -> ChatmlError:
    """That its worktree is not there, and what to do about it."""
    return ChatmlError(
        f"the worktree of '{session.name}' is gone: {session.worktree}",
        f"make it again from its branch: chatml resume {session.name}",
    )


def failure_of(session: Session) -> Failure | None:
    """Why a session is not going on, also for one that crashed."""
    if session.status is Status.CRASHED:
        return Failure("internal", "its worker ended without a word", f"go on with 'chatml resume {session.name}'")
    return session.error
