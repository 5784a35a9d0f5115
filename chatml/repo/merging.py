"""Merges commits in memory: no worktree, index or branch is touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from chatml.errors import ChatmlError, Kind
from chatml.proc import Result
from chatml.repo import Repository, git
from chatml.repo.answers import failed, holds
from chatml.repo.plumbing import NOBODY
from chatml.text import one_line

SHOWN = 5
"""Files that a message names, of those that it counts."""


@dataclass(frozen=True)
class Clash:
    """Something that git could not merge by itself, or what it did on the way (`Auto-merging`)."""

    kind: str
    """Git's own short word for it, which it never changes: `CONFLICT (contents)` (git-merge-tree(1))."""
    paths: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Side:
    """One side of a path that is left to a person."""

    mode: str
    """As git writes it: `100644`, `120000`, …"""
    content: str
    """The id of the object."""
    number: int
    """1 is what both began with, 2 is ours, 3 is theirs."""
    path: str


@dataclass(frozen=True)
class Merging:
    """What a merge of two commits gives."""

    tree: str
    """With conflict markers in its files where it is not clean."""
    clean: bool
    unmerged: tuple[str, ...] = ()
    """The paths that are left to a person."""
    clashes: tuple[Clash, ...] = ()
    sides: tuple[Side, ...] = ()
    """All sides of those paths."""


class MergeConflictError(ChatmlError):
    """Two commits change the same lines."""

    def __init__(self, files: Sequence[str]) -> None:
        more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
        super().__init__(one_line(", ".join(files[:SHOWN])) + more, kind=Kind.WORKTREE)
        self.files = list(files)


def merges(
    repository: Repository,
    pairs: Sequence[tuple[str, str]],
    env: Mapping[str, str] | None = None,
    top: Path | None = None,
) -> list[Merging]:
    """What a merge of each two commits gives, with the person's settings and drivers as `git merge` has them.

    `top` is a folder whose `.gitattributes` count (`attributes_of`), as those of a checkout do. One process for all of
    them. ChatmlError with a git that can't merge so, GitError for what is no commit.
    """
    if not pairs:
        return []
    asked = "".join(f"{ours} {theirs}\n" for ours, theirs in pairs).encode()
    result = _run(repository, top, env, "--stdin", stdin=asked)
    said = _singly(repository, pairs, env, top) if result.code == _UNKNOWN_OPTION else result.text
    if result.code not in (0, _UNKNOWN_OPTION):
        raise failed(result)
    return [*_read(iter(said.split("\0")))]


def _run(
    repository: Repository, top: Path | None, env: Mapping[str, str] | None, *args: str, stdin: bytes | None = None
) -> Result:
    if top is None:
        return repository.git(*_MERGE, *args, env=env, stdin=stdin, check=False)
    # Git looks for them where it runs, and takes them for those of a checkout only there.
    own = {**(env or {}), "GIT_WORK_TREE": str(top)}
    return git(f"--git-dir={repository.common_dir}", *_MERGE, *args, at=top, env=own, stdin=stdin, check=False)


def _singly(
    repository: Repository, pairs: Sequence[tuple[str, str]], env: Mapping[str, str] | None, top: Path | None
) -> str:
    """The same with a git before 2.39."""
    said = ""
    for pair in pairs:
        result = _run(repository, top, env, *pair)
        if result.code == _UNKNOWN_OPTION:
            raise ChatmlError("git 2.38 or later is needed to merge several branches", "install it", Kind.WORKTREE)
        said += f"{int(holds(result))}\0{result.text}\0"
    return said


_MERGE = ("merge-tree", "--write-tree", "-z", "--messages")

_UNKNOWN_OPTION = 129
"""How git says that it doesn't know an option."""


def _read(fields: Iterator[str]) -> Iterator[Merging]:
    """What `git merge-tree -z --stdin` says (git-merge-tree(1), "OUTPUT")."""
    for status in fields:
        if not status:
            return
        tree = next(fields)
        sides = tuple(map(_side, takewhile(bool, fields)))
        unmerged = dict.fromkeys(side.path for side in sides)
        clashes = []
        # Up to an empty one; or to what git 2.39 has to say about submodules, in place of that.
        for count in takewhile(str.isdigit, fields):
            paths = tuple(next(fields) for _ in range(int(count)))
            clashes.append(Clash(next(fields), paths, next(fields).rstrip("\n")))
        yield Merging(tree, status == "1", tuple(unmerged), tuple(clashes), sides)


def _side(entry: str) -> Side:
    """What `MODE OBJECT STAGE<tab>PATH` says."""
    about, _, path = entry.partition("\t")
    mode, content, number = about.split(" ")
    return Side(mode, content, int(number), path)


def merged(repository: Repository, ours: str, theirs: str, message: str) -> str:
    """A commit that holds both; one of the two where that holds the other. The same for the same two.

    MergeConflictError where they conflict, other errors as of `merges`.
    """
    if _contains(repository, ours, theirs):
        return ours
    if _contains(repository, theirs, ours):
        return theirs
    (found,) = merges(repository, [(ours, theirs)])
    if not found.clean:
        raise MergeConflictError(found.unmerged)
    return _commit(repository, found.tree, (ours, theirs), message)


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
