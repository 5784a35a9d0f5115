"""How what a session has done is landed with git itself, where there is no remote to push to."""

from __future__ import annotations

import shlex

from chatml.landing import describe
from chatml.model import Session
from chatml.repo import Repository


class ByHand:
    """The commands of git, for the sessions of a repository."""

    def __init__(self, repository: Repository) -> None:
        """GitError where the repository can't be asked."""
        self._repository = repository
        self._needed = not repository.git("remote").text and repository.setting("remote.pushDefault") is None
        worktrees = repository.worktrees() if self._needed else []
        self._main = str(worktrees[0].path) if worktrees and worktrees[0].head is not None else None
        self._places = {one.branch: str(one.path) for one in worktrees if one.branch is not None}

    def command(self, session: Session) -> str | None:
        """The next one of git's; None where there is a remote, or none can be told.

        What is not committed comes first; then the base is checked out, and the branch merged into it.
        """
        if not self._needed:
            return None
        if session.changes is not None and session.changes.uncommitted:
            at = ["git", "-C", session.worktree]
            commit = [*at, "commit", "-m", describe.title(session, ())]
            return f"{shlex.join([*at, 'add', '-A'])} && {shlex.join(commit)}"
        ref = session.base.ref
        if ref in self._places:
            return shlex.join(["git", "-C", self._places[ref], "merge", session.branch])
        if self._main is None or self._repository.tip(ref) is None:
            return shlex.join(["chatml", "diff", session.name])
        return shlex.join(["git", "-C", self._main, "switch", ref])
