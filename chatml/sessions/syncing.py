"""Brings a session at rest up to its base as that is now: its commits, and what it has not committed, in one step."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from chatml.changes.snapshot import commit_of
from chatml.changes.standing import WorktreeGoneError, check_standing
from chatml.errors import ChatmlError
from chatml.landing import advance, settling
from chatml.landing.advance import InTheWayError, MovedError
from chatml.landing.checkout import OPERATIONS, checkout_of, copy_index
from chatml.landing.hooks import HookError, Hooks
from chatml.landing.merge import Maker, Mode, NothingNewError, Offer
from chatml.landing.move import BranchCheckout, Content, Mark, Move
from chatml.model import Session, Status
from chatml.project import Project
from chatml.repo import git
from chatml.repo.merging import MergeConflictError
from chatml.runners import table as runners
from chatml.sessions import find
from chatml.sessions.basing import SyncConflictError, Target, has, target_of
from chatml.sessions.caller import caller, hands_off
from chatml.sessions.landing import PATIENCE, TRIES
from chatml.state.locks import lock
from chatml.text import one_line, shorten
from chatml.workspace.glance import git_folder


class Way(Enum):
    """How a session comes up to its base."""

    REBASE = "rebase"
    MERGE = "merge"


@dataclass(frozen=True)
class Synced:
    """A session that is up to its base."""

    session: Session
    target: Target
    way: Way
    moved: bool
    """False where it was so before."""
    commits: int = 0
    """Its own commits that were made anew."""
    uncommitted: bool = False
    """It has uncommitted work, which came along."""


def candidates(project: Project, sessions: Sequence[Session], way: Way) -> list[Session]:
    """Those of all sessions that may be behind their base: at rest, and none that only read.

    Of an agent those that it has started. None without its files, and none whose branch can't be brought up this way.
    """
    agent = caller(project)
    return [
        one
        for one in sessions
        if not one.status.open
        and (agent is None or one.family.parent_id == agent.id)
        and (way is Way.MERGE or one.checkout.owns_branch)
        and not (one.terms.reads_only or one.terms.reviews)
        and one.checkout.populated
        and Path(one.worktree).is_dir()
    ]


def sync(project: Project, name: str, way: Way) -> Synced:
    """Bring the session up to its base as that is now; all of it, or nothing.

    SyncConflictError where the two conflict; other ChatmlError where that can't be done now. Then all is as it was.
    """
    hands_off(project, name, "sync")
    project.store.root.mkdir(parents=True, exist_ok=True)
    with lock(project.store.merge_lock, PATIENCE):
        settling.ended(project.repo, project.store)
        try:
            for _ in range(TRIES):
                session = find.resolve(project, name)
                try:
                    return _synced(project, session, way)
                except MovedError:
                    continue
        finally:
            settling.clear(project.store)
    raise ChatmlError(f"'{name}' changes again and again meanwhile", "try again when nobody works there")


def _synced(project: Project, session: Session, way: Way) -> Synced:
    checkout = ready(project, session, way)
    old = project.repo.tip(session.branch)
    assert old is not None  # its checkout has it
    target = target_of(project, session)
    if has(project, old, target.onto):
        _up_to_date(project, session, target)
        return Synced(session, target, way, moved=False)
    hooks = Hooks(project.repo, session.branch, checkout.top, settling.rooms(project.store))
    maker = Maker(project.repo, Mode.REBASE, target.name, hooks, nothing="nothing was changed")
    try:
        new = _made(project, maker, session, way, old, target)
    except MergeConflictError as error:
        raise SyncConflictError(session.name, target, error.files, uncommitted=False) from error
    except HookError as error:
        said = shorten(one_line(error.output or ""), 300) or "it said nothing"
        raise ChatmlError(f"'{session.name}' is left as it was: {error.message}: {said}", error.hint) from error
    try:
        content = _content(project, maker, checkout, old, new)
    except MergeConflictError as error:
        raise SyncConflictError(session.name, target, error.files, uncommitted=True) from error
    marks = (_mark(project, session, target, old, new),)
    move = Move(str(uuid.uuid4()), session.branch, old, new, checkout, marks, content)
    _carry_out(project, session, way, move, target)
    commits = int(project.repo.git("rev-list", "--count", new, f"^{target.onto}").text) if way is Way.REBASE else 0
    dirty = content.before != old
    return Synced(find.load(project, session.name), target, way, moved=True, commits=commits, uncommitted=dirty)


def _carry_out(project: Project, session: Session, way: Way, move: Move, target: Target) -> None:
    """Move all of it, while no worker can start. Errors as of `sync`, and MovedError."""
    store = project.store.session(session.name)
    why = f"chatml sync: {way.value} onto {target.name}"
    with store.lock():
        now = store.read()
        if now.id != session.id:
            raise MovedError(f"'{session.name}' was removed just now", "try again")
        check_at_rest(project, now)
        try:
            advance.carry_out(project.repo, project.store, move, why, store)
        except InTheWayError as error:
            raise SyncConflictError(session.name, target, error.paths, uncommitted=True) from error


# --- whether it can be done ---------------------------------------------------------------------------------------


def ready(project: Project, session: Session, way: Way) -> BranchCheckout:
    """The worktree of a session that can be brought up to its base now. ChatmlError that says why it can't."""
    name, top = session.name, Path(session.worktree)
    check_at_rest(project, session)
    if way is Way.REBASE and not session.checkout.owns_branch:
        raise ChatmlError(
            f"'{name}' works on {session.branch}, which was there before it: its commits are not made anew",
            f"merge the base into it: chatml sync --merge {name}",
        )
    try:
        check_standing(project.repo.common_dir, top)
    except WorktreeGoneError as error:
        raise ChatmlError(error.message, f"make it anew: chatml resume {name}") from error
    if not session.checkout.populated:
        raise ChatmlError(f"'{name}' has no files yet", f"chatml resume {name}")
    amid = next((what for file, what in OPERATIONS.items() if (git_folder(top) / file).exists()), None)
    if amid is not None:
        if session.checkout.resolving:
            hint = f"its agent is to resolve the conflicts and commit that: chatml send {name} 'Finish the merge'"
        else:
            hint = f"end it first: {_git(top, 'status')}"
        raise ChatmlError(f"{amid} in the worktree of '{name}'", hint)
    at = git("rev-parse", "--symbolic-full-name", "HEAD", at=top, check=False).text.strip()
    if at != f"refs/heads/{session.branch}":
        where = at.removeprefix("refs/heads/") if at.startswith("refs/heads/") else "no branch"
        back = _git(top, "switch", session.branch)
        raise ChatmlError(f"the worktree of '{name}' is on {where}, not on {session.branch}", f"switch it back: {back}")
    found = checkout_of(project.repo, session.branch)
    if found is None or not found.top.samefile(top):
        again = f"git worktree repair {shlex.quote(str(top))}"
        raise ChatmlError(f"git does not know the worktree of '{name}': {top}", again)
    return found


def _git(top: Path, *words: str) -> str:
    return shlex.join(["git", "-C", str(top), *words])


def check_at_rest(project: Project, session: Session) -> None:
    """ChatmlError where the session is at work, or something of it may be."""
    name = session.name
    if session.status is Status.CRASHED or (session.status.active and not _alive(project, session)):
        raise ChatmlError(f"'{name}' has crashed: something of it may still run", f"chatml stop {name}")
    if session.status.open or _alive(project, session):
        raise ChatmlError(f"'{name}' is at work ({session.status.value})", f"chatml wait {name}")


def _alive(project: Project, session: Session) -> bool:
    return runners.alive(project.store.session(session.name), session)


# --- how it becomes -----------------------------------------------------------------------------------------------


def _made(project: Project, maker: Maker, session: Session, way: Way, old: str, target: Target) -> str:
    """The commit that its branch comes to. MergeConflictError; other errors as of `Maker.make`."""
    if has(project, target.onto, old):
        return target.onto
    if way is Way.MERGE:
        own = tuple(one for one in target.own if one != session.base.commit)
        into = replace(maker, into=session.branch)
        return into.merge_in(target.onto, f"branch '{target.name}'", old, own)
    try:
        return maker.make(Offer(session.name, session.branch, old, "", target.own), target.onto)
    except NothingNewError:
        return target.onto


def _content(project: Project, maker: Maker, checkout: BranchCheckout, old: str, new: str) -> Content:
    """All that the worktree holds, as it becomes on top of the new commit. MergeConflictError."""
    top = checkout.top
    before, left_out = commit_of(project.repo.common_dir, top)
    if left_out:
        raise ChatmlError(f"git can't take in all that the worktree holds: {left_out[0]}", f"put that right in {top}")
    staged = _staged(project, checkout)
    tree_of = {one: git("rev-parse", f"{one}^{{tree}}", at=top).text.strip() for one in (old, new, before)}
    ours = maker.made_up(tree_of[new], (old,))

    def carried(tree: str) -> str:
        if tree == tree_of[old]:
            return tree_of[new]
        return maker.clean(ours, maker.made_up(tree, (old,)), new)

    after = carried(tree_of[before])
    return Content(before, after, staged, after if staged == tree_of[before] else carried(staged))


def _staged(project: Project, checkout: BranchCheckout) -> str:
    """The tree of what is in the index. ChatmlError for one amid a conflict."""
    copy = project.store.merging / "index"  # git writes what it finds out into the index that it is asked of
    copy_index(checkout.index, copy)
    env = {"GIT_INDEX_FILE": str(copy)}
    if git("ls-files", "--unmerged", at=checkout.top, env=env).stdout:
        raise ChatmlError(f"some files are amid a conflict in {checkout.top}", f"see {_git(checkout.top, 'status')}")
    found = git("write-tree", at=checkout.top, env=env)
    return found.text.strip()


# --- what is noted ------------------------------------------------------------------------------------------------


def _mark(project: Project, session: Session, target: Target, old: str, new: str) -> Mark:
    """What the record says once it has moved."""
    own, landed = session.landed_as, None
    if own is not None and own.tip == old and new == target.onto:
        landed = replace(own, tip=new)  # it has all landed, and still has
    pushed = session.pushed
    known = pushed is not None and project.repo.git("cat-file", "-e", f"{pushed}^{{commit}}", check=False).code == 0
    rewrote = pushed if pushed and known and has(project, old, pushed) and not has(project, new, pushed) else None
    return Mark(session.name, session.id, landed, target.onto, rewrote)


def _up_to_date(project: Project, session: Session, target: Target) -> None:
    """Note that the session has all of its base, where an agent or a person has brought it there."""
    if session.base.commit == target.onto and session.checkout.resolving is None:
        return
    mark = Mark(session.name, session.id, base=target.onto)
    project.store.session(session.name).update(mark.on)
