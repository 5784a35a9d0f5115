"""Many sessions from a list of tasks that was checked: each made once, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chatml.errors import ChatmlError, Kind, of_machine
from chatml.model import Session, Status
from chatml.project import Project
from chatml.runners import table as runners
from chatml.sessions import control, find
from chatml.sessions.create import make
from chatml.sessions.planning import Planned

MADE, THERE, RESUMED, FAILED = "made", "there", "resumed", "failed"


@dataclass(frozen=True)
class Made:
    """What became of a task: `made`, `there` already, `resumed`, or `failed` for the reason given."""

    name: str
    word: str
    session: Session | None = None
    failure: ChatmlError | None = None


def carry_out(project: Project, planned: Sequence[Planned], retry: bool) -> Iterator[Made]:
    """Make what is not there, one after the other; what fails is no reason to stop.

    What a killed run has left before its worker ran is gone on with, and with `retry` what failed too.
    """
    with runners.together():
        try:
            for one in planned:
                yield _again(project, one, retry) if one.there else _made(project, one)
        finally:
            project.queue.fill()


def _made(project: Project, one: Planned) -> Made:
    try:
        return Made(one.name, MADE, make(project, one.task, one.session, checked=True))
    except (ChatmlError, OSError) as error:
        try:  # another run of the same list was faster
            session = find.load(project, one.name)
            if (session.terms.prompt, session.issue) == (one.session.terms.prompt, one.session.issue):
                return Made(one.name, THERE, session)
        except (ChatmlError, OSError):
            pass
        return _failed(one.name, error)


def to_resume(project: Project, one: Planned, retry: bool) -> bool:
    """Whether what is there is gone on with: its worker never ran, or it failed and that is to be tried again."""
    crashed = one.session.status is Status.CRASHED
    unborn = crashed and not project.store.session(one.name).events.exists()
    return one.there and (unborn or (retry and (crashed or one.session.status is Status.FAILED)))


def _again(project: Project, one: Planned, retry: bool) -> Made:
    session = one.session
    if not to_resume(project, one, retry):
        return Made(one.name, THERE, session)
    try:
        if session.error is not None and session.error.kind == Kind.CHECK.value:
            control.send(project, one.name, session.terms.prompt)  # resuming would run the check alone
        else:
            control.resume(project, one.name)
        return Made(one.name, RESUMED, find.load(project, one.name))
    except (ChatmlError, OSError) as error:
        return _failed(one.name, error)


def _failed(name: str, error: ChatmlError | OSError) -> Made:
    return Made(name, FAILED, failure=of_machine(error) if isinstance(error, OSError) else error)
