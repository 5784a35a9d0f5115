"""Shared by the commands that wait for sessions or look on: `attach`, `logs`, `new`, `send`, `wait`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chatml import output, render, sessions
from chatml.commands import deciding, watching
from chatml.errors import ChatmlError
from chatml.model import Event, Request, Session, Status
from chatml.sessions import Project
from chatml.state import events
from chatml.terminal import Leave, Prompt
from chatml.text import one_line, paint, printable, shorten

NEEDS_PERSON = 3
TIMED_OUT = 124


def outcome(session: Session) -> int:
    """The exit code that tells how a session came to rest."""
    if session.status is Status.WAITING:
        return NEEDS_PERSON
    return 0 if session.status is Status.DONE else 1


def at_rest(session: Session) -> bool:
    """Whether nothing happens until somebody does something."""
    return session.status.at_rest


@dataclass
class Waited:
    """What a wait came to."""

    at_work: list[str]
    """Those that are not at rest yet."""
    rested: list[Session] = field(default_factory=list)
    """The sessions that are at rest, in the order in which they were seen to be."""
    code: int = 0
    """The worst exit code, also of those that could not be waited for."""


def wait_for(project: Project, names: Sequence[str], timeout: float | None, any_one: bool = False) -> Waited:
    """Wait until all (or any one) of the sessions are at rest; those that can't be waited for are told and left out."""
    deadline = None if timeout is None else time.monotonic() + timeout
    waited = Waited(list(names))
    while True:
        _look(project, waited)
        if not waited.at_work or (any_one and waited.rested) or waited.code == NEEDS_PERSON:
            return waited
        if deadline is not None and time.monotonic() >= deadline:
            waited.code = TIMED_OUT
            return waited
        time.sleep(events.POLL)


def _look(project: Project, waited: Waited) -> None:
    """Take those out that have come to rest, and those that were removed or can't be read."""
    for name in list(waited.at_work):
        try:
            session = sessions.resolve(project, name)
        except (ChatmlError, OSError) as error:
            code = output.complain(error)
        else:
            if not at_rest(session):
                continue
            sessions.tell_crashes(project, [session])
            waited.rested.append(session)
            code = outcome(session)
        waited.at_work.remove(name)
        waited.code = max(waited.code, code)


def tell_outcome(session: Session) -> None:
    """How it ended: the agent's answer on stdout; what went wrong, and what to do, on stderr."""
    if session.status is Status.DONE:
        output.answer(printable(session.result or ""))
        return
    failure = sessions.failure_of(session)
    if session.status is Status.WAITING:
        output.error(f"{session.name} needs you: {render.activity(session)}", f"see 'chatml show {session.name}'")
    elif failure is not None:
        output.error(f"{session.name} {session.status.value}: {failure.message}", failure.hint)
    else:
        output.error(f"{session.name} is {session.status.value}", f"see 'chatml ls {session.name}'")


def transcript(project: Project, session: Session, *, follow: bool, as_json: bool, fold: bool) -> Iterator[bool]:
    """Print the log, then what comes; yields False whenever nothing new is there, for the caller to act or stop."""
    store = project.store.session(session.name)
    show = render.Transcript(session.worktree, output.width if fold else None)
    if not follow:
        for event in events.read(store.events):
            _print(event, show, as_json)
        return
    for found in events.follow(store.events, lambda: _ended(project, session.name)):
        if found is None:
            sys.stdout.flush()
            yield False
        else:
            _print(found, show, as_json)


def _ended(project: Project, name: str) -> bool:
    try:
        return at_rest(sessions.load(project, name))
    except FileNotFoundError:
        return True


def _print(event: Event, show: render.Transcript, as_json: bool) -> None:
    if as_json:
        output.json_line(event.to_json())
    elif text := show(event):
        output.answer(output.wanted(text), newline=False)


def attach(project: Project, name: str, as_json: bool = False) -> int:
    """Follow a session; on a terminal until the person leaves, elsewhere until the turn ends."""
    session = sessions.resolve(project, name)
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        for _ in transcript(project, session, follow=True, as_json=as_json, fold=not as_json):
            pass
        with contextlib.suppress(FileNotFoundError, ChatmlError):
            sessions.tell_crashes(project, [sessions.load(project, name)])
        return 0
    with contextlib.suppress(Leave, KeyboardInterrupt), Prompt(_put, output.width).opened() as prompt:
        _converse(project, session, prompt)
    state = _state(project, name)
    output.note(output.style(f"detached; {state}", err=True, dim=True))
    return 0


def _put(painted: str) -> None:
    """Print on the terminal at once."""
    output.answer(output.wanted(painted), newline=False)
    sys.stdout.flush()


def _state(project: Project, name: str) -> str:
    try:
        status = sessions.load(project, name).status
    except FileNotFoundError:
        return f"{name} was removed"
    return f"{name} is {status.value}" + (" and goes on" if status.active else "")


def _converse(project: Project, session: Session, prompt: Prompt) -> None:
    """Show what comes and send what is typed, until the person leaves or the session is removed."""
    store = project.store.session(session.name)
    show = render.Transcript(session.worktree, output.width)
    alarm, queue = watching.Alarm(), watching.Queue(store)
    told: Status | str | None = None
    for event in events.follow(store.events, lambda: not store.exists()):
        if event is not None:
            prompt.write(show(event))
            continue
        try:
            session = sessions.load(project, session.name)
        except FileNotFoundError:
            continue  # removed just now
        asked = next(iter(sessions.still_open(store, session)), None)
        told = _tell_need(asked, told, prompt) if asked else _tell_rest(project, session, told, prompt)
        for one in queue(session):
            text = shorten(one_line(one.text), 60)
            prompt.note(paint(f"(queued as {one.id}: {text})", dim=True))
        if alarm([session]):
            prompt.ring()
        for line in prompt.typed():
            if line.strip():
                _enter(project, session.name, asked, line, prompt)
                break  # the next line is meant for what is open then


def _tell_need(asked: Request, told: Status | str | None, prompt: Prompt) -> str:
    """Say once how to answer what was just shown."""
    if told != asked.id:
        prompt.note(paint(f"  {deciding.how(asked)}", dim=True))
    return asked.id


def _tell_rest(project: Project, session: Session, told: Status | str | None, prompt: Prompt) -> Status:
    """Say once when the session has come to rest, and what can be done."""
    if session.status is told or not at_rest(session):
        return session.status
    if session.status is Status.CRASHED and (failure := sessions.failure_of(session)):
        sessions.tell_crashes(project, [session])
        prompt.note(paint(f"! {failure.message}", fg="red"))
    text = f"{session.name} is {session.status.value}; type a message to go on, Ctrl-C to leave"
    prompt.note(paint(text, dim=True))
    return session.status


def _enter(project: Project, name: str, asked: Request | None, line: str, prompt: Prompt) -> None:
    """A typed line answers what is asked, or is a message to the agent."""
    try:
        reply = deciding.typed(asked, line) if asked else None
        if reply is not None:
            sessions.reply(project, name, reply)
            return
        sessions.send(project, name, line)
    except ChatmlError as error:
        prompt.note(f"! {error.message}" + (f"\n  {error.hint}" if error.hint else ""))
    else:
        prompt.note(paint(f"(sent: {shorten(one_line(line), 60)})", dim=True))
