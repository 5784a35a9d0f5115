"""Has a session's worker look after its pull request."""

from __future__ import annotations

from dataclasses import replace

from chatml.errors import ChatmlError
from chatml.model import Status, now
from chatml.project import Project
from chatml.runners import table as runners
from chatml.sessions import control, find


def watch(project: Project, name: str) -> bool:
    """Have the session's worker look after its pull request; False where it does so already.

    ChatmlError where it has none that is open, and where its last turn has not come to its end.
    """
    store = control.locate(project, name)
    with store.lock():
        session = find.relocated(project, store)
        if session.pr is None or not session.pr.open:
            raise ChatmlError(f"'{name}' has no open pull request", f"open one: chatml pr {name}")
        alive = runners.alive(store, session)
        if not (alive or session.status in (Status.DONE, Status.QUEUED)):
            raise ChatmlError(f"'{name}' has not come to its end", f"go on with it first: chatml resume {name}")
        if session.watching is not None:
            return False
        store.write(replace(session, watching=now()))
        if session.status is Status.DONE and not alive:
            try:
                control.start_or_queue(project, store, store.read())
            except (ChatmlError, OSError):
                store.write(session)
                raise
    project.queue.fill()
    return True
