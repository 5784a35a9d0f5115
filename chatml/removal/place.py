"""A session's worktree as removal finds it, and git run on it whatever its folder says.

Unknown means keep: only what git links to this repository from both sides counts as the session's worktree.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatml.changes.standing import Standing, pointed, registered, standing
from chatml.errors import ChatmlError
from chatml.proc import Result
from chatml.repo import Repository, git
from chatml.repo.answers import OFFLINE, answer


@dataclass(frozen=True)
class Place:
    """A session's worktree as it is found, by the path in the record."""

    path: Path
    folder: Path | None
    """The worktree; None where it is gone, or something else stands there."""
    admin: Path | None
    """Git's own folder for it, below .git/worktrees."""
    stranger: bool
    """Something stands at the path that is not the session's worktree: nobody may touch it."""

    def git(
        self,
        *args: str,
        index: Path | None = None,
        check: bool = True,
        stdin: bytes | None = None,
        fetching: bool = False,
    ) -> Result:
        """Run git on this very worktree, whatever its folder says, and without its hooks.

        In a partial clone, only what is `fetching` may fetch objects that are missing.
        """
        assert self.admin is not None
        tree = [f"--work-tree={self.folder}"] if self.folder else []
        env = ({"GIT_INDEX_FILE": str(index)} if index else {}) | ({} if fetching else OFFLINE)
        settings = ["-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false", "-c", "core.splitIndex=false"]
        where = self.folder or self.admin
        return git(*settings, f"--git-dir={self.admin}", *tree, *args, at=where, env=env, check=check, stdin=stdin)

    def head(self) -> str | None:
        """The commit checked out; None on a branch without one. GitError where that can't be found out."""
        return answer(self.git("rev-parse", "--verify", "--quiet", "HEAD", check=False))

    @contextlib.contextmanager
    def index_copy(self, folder: Path | None = None) -> Iterator[Path]:
        """A copy of the index that may be written; that of the commit where files were never checked out."""
        assert self.admin is not None
        with tempfile.TemporaryDirectory(prefix=".chatml-", dir=folder, ignore_cleanup_errors=True) as own:
            copy = Path(own) / "index"
            try:
                # Content and time through one open file: by the time git tells what may have changed since.
                with (self.admin / "index").open("rb") as source:
                    copy.write_bytes(source.read())
                    os.utime(copy, ns=(0, os.fstat(source.fileno()).st_mtime_ns))
            except FileNotFoundError:
                if self.head() is not None:
                    self.git("read-tree", "HEAD", index=copy)
            self.git("update-index", "-q", "--refresh", index=copy, check=False)
            yield copy


def locate(repository: Repository, path: Path) -> Place:
    """The worktree that git and the folder at `path` both say is there."""
    found = standing(repository.common_dir, path)
    ours = found is Standing.OURS
    admin = pointed(path / ".git") if ours else registered(repository.common_dir, path)
    return Place(path, path if ours else None, admin, found in (Standing.FOREIGN, Standing.CUT_OFF))


def walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk`, but ChatmlError where a folder can't be read: what is in there would be gone, and never missed."""

    def refuse(error: OSError) -> None:
        raise ChatmlError(
            f"can't look into {error.filename}, so nothing was removed", "make it readable, or move it away"
        ) from error

    return os.walk(folder, onerror=refuse)
