"""What removing a session would lose: where its worktree really is, and what is in it that nothing else has.

Unknown means keep: only what git links to this repository from both sides counts as the session's worktree.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.landing import landed
from chatml.model import Session
from chatml.plumbing import UNCOMMITTED
from chatml.proc import Result
from chatml.repo import Repository, git
from chatml.text import is_safe

NAMED = 3
"""Files that a message names, of those that it counts."""

OPERATIONS = {
    "rebase-merge": "a rebase is in progress",
    "rebase-apply": "a rebase is in progress",
    "MERGE_HEAD": "a merge is in progress",
    "CHERRY_PICK_HEAD": "a cherry-pick is in progress",
    "REVERT_HEAD": "a revert is in progress",
    "BISECT_LOG": "a bisect is in progress",
}
"""What git keeps in a worktree's own folder while an operation goes on (gitrepository-layout(5))."""


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

    def git(self, *args: str, index: Path | None = None, check: bool = True, stdin: bytes | None = None) -> Result:
        """Run git on this very worktree, whatever its folder says, and without its hooks."""
        assert self.admin is not None
        tree = [f"--work-tree={self.folder}"] if self.folder else []
        env = {"GIT_INDEX_FILE": str(index)} if index else None
        where = self.folder or self.admin
        return git(
            "-c",
            f"core.hooksPath={os.devnull}",
            f"--git-dir={self.admin}",
            *tree,
            *args,
            at=where,
            env=env,
            check=check,
            stdin=stdin,
        )

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
                self.git("read-tree", "HEAD", index=copy, check=False)
            self.git("update-index", "-q", "--refresh", index=copy, check=False)
            yield copy


def locate(repository: Repository, path: Path) -> Place:
    """The worktree that git and the folder at `path` both say is there."""
    admins = (repository.common_dir / "worktrees").glob("*/gitdir")
    admin = next((file.parent for file in admins if _same(_pointed(file), path / ".git")), None)
    link = path / ".git"
    real = path.is_dir() and not path.is_symlink() and link.is_file() and not link.is_symlink()
    ours = admin is not None and real and os.path.realpath(_pointed(link) or "") == os.path.realpath(admin)
    empty = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    return Place(path, path if ours else None, admin, os.path.lexists(path) and not ours and not empty)


def _pointed(file: Path) -> Path | None:
    """Where a file of git points to, absolute or from its own folder; None for another kind of file."""
    try:
        text = file.read_bytes()
    except OSError:
        return None
    target = os.fsdecode(text.removeprefix(b"gitdir: ").rstrip(b"\n"))
    return Path(os.path.normpath(file.parent / target)) if "\0" not in target else None


def _same(one: Path | None, other: Path) -> bool:
    """Whether two paths of a `.git` mean the same place; its folder itself must not be a link."""
    if one is None or one.parent.name != other.parent.name:
        return False
    return one.name == other.name and os.path.realpath(one.parent.parent) == os.path.realpath(other.parent.parent)


def check(repository: Repository, session: Session, place: Place, force: bool, keep_branch: bool) -> None:
    """ChatmlError that says exactly why the session must not be removed, or even by force can't be."""
    reasons = refusals(place)
    if reasons:
        raise ChatmlError(
            f"'{session.name}' can't be removed: {'; '.join(reasons)}",
            "no restore could bring that back: save it or remove it yourself, and try again",
        )
    reasons = [] if force else objections(repository, session, place, keep_branch)
    if reasons:
        raise ChatmlError(
            f"'{session.name}' is not safe to remove: {'; '.join(reasons)}",
            f"land it ('chatml pr {session.name}'), or remove it all the same with --force: "
            f"'chatml restore {session.name}' brings it back",
        )


# --- what would be lost -----------------------------------------------------------------------------------------


def objections(repository: Repository, session: Session, place: Place, keep_branch: bool = False) -> list[str]:
    """Why removing the session would lose work. GitError where that can't be found out: then nothing is removed."""
    reasons = _oddities(repository, session, place)
    leaves = session.owns_branch and not keep_branch
    tip = repository.tip(session.branch)
    if place.folder is not None:
        reasons += uncommitted(place)
    if place.admin is not None:
        head = place.git("rev-parse", "--verify", "--quiet", "HEAD", check=False).text.strip()
        if head and head != tip:
            reasons += _unlanded(repository, session, head, "checked out there on no branch", leaves=False)
    if tip is not None and leaves:
        reasons += _unlanded(repository, session, tip, f"on {session.branch}", leaves)
    return reasons


def _oddities(repository: Repository, session: Session, place: Place) -> list[str]:
    reasons = []
    if place.stranger:
        reasons.append(f"{place.path} is not its worktree any more")
    for worktree in repository.worktrees() if place.folder is None else ():
        if worktree.branch == session.branch and not _same(worktree.path / ".git", place.path / ".git"):
            reasons.append(f"{session.branch} is checked out in {worktree.path}")
    if place.admin is not None:
        reasons += dict.fromkeys(what for name, what in OPERATIONS.items() if (place.admin / name).exists())
        if (place.admin / "locked").exists():
            why = (place.admin / "locked").read_text("utf-8", "replace").strip()
            reasons.append(f"its worktree is locked ({why})" if why else "its worktree is locked")
    return reasons


def uncommitted(place: Place) -> list[str]:
    """The files with changes that are in no commit, in a sentence; none where nobody has worked yet."""
    assert place.admin is not None
    fresh = not (place.admin / "index").exists()
    with place.index_copy() as index:
        said = place.git(
            "status", "--porcelain=v2", "-z", "--untracked-files=all", "--ignore-submodules=none", index=index
        ).text
    paths = [path for state, path in _entries(said) if not (fresh and state == ".D")]
    if not paths:
        return []
    names = ", ".join([*map(_shown, paths[:NAMED]), *(["…"] if len(paths) > NAMED else [])])
    return [f"{len(paths)} uncommitted {'file' if len(paths) == 1 else 'files'} ({names})"]


def _entries(status: str) -> Iterator[tuple[str, str]]:
    """State and path of each entry of `git status --porcelain=v2 -z` (git-status(1), "Porcelain Format Version 2")."""
    before = {"1": 8, "2": 9, "u": 10, "?": 1}
    fields = iter(status.split("\0"))
    for entry in fields:
        if entry[:1] in before:
            *rest, path = entry.split(" ", before[entry[0]])
            yield rest[1] if len(rest) > 1 else "??", path
        if entry[:1] == "2":
            next(fields)  # where it was before


def _shown(path: str) -> str:
    return path if all(map(is_safe, path)) else ascii(path)[1:-1]


def _unlanded(repository: Repository, session: Session, tip: str, where: str, leaves: bool) -> list[str]:
    count = landed.only_here(repository, session, tip, leaves)
    if not count or landed.landed_in(repository, session, tip):
        return []
    commits = "1 commit" if count == 1 else f"{count} commits"
    return [f"{commits} {where} that {'is' if count == 1 else 'are'} nowhere else, not landed in {session.base.ref}"]


def brought(session: Session, repository: Repository, place: Place, tip: str) -> bool:
    """Whether the session made commits that change something; False where its reflog doesn't tell."""
    quiet = ("diff-tree", "-r", "--quiet", "--no-ext-diff", "--ignore-submodules=none", session.base.commit, tip)
    if tip == session.base.commit or repository.git(*quiet, check=False).code != 1:
        return False
    if place.admin is None:
        return False
    told = place.git("log", "-g", "--format=%gs", "HEAD", check=False).text.splitlines()
    return any(line.startswith(("commit", "cherry-pick", "revert", "am")) for line in told)


# --- repositories inside the worktree --------------------------------------------------------------------------


def inner_repositories(folder: Path, through: bool = False) -> list[Path]:
    """The git repositories inside a worktree; with `through` also those inside of submodules and other worktrees.

    ChatmlError where a folder can't be read: what is in there would be gone.
    """

    def refuse(error: OSError) -> None:
        raise ChatmlError(
            f"can't look into {error.filename}, so nothing was removed", "make it readable, or delete it yourself"
        )

    found = []
    for here, names, files in os.walk(folder, onerror=refuse):
        if Path(here) != folder and ".git" in names + files:
            found.append(Path(here))
            if not (through and ".git" in files):
                names.clear()
        names[:] = [name for name in names if name != ".git"]
    return found


def refusals(place: Place) -> list[str]:
    """Repositories inside the worktree whose work lies elsewhere, so that not even the trash could keep it."""
    if place.folder is None or place.admin is None:
        return []
    reasons = []
    for inner in inner_repositories(place.folder, through=True):
        target = _pointed(inner / ".git")  # None for a folder: such a repository is kept as it is
        if target is None or not target.is_dir():
            continue
        name = _shown(str(inner.relative_to(place.folder)))
        if not target.resolve().is_relative_to((place.admin / "modules").resolve()):
            reasons.append(f"'{name}' in it is a worktree of its own")
        elif _busy(inner):
            reasons.append(f"the submodule '{name}' has work of its own")
    return reasons


def _busy(inner: Path) -> bool:
    """Whether a submodule has anything that no remote has, as far as can be seen."""
    status = git(*UNCOMMITTED, at=inner, check=False)
    ahead = git("rev-list", "--max-count=1", "--all", "HEAD", "--not", "--remotes", at=inner, check=False)
    return bool(status.code or status.text or ahead.code or ahead.text)


def kept_repositories(repository: Repository, session: Session) -> Path:
    """Where the repositories that were inside a removed worktree are kept: git can't hold one in another."""
    return repository.common_dir / "chatml" / "trash" / session.id


def take_out(folder: Path, kept: Path) -> list[Path]:
    """Move the repositories inside a worktree out of it, as they are; returns where they are now."""
    moved = []
    for inner in inner_repositories(folder):
        if (inner / ".git").is_dir():
            target = kept / inner.relative_to(folder)
            shutil.rmtree(target, ignore_errors=True)  # half a copy, of one who was killed
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(inner, target)
            moved.append(target)
    return moved


def put_back(kept: Path, folder: Path) -> None:
    """Move the repositories that were taken out of a worktree back into it, where nothing is in their way."""
    for inner in inner_repositories(kept) if kept.is_dir() else ():
        target = folder / inner.relative_to(kept)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()  # git makes an empty folder for what it takes for a submodule
        if not os.path.lexists(target):
            shutil.move(inner, target)
            prune(inner, kept.parent.parent)


def prune(gone: Path, top: Path) -> None:
    """Remove the folders, up to `top`, that the loss of a file or folder left empty."""
    for folder in gone.parents:
        if folder == top or not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()
