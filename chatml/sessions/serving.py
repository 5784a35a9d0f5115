"""The services of a session: started, waited for until they answer, and ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatml.errors import ChatmlError, UsageError
from chatml.model import RunningService, Service, Session, Status
from chatml.project import Project
from chatml.runners import table as runners
from chatml.sessions import control, living
from chatml.sessions.caller import hands_off
from chatml.sessions.find import relocated
from chatml.state.store import SessionStore
from chatml.text import nearest, one_line
from chatml.workspace import ports, programs
from chatml.workspace.glance import is_worktree

POLL = 0.03
"""Seconds between two looks whether a service answers."""

SETTLED = 0.5
"""Seconds that a program without a port has to live to count as running."""


class NotAnsweredError(ChatmlError):
    """A service that lives, and has not answered in the time that was given."""

    exit_code = 124


@dataclass(frozen=True)
class Launched:
    """What became of a service that was asked for."""

    service: RunningService
    anew: bool
    """False for one that ran already."""


def start(project: Project, name: str, wanted: Sequence[str], restart: bool = False) -> tuple[Session, list[Launched]]:
    """Start services of the session, as the settings are now; all of them where none is named.

    Those that run already are left alone, or with `restart` ended first. ChatmlError where the worktree isn't there
    yet, a port is another program's, or the settings don't know the service; nothing is started then.
    """
    store = control.locate(project, name)
    hands_off(project, name, "run", own=True)
    with store.lock():
        session = relocated(project, store)
        if session.status is Status.PREPARING and runners.alive(store, session):
            raise ChatmlError(f"'{name}' is being prepared: {session.activity}", f"wait for that: chatml attach {name}")
        session = living.furnished_anew(project, store, session)
        if not session.checkout.populated or not is_worktree(Path(session.worktree)):
            raise ChatmlError(
                f"'{name}' has no worktree to run anything in yet", f"see 'chatml ls {name}', or: chatml resume {name}"
            )
        chosen = _chosen(session, wanted)
        if restart:
            for service in chosen:
                programs.end(store, session, service.name)
        due = [service for service in chosen if not programs.runs(store, service.name)]
        _check_ports(session, due)
        started: list[Launched] = []
        for service in chosen:
            known = next((one for one in session.furnished.services if one.name == service.name), None)
            new = programs.start(store, session, service) if service in due else None
            if new is not None:
                session = _noted(store, session, new)
            if (one := new or known) is not None:
                started.append(Launched(one, new is not None))
    return session, started


def _noted(store: SessionStore, session: Session, new: RunningService) -> Session:
    """The record with a service that was started, written at once: whoever is killed after that leaves it known."""
    others = tuple(one for one in session.furnished.services if one.name != new.name)
    session = session.with_furnished(services=(*others, new), torn_down=False).changed()
    store.write(session)
    return session


def _chosen(session: Session, wanted: Sequence[str]) -> list[Service]:
    known = {service.name: service for service in session.furnishing.services}
    if not known:
        hint = "name its programs in .chatml.yaml, such as: run: {web: npm run dev -- --port {port:web}}"
        raise ChatmlError("the configuration has nothing to run", hint)
    for name in wanted:
        if name not in known:
            raise UsageError(f"no service named '{name}'{nearest(name, known)}", f"known: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(wanted)] or [*known.values()]


def _check_ports(session: Session, due: Sequence[Service]) -> None:
    for service in due:
        number = session.furnished.ports.get(service.port or "")
        if number is not None and ports.answers(number):
            raise ChatmlError(
                f"port {number} of '{session.name}' is taken by a program that chatml has not started",
                f"end that one; who is it: lsof -i :{number}",
            )


def await_answer(store: SessionStore, session: Session, started: Launched, timeout: float) -> None:
    """Wait until the service answers on its port, or has lived for a moment where it has none.

    ChatmlError with its last lines where it ends before that, NotAnsweredError once `timeout` seconds are over.
    """
    one = started.service
    began = time.monotonic()
    while True:
        answered = ports.answers(one.port) if one.port is not None else time.monotonic() - began >= SETTLED
        if not programs.runs(store, one.name):
            raise _ended(store, session, one)
        if answered:
            return
        if time.monotonic() - began >= timeout:
            raise NotAnsweredError(
                f"{one.name} of '{session.name}' does not answer on port {one.port} after {timeout:g} s, and runs on",
                f"see what it prints: chatml run {session.name} {one.name} --logs",
            )
        time.sleep(POLL)


def _ended(store: SessionStore, session: Session, one: RunningService) -> ChatmlError:
    code = programs.exit_code(store, one.name)
    how = "was killed" if code is None else f"ended with code {code}"
    output = programs.last_lines(store, one.name)
    last = one_line(output.rpartition("\n")[2])
    hint = f"all that it printed: chatml run {session.name} {one.name} --logs"
    return ChatmlError(f"{one.name} of '{session.name}' {how}{f': {last}' if last else ''}", hint, output=output)


def stop(project: Project, name: str, wanted: Sequence[str]) -> tuple[Session, list[str]]:
    """End services of the session with all that they have started; returns the names of those that ran.

    All of them where none is named, also such as the settings don't know any more.
    """
    store = control.locate(project, name)
    hands_off(project, name, "run", own=True)
    with store.lock():
        session = relocated(project, store)
        known = [one.name for one in session.furnished.services]
        for service in wanted:
            if service not in {*known, *(one.name for one in session.furnishing.services)}:
                raise UsageError(f"no service named '{service}'{nearest(service, known)}")
        ended = [service for service in wanted or known if programs.end(store, session, service)]
    return session, ended


def printed(project: Project, session: Session, wanted: Sequence[str], follow: Callable[[], bool]) -> Iterator[str]:
    """What services have printed, each line with the service's name where there are several; on, while `follow`."""
    paths = project.store.session(session.name)
    names = list(wanted) or [one.name for one in session.furnished.services]
    offsets = dict.fromkeys(names, 0)
    while True:
        more = follow()
        news = False
        for name in names:
            log = paths.service_log(name)
            size = log.stat().st_size if log.exists() else 0
            if size < offsets[name]:
                offsets[name] = 0  # it was started anew
            if size > offsets[name]:
                with log.open("rb") as file:
                    file.seek(offsets[name])
                    raw = file.read(size - offsets[name])
                end = raw.rfind(b"\n") + 1 if more else len(raw)
                offsets[name] += end
                news = news or end > 0
                prefix = f"{name} | " if len(names) > 1 else ""
                for line in raw[:end].decode("utf-8", "replace").splitlines():
                    yield prefix + line
        if not more:
            return
        if not news:
            time.sleep(0.1)
