"""Gathers what is in the way of a session's pull request, for its agent to mend."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.forge import forges
from chatml.forge.door import PullRef
from chatml.landing import destination
from chatml.landing.opened import ended, reference, remember
from chatml.landing.pull import Work
from chatml.model import BaseConflict, Feedback
from chatml.repo.merging import merges
from chatml.repo.upstream import fetch
from chatml.text import counted, one_line


def gather(work: Work) -> Feedback:
    """What is in its way as it is now. ChatmlError where the session has no open pull request, and as of `look`."""
    found = look(work)
    if not found.pull.open:
        raise ended(work, found.pull)
    return found


def look(work: Work) -> Feedback:
    """The pull request as it is now: checks of its newest commit, unresolved comments, conflicts with its base.

    ChatmlError where the session has none, and where the forge can't be asked.
    """
    ref = reference(work)
    found = forges.of(ref).feedback(ref, work.repository.home, time.time())
    remember(work, found.pull)
    if not found.pull.open or found.pull.mergeable is not False:
        return found
    try:
        return replace(found, conflict=_conflict(work, ref, found.base))
    except ChatmlError as error:
        if not found.any:
            raise
        said = f"what of it conflicts with {found.base}: {error.message}"
        return replace(found, left_out=(*found.left_out, one_line(said)))


def keys(found: Feedback) -> tuple[str, ...]:
    """What there is, each by a key of its own: an answer in a thread, or a new commit that fails, is something new."""
    return (
        *(f"check {found.commit} {check.name}" for check in found.checks),
        *(_key("comment", str(thread)) for thread in found.threads),
        *(_key("review", str(review)) for review in found.reviews),
        *([f"conflict {found.conflict.commit}"] if found.conflict else []),
    )


def _key(kind: str, what: str) -> str:
    return f"{kind} {hashlib.sha256(what.encode('utf-8', 'replace')).hexdigest()[:20]}"


def without(found: Feedback, known: Collection[str]) -> Feedback:
    """What of it is new."""
    new = iter([key not in known for key in keys(found)])
    checks = tuple(check for check in found.checks if next(new))
    threads = tuple(thread for thread in found.threads if next(new))
    reviews = tuple(review for review in found.reviews if next(new))
    conflict = found.conflict if found.conflict and next(new) else None
    return replace(found, checks=checks, threads=threads, reviews=reviews, conflict=conflict)


def told(found: Feedback) -> str:
    """All of it in few words, for the person who asks."""
    parts = [
        counted(len(found.checks), "failing check") if found.checks else "",
        counted(len(found.threads), "unresolved comment") if found.threads else "",
        counted(len(found.reviews), "review") if found.reviews else "",
        f"conflicts with {found.base}" if found.conflict else "",
    ]
    return ", ".join(filter(None, parts))


def _conflict(work: Work, ref: PullRef, base: str) -> BaseConflict:
    """The base as it is there by now, fetched, and what of the session's branch conflicts with it."""
    remote = _remote(work.repository.home, ref)
    tracking = f"refs/remotes/{remote}/{base}"
    fetch(work.repository, remote, f"refs/heads/{base}", tracking)
    commit = work.repository.resolve(tracking)
    tip = work.repository.tip(work.session.branch)
    files: tuple[str, ...] = ()
    if tip is not None:
        with suppress(ChatmlError):  # a git that can't merge in memory: the agent will see them
            files = merges(work.repository, [(tip, commit)])[0].unmerged
    return BaseConflict(f"{remote}/{base}", commit, files)


def _remote(at: Path, ref: PullRef) -> str:
    """The remote that the pull request's repository is. ChatmlError without one."""
    for remote in destination.remotes(at):
        if destination.is_of(at, remote, ref):
            return remote
    raise ChatmlError(
        f"none of the remotes is {ref.repository}, whose branch the pull request is for",
        f"add it: git remote add upstream https://{ref.host}/{ref.repository}.git",
    )
