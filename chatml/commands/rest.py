"""Waits until sessions are at rest, and tells how they came to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from chatml import output
from chatml.errors import ChatmlError
from chatml.model import Session, Status
from chatml.project import Project
from chatml.render import rows
from chatml.sessions import find, notice
from chatml.state import log
from chatml.text import printable

NEEDS_PERSON = 3
TIMED_OUT = 124


@dataclass
class Waited:
    """What a wait came to."""

    at_work: list[str]
    """Those that are not at rest yet."""
    rested: list[Session] = field(default_factory=list)
    """The sessions that are at rest, in the order in which they were seen to be."""
    code: int = 0
    """The worst exit code, also of those that could not be waited for."""


def wait_for(project: Project, names: Sequence[str], timeout: float | None = None, any_one: bool = False) -> Waited:
    """Wait until all (or any one) of the sessions are at rest; those that can't be waited for are told and left out.

    `timeout` is in seconds.
    """
    waited = Waited(list(names))
    wait_in([(project, waited)], timeout, any_one)
    return waited


def wait_in(places: Sequence[tuple[Project, Waited]], timeout: float | None = None, any_one: bool = False) -> int:
    """The same in several repositories at once; the worst exit code."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        for project, waited in places:
            _look(project, waited)
        found = [waited for _, waited in places]
        code = max((waited.code for waited in found), default=0)
        at_work = any(waited.at_work for waited in found)
        if not at_work or (any_one and any(waited.rested for waited in found)) or code == NEEDS_PERSON:
            return code
        if deadline is not None and time.monotonic() >= deadline:
            for waited in found:
                waited.code = TIMED_OUT if waited.at_work else waited.code
            return TIMED_OUT
        time.sleep(log.POLL)


def _look(project: Project, waited: Waited) -> None:
    """Take those out that have come to rest, and those that were removed or can't be read."""
    for name in list(waited.at_work):
        try:
            session = find.resolve(project, name)
        except (ChatmlError, OSError) as error:
            code = output.complain(error)
        else:
            if not session.status.at_rest and not session.seen.stuck:
                continue
            notice.tell_crashes(project, [session])
            waited.rested.append(session)
            code = _code(session)
        waited.at_work.remove(name)
        waited.code = max(waited.code, code)


def _code(session: Session) -> int:
    """The exit code that tells how a session came to rest."""
    if session.status is Status.WAITING or session.seen.stuck:
        return NEEDS_PERSON
    return 0 if session.status is Status.DONE else 1


def tell_stuck(session: Session) -> None:
    """What keeps a session from ever starting by itself, and what a person can do about it."""
    hint = f"see to that one; or start it all the same: chatml resume {session.name}"
    output.error(f"{session.name} {session.activity}", hint)


def tell(session: Session) -> None:
    """How it ended: the agent's answer on stdout; what went wrong, and what to do, on stderr."""
    if session.status is Status.DONE:
        output.answer(printable(session.result or ""))
        return
    failure = find.failure_of(session)
    if session.seen.stuck:
        tell_stuck(session)
    elif session.status is Status.WAITING:
        output.error(f"{session.name} needs you: {rows.activity(session)}", f"see 'chatml show {session.name}'")
    elif failure is not None:
        output.error(f"{session.name} {session.status.value}: {failure.message}", failure.hint)
    else:
        output.error(f"{session.name} is {session.status.value}", f"see 'chatml ls {session.name}'")
