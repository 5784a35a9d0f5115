"""Counts again what the sessions have changed, where a person was at their worktrees."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatml.changes.standing import Standing, WorktreeGoneError, standing
from chatml.errors import ChatmlError
from chatml.model import Session, Status
from chatml.project import Project
from chatml.sessions import find
from chatml.workspace.branch import follow
from chatml.workspace.glance import glance, looks_the_same

if TYPE_CHECKING:
    from chatml.changes.compare import Measured


def recount(project: Project, found: Sequence[Session], every: bool = False) -> list[Session]:
    """The sessions with their changes as they are now: counted again, in parallel, where a person was at them.

    With them goes whether what stands there is what the session's check has seen.

    A living worker counts by itself. Those at rest are counted again where the worktree looks different from
    outside, or `every` one of them. Where that is not possible, they have none, and `not_counted` says why.
    """
    stale = [one for one in found if filled(one) and (_doubtful(project, one) or (not one.status.active and every))]
    if not stale:
        return list(found)
    from concurrent.futures import ThreadPoolExecutor  # here alone, as git's comparing: mostly nothing is counted

    with ThreadPoolExecutor(8) as pool:
        counted = dict(
            zip((one.name for one in stale), pool.map(lambda one: _counted(project, one, every), stale), strict=True)
        )
    return [counted.get(one.name, one) for one in found]


def filled(session: Session) -> bool:
    """Whether its worktree has its files: a queued one may not have had them yet, one in preparation not all."""
    return session.checkout.populated or session.status not in (Status.QUEUED, Status.PREPARING)


def _doubtful(project: Project, session: Session) -> bool:
    """Whether the count in the record may be wrong, as far as that can be told without git."""
    if session.status.active:
        try:
            return standing(project.repo.common_dir, Path(session.worktree)) is not Standing.OURS
        except OSError:
            return True
    unknown = session.check is not None and session.check.ok is not None and session.check.current is None
    return unknown or not looks_the_same(session)


def _counted(project: Project, session: Session, anew: bool) -> Session:
    """The session with its changes counted anew, also in its record, or with the reason why they can't be."""
    try:
        if session.repository != str(project.repo.home) and not session.status.active:
            session = find.mended(project, session.name).with_seen(queue_place=session.seen.queue_place)
        found, seen = _measured(project, session, anew)
        branch = follow(session, project.repo).branch
    except (ChatmlError, OSError) as error:
        unknown = replace(session, changes=None, check=session.check and session.check.seen(None))
        return unknown.with_seen(not_counted=str(error), not_counted_hint=getattr(error, "hint", None))

    def told(one: Session) -> Session:
        known: dict[str, Any] = {"changes_seen": seen, "branch": branch}
        if found is not None:
            known |= {"changes": found.changes, "check": one.check and one.check.seen(found.state)}
        return replace(one, **known)

    counted = told(session)
    if counted != session:
        with suppress(ChatmlError, OSError):  # a disk that takes nothing more: what was counted is true all the same
            project.store.session(session.name).update(lambda now_: told(now_) if now_.id == session.id else now_)
    return counted


def _measured(project: Project, session: Session, anew: bool) -> tuple[Measured | None, str | None]:
    """What there is, and what tells that it is still the same; that of the branch where the worktree is gone.

    None in place of the first where the record has it already.
    """
    from chatml.changes.compare import measure_branch, measure_files

    git_dir, checked = project.repo.common_dir, session.check is not None
    try:
        return measure_files(git_dir, Path(session.worktree), session.base, checked), glance(session)
    except WorktreeGoneError:
        tip = project.repo.tip(session.branch)
        if tip is None:
            raise
        seen = f"branch at {tip}"
        if session.changes and seen == session.changes_seen and not anew:
            return None, seen
        return measure_branch(git_dir, tip, session.base, checked), seen
