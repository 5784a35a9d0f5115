"""What sessions at rest have to offer to a branch: their commits, in an order, or why there are none to be had."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from chatml.changes import compare
from chatml.changes.snapshot import commit_of
from chatml.changes.standing import WorktreeGoneError, check_standing
from chatml.errors import ChatmlError, GitError, UsageError
from chatml.landing import describe, outlook
from chatml.landing.merge import Offer
from chatml.model import Session
from chatml.project import Project
from chatml.repo import Repository, git
from chatml.repo.answers import answer, holds
from chatml.repo.plumbing import UNCOMMITTED
from chatml.sessions import find
from chatml.sessions.caller import caller
from chatml.text import nearest, printable


class Reason(str, Enum):
    """Why a session was left as it was; a contract with other people's scripts."""

    CONFLICT = "conflict"
    CHECK = "check"
    DIRTY = "dirty"
    RUNNING = "running"
    EMPTY = "empty"


@dataclass(frozen=True)
class CheckFailure:
    """A check that a session has made fail."""

    command: str
    said: str
    """How it ended, in words that follow the command."""
    together: tuple[str, ...]
    """The sessions without which it passes, so that this one was left out for what they do together; none: alone."""


@dataclass(frozen=True)
class Left:
    """A session that was left as it was."""

    name: str
    reason: Reason
    why: str
    """In words."""
    hint: str | None = None
    files: tuple[str, ...] = ()
    output: str | None = None
    """What a program has said."""
    own: bool = True
    """Its agent can do something about it."""
    failed: CheckFailure | None = None


class LeftError(Exception):
    """Carries why a session is left out."""

    def __init__(self, left: Left) -> None:
        super().__init__(left.why)
        self.left = left


# --- the branch -------------------------------------------------------------------------------------------------


def target(project: Project, sessions: Sequence[Session], into: str | None) -> str:
    """The branch that the sessions land in: `into`, or the one that all of them started from.

    ChatmlError where there is no such branch, where they started from several, or where it is not the caller's to move.
    """
    branch = _named(project.repo, into) if into is not None else _common_base(project.repo, sessions)
    agent = caller(project)
    for session in _on(project, branch):
        if agent is not None and session.id == agent.id:
            return branch
        if session.status.open:
            raise ChatmlError(
                f"{branch} is the branch of '{session.name}', whose agent is at work", f"chatml wait {session.name}"
            )
    if agent is not None:
        raise ChatmlError(
            f"an agent can't land anything in {branch}, which is not its own", "leave that to the one who started you"
        )
    return branch


def _named(repository: Repository, into: str) -> str:
    branch = into.removeprefix("refs/heads/")
    if not branch or repository.tip(branch) is None:
        known = repository.short_refs("refs/heads")
        raise ChatmlError(
            f"no branch named '{into}'{nearest(into, known)}", f"make it first: git branch {shlex.quote(into)} START"
        )
    return branch


def _common_base(repository: Repository, sessions: Sequence[Session]) -> str:
    found: dict[str, list[str]] = {}
    for session in sessions:
        branch = base_branch(repository, session)
        if branch is None:
            raise ChatmlError(
                f"what '{session.name}' started from is no branch here: {session.base.ref}",
                f"say where it is to land: chatml merge --into BRANCH {session.name}",
            )
        found.setdefault(branch, []).append(session.name)
    if len(found) > 1:
        said = "; ".join(f"{branch} ({', '.join(names)})" for branch, names in found.items())
        raise UsageError(f"they started from several branches: {said}", "name those of one, or say --into BRANCH")
    return next(iter(found))


def base_branch(repository: Repository, session: Session) -> str | None:
    """The local branch that the session started from, or of whose remote branch; None where there is none."""
    asked = ("rev-parse", "--verify", "--quiet", "--symbolic-full-name", "--end-of-options", session.base.ref)
    full = (answer(repository.git(*asked, check=False)) or "").removeprefix("--end-of-options\n")
    if full.startswith("refs/heads/"):
        branch = full.removeprefix("refs/heads/")
        return branch if repository.tip(branch) is not None else None
    remotes = [f"refs/remotes/{name}/" for name in repository.git("remote").text.split("\n") if name]
    names = [full.removeprefix(start) for start in remotes if full.startswith(start)]
    return next((name for name in names if repository.tip(name) is not None), None)


def _on(project: Project, branch: str) -> Iterator[Session]:
    """The sessions whose own branch this is, as they are now."""
    for name in project.store.names():
        try:
            session = find.load(project, name)
        except (ChatmlError, OSError):
            continue
        if session.branch == branch:
            yield session


# --- which sessions, and in which order -------------------------------------------------------------------------


def candidates(project: Project, sessions: Sequence[Session], into: str | None) -> list[Session]:
    """Those of all sessions that a person (or the agent that calls) would land: none that only read.

    What an agent's children bring, that agent's own branch gets.
    """
    agent = caller(project)
    if agent is not None:
        return [session for session in sessions if session.family.parent_id == agent.id and not _reads(session)]
    branches = {session.branch for session in sessions if session.checkout.owns_branch}
    bases = {one.base.ref: base_branch(project.repo, one) for one in {one.base.ref: one for one in sessions}.values()}
    return [
        session
        for session in sessions
        if not _reads(session) and session.branch != into and bases[session.base.ref] not in branches
    ]


def _reads(session: Session) -> bool:
    return session.terms.reads_only or session.terms.reviews is not None


def in_order(project: Project, sessions: Sequence[Session]) -> list[Session]:
    """The sessions in the order in which they land: as `conflicts` proposes."""
    return outlook.in_order(project.repo, project.store, sessions)


# --- what one of them brings ------------------------------------------------------------------------------------


def offer(project: Project, session: Session, into: str, commit: str | None, dry_run: bool = False) -> Offer:
    """What the session brings; with `commit`, what is uncommitted is committed first under that message.

    In a `dry_run` that commit is on no branch. LeftError where the session can't land now.
    """
    name = session.name
    if session.status.open:
        raise LeftError(Left(name, Reason.RUNNING, f"it is {session.status.value}", f"chatml wait {name}"))
    would_be = _settle_uncommitted(project, session, commit, dry_run)
    tip = would_be or project.repo.tip(session.branch)
    if tip is None:
        raise LeftError(
            Left(name, Reason.EMPTY, f"its branch is gone: {session.branch}", "'git fsck --lost-found' finds commits")
        )
    if tip == session.base.commit:
        raise LeftError(Left(name, Reason.EMPTY, "it has no commits of its own", f"chatml logs {name}"))
    own = session.landed_as
    if own is not None and (own.tip, own.into) == (tip, into) and _has(project.repo, into, own.commit):
        raise LeftError(Left(name, Reason.EMPTY, f"it has landed in {into} already, as {own.commit[:7]}"))
    return Offer(name, session.branch, tip, describe.title(session, ()), tuple(known(project, session, into)))


def _has(repository: Repository, branch: str, commit: str) -> bool:
    asked = repository.git("merge-base", "--is-ancestor", commit, f"refs/heads/{branch}", check=False)
    return asked.code == 0  # a commit that is gone is in no branch


def known(project: Project, session: Session, into: str) -> Iterator[str]:
    """Commits of the session and of those that it comes after which the branch has by other commits."""
    seen, due = set(), [session]
    while due:
        one = due.pop()
        seen.add(one.name)
        own = one.landed_as
        if own is not None and own.into == into and _has(project.repo, into, own.commit):
            yield own.tip
        for name in one.terms.after:
            if name not in seen:
                try:
                    due.append(project.store.session(name).read())
                except (ChatmlError, OSError):
                    continue  # removed: what it brought is looked for line by line


def _settle_uncommitted(project: Project, session: Session, commit: str | None, dry_run: bool) -> str | None:
    """See to what is uncommitted; returns the commit of it that is on no branch, in a `dry_run`. LeftError."""
    name, top = session.name, Path(session.worktree)
    try:
        check_standing(project.repo.common_dir, top)
    except WorktreeGoneError:
        return None
    except ChatmlError as error:
        raise LeftError(Left(name, Reason.DIRTY, error.message, error.hint, own=False)) from error
    if not session.checkout.populated:
        return None
    at = git("rev-parse", "--symbolic-full-name", "HEAD", at=top, check=False).text.strip()
    if at != f"refs/heads/{session.branch}":
        where = at.removeprefix("refs/heads/") if at.startswith("refs/heads/") else "no branch"
        back = shlex.join(["git", "-C", str(top), "switch", session.branch])
        why = f"its worktree is on {where}, not on {session.branch}"
        raise LeftError(Left(name, Reason.DIRTY, why, f"end what was begun there: {back}"))
    files = _uncommitted(top)
    if not files:
        return None
    if commit is None:
        again = f"commit it: chatml merge --commit MESSAGE {name}"
        raise LeftError(Left(name, Reason.DIRTY, "it has uncommitted work", again, files))
    if dry_run:
        return commit_of(project.repo.common_dir, top)[0]
    _commit(project, session, top, commit, files)
    return None


def _uncommitted(top: Path) -> tuple[str, ...]:
    fields = iter(git(*UNCOMMITTED, at=top).text.split("\0"))
    found = []
    for entry in fields:
        if entry:
            found.append(entry[3:])
            if "R" in entry[:2] or "C" in entry[:2]:
                next(fields)  # where it was before
    return tuple(found)


def _commit(project: Project, session: Session, top: Path, message: str, files: tuple[str, ...]) -> None:
    """Commit everything as the person, through their hooks. LeftError where that can't be."""

    def refuse(why: str, output: str | None = None) -> LeftError:
        hint = f"put that right in {top}"
        return LeftError(Left(session.name, Reason.DIRTY, why, hint, files, output))

    if holds(git("diff", "--quiet", "--diff-filter=U", at=top, check=False)) is False:
        raise refuse("it is in the middle of a merge with conflicts")
    with compare.compare(project.repo, session) as comparison:
        if comparison.left_out:
            raise refuse(f"not all of it can be committed: {'; '.join(comparison.left_out)}")
    try:
        git("add", "--all", at=top, as_person=True)
        git("commit", "--quiet", "-m", message, at=top, as_person=True)
    except GitError as error:
        raise refuse("its work could not be committed", printable(error.stdout + error.stderr).strip()) from error
