"""Opens a session's pull request, or brings the one it has up to date.

Invariant: each step first finds out what is there already, on the remote and on its forge, so calling again finishes
what an interrupted or failed call began; and nothing is committed or pushed before all that can be checked has been.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from chatml import repo
from chatml.changes import compare
from chatml.errors import ChatmlError, GitError
from chatml.forge.door import Hub, Pull
from chatml.landing import describe, destination, push
from chatml.landing.destination import Destination
from chatml.landing.order import Order
from chatml.model import PullRequest, Session, now
from chatml.repo import Repository, Worktree, objects
from chatml.repo.answers import OFFLINE, failed
from chatml.repo.objects import Commit
from chatml.state.locks import lock
from chatml.state.store import SessionStore
from chatml.text import one_line, shorten

PATIENCE = 300.0
"""Seconds to wait for another `pr` of the same session: a push with its hooks may take minutes."""


@dataclass(frozen=True)
class Work:
    """One call: the session, where it lives, what was asked, and how to tell what happens."""

    repository: Repository
    store: SessionStore
    session: Session
    order: Order
    tell: Callable[[str], None]

    def again(self, *options: str) -> str:
        """The command line that goes on from here, for hints."""
        return self.order.again(self.session.name, *options)


def land(work: Work) -> tuple[Hub, PullRequest, bool]:
    """Push the session's branch, open its pull request or update the one that exists, and record it.

    Returns the repository on its forge, the pull request, and whether it was opened now. ChatmlError, with what to do,
    where that is not possible.
    """
    with lock(work.store.pr_lock, PATIENCE):
        worktree = _worktree(work)
        uncommitted = _uncommitted(work, worktree)
        at = worktree.path if worktree else work.repository.home
        hub = destination.hub(at, destination.choose_remote(at, work.session.branch, work.order.remote))
        base = _base(work, hub)
        to = destination.choose(at, work.session.branch, work.order.remote, hub, base)
        pulls = hub.pulls(to.branch, to.repository)
        _check_origin(work, at, hub, pulls)
        if uncommitted:
            _commit_all(work, at, work.order.commit or "")
        tip = _tip(work)
        found = next((pull for pull in pulls if pull.state == "open"), None)
        landed = next((pull for pull in pulls if pull.state == "merged" and _contains(work, pull, tip)), None)
        if found is None and landed is not None:
            work.tell(f"{landed.label} is merged, and nothing new came since")
            return hub, _record(work, landed, hub.checks(landed.number, tip)), False
        if found is not None:
            _push(work, at, to, tip)
            _update(work, hub, found)
            return hub, _record(work, found, hub.checks(found.number, tip)), False
        commits = _commits(work, tip)
        if (to.repository, to.branch) == (hub.name, base):
            raise ChatmlError(
                f"{work.session.branch} would be pushed to {base}, the very branch that the pull request is for",
                f"name another: {work.again('--base BRANCH')}; or commit to a branch of its own",
            )
        _push(work, at, to, tip)
        opened, created = _open(work, hub, to, base, commits, tip)
        work.tell(f"opened {opened.label}" if created else f"{opened.label} is open already")
        return hub, _record(work, opened, None), created


def _push(work: Work, at: Path, to: Destination, tip: str) -> None:
    """Push the branch, over our own last push where that was asked for, and remember what was pushed."""
    session = work.store.read()
    rewritten = session.pushed is not None and session.checkout.rewrote == session.pushed
    over = session.pushed if work.order.replace_pushed or rewritten else None
    new = push.push(session, at, to, tip, over)
    work.store.update(lambda one: replace(one, pushed=tip))
    branch = work.session.branch
    name = "" if to.branch == branch else f" as {to.branch}"
    work.tell(f"pushed {branch} to {to.shown}{name}" if new else f"{branch} is on {to.shown} already{name}")


def _record(work: Work, pull: Pull, checks: str | None) -> PullRequest:
    pr = PullRequest(pull.number, pull.url, pull.state, checks, pull.draft, at=now())
    work.store.update(lambda session: replace(session, pr=pr))
    return pr


# --- what is there ----------------------------------------------------------------------------------------------


def _worktree(work: Work) -> Worktree | None:
    """The session's worktree, or None where its folder is gone: its branch can be pushed without it."""
    wanted = os.path.realpath(work.session.worktree)
    for worktree in work.repository.worktrees():
        if os.path.realpath(worktree.path) == wanted and (worktree.path / ".git").exists():
            return worktree
    return None


def _uncommitted(work: Work, worktree: Worktree | None) -> bool:
    """Whether something is to be committed first. ChatmlError where it is, and the person did not ask for that."""
    session, message = work.session, work.order.commit
    if worktree is not None and worktree.branch and work.repository.tip(session.branch) is None:
        raise ChatmlError(
            f"the branch of '{session.name}' is gone: {session.branch}; its worktree is on {worktree.branch}",
            f"if its work is there: git -C {shlex.quote(str(worktree.path))} switch -c {shlex.quote(session.branch)}",
        )
    _tip(work)
    if worktree is None:
        check_whole(work, committed=True)
        if message is not None:
            raise ChatmlError(
                f"the worktree of '{session.name}' is gone, so there is nothing to commit", "leave --commit out"
            )
        return False
    if worktree.branch != session.branch:
        raise ChatmlError(
            f"the worktree of '{session.name}' is on {worktree.branch or 'no branch'}, not on {session.branch}",
            f"end what was begun there: {shlex.join(['git', '-C', str(worktree.path), 'switch', session.branch])}",
        )
    if session.status.open:
        check_whole(work, committed=True)
        _check_at_work(work, work.repository.dirty(worktree.path))
        return False
    dirty = check_whole(work)
    if dirty and message is None:
        raise ChatmlError(
            f"'{session.name}' has uncommitted work",
            f"commit it with '{work.again('--commit MESSAGE')}', "
            f"or let the agent do it: chatml send {session.name} 'commit your work'",
        )
    return dirty


def check_whole(work: Work, committed: bool = False) -> bool:
    """Whether there is anything to commit. ChatmlError where something can't come along, unless that was accepted."""
    look = compare.committed if committed else compare.compare
    with look(work.repository, work.session) as comparison:
        left_out = "; ".join(comparison.left_out)
        if left_out and not work.order.force:
            rest = work.order.again(work.session.name, "--force", committed=committed)
            raise ChatmlError(
                f"not all of '{work.session.name}' can be published; left out would be {left_out}",
                f"publish that by itself first, or the rest without it: {rest}",
            )
        if left_out:
            work.tell(f"left out: {left_out}")
        return bool(comparison.uncommitted.difference(comparison.nested))


def _check_at_work(work: Work, dirty: bool) -> None:
    """The agent may be at work: what it has committed so far is pushed, the rest is its own affair until it rests."""
    name = work.session.name
    if work.order.commit is not None:
        raise ChatmlError(
            f"the agent of '{name}' is at work, so its files can't be committed now",
            f"wait for it (chatml wait {name}), or leave --commit out to push what it has committed so far",
        )
    open_work = ", and what is not committed yet is left out" if dirty else ""
    work.tell(f"the agent is still at work{open_work}; push what comes later with '{work.again()}'")


def _commit_all(work: Work, worktree: Path, message: str) -> None:
    """Commit everything as the person, through their hooks."""
    if repo.git("ls-files", "--unmerged", "-z", at=worktree).stdout:
        raise ChatmlError(f"'{work.session.name}' is in the middle of a merge with conflicts", "resolve them first")
    try:
        with compare.compare(work.repository, work.session) as comparison:
            nested = [f":(exclude,literal){path}" for path in comparison.nested]
        forced = ["--ignore-errors", "--", ".", *nested] if work.order.force else []
        added = repo.git("add", "--all", *forced, at=worktree, check=not forced, as_person=True)
        if added.code > 1:
            raise failed(added)
        repo.git("commit", "--quiet", "-m", message, at=worktree, as_person=True)
    except GitError as error:
        said = one_line(error.stderr or error.stdout)
        raise ChatmlError(f"could not commit: {shorten(said, 300)}", f"put that right in {worktree}") from error
    work.tell(f"committed to {work.session.branch}")


def _tip(work: Work) -> str:
    tip = work.repository.tip(work.session.branch)
    if tip is None:
        known = work.session.pushed or "COMMIT"
        raise ChatmlError(
            f"the branch of '{work.session.name}' is gone: {work.session.branch}",
            f"bring it back with 'git branch {work.session.branch} {known}' ('git fsck --lost-found' finds commits)",
        )
    return tip


def _commits(work: Work, tip: str) -> list[Commit]:
    """What the session has committed, oldest first, against the merge base with its base as it is now."""
    base = work.session.base
    since = work.repository.merge_base(tip, base.ref, base.commit)
    commits = objects.commits(work.repository.common_dir, since, tip)
    if not commits:
        raise ChatmlError(
            f"'{work.session.name}' has no commits that {base.ref} does not have",
            f"see what it did: chatml logs {work.session.name}",
        )
    return commits


def _contains(work: Work, pull: Pull, tip: str) -> bool:
    """Whether a pull request's head holds the branch's last commit, as far as is known here."""
    ancestor = ["merge-base", "--is-ancestor", tip, pull.head_commit]
    # Nothing is fetched for this: a commit that is not here is one that is not known.
    return pull.head_commit == tip or work.repository.git(*ancestor, check=False, env=OFFLINE).code == 0


def _check_origin(work: Work, at: Path, hub: Hub, pulls: Sequence[Pull]) -> None:
    """ChatmlError where the branch is a pull request's whose own branch can't be pushed to: no second one is opened."""
    number = destination.pull_request(at, work.session.branch)
    if number is not None and number not in [pull.number for pull in pulls]:
        branch, what = shlex.quote(work.session.branch), f"{hub.words.kind} {hub.words.sign}{number}"
        raise ChatmlError(
            f"{work.session.branch} is {what} of {hub.name}, and git has no place to push it to",
            f"to open one of your own instead: git branch --unset-upstream {branch}; then call it again",
        )


def _base(work: Work, hub: Hub) -> str:
    """The branch that the pull request is for: --base, the session's base where that is one, or the default branch."""
    named = work.order.base or objects.branch_named(work.repository.common_dir, work.session.base.ref)
    if named and (work.order.base or named != work.session.branch):
        return named
    if hub.default_branch is None:
        raise ChatmlError(f"{hub.name} has no branch yet to open a pull request for", "push its main branch first")
    return hub.default_branch


# --- the pull request -------------------------------------------------------------------------------------------


def _update(work: Work, hub: Hub, pull: Pull) -> None:
    """Bring an open pull request to what was asked for explicitly; the rest of it is the person's by now."""
    order = work.order
    body = None if order.body is None else describe.closing(order.body, work.session.issue, hub.host, hub.name)
    wanted = {"title": order.title, "body": body, "base": order.base if order.base != pull.base else None}
    changes = {key: value for key, value in wanted.items() if value is not None}
    if changes:
        hub.edit(pull, changes)
    work.tell(f"updated {' and '.join(changes)} of {pull.label}" if changes else f"{pull.label} is open already")
    if order.draft and not pull.draft:
        work.tell(f"--draft changes nothing on one that is open: {hub.words.undo_ready} {pull.number}")


def _open(work: Work, hub: Hub, to: Destination, base: str, commits: Sequence[Commit], tip: str) -> tuple[Pull, bool]:
    """Open the pull request; one that appeared meanwhile, or whose answer was lost, is taken as it is."""
    order = work.order
    title = order.title or describe.title(work.session, commits)
    body = order.body
    if body is None:
        body = describe.body(work.session, commits, describe.template(work.repository, tip, hub.words))
    body = describe.closing(body, work.session.issue, hub.host, hub.name)
    try:
        asked = {"source": to.repository, "head": to.branch, "base": base, "title": title, "body": body}
        number, url = hub.open(**asked, draft=order.draft)
        return Pull(number, url, "open", base, tip, order.draft), True
    except ChatmlError as error:
        with suppress(ChatmlError):
            for pull in hub.pulls(to.branch, to.repository):
                if pull.state == "open":
                    return pull, False
        wrong_base = re.search(r"\b(base|target.branch)\b", error.message, re.IGNORECASE)
        first = f"is '{base}' a branch on {hub.words.forge}? another one: --base BRANCH" if wrong_base else error.hint
        raise ChatmlError(
            error.message, f"{first}; the branch is pushed, and '{work.again()}' goes on from there"
        ) from error
