"""A session's services: detached programs in its worktree, each known to live by the lock that it holds."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from chatml import environment, marking, proc
from chatml.model import RunningService, SeenService, Service, Session, now
from chatml.model.provision import shell_filled, url
from chatml.state.locks import WorkerLock
from chatml.state.paths import SessionPaths
from chatml.workspace.values import environ, values

SCRIPT = 'sh -c "$1"; code=$?; echo $code > "$2"; exit $code'
"""Runs a service and notes how it ended: its parent is long gone by then."""

GRACE = 5.0
"""Seconds between asking a service to end and killing it."""


def start(paths: SessionPaths, session: Session, service: Service) -> RunningService | None:
    """Start a service in a session of its own, its output in a log that begins anew; None where it runs already.

    It holds a lock as long as anything of it lives that has kept the open file. OSError where it can't be started.
    """
    paths.services.mkdir(exist_ok=True)
    lock = WorkerLock(paths.service_lock(service.name))
    if not lock.take():
        return None
    assert lock.fd is not None
    try:
        command = shell_filled(service.command, values(session, service.port))
        log = paths.service_log(service.name)
        log.write_bytes(b"")
        paths.service_exit(service.name).unlink(missing_ok=True)
        pid = proc.spawn_detached(
            ["sh", "-c", SCRIPT, "sh", command, str(paths.service_exit(service.name))],
            cwd=Path(session.worktree),
            env=service_env(session, service.name),
            output=log,
            keep=(lock.fd,),
        )
    finally:
        lock.release()
    port = session.furnished.ports.get(service.port or "")
    return RunningService(service.name, command, pid, now(), port)


def service_env(session: Session, name: str | None = None) -> dict[str, str]:
    """What a program of the session finds in its environment; a service also what it is known by.

    Not the marker of the session's own processes: `stop` ends the agent and what that has left, and no service.
    """
    mark = {environment.SERVICE: marker(session, name)} if name is not None else {}
    return environment.session_env({**mark, **environ(session), "PWD": session.worktree})


def marker(session: Session, name: str) -> str:
    """What all processes of a service carry in their environment."""
    return f"{session.id}:{name}"


def runs(paths: SessionPaths, name: str) -> bool:
    """Whether anything of the service lives."""
    return WorkerLock(paths.service_lock(name)).held()


def seen(paths: SessionPaths, session: Session) -> tuple[SeenService, ...] | None:
    """The services that were started, and whether they still run; None where none ever was."""
    return tuple(_seen(paths, session, one) for one in session.furnished.services) or None


def _seen(paths: SessionPaths, session: Session, one: RunningService) -> SeenService:
    alive = runs(paths, one.name)
    address = url(session.name, one.port)
    state = "running" if alive else "ended"
    return SeenService(one.name, state, one.port, address, one.pid if alive else None, one.command, one.started_at)


def end(paths: SessionPaths, session: Session, name: str) -> bool:
    """End a service with all that it has started; whether there was anything of it."""
    started = next((one for one in session.furnished.services if one.name == name), None)
    lived = runs(paths, name)
    if lived and started is not None and marking.leads_group(started.pid, marker(session, name), environment.SERVICE):
        proc.end_group(started.pid, GRACE)
    swept = marking.sweep(marker(session, name), GRACE, environment.SERVICE)
    proc.wait_until(lambda: not runs(paths, name), GRACE)
    return lived or swept > 0


def exit_code(paths: SessionPaths, name: str) -> int | None:
    """The exit code of a service that has ended; None where it was killed, or still runs."""
    with suppress(OSError, ValueError):
        return int(paths.service_exit(name).read_text())
    return None


def last_lines(paths: SessionPaths, name: str, count: int = 20) -> str:
    """The end of what a service has printed, harmless to a terminal."""
    try:
        with paths.service_log(name).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 16)))
            raw = file.read()
    except OSError:
        return ""
    from chatml.checking import harmless  # here alone: who only looks or runs something shows none of it

    return "\n".join(map(harmless, raw.decode("utf-8", "replace").rstrip("\n").split("\n")[-count:]))
