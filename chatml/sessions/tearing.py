"""Takes down what a session's worktree has running, before it is removed or by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chatml import checking
from chatml.errors import ChatmlError, Kind
from chatml.model import Session
from chatml.model.provision import shell_filled
from chatml.project import Project
from chatml.sessions import control
from chatml.sessions.caller import hands_off
from chatml.sessions.find import relocated
from chatml.state.store import SessionStore
from chatml.text import beginning
from chatml.workspace import compose, programs
from chatml.workspace.glance import is_worktree
from chatml.workspace.values import values

TIMEOUT = 600.0
"""Seconds that one command of the teardown may take."""


def tear_down(project: Project, name: str, say: Callable[[str], None]) -> list[str]:
    """Run the session's teardown, whether it has passed before or not; returns what is left running, a sentence each.

    ChatmlError where a command fails.
    """
    store = control.locate(project, name)
    hands_off(project, name, "teardown")
    with store.lock():
        session = relocated(project, store)
    return torn_down(store, session, say)


def is_due(session: Session) -> bool:
    """Whether anything was set up or started that has not been torn down since."""
    made = session.furnished
    if made.torn_down:
        return False
    commands = bool(session.furnishing.teardown) and (made.files or bool(made.passed))
    return commands or bool(made.services) or compose.may_have_any(session)


def torn_down(store: SessionStore, session: Session, say: Callable[[str], None]) -> list[str]:
    """End the services, run the commands, and remove the containers; all of it may be repeated.

    The commands are those that were approved when the session was made or set up last. ChatmlError where one fails.
    """
    for one in session.furnished.services:
        if programs.end(store, session, one.name):
            say(f"ended {one.name}")
    env = programs.service_env(session)
    worktree = Path(session.worktree)
    if is_worktree(worktree):
        for command in session.furnishing.teardown:
            _run(session, shell_filled(command, values(session)), worktree, env, say)
    left = [*compose.removed(session, env)]
    if not left:
        store.update(lambda now: now.with_furnished(torn_down=True, services=()) if now.id == session.id else now)
    return left


def _run(session: Session, command: str, worktree: Path, env: dict[str, str], say: Callable[[str], None]) -> None:
    say(f"teardown: {beginning(command)}")
    run = checking.execute(
        command,
        worktree,
        env,
        timeout=TIMEOUT,
        contained=False,
        cancelled=lambda: False,
    )
    if run.code != 0:
        for line in run.output.splitlines()[-20:]:
            say(f"  {line}")
        raise ChatmlError(
            f"the teardown of '{session.name}' failed: {run.complaint(command)}",
            f"see what is left, and try again; to remove it all the same: chatml rm --force {session.name}",
            Kind.SETUP,
        )
