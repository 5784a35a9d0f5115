"""Commits, trees and names of a repository through GitPython: for commands where the time to load it doesn't count."""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chatml import environment
from chatml.errors import ChatmlError

if TYPE_CHECKING:
    import git

MAX_LINKS = 40
"""Symbolic links followed for one file, as many as Linux follows (path_resolution(7))."""


@dataclass(frozen=True)
class Commit:
    """One commit, for people."""

    sha: str
    subject: str
    body: str


@contextlib.contextmanager
def _opened(common_dir: Path) -> Iterator[git.Repo]:
    """The repository for the length of a block; what GitPython raises in it as ChatmlError."""
    from git import GitError, Repo

    with environment.outside_of_git():  # GitPython's own git inherits GIT_DIR, which would win over the directory
        try:
            with Repo(common_dir) as repository:
                # A repository that is bare is found by its name alone where safe.bareRepository says `explicit`.
                repository.git.update_environment(GIT_DIR=str(common_dir))
                yield repository
        except (GitError, ValueError) as error:
            # GitPython wraps what git said into text of its own.
            said = re.search(r"(?:fatal|error): ([^\n']+)", str(error))
            raise ChatmlError(f"git can't read {common_dir}: {said[1] if said else str(error).strip()}") from error


def commits(common_dir: Path, since: str, until: str) -> list[Commit]:
    """The commits of `since..until`, both full ids, oldest first. ChatmlError where git can't list them."""
    found = []
    with _opened(common_dir) as repository:
        for commit in repository.iter_commits(f"{since}..{until}", reverse=True):
            message = commit.message
            text = message if isinstance(message, str) else message.decode("utf-8", "replace")
            subject, _, body = text.strip().partition("\n\n")
            found.append(Commit(commit.hexsha, " ".join(subject.split()), body.strip()))
    return found


def file(common_dir: Path, commit: str, folders: Sequence[str], name: re.Pattern[str]) -> bytes | None:
    """The content of the first file in these folders of a commit that is called so; None without one.

    A symbolic link stands for what it points to within the commit: outside of it, nothing is read.
    """
    with _opened(common_dir) as repository:
        top = repository.commit(commit).tree
        for folder in folders:
            tree = _follow(top, folder)
            # Not all entries: GitPython's submodules have no name.
            names = sorted(entry.name for entry in tree.blobs) if tree is not None and tree.type == "tree" else ()
            for found in (_follow(top, f"{folder}/{one}") for one in names if name.fullmatch(one)):
                if found is not None and found.type == "blob":
                    content: bytes = found.data_stream.read()
                    return content
    return None


def _follow(top: git.Tree, path: str) -> git.Tree | git.Blob | None:
    """The folder or file at that path of a tree, through symbolic links as long as they stay within it."""
    way: list[git.Tree] = [top]
    parts, links = path.split("/")[::-1], 0
    while parts:
        part = parts.pop()
        if part == ".." and len(way) == 1:
            return None
        if part == "..":
            way.pop()
        if part in ("", ".", ".."):
            continue
        try:
            entry = way[-1].join(part)
        except KeyError:
            return None
        if entry.type == "tree":
            way.append(entry)
        elif entry.type == "blob" and stat.S_ISLNK(entry.mode):
            target = entry.data_stream.read().decode("utf-8", "surrogateescape")
            links += 1
            if links > MAX_LINKS or target.startswith("/"):
                return None
            parts += target.split("/")[::-1]
        else:
            return entry if entry.type == "blob" and not parts else None
    return way[-1]


def branch_named(common_dir: Path, ref: str) -> str | None:
    """The branch that a name means, as its remote calls it; None for what is no branch.

    None also for what moves with the one who asks, such as HEAD: it has become another branch since.
    """
    from git import GitCommandError

    with _opened(common_dir) as repository:
        try:
            full: str = repository.git.rev_parse("--symbolic-full-name", "--end-of-options", ref)
        except GitCommandError:
            return None  # it names nothing any more
        full = full.removeprefix("--end-of-options\n")  # which git before 2.43 repeats
        places = ["refs/heads/", *(f"refs/remotes/{name}/" for name in repository.git.remote().splitlines())]
    if not full.endswith(f"/{ref.removeprefix('refs/')}"):
        return None
    return next((full.removeprefix(place) for place in places if full.startswith(place)), None)
