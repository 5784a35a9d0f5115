"""A worktree held still, so that git can be asked about all that it holds while an agent works on in it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from chatml import containment
from chatml.changes.standing import check_standing
from chatml.repo import git
from chatml.repo.answers import OFFLINE, answer, failed
from chatml.repo.plumbing import NOBODY

ADD_TRIES = 5
"""How often git is asked again where files come and go under its eyes; each try sees the worktree anew."""


FILLING = ".chatml-filling"
"""The folder in a worktree into which git writes its first files; a sibling could be left behind, or lie elsewhere."""


State: TypeAlias = tuple[str | None, str]
"""What a worktree holds: the commit checked out, and the tree of all that is there."""


@dataclass(frozen=True)
class Snapshot:
    """A worktree held still: git run in `env` has in its index all that the worktree holds, untracked files too."""

    env: Mapping[str, str]
    head: str | None
    """The commit checked out; None on a branch without one."""
    branch: str | None
    """The branch checked out; None where there is none, as in the middle of a rebase."""
    left_out: tuple[str, ...] = ()
    """What git could not take in, a sentence each."""

    def state(self, at: Path) -> State:
        """What it holds; git runs in the folder `at`."""
        return self.head, git("write-tree", at=at, env=self.env).text.strip()


@contextlib.contextmanager
def snapshot(common_dir: Path, worktree: Path, offline: bool = False) -> Iterator[Snapshot]:
    """The worktree of this repository as it is now, until the end of the block.

    WorktreeGoneError, or another ChatmlError of kind `worktree`, where it does not stand there. In a partial clone,
    `offline` lets git fetch nothing that is asked of it. The agent's own index is copied and never written; new
    objects go to a folder of ours that is gone afterwards.
    """
    check_standing(common_dir, worktree)
    index, objects, commit, branch = _look(worktree)
    with tempfile.TemporaryDirectory(prefix="chatml-", ignore_cleanup_errors=True) as folder:
        own = Path(folder)
        env = {**aside(own, objects), "GIT_INDEX_FILE": str(own / "index"), **(OFFLINE if offline else {})}
        filled = _begin(worktree, Path(index), commit, env)
        # They go when this block ends: not worth compressing.
        left_out = add_all(worktree, env, "-c", "core.looseCompression=0", "-c", "core.fsync=none") if filled else ()
        yield Snapshot(env, commit, branch, left_out)


def state_of(common_dir: Path, worktree: Path) -> State:
    """What a worktree holds now; nothing is left of looking. Errors as of `snapshot`."""
    with snapshot(common_dir, worktree) as held:
        return held.state(worktree)


@contextlib.contextmanager
def scratch_objects(common_dir: Path) -> Iterator[dict[str, str]]:
    """An environment in which git's new objects go to a folder that is gone afterwards: looking leaves no trace."""
    with tempfile.TemporaryDirectory(prefix="chatml-", ignore_cleanup_errors=True) as folder:
        yield aside(Path(folder), str(common_dir / "objects"))


def aside(folder: Path, objects: str) -> dict[str, str]:
    """An environment in which git's new objects go to a folder of ours, beside those that are in `objects`."""
    own = folder / "objects"
    own.mkdir()
    return {"GIT_OBJECT_DIRECTORY": str(own), "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quote_alternate(objects)}


def commit_of(common_dir: Path, worktree: Path) -> tuple[str, tuple[str, ...]]:
    """A commit of all that the worktree holds now, and what git could not take in; the one checked out where it is all.

    The same for the same content, and on no branch; errors as of `snapshot`.
    """
    check_standing(common_dir, worktree)
    with indexed(worktree) as now:
        return commit_in(worktree, now), now.left_out


@contextlib.contextmanager
def indexed(worktree: Path, env: Mapping[str, str] | None = None) -> Iterator[Snapshot]:
    """A checkout as it is now; what git makes of it stays in the repository, or where `env` says otherwise."""
    index, _, head, branch = _look(worktree)
    with tempfile.TemporaryDirectory(prefix="chatml-", ignore_cleanup_errors=True) as folder:
        env = {**(env or {}), "GIT_INDEX_FILE": str(Path(folder) / "index")}
        left_out = add_all(worktree, env) if _begin(worktree, Path(index), head, env) else ()
        yield Snapshot(env, head, branch, left_out)


def commit_in(worktree: Path, now: Snapshot) -> str:
    """A commit of an `indexed` checkout."""
    tree = git("write-tree", at=worktree, env=now.env).text.strip()
    parents: tuple[str, ...] = ()
    when = "@0 +0000"
    if now.head:
        known, when = git("log", "-1", "--format=%T @%ct +0000", now.head, at=worktree).text.strip().split(" ", 1)
        if known == tree:
            return now.head
        parents = ("-p", now.head)
    # Nobody but chatml makes such a commit; it must work where no identity is configured.
    dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    env = {**now.env, **NOBODY, **dates}
    made = git("commit-tree", tree, *parents, "-m", "All that the worktree holds", at=worktree, env=env)
    return made.text.strip()


@contextlib.contextmanager
def snapshot_of(commit: str, git_dir: Path, offline: bool = False) -> Iterator[Snapshot]:
    """A commit, as if a worktree held it: for a session whose worktree is gone."""
    with tempfile.TemporaryDirectory(prefix="chatml-", ignore_cleanup_errors=True) as folder:
        env = {"GIT_DIR": str(git_dir), "GIT_INDEX_FILE": str(Path(folder) / "index")}
        env |= OFFLINE if offline else {}
        git("read-tree", commit, at=git_dir, env=env)
        yield Snapshot(env, commit, None)


def _look(worktree: Path) -> tuple[str, str, str | None, str | None]:
    """Where the index and the objects of a worktree are, its commit and its branch."""
    found = git(
        "rev-parse", "--path-format=absolute", "--git-path", "index", "--git-path", "objects",
        "HEAD", "--symbolic-full-name", "HEAD", at=worktree, check=False,
    )  # fmt: skip
    index, objects, commit, branch = [*found.text.split("\n"), "", "", ""][:4]
    if found.code:
        # A branch without a commit, or git could not look: that one raises here.
        if answer(git("rev-parse", "--verify", "--quiet", "HEAD", at=worktree, check=False)) is not None:
            raise failed(found)
        return index, objects, None, None
    return index, objects, commit, branch.removeprefix("refs/heads/") if branch.startswith("refs/heads/") else None


def _begin(worktree: Path, index: Path, commit: str | None, env: Mapping[str, str]) -> bool:
    """Begin the index that `env` names with what the worktree's own has; whether its files are to be added to that."""
    if _copy_index(index, Path(env["GIT_INDEX_FILE"])) or not commit:
        return True
    git("read-tree", commit, at=worktree, env=env)
    return _checked_out(worktree, index)


def _copy_index(index: Path, copy: Path) -> bool:
    """Copy an index with its time, by which git tells what may have changed since; False where there is none.

    Git replaces an index, never writes into it: through one open file, content and time belong together.
    """
    try:
        with index.open("rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            times = os.fstat(source.fileno())
            os.utime(target.fileno(), ns=(times.st_atime_ns, times.st_mtime_ns))
    except FileNotFoundError:
        return False
    return True


def _checked_out(worktree: Path, index: Path) -> bool:
    """Whether a worktree without an index has files of its own, so isn't just about to get its first ones."""
    return not index.with_name("index.lock").exists() and any(
        path.name not in (".git", FILLING) for path in worktree.iterdir()
    )


def add_all(worktree: Path, env: Mapping[str, str], *settings: str) -> tuple[str, ...]:
    """`git add -A` into the index that `env` names; returns what git could not take in, a sentence each.

    Git gives up on a file that goes while it looks, as agents make them all the time: tried again. GitError in the end.
    """
    command = [
        "-c", f"core.hooksPath={os.devnull}", "-c", "advice.addEmbeddedRepo=false", *settings,
        "add", "-A", "--ignore-errors", "--sparse",
    ]  # fmt: skip
    if masked := containment.stand_ins(worktree):
        command += ["--", ".", *(f":(exclude,literal){name}" for name in masked)]
    before: tuple[str, ...] = ()
    for _ in range(ADD_TRIES):
        result = git(*command, at=worktree, env={**env, "GIT_LITERAL_PATHSPECS": "0"}, check=False)
        if result.code == 129 and "--sparse" in command:  # git before 2.34, which does so anyway
            command.remove("--sparse")
            continue
        said = tuple(dict.fromkeys(re.findall(r"^(?:error: |warning: (?=could not open))(.*)", result.errors, re.M)))
        if result.code == 0 or (result.code == 1 and said == before):
            return said
        before = said
    raise failed(result)


def _quote_alternate(path: str) -> str:
    """A path as GIT_ALTERNATE_OBJECT_DIRECTORIES takes it (git(1): quoted where it holds a separator)."""
    if os.pathsep not in path and not path.startswith('"'):
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


@contextlib.contextmanager
def beside(common_dir: Path, *held: Snapshot) -> Iterator[dict[str, str]]:
    """An environment in which git has the objects of all these; new ones, and an empty index, are gone afterwards."""
    places = [str(common_dir / "objects"), *(place for one in held if (place := one.env.get("GIT_OBJECT_DIRECTORY")))]
    with tempfile.TemporaryDirectory(prefix="chatml-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "objects").mkdir()
        yield {
            "GIT_INDEX_FILE": str(Path(folder) / "index"),
            "GIT_OBJECT_DIRECTORY": str(Path(folder) / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.pathsep.join(map(_quote_alternate, places)),
        }
