"""What a session's worktree is given, as the settings are now: its setup again, its ports."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from chatml.errors import ChatmlError
from chatml.model import Session, Status
from chatml.project import Project
from chatml.runners import table as runners
from chatml.sessions import control, trusting
from chatml.sessions.caller import hands_off
from chatml.sessions.find import relocated
from chatml.state.store import SessionStore
from chatml.workspace import ports, steps


def furnished_anew(project: Project, store: SessionStore, session: Session) -> Session:
    """The session with what the settings give a worktree now, and the ports for it; its lock is held.

    ChatmlError where the settings can't be had, or are not approved.
    """
    trusting.check(project)
    given = project.config.furnishing
    if given != session.furnishing and not session.terms.reads_only:
        session = replace(session, furnishing=given).with_furnished(files=False)
    return with_ports(project, store, session)


def with_ports(project: Project, store: SessionStore, session: Session) -> Session:
    """The session with all ports that it needs, written down."""
    common_dir, within = project.store.root.parent, project.config.port_range
    claims = ports.claim(session, common_dir, session.furnishing.ports, within)
    session = session.with_furnished(claims=claims)
    if session != store.read():
        store.write(session.changed())
    return session


def set_up(project: Project, name: str, anew: bool = False) -> Literal["begun", "nothing to do"]:
    """Have a worker bring the worktree what it is given, and run what is due of the setup; `anew`, all of it.

    ChatmlError where the session is at work: nothing changes under its agent's hands.
    """
    store = control.locate(project, name)
    hands_off(project, name, "setup")
    with store.lock():
        session = relocated(project, store)
        if runners.alive(store, session):
            if session.status is Status.PREPARING:
                return "begun"
            raise ChatmlError(f"'{name}' is at work", f"stop it first: chatml stop {name}")
        session = furnished_anew(project, store, session)
        if anew:
            session = session.with_furnished(files=False, passed=())
        if not session.checkout.populated or not session.furnished.files or steps.due(session):
            store.write(session.changed())
            control.start_or_queue(project, store, session)
        else:
            return "nothing to do"
    project.queue.fill()
    return "begun"
