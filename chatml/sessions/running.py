"""What runs in the worktrees of sessions: their services, and what agents have left running."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from chatml.errors import UsageError
from chatml.model import Process, Session, Status
from chatml.project import Project
from chatml.runners import table as runners
from chatml.workspace import programs


def with_processes(found: Sequence[Session]) -> list[Session]:
    """The sessions, those without a worker with what their agents have left running.

    Looked for only where a worker has seen some, or did not come to look: without any, none can come to be.
    """
    resting = [one for one in found if one.pid is None and not one.status.active]
    unsure = [one for one in resting if one.leftovers or one.status in (Status.CRASHED, Status.WAITING)]
    left: dict[str, tuple[Process, ...] | None] = {one.id: () for one in resting}
    for name in {one.terms.runner for one in unsure}:
        theirs = [one for one in unsure if one.terms.runner == name]
        seen = None
        with suppress(UsageError):  # the package that brought it is gone
            seen = runners.named(name).left(theirs)
        left |= {one.id: None if seen is None else seen.get(one.id, ()) for one in theirs}
    return [one.with_seen(processes=left[one.id]) if one.id in left else one for one in found]


def with_services(project: Project, found: Sequence[Session]) -> list[Session]:
    """The sessions with their services as they are now."""
    return [
        one.with_seen(services=programs.seen(project.store.session(one.name), one)) if one.furnished.services else one
        for one in found
    ]


def with_programs(project: Project, found: Sequence[Session]) -> list[Session]:
    """The sessions with all that runs in their worktrees."""
    return with_services(project, with_processes(found))
