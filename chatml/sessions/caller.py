"""Who calls: a person, or the agent of a session; and what such an agent is not to do."""

from __future__ import annotations

import os

from chatml import marking
from chatml.environment import MARKER
from chatml.errors import ChatmlError
from chatml.project import Project
from chatml.record import record


@record(frozen=True)
class Caller:
    """The session whose agent has started this command."""

    id: str
    name: str | None
    """None for one that is not here: it was removed, or is another repository's."""


def caller(project: Project) -> Caller | None:
    """The agent that calls; None for a person.

    It is known by its session's marker in the environment; without, by that of a process above this one, as far as
    the system shows it, and where it is of a session of this repository.
    """
    if own := os.environ.get(MARKER):
        return Caller(own, name_of(project, own))
    for marker in marking.marks_above():
        if (name := name_of(project, marker)) is not None:
            return Caller(marker, name)
    return None


def name_of(project: Project, session_id: str) -> str | None:
    """The name of the session with this id; None where it is not here."""
    wanted = f'"id":"{session_id}"'.encode("utf-8", "surrogateescape")
    return next((session.name for session in project.store.having(wanted) if session.id == session_id), None)


def hands_off(project: Project, name: str, verb: str, own: bool = False) -> None:
    """ChatmlError where an agent calls, and this session is none that it has started, nor with `own` its own."""
    agent = caller(project)
    if agent is None or (own and agent.name == name):
        return
    try:
        parent = project.store.session(name).read().family.parent_id
    except (FileNotFoundError, NotADirectoryError):
        return  # the command itself says so
    except (OSError, ChatmlError):
        parent = None
    if parent != agent.id:
        raise ChatmlError(
            f"an agent can't {verb} '{name}', which it has not started", f"a person can: chatml {verb} {name}"
        )


def persons_only(project: Project, what: str) -> None:
    """ChatmlError where an agent calls: `what` it can't do is a person's to decide, in any session."""
    if caller(project) is not None:
        raise ChatmlError(f"an agent can't {what}", "a person decides that: leave it to the one who started you")
