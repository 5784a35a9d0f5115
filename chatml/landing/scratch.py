"""A scratch worktree to try a commit in: real files and a real repository, in which nothing leads back to the real one.

The command that is tried there may commit, make branches, change settings and the index: all of that happens in a
repository of the scratch worktree's own, which borrows the objects of the real one (gitrepository-layout(5),
`objects/info/alternates`) and begins with its settings and its refs. The real one knows nothing of it, so it is in no
`git worktree list`, and what a killed command leaves is two folders.

The files come from elsewhere: `keeper`, git's side of a worktree of the real repository that is registered nowhere.
With its index, which the command never sees, git tells what the command has changed. A post-checkout hook sees that
one: such hooks make worktrees habitable with what they find in the main checkout.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import uuid
from pathlib import Path

from chatml import marking, repo
from chatml.environment import CHECK
from chatml.errors import ChatmlError, GitError, Kind
from chatml.repo import Repository, git
from chatml.repo.plumbing import NOBODY
from chatml.state.locks import WorkerLock
from chatml.state.store import Store

PLACE = "trial+"
"""How a scratch worktree's name begins, among the worktrees: no session can be called so."""

SHARED_REFS = ("refs/heads", "refs/tags", "refs/remotes", "refs/replace")

EXACT = ("-c", "core.trustctime=true", "-c", "core.checkStat=default")
"""A command can set back what else tells that a file was changed."""


class Scratch:
    """A scratch worktree, locked for the life of this process; `close` removes it."""

    def __init__(self, repository: Repository, store: Store, worktrees: Path) -> None:
        self._repository, self._store = repository, store
        self.mark = uuid.uuid4().hex
        """Marks all processes that are started in it."""
        self.place = worktrees / f"{PLACE}{self.mark[:8]}"
        self._folder = store.trials / self.mark
        self._lock = WorkerLock(self._folder / "lock")
        self._index = self._folder / "index"
        self._refs: bytes | None = None
        with store.lock():
            self._folder.mkdir(parents=True)
            self._lock.take()
        (self._folder / "place").write_bytes(os.fsencode(self.place))

    def close(self) -> None:
        """Remove it. ChatmlError where something of it can't be removed: the next `clear` tries again."""
        _remove_all(self._store, self._folder, self.place)
        self._lock.release()

    def hold(self, commit: str) -> str:
        """Give it the files of a commit, and nothing else; returns what a post-checkout hook has said.

        Nothing is left of what was done in it before, ignored files such as build outputs among it: they would make
        one commit pass on what another one has built. GitError where git can't.
        """
        try:
            self._fill(commit)
        except (GitError, OSError):
            remove(self.place)  # whatever the command has done to it: all anew
            self._index.unlink(missing_ok=True)
            self._fill(commit)
        keeper = self._folder / "keeper"
        shutil.copyfile(self._index, keeper / "index")
        self._point(keeper)
        said = repo.post_checkout(self.place, cancelled=lambda: False)
        self._point(self._own_repository(commit, keeper / "index"))
        return said

    def _fill(self, commit: str) -> None:
        keeper = self._keep(commit)
        env = {"GIT_DIR": str(keeper), "GIT_WORK_TREE": str(self.place), "GIT_INDEX_FILE": str(self._index)}
        if self.place.is_symlink() or not self.place.is_dir():
            remove(self.place)
            self.place.mkdir(parents=True)
            self._index.unlink(missing_ok=True)
        else:
            self._empty_repositories()
            git(*EXACT, "clean", "-ffdxq", at=self.place, env=env)
        remove(self.place / ".git")
        git(*EXACT, "read-tree", "--reset", "-u", commit, at=self.place, env=env, cancelled=lambda: False)

    def _empty_repositories(self) -> None:
        """Remove repositories that were made in it, and what submodules were filled with: git leaves both alone."""
        for folder, folders, files in os.walk(self.place):
            if Path(folder) != self.place and ".git" in (*folders, *files):
                remove(Path(folder))  # with the files around it, of which git would bring back its own
                folders.clear()

    def _keep(self, commit: str) -> Path:
        """Git's side of the worktree, as a part of the real repository."""
        keeper = self._folder / "keeper"
        keeper.mkdir(exist_ok=True)
        (keeper / "commondir").write_text("../../../..\n")
        (keeper / "gitdir").write_bytes(os.fsencode(self.place / ".git") + b"\n")
        (keeper / "HEAD").write_text(f"{commit}\n")
        return keeper

    def _own_repository(self, commit: str, index: Path) -> Path:
        """The repository that the command is to see, as if nothing had ever been done in it."""
        own, common = self._folder / "repository", self._repository.common_dir
        remove(own)
        known = self._repository.git("rev-parse", "--show-object-format").text.strip()
        env = {"GIT_DIR": str(own), "GIT_WORK_TREE": str(self.place), "GIT_DEFAULT_REF_FORMAT": "files"}
        git("init", "--quiet", "--template=", f"--object-format={known}", at=self.place, env=env)
        with (own / "config").open("ab") as config:
            config.write(os.fsencode(_SETTINGS.format(config=_quoted(common / "config"), place=_quoted(self.place))))
        (own / "info").mkdir(exist_ok=True)
        (own / "objects" / "info" / "alternates").write_bytes(os.fsencode(common / "objects") + b"\n")
        for name in ("shallow", "info/attributes", "info/exclude"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(common / name, own / name)
        if self._refs is None:
            self._refs = self._repository.git("for-each-ref", "--format=%(objectname) %(refname)", *SHARED_REFS).stdout
        (own / "packed-refs").write_bytes(self._refs)
        (own / "HEAD").write_text(f"{commit}\n")
        shutil.copy2(index, own / "index")
        return own

    def _point(self, git_dir: Path) -> None:
        remove(self.place / ".git")
        (self.place / ".git").write_bytes(b"gitdir: " + os.fsencode(git_dir) + b"\n")


_SETTINGS = """\
[include]
	path = {config}
[core]
	bare = false
	worktree = {place}
	fsmonitor = false
[gc]
	auto = 0
[maintenance]
	auto = false
"""
"""Those of the real repository, but what says where that is, or would leave something running."""


def _quoted(path: Path) -> str:
    """A path as a value in a file of settings (git-config(1), "Syntax")."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def commit_of_tree(repository: Repository, tree: str) -> str:
    """A commit, on no branch, of a tree: the same for the same one."""
    dates = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}
    return repository.git("commit-tree", tree, "-m", "What is tried", env=NOBODY | dates).text.strip()


def clear(store: Store) -> None:
    """Remove the scratch worktrees of commands that were killed, and end what still runs in them.

    ChatmlError where something can't be removed.
    """
    if not store.trials.is_dir():
        return
    dead = []
    with store.lock():
        for folder in store.trials.glob("*"):  # it may have gone just now
            lock = WorkerLock(folder / "lock")
            if lock.take():
                dead.append((folder, lock))
    for folder, lock in dead:
        try:
            marking.sweep(folder.name, variable=CHECK)
            _remove_all(store, folder, _noted_place(folder))
        finally:
            lock.release()


def _noted_place(folder: Path) -> Path | None:
    """The scratch worktree that belongs to this folder, if it came to that."""
    with contextlib.suppress(FileNotFoundError):
        place = Path(os.fsdecode((folder / "place").read_bytes()))
        if place.name == f"{PLACE}{folder.name[:8]}":
            return place
    return None


def _remove_all(store: Store, folder: Path, place: Path | None) -> None:
    """Remove a scratch worktree and then what tells of it."""
    if place is not None:
        remove(place)
        with contextlib.suppress(OSError):
            place.parent.rmdir()  # where no other worktree is
    remove(folder)
    with store.lock(), contextlib.suppress(OSError):  # under it another one makes its own in there
        store.trials.rmdir()


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, also where a command has made folders read-only.

    ChatmlError where that can't be done.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        for folder, _, _ in os.walk(path, onerror=None):
            _open_up(folder)
        shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        raise ChatmlError(f"could not remove {path}", "see who owns the files in it; then remove it", Kind.WORKTREE)


def _open_up(folder: str) -> None:
    """Let us change a folder and those right in it: so the walk that goes on from here can read them."""
    with contextlib.suppress(OSError):
        os.chmod(folder, stat.S_IRWXU)
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, stat.S_IRWXU)
