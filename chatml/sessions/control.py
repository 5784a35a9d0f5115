"""Messages to a session, and its worker: started, stopped, resumed."""

from __future__ import annotations

import re
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from chatml import proc, queue
from chatml.agents.briefing import GO_ON
from chatml.changes.standing import Standing, standing
from chatml.errors import ChatmlError, Kind, UsageError
from chatml.model import Session, Status, Terms, transitions
from chatml.model.entry import Interrupt, Message
from chatml.project import Project
from chatml.runners import table as runners
from chatml.sessions import family
from chatml.sessions.caller import hands_off, persons_only
from chatml.sessions.find import relocated, resolve, still_open
from chatml.sessions.limits import AS_BEFORE, NewLimits
from chatml.state import inbox, log
from chatml.state.store import SessionStore
from chatml.workspace import checkout
from chatml.workspace.mending import TOLD

MAX_MESSAGE = 1_000_000
"""Characters of one message: beyond it no model reads it anyway, and a file is the better place."""

MAX_ARGUMENT = 128 * 1024 - 1
"""Bytes of one argument of a program on Linux (MAX_ARG_STRLEN without the NUL)."""

STOP_GRACE = 15.0
"""Seconds that a worker has to end: the SDK alone takes up to 6.5 s to disconnect in the middle of a turn."""


def check_message(text: str) -> str:
    """`text` as a message to an agent. UsageError where it is empty, too long or not text."""
    if not text.strip():
        raise UsageError("the message is empty", "say what the agent shall do")
    if "\0" in text:
        raise UsageError("the message contains a NUL character", "it must be text")
    if odd := re.search(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]", text):
        what = "is not valid UTF-8" if odd[0] >= "\ud800" else f"contains the control character {odd[0]!r}"
        raise UsageError(f"the message {what}", "it must be text; put anything else into a file and name that file")
    if len(text) > MAX_MESSAGE:
        raise UsageError(
            f"the message has {len(text):,} characters, more than {MAX_MESSAGE:,}",
            "put it into a file and name that file",
        )
    return text.strip()


def check_fits(text: str, terms: Terms) -> str:
    """`text` as a message to the agent of these terms. UsageError where it is too long for an argument of a program."""
    commands = (terms.command, terms.resume_command) if terms.prompt_by == "argument" else ()
    words = [word.replace("{prompt}", text) for command in commands for word in command or ()]
    if max((len(word.encode()) for word in words), default=0) > MAX_ARGUMENT:
        raise UsageError(
            f"the message has {len(text.encode()):,} bytes; a program can be given {MAX_ARGUMENT:,} in one argument",
            "put it into a file and name that file",
        )
    return text


def start_or_queue(project: Project, store: SessionStore, session: Session) -> Session:
    """Start the session's worker if none lives, in its turn where places are limited; its lock is held.

    `project.queue.fill` has to follow once that is released. A session that waits for a person goes on at once; one
    that waits for others does so no longer.
    """
    if runners.alive(store, session):
        return session
    if session.queueing.predecessors and not session.queueing.released:
        session = session.with_queueing(released=True)
        store.write(session)
    limit = project.queue.limit(session) if session.status is not Status.WAITING else None
    return start_worker(store, session) if limit is None else queue.enter(store, session, limit)


def start_worker(store: SessionStore, session: Session) -> Session:
    """Start the session's worker at once if none lives; the caller holds the session's lock.

    Where that fails, the session is as it was: it has not crashed.
    """
    if not store.worker_lock.take():
        return session
    try:
        ready = transitions.started(session)
        if ready is not session:
            store.write(ready)
        started = replace(ready, pid=runners.of(ready).start(store, ready))
    except (ChatmlError, OSError):
        with suppress(OSError):
            store.write(session)
        raise
    finally:
        store.worker_lock.release()
    with suppress(OSError):  # the worker lives, and writes it down itself
        store.write(started)
    return started


def send(
    project: Project,
    name: str,
    text: str,
    interrupt: bool = False,
    queued: bool = False,
    limits: NewLimits = AS_BEFORE,
    about: tuple[str, ...] = (),
) -> str:
    """Put a message into the session's inbox and see that a worker reads it; returns its number, as `unsend` has it.

    With `interrupt` the current turn ends first; with `queued` the message waits for its end. UsageError, and nothing
    sent, where the new limits would be reached already.
    """
    text = check_message(text)
    store = _existing(project, name)
    hands_off(project, name, "send")
    first = [Interrupt()] if interrupt else []
    with store.lock():
        session = relocated(project, store)
        check_fits(text, session.terms)
        session = _limited(project, store, session, limits)
        with inbox.posted(store, *first, Message(text, queue=queued, about=about)):
            start_or_queue(project, store, session)
        number = len(inbox.messages(store))
    project.queue.fill()
    return str(number)


def _limited(project: Project, store: SessionStore, session: Session, limits: NewLimits) -> Session:
    """The session with new limits, as a person sets them; an agent wakes none beyond its parent's money."""
    if limits.any():
        persons_only(project, f"change the limits of '{session.name}'")
    changed = limits.of(session)
    if changed != session:
        store.write(changed)
    return family.keep_within(project, store, changed)


def _existing(project: Project, name: str) -> SessionStore:
    resolve(project, name)
    return project.store.session(name)


def locate(project: Project, name: str) -> SessionStore:
    """The session's files, once its record says where the worktree is now, also after the repository was moved."""
    store = _existing(project, name)
    with store.lock():
        relocated(project, store)
    return store


def resume(
    project: Project, name: str, limits: NewLimits = AS_BEFORE
) -> Literal["resumed", "at work", "nothing to do"]:
    """Go on with the interrupted turn, if there is one and no worker is at it; tells which.

    ChatmlError where a person's answer is all that it waits for.
    """
    store = _existing(project, name)
    with store.lock():
        session = relocated(project, store)
        if asked := still_open(store, session):
            raise ChatmlError(
                f"'{name}' waits for your answer: {asked[0].summary}",
                f"see 'chatml show {name}'; then approve, deny or answer it",
            )
        session = _limited(project, store, session, limits)
        if runners.alive(store, session):
            return "at work"
        pending = inbox.pending(store)
        idle = session.status is Status.DONE and not pending
        if idle and not _lacks_worktree(project, session) and not _check_due(project, session):
            return "nothing to do"
        # What is queued waits for the end of the turn that was interrupted.
        open_turn = session.status is not Status.DONE and not _only_check_left(store, session)
        if open_turn and all(message.queue for message in pending):
            inbox.post(store, Message(GO_ON, auto=True))
        start_or_queue(project, store, session)
    project.queue.fill()
    return "resumed"


def _only_check_left(store: SessionStore, session: Session) -> bool:
    """Whether the agent has answered all, and what is left is to run the check: it is not asked anew for that."""
    if session.error is not None and session.error.kind == Kind.SETUP.value:
        return not inbox.unanswered(log.read(store.events))
    if session.terms.check is None and session.watching is None:
        return False
    if session.status is Status.FAILED:
        return session.error is not None and session.error.kind == Kind.CHECK.value
    return not inbox.unanswered(log.read(store.events))


def _check_due(project: Project, session: Session) -> bool:
    """Whether something else stands there than what the check of a session that is done has seen."""
    from chatml.changes.snapshot import state_of  # here alone: hardly any session is gone on with for this

    if session.check is None:
        return False
    return session.check.seen(state_of(project.repo.common_dir, Path(session.worktree))).current is False


def _lacks_worktree(project: Project, session: Session) -> bool:
    """Whether a worker is needed for the worktree alone: to make it anew, or to say why it can't."""
    return standing(project.repo.common_dir, Path(session.worktree)) is not Standing.OURS


def remade(project: Project, name: str) -> str | None:
    """What a person has to know about a worktree that the session's next worker makes anew; None where none is."""
    session = resolve(project, name)
    if runners.alive(project.store.session(name), session):
        return None
    found = standing(project.repo.common_dir, Path(session.worktree))
    return checkout.remade(session) if found is Standing.GONE else TOLD if found is Standing.CUT_OFF else None


def stop(project: Project, name: str) -> bool:
    """End the session's turn, its worker and what its agent has left running; False where there was none of these.

    ChatmlError where the worker doesn't end, and where an agent calls that has not started the session.
    """
    store = _existing(project, name)
    hands_off(project, name, "stop")
    with store.lock():
        session = store.read()
        stopped = alive = runners.alive(store, session)
        if alive:
            store.write(replace(session, stopping=True))
        elif session.status is Status.QUEUED:
            store.write(transitions.stopped(session))  # whoever was about to start it looks first
            stopped = True
    if alive:
        _end_worker(store, session)
        project.queue.fill()  # a worker that had to be killed did not
    with store.lock():
        session = store.read()
        if session.status is Status.QUEUED and session.stopping:
            store.write(transitions.stopped(session))
        if not store.worker_lock.take():
            return stopped  # a message came in meanwhile: what runs now is not what was to be stopped
        try:
            ended = runners.of(session).end(session)
            session = replace(store.read(), leftovers=False)
            store.write(transitions.stopped(session) if session.status.open else session)
            return stopped or ended > 0 or session.status.open
        finally:
            store.worker_lock.release()


def _end_worker(store: SessionStore, session: Session) -> None:
    """End the worker that the record says is to be stopped: ask, then kill. ChatmlError where it lives on."""
    asked: set[int] = set()

    def ended() -> bool:
        if not runners.alive(store, session):
            return True
        now_ = store.read()
        if not now_.stopping:
            return True  # this one was started later
        # Its PID is not yet known while the worker is being started.
        if now_.pid is not None and now_.pid not in asked and runners.of(now_).signal(now_, signal.SIGTERM):
            asked.add(now_.pid)
        return False

    if proc.wait_until(ended, STOP_GRACE):
        return
    for pid in asked:
        runners.of(session).signal(replace(session, pid=pid), signal.SIGKILL)
    if not proc.wait_until(ended, STOP_GRACE):
        raise ChatmlError(f"the worker of '{store.name}' does not end", "see 'chatml doctor', and try again")
