"""A session's conversation, as a person reads it or takes part in it."""

from __future__ import annotations

import contextlib
import sys
import time

from chatml import output
from chatml.errors import ChatmlError
from chatml.model import Request, Session, Status
from chatml.model.event import Event, Replied, Requested, StatusChanged
from chatml.project import Project
from chatml.render import requests
from chatml.render.transcript import Transcript
from chatml.sessions import answer, control, find, notice, unsend
from chatml.state import log
from chatml.state.store import SessionStore
from chatml.terminal import Leave, Prompt
from chatml.text import one_line, paint, shorten


def transcript(project: Project, session: Session, *, follow: bool, as_json: bool, fold: bool) -> None:
    """Print the log; with `follow` also what comes, until the session is at rest."""
    store = project.store.session(session.name)
    show = Transcript(session.worktree, output.width if fold else None)
    end = End(project, session.name)
    for event in log.follow(store.events, end) if follow else log.read(store.events):
        if event is None:
            sys.stdout.flush()
            continue
        end.saw(event)
        if as_json:
            output.json_line(event.to_json())
        elif text := show(event):
            _put(text)


SETTLES = 1.0
"""Seconds within which what stands in a session's record or log stands in the other too, unless its worker has died."""


class End:
    """Whether a followed log has come to its end: the session is at rest, and its log has said so."""

    def __init__(self, project: Project, name: str) -> None:
        self._project = project
        self._name = name
        self._last: str | None = None
        self._rests_since: float | None = None

    def saw(self, event: Event) -> None:
        if isinstance(event.what, StatusChanged):
            self._last = event.what.status

    def __call__(self) -> bool:
        try:
            status = find.load(self._project, self._name).status
        except FileNotFoundError:
            return True
        if not status.at_rest:
            self._rests_since = None
            return False
        now = time.monotonic()
        self._rests_since = self._rests_since or now
        # The record comes first. No worker is left that could write that one has crashed.
        return status is Status.CRASHED or status.value == self._last or now - self._rests_since > SETTLES


def _put(painted: str) -> None:
    output.answer(output.wanted(painted), newline=False)


def attach(project: Project, name: str, as_json: bool = False) -> None:
    """Follow a session; on a terminal until the person leaves, elsewhere until the turn ends."""
    session = find.resolve(project, name)
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        transcript(project, session, follow=True, as_json=as_json, fold=not as_json)
        with contextlib.suppress(FileNotFoundError, ChatmlError):
            notice.tell_crashes(project, [find.load(project, name)])
        return
    with contextlib.suppress(Leave, KeyboardInterrupt), Prompt(_put, output.width).opened() as prompt:
        _converse(project, session, prompt)
    output.note(output.style(f"detached; {_state(project, name)}", err=True, dim=True))


def _state(project: Project, name: str) -> str:
    try:
        status = find.load(project, name).status
    except FileNotFoundError:
        return f"{name} was removed"
    return f"{name} is {status.value}" + (" and goes on" if status.active else "")


RESTING = 0.1
"""Seconds between two looks at a session at rest: it can't say anything before its record has changed."""


class Look:
    """A session, and what it asks first; at rest, it is read anew only once something has changed."""

    def __init__(self, project: Project, store: SessionStore) -> None:
        self._project = project
        self._store = store
        self._stamp: object = None
        self._seen: tuple[Session, Request | None] | None = None
        self.pause = log.POLL
        """Seconds until the next look."""

    def __call__(self) -> tuple[Session, Request | None]:
        """As it is now. FileNotFoundError where it was removed."""
        stamp = self._store.stamp()
        if self._seen is None or stamp is None or stamp != self._stamp or not self._seen[0].status.at_rest:
            session = find.load(self._project, self._store.name)
            self._seen = session, next(iter(find.still_open(self._store, session)), None)
            # One that waits has a worker, as a rule, which may die without a word.
            calm = session.status.at_rest and session.pid is None
            self._stamp, self.pause = (stamp, RESTING) if calm else (None, log.POLL)
        return self._seen


class Queued:
    """Says what newly waits for the end of a session's turn; asked often, it reads only when something came in."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._size = 0
        self._shown: set[str] = set()

    def __call__(self, session: Session) -> list[unsend.Unsent]:
        """What was queued since the last look; what is no longer queued is not told."""
        size = self._store.inbox.stat().st_size if self._store.inbox.exists() else 0
        if size == self._size:
            return []
        self._size = size
        queued = [one for one in unsend.unsent(self._store, session) if one.state == unsend.QUEUED]
        new = [one for one in queued if one.id not in self._shown]
        self._shown |= {one.id for one in new}
        return new


def _converse(project: Project, session: Session, prompt: Prompt) -> None:
    """Show what comes and send what is typed, until the person leaves or the session is removed."""
    store = project.store.session(session.name)
    show = Transcript(session.worktree, output.width)
    alarm, queued = notice.Alarm(), Queued(store)
    told: Status | str | None = None
    look = Look(project, store)
    shown: float | None = None
    for event in log.follow(store.events, lambda: not store.exists(), lambda: prompt.wait(look.pause)):
        if event is not None:
            prompt.write(show(event))
            if isinstance(event.what, Requested | Replied):
                shown = time.monotonic() if isinstance(event.what, Requested) else None
            continue
        try:
            session, asked = look()
        except FileNotFoundError:
            continue  # removed just now
        told = _tell_need(asked, told, prompt) if asked else _tell_rest(project, session, told, prompt)
        for message in queued(session):
            prompt.note(paint(f"(queued as {message.id}: {_short(message.text)})", dim=True))
        if alarm([session]):
            prompt.ring()
        if asked is None and shown is not None and time.monotonic() - shown < SETTLES:
            continue  # what is typed is meant for the request that was just shown, and is not in the record yet
        for line in prompt.typed():
            if line.strip():
                _enter(project, session.name, asked, line, prompt)
                break  # the next line is meant for what is open then


def _short(text: str) -> str:
    return shorten(one_line(text), 60)


def _tell_need(asked: Request, told: Status | str | None, prompt: Prompt) -> str:
    """Say once how to answer what was just shown."""
    if told != asked.id:
        prompt.note(paint(f"  {requests.how(asked)}", dim=True))
    return asked.id


def _tell_rest(project: Project, session: Session, told: Status | str | None, prompt: Prompt) -> Status:
    """Say once when the session has come to rest, and what can be done."""
    if session.status is told or not session.status.at_rest:
        return session.status
    if session.status is Status.CRASHED and (failure := find.failure_of(session)):
        notice.tell_crashes(project, [session])
        prompt.note(paint(f"! {failure.message}", fg="red"))
    text = f"{session.name} is {session.status.value}; type a message to go on, Ctrl-C to leave"
    prompt.note(paint(text, dim=True))
    return session.status


def _enter(project: Project, name: str, asked: Request | None, line: str, prompt: Prompt) -> None:
    """A typed line answers what is asked, or is a message to the agent."""
    try:
        reply = answer.typed(asked, line) if asked else None
        if reply is not None:
            answer.reply(project, name, reply)
            return
        control.send(project, name, line)
    except ChatmlError as error:
        prompt.note(f"! {error.message}" + (f"\n  {error.hint}" if error.hint else ""))
    else:
        prompt.note(paint(f"(sent: {_short(line)})", dim=True))
