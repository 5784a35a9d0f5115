"""What a session is brought up to: its base as that is now, with what its predecessors have brought."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chatml.errors import ChatmlError
from chatml.landing.merge import Maker, Mode
from chatml.model import Session
from chatml.project import Project
from chatml.repo.answers import answer, holds
from chatml.repo.merging import MergeConflictError, merge_commit, merges
from chatml.sessions import offers
from chatml.text import one_line


@dataclass(frozen=True)
class Target:
    """What a session is brought up to."""

    name: str
    """The base as people write it."""
    tip: str
    """The commit that it is at."""
    onto: str
    """The same, with what the session's predecessors have brought and the base has not."""
    own: tuple[str, ...]
    """Commits whose content that has by others: what the session has of them is none of its own work."""


class SyncConflictError(ChatmlError):
    """The session conflicts with its base, and is as it was."""

    def __init__(self, name: str, target: Target, files: Sequence[str], uncommitted: bool) -> None:
        whose = "its uncommitted work conflicts" if uncommitted else "it conflicts"
        listed = str(MergeConflictError(files))
        hint = f"commit it first: chatml send {name} 'Commit your work'" if uncommitted else None
        super().__init__(
            f"'{name}' is left as it was: {whose} with {one_line(target.name)} {target.tip[:7]} in {listed}",
            hint or f"let its agent resolve that: chatml sync --resolve {name}",
        )
        self.target = target
        self.files = tuple(files)
        self.uncommitted = uncommitted


def target_of(project: Project, session: Session) -> Target:
    """What the session is to be brought up to. ChatmlError where its base is not there any more."""
    ref = session.base.ref
    if session.terms.reviews is not None:
        raise ChatmlError(f"'{session.name}' reviews '{session.terms.reviews}' as it was", "start a new review")
    full = _parsed(project, "--symbolic-full-name", "--end-of-options", ref)
    tip = _parsed(project, "--end-of-options", f"{ref}^{{commit}}") if full.startswith("refs/") else ""
    if not tip:
        raise ChatmlError(
            f"what '{session.name}' started from is no branch any more: {ref}",
            f"merge what it is to land in by hand: {shlex.join(['git', '-C', session.worktree, 'merge', 'BRANCH'])}",
        )
    branch = offers.base_branch(project.repo, session) or ref
    known = tuple(one for one in offers.known(project, session, branch) if not has(project, tip, one))
    start = session.base.commit
    if has(project, tip, start):
        return Target(ref, tip, tip, known)
    if not session.terms.after:
        return Target(ref, tip, tip, (*known, start))  # the base was rewritten: what it had then is nobody's now
    return _after_others(project, session, Target(ref, tip, tip, known))


def _parsed(project: Project, *asked: str) -> str:
    """What git makes of a name; empty where it is none."""
    said = answer(project.repo.git("rev-parse", "--verify", "--quiet", *asked, check=False)) or ""
    return said.removeprefix("--end-of-options\n")  # which git repeats in some forms


def _after_others(project: Project, session: Session, target: Target) -> Target:
    """The same with what the session's predecessors have brought: its own base was made of that."""
    maker = Maker(project.repo, Mode.REBASE, target.name)
    tree = project.repo.git("rev-parse", f"{target.tip}^{{tree}}").text.strip()
    start = session.base.commit
    if has(project, start, target.tip):
        return replace(target, onto=start)
    ours = maker.made_up(tree, (target.tip, *target.own)) if target.own else target.tip
    (found,) = merges(project.repo, [(ours, start)])
    if not found.clean:
        raise SyncConflictError(session.name, target, found.unmerged, uncommitted=False)
    if found.tree == tree:
        return replace(target, own=(*target.own, start))  # the base has all of that by now
    said = f"Merge what {session.branch} comes after into {target.name}"
    return replace(target, onto=merge_commit(project.repo, found.tree, (target.tip, start), said))


def has(project: Project, commit: str, other: str) -> bool:
    """Whether the one commit has the other in its history. GitError."""
    return holds(project.repo.git("merge-base", "--is-ancestor", other, commit, check=False))
