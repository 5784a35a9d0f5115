"""Merges a session's pull request on its forge; nothing that is here is touched by that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.forge import forges
from chatml.forge.door import Candidate, Words
from chatml.landing.opened import ended, reference, remember
from chatml.landing.pull import PATIENCE, Work
from chatml.model import PullRequest
from chatml.repo.answers import OFFLINE
from chatml.state.locks import lock

SAYS = {
    "changes_requested": "a reviewer has asked for changes",
    "review_required": "it needs the approval of a reviewer",
}


def merge(work: Work, method: str | None = None) -> tuple[PullRequest, str | None]:
    """Merge it by that method, or the first that its repository allows; returns it, and the commit on its base.

    None in place of the commit where its base has a queue, and it waits there. One that is merged already is no
    error, so that calling again finishes what was interrupted. ChatmlError, with what to do, where it can't be merged.
    """
    with lock(work.store.pr_lock, PATIENCE):
        ref = reference(work)
        forge = forges.of(ref)
        found = forge.candidate(ref, work.repository.home, time.time())
        if found.pull.state == "merged":
            remember(work, found.pull)
            _check_contained(work, found)
            work.tell(f"{ref.label} is merged already")
            return found.pull, found.commit
        if found.pull.state != "open":
            remember(work, found.pull)
            raise ended(work, found.pull)
        how = _method(found, method, forge.words)
        _check_contained(work, found)
        for reason, hint in _lacks(work, found, forge.words):
            raise ChatmlError(f"{ref.label} is not merged: {reason}", hint)
        forge.merge(ref, found.head, how, work.repository.home)
        merged = forge.candidate(ref, work.repository.home, time.time())
        remember(work, merged.pull)
        if merged.pull.state == "merged":
            work.tell(f"merged {ref.label} into {merged.base} ({how})")
        else:
            work.tell(f"{ref.label} waits to be merged into {merged.base}: 'chatml ls' shows when it is")
        return merged.pull, merged.commit


def _method(found: Candidate, asked: str | None, words: Words) -> str:
    label, allowed = found.pull.label, found.methods
    if found.refused:
        raise ChatmlError(f"this login may not merge {label}", f"'{words.status}' says whose it is")
    if asked is not None and allowed and asked not in allowed:
        raise ChatmlError(
            f"{label} can't be merged so: its repository allows {' and '.join(allowed)}", "leave the method out"
        )
    return asked or (allowed[0] if allowed else "squash")


def _lacks(work: Work, found: Candidate, words: Words) -> Iterator[tuple[str, str]]:
    """Why it should not be merged as it is, and what to do about that."""
    pull, name = found.pull, work.session.name
    ready = f"once it is ready: {words.ready} {pull.url}"
    fix = f"give that to its agent: chatml pr {name} --fix"
    if pull.draft:
        yield "it is a draft", ready
    if pull.mergeable is False:
        yield f"it conflicts with {found.base}", fix
    if work.order.force:
        return
    again = f"or merge it all the same, where {words.forge} lets you: chatml pr {name} --merge --force"
    if pull.checks == "failing":
        yield "checks are failing", f"{fix}; {again}"
    if pull.checks == "pending":
        yield "checks are still running", f"wait for them ('chatml ls' shows them); {again}"
    if pull.review in SAYS:
        who = fix if pull.review == "changes_requested" else f"ask for one: {pull.url}"
        yield SAYS[pull.review], f"{who}; {again}"


def _check_contained(work: Work, found: Candidate) -> None:
    """ChatmlError where the session has work that is not in the pull request: it would be left behind unseen."""
    left = None if work.order.force else _left_behind(work, found)
    if left is None:
        return
    (why, command), label = left, found.pull.label
    if found.pull.state == "merged":
        raise ChatmlError(f"{label} is merged already, and {why}", f"to open another one: {command}")
    force = f"chatml pr {work.session.name} --merge --force"
    raise ChatmlError(f"{label} is not merged: {why}", f"{command}; or merge what it has: {force}")


def _left_behind(work: Work, found: Candidate) -> tuple[str, str] | None:
    """What the session has that the pull request has not, and the command that puts it there."""
    session = work.session
    tip = work.repository.tip(session.branch)
    if tip not in (None, found.head, session.pushed) and not _holds(work, found.head, tip or ""):
        return f"{session.branch} has commits that are not in it", f"chatml pr {session.name}"
    if found.pull.state == "merged":
        return None
    if session.status.open:
        return f"the agent of '{session.name}' is at work", f"chatml wait {session.name}"
    worktree = Path(session.worktree)
    if worktree.is_dir() and work.repository.dirty(worktree):
        return f"'{session.name}' has uncommitted work", f"chatml pr {session.name} --commit MESSAGE"
    return None


def _holds(work: Work, commit: str, tip: str) -> bool:
    """Whether the commit holds that one, as far as is known here: nothing is fetched for this."""
    ancestor = ("merge-base", "--is-ancestor", tip, commit)
    return work.repository.git(*ancestor, check=False, env=OFFLINE).code == 0
