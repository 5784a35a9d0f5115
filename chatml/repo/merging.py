"""Merges commits in memory: no worktree, index or branch is touched."""

from __future__ import annotations

from chatml.errors import ChatmlError, Kind
from chatml.repo import Repository
from chatml.repo.answers import failed, holds
from chatml.repo.plumbing import NOBODY
from chatml.text import one_line

SHOWN = 5
"""Files that a message names, of those that it counts."""


class MergeConflictError(ChatmlError):
    """Two commits change the same lines."""

    def __init__(self, files: list[str]) -> None:
        more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
        super().__init__(one_line(", ".join(files[:SHOWN])) + more, kind=Kind.WORKTREE)
        self.files = files


def merged(repository: Repository, ours: str, theirs: str, message: str) -> str:
    """A commit that holds both; one of the two where that holds the other. The same for the same two.

    MergeConflictError where they conflict, another ChatmlError with a git before 2.38.
    """
    if _contains(repository, ours, theirs):
        return ours
    if _contains(repository, theirs, ours):
        return theirs
    form = ("--write-tree", "-z", "--name-only", "--no-messages")
    result = repository.git("merge-tree", *form, ours, theirs, check=False)
    if result.code == 129:  # how git says that it doesn't know an option
        raise ChatmlError("git 2.38 or later is needed to merge several branches", "install it", Kind.WORKTREE)
    if not holds(result):
        raise MergeConflictError([path for path in result.text.split("\0")[1:] if path])
    return _commit(repository, result.text.split("\0")[0], (ours, theirs), message)


def _contains(repository: Repository, commit: str, other: str) -> bool:
    return holds(repository.git("merge-base", "--is-ancestor", other, commit, check=False))


def _commit(repository: Repository, tree: str, parents: tuple[str, str], message: str) -> str:
    """A merge in the person's name, as old as the newer of what it merges."""
    times = repository.git("log", "--no-walk", "--format=%ct", *parents).text.split()
    when = f"@{max(map(int, times))} +0000"
    dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    command = ("commit-tree", tree, "-p", parents[0], "-p", parents[1], "-m", message)
    made = repository.git(*command, env=dates, check=False)
    if made.code:
        made = repository.git(*command, env=dates | NOBODY, check=False)
    if made.code:
        raise failed(made)
    return made.text.strip()
