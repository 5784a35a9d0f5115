"""Keeps what `rm` removes: one commit under refs/chatml/trash/NAME that holds all of a session.

Its tree has the record, log and inbox, the files of the worktree (untracked and small ignored ones too) and the
index; its parents are the branch, the commit that was checked out, and the trash of an earlier session of that name.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.model import Session
from chatml.repo import Repository, git
from chatml.snapshot import add_all
from chatml.store import SessionStore

PREFIX = "refs/chatml/trash/"

SMALL = 1024 * 1024
"""Bytes up to which an ignored file is kept: settings and notes are below, build results and caches are not."""

STATE = ("session.json", "events.jsonl", "inbox.jsonl")

IDENTITY = {
    "GIT_AUTHOR_NAME": "chatml",
    "GIT_AUTHOR_EMAIL": "chatml@localhost",
    "GIT_COMMITTER_NAME": "chatml",
    "GIT_COMMITTER_EMAIL": "chatml@localhost",
}
"""The trash must work where no identity is configured; nobody but chatml wrote this commit."""


@dataclass(frozen=True)
class Saved:
    """A session in the trash: the commit that holds it, its files' tree, and the ignored folders that it lacks."""

    commit: str
    tree: str | None
    not_saved: tuple[str, ...]


def save(repository: Repository, store: SessionStore, session: Session) -> Saved:
    """Put all of a session under its trash ref. GitError or ChatmlError where that fails: then nothing was lost yet."""
    worktree = Path(session.worktree)
    tip = repository.tip(session.branch)
    entries = [f"100644 blob {_blob(repository, store.folder / name)}\t{name}" for name in STATE if _has(store, name)]
    head: str | None = None
    tree: str | None = None
    not_saved: tuple[str, ...] = ()
    if (worktree / ".git").is_file():
        head = git("rev-parse", "--verify", "--quiet", "HEAD", at=worktree, check=False).text.strip() or None
        tree, index, not_saved = _trees(worktree)
        entries.append(f"040000 tree {tree}\tworktree")
        if index:
            entries.append(f"040000 tree {index}\tindex")
    content = repository.git("mktree", stdin="".join(f"{entry}\n" for entry in entries).encode()).text.strip()
    ref = PREFIX + session.name
    before = _commit(repository, ref)
    note = {"session": session.name, "branch": session.branch, "tip": tip, "head": head, "before": before}
    parents = [arg for parent in dict.fromkeys((tip, head, before)) if parent for arg in ("-p", parent)]
    commit = git(
        f"--git-dir={repository.common_dir}", "commit-tree", content, *parents, "-m",
        f"chatml: removed session {session.name}\n\n{json.dumps(note)}",
        at=repository.common_dir, env=IDENTITY,
    ).text.strip()  # fmt: skip
    repository.git("update-ref", ref, commit, before or "")
    return Saved(commit, tree, not_saved)


def _has(store: SessionStore, name: str) -> bool:
    return (store.folder / name).is_file()


def _blob(repository: Repository, path: Path) -> str:
    return repository.git("hash-object", "-w", "--no-filters", "--stdin", stdin=path.read_bytes()).text.strip()


def _commit(repository: Repository, ref: str) -> str | None:
    return repository.git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", check=False).text.strip() or None


def _trees(worktree: Path) -> tuple[str, str | None, tuple[str, ...]]:
    """Tree of all files, tree of the index (None in the middle of a merge), ignored folders that are not in it."""
    where = git("rev-parse", "--path-format=absolute", "--git-path", "index", at=worktree).text.rstrip("\n")
    with tempfile.TemporaryDirectory(prefix="chatml-") as folder:
        own = Path(folder) / "index"
        if Path(where).exists():
            shutil.copy2(where, own)
        env = {"GIT_INDEX_FILE": str(own)}
        written = git("write-tree", at=worktree, env=env, check=False)
        index = written.text.strip() if written.code == 0 else None
        _refuse_busy_submodules(worktree)
        add_all(worktree, env)
        small, large = _ignored(worktree)
        if small:
            listed = "".join(f"{path}\0" for path in small).encode("utf-8", "surrogateescape")
            git("add", "-f", "--pathspec-from-file=-", "--pathspec-file-nul", at=worktree, env={**env, "GIT_LITERAL_PATHSPECS": "1"}, stdin=listed)  # fmt: skip # noqa: E501
        _refuse_unreadable(worktree, env)
        return git("write-tree", at=worktree, env=env).text.strip(), index, tuple(large)


def tree_of(worktree: Path) -> str:
    """The tree of all that the worktree holds now, as `save` keeps it."""
    return _trees(worktree)[0]


def _ignored(worktree: Path) -> tuple[list[str], list[str]]:
    """The small ignored files to keep; and the ignored folders and large files not to."""
    listed = git("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory", at=worktree).text
    small: list[str] = []
    large: list[str] = []
    for path in filter(None, listed.split("\0")):
        full = worktree / path
        keep = not path.endswith("/") and (full.is_symlink() or (full.is_file() and full.stat().st_size <= SMALL))
        (small if keep else large).append(path)
    return small, large


def _refuse_unreadable(worktree: Path, env: dict[str, str]) -> None:
    """Files that git could not read would be gone: then nothing is removed."""
    left = git("ls-files", "-z", "--others", "--modified", "--exclude-standard", at=worktree, env=env).text
    missed = [path for path in left.split("\0") if path and os.path.lexists(worktree / path) and not path.endswith("/")]
    if missed:
        raise ChatmlError(
            f"can't save {missed[0]!r}, so nothing was removed", "make it readable, or delete it yourself"
        )


def embedded(worktree: Path) -> list[str]:
    """Git repositories that somebody made inside the worktree: git takes their files for none of its business."""
    listed = git("ls-files", "-z", "--others", "--exclude-standard", at=worktree).text
    return [path.rstrip("/") for path in listed.split("\0") if path.endswith("/")]


def _refuse_busy_submodules(worktree: Path) -> None:
    """A submodule's own work lies in git folders that go with the worktree, so it must be safe elsewhere."""
    listed = git("ls-files", "-z", "--stage", at=worktree).text
    for entry in filter(None, listed.split("\0")):
        mode, _, rest = entry.partition(" ")
        path = rest.partition("\t")[2]
        inner = worktree / path
        if mode != "160000" or not (inner / ".git").exists():
            continue
        open_work = git("status", "--porcelain", at=inner, check=False).text
        if open_work or git("log", "--oneline", "-1", "HEAD", "--not", "--remotes", at=inner, check=False).text:
            raise ChatmlError(
                f"the repository in {path!r} has work of its own that can't be saved, so nothing was removed",
                "push or discard what is in there, and try again",
            )


# --- bringing back ----------------------------------------------------------------------------------------------


def names(repository: Repository) -> list[tuple[str, str]]:
    """The sessions in the trash with the time of their removal (ISO 8601), newest first."""
    lines = repository.git(
        "for-each-ref", "--sort=-committerdate", "--format=%(refname) %(committerdate:iso-strict)", PREFIX
    ).text.splitlines()
    return [(ref.removeprefix(PREFIX), when) for ref, when in (line.split(" ", 1) for line in lines)]


@dataclass(frozen=True)
class Found:
    """A session in the trash, as it can be brought back."""

    name: str
    commit: str
    note: dict[str, Any]


def find(repository: Repository, name: str) -> Found:
    """The newest removed session of that name. ChatmlError where there is none."""
    commit = _commit(repository, PREFIX + name) if repository.valid_branch(name) else None
    if commit is None:
        raise ChatmlError(f"no removed session named '{name}'", "see 'chatml restore' for those that can come back")
    message = repository.git("log", "-1", "--format=%B", commit).text
    return Found(name, commit, json.loads(message.strip().splitlines()[-1]))


def extract(repository: Repository, found: Found, folder: Path) -> None:
    """Write the record, log and inbox of a removed session into a folder."""
    for name in STATE:
        blob = repository.git("cat-file", "blob", f"{found.commit}:{name}", check=False)
        if blob.code == 0:
            (folder / name).write_bytes(blob.stdout)


def checkout(repository: Repository, found: Found, worktree: Path) -> None:
    """Fill a registered worktree with the files of a removed session, and its index as it was."""
    if repository.git("rev-parse", "--verify", "--quiet", f"{found.commit}:worktree", check=False).code:
        git("reset", "--hard", "--quiet", at=worktree)
        return
    head, tip = found.note.get("head"), found.note.get("tip")
    if head and head != tip:
        git("update-ref", "--no-deref", "HEAD", head, at=worktree)
    git("read-tree", "--reset", "-u", f"{found.commit}:worktree", at=worktree)
    index = f"{found.commit}:index"
    saved = repository.git("rev-parse", "--verify", "--quiet", index, check=False).code == 0
    git("read-tree", index if saved else "HEAD", at=worktree)
    git("update-index", "-q", "--refresh", at=worktree, check=False)


def drop(repository: Repository, found: Found) -> None:
    """Take a session out of the trash; an earlier one of the same name comes up again."""
    before = found.note.get("before")
    if before:
        repository.git("update-ref", PREFIX + found.name, before, found.commit)
    else:
        repository.git("update-ref", "-d", PREFIX + found.name, found.commit)


def _keep(repository: Repository, session_id: str) -> Path:
    """Where the git repositories that were inside a removed worktree are kept, as they are."""
    return repository.common_dir / "chatml" / "trash" / session_id


@contextlib.contextmanager
def set_aside(repository: Repository, session: Session) -> Iterator[Path | None]:
    """Move a worktree's folder out of everybody's way, then delete it; put it back where something goes wrong."""
    worktree = Path(session.worktree)
    if not os.path.lexists(worktree):
        yield None
        return
    aside = worktree.parent / f".gone-{session.id}"
    worktree.rename(aside)
    try:
        yield aside
        for path in embedded(aside) if (aside / ".git").exists() else ():
            target = _keep(repository, session.id) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(aside / path, target)
    except BaseException:
        aside.rename(worktree)
        raise


def delete_folder(folder: Path) -> None:
    """Delete a folder whose content is in the trash, whatever permissions it has inside."""
    shutil.rmtree(folder, onerror=_writable)


def bring_back_embedded(repository: Repository, session: Session) -> None:
    """Move the git repositories that were inside a removed worktree back into it."""
    kept = _keep(repository, session.id)
    if not kept.is_dir():
        return
    for inner in sorted(kept.rglob(".git")):
        path = inner.parent.relative_to(kept)
        target = Path(session.worktree) / path
        if not any(part == ".git" for part in path.parts) and not (target / ".git").exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                target.rmdir()  # git made an empty folder for what it took for a submodule
            shutil.move(inner.parent, target)
    shutil.rmtree(kept, ignore_errors=True)


def _writable(function: Any, path: str, _: Any) -> None:
    """Folders that forbid writing (a Go module cache, for one) are no reason to stop."""
    with contextlib.suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700)
        function(path)
