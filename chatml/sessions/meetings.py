"""How sessions meet: which ones are looked at, and whether a command passes on all that go together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatml.landing import outlook
from chatml.landing.outlook import Outlook
from chatml.model import Session
from chatml.project import Project
from chatml.sessions import offers
from chatml.sessions.recount import recount


def look(project: Project, everyone: Sequence[Session], named: Sequence[Session]) -> Outlook:
    """Merge the sessions that are named with each other, a single one with all others, and each with its base.

    Without any, all that bring something. ChatmlError with a git that can't merge in memory.
    """
    if len(named) > 1:
        return outlook.look(project.repo, project.store, recount(project, named))
    sessions = offers.candidates(project, everyone, None)
    focus = {one.name for one in named} or None
    sessions += [one for one in named if one.name not in {other.name for other in sessions}]
    return outlook.look(project.repo, project.store, recount(project, sessions), focus)


Progress = Callable[[str], None]
