"""Brings a removed session back from the trash: branch, worktree with all its files, conversation and record.

The trash is emptied last. Who is killed on the way leaves a worktree with a mark in it, which the next try clears.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatml.changes import carrying
from chatml.errors import ChatmlError, GitError
from chatml.model import Furnishing, Session, transitions
from chatml.project import Project
from chatml.removal import trash
from chatml.removal.inner import prune, put_back
from chatml.removal.place import Place, locate
from chatml.removal.trash import MARK, is_file
from chatml.repo import Repository
from chatml.sessions import living
from chatml.state.store import CorruptRecordError, SessionStore, Store
from chatml.text import nearest
from chatml.workspace import checkout

BATCH = 64 * 1024 * 1024
"""Bytes that are read from git at once when files are brought back."""


@dataclass(frozen=True)
class Restored:
    """A session that is back, and what is not as it was, in a sentence."""

    session: Session
    remark: str | None


@dataclass(frozen=True)
class Found:
    """A session in the trash, as it can be brought back."""

    label: str
    commit: str
    note: dict[str, Any]


def restorable(project: Project) -> list[tuple[str, str]]:
    """What can be brought back, NAME or NAME@NUMBER, with the time of its removal, newest first."""
    return [
        (label, when)
        for label, when in trash.refs(project.repo).items()
        if not _lives(project, label.partition("@")[0], trash.note_of(project.repo, trash.PREFIX + label))
    ]


def _lives(project: Project, name: str, note: dict[str, Any]) -> bool:
    """Whether the session in the trash is back already: a restore that was killed may have left it there as well."""
    with suppress(ChatmlError, OSError):
        return project.store.session(name).read().id == note.get("id")
    return False


def _find(repository: Repository, label: str) -> Found:
    """The newest removed session of that name, or the very one of a NAME@NUMBER. ChatmlError where there is none."""
    known = trash.refs(repository)
    exact = label if label in known else next((one for one in known if one.partition("@")[0] == label), None)
    if exact is None:
        raise ChatmlError(
            f"no removed session named '{label}'{nearest(label, known)}",
            "'chatml restore' lists those that can come back",
        )
    commit = trash.rev(repository, f"{trash.PREFIX}{exact}^{{commit}}")
    note = trash.note_of(repository, commit) if commit else {}
    if commit is None or not isinstance(note.get("name"), str):
        raise ChatmlError(f"the trash of '{exact}' is damaged", f"look at it with: git show {trash.PREFIX}{exact}")
    return Found(exact, commit, note)


def restore(project: Project, label: str) -> Restored:
    """Bring a removed session back, under the name it had. ChatmlError, and nothing changed, where that can't be."""
    found = _find(project.repo, label)
    name = found.note["name"]
    if project.store.session(name).folder.exists():
        if not _lives(project, name, found.note):
            raise ChatmlError(f"a session named '{name}' exists", "remove that one first: it stays recoverable too")
        session, remark = project.store.session(name).read(), None
    else:
        try:
            session, remark = _restore(project, found, name)
        except OSError as error:
            said = f"{(error.strerror or str(error)).lower()}: {error.filename}"
            raise ChatmlError(f"can't bring '{label}' back: {said}", "it is still in the trash") from error
    place = locate(project.repo, Path(session.worktree))
    put_back(project.store.kept_repositories(session.id), place.path)
    if place.admin is not None:
        (place.admin / MARK).unlink(missing_ok=True)
    trash.drop(project.repo, found.label, found.commit)
    return Restored(session, remark)


def _restore(project: Project, found: Found, name: str) -> tuple[Session, str | None]:
    with ExitStack() as undo:
        staged = undo.enter_context(project.store.stage())
        _write_out(project.repo, found.commit, "session", staged.folder)
        session, remark = _bring_back_worktree(project.repo, _record(project, found, staged, name), found, undo)
        # What is large and ignored was not kept, so it is copied, and set up, anew.
        if session.furnishing != Furnishing():
            session = session.with_furnished(files=False, passed=(), torn_down=False)
        staged.write(session)
        with staged.lock():  # nobody may find a worker alive that isn't one
            try:
                project.store.claim(staged, name).worker_lock.release()
            except FileExistsError:
                raise ChatmlError(f"a session named '{name}' exists", "remove that one first") from None
        undo.pop_all()
    store = project.store.session(name)
    with suppress(ChatmlError, OSError), store.lock():  # else it gets them with the next setup, or run
        session = living.with_ports(project, store, session)
    return session, remark


def _record(project: Project, found: Found, staged: SessionStore, name: str) -> Session:
    """The record as it was, at rest."""
    try:
        session = checkout.relocate(staged.read(name), project.repo)
    except (CorruptRecordError, FileNotFoundError):
        raise ChatmlError(
            f"'{found.label}' was removed with a damaged record, so it can't go on",
            f"all that was kept of it: git show {trash.PREFIX}{found.label}:session",
        ) from None
    return transitions.restored(session)


# --- branch and worktree ----------------------------------------------------------------------------------------


def _bring_back_worktree(
    repository: Repository, session: Session, found: Found, undo: ExitStack
) -> tuple[Session, str | None]:
    path = Path(session.worktree)
    _clear_half_made(repository, session)
    if os.path.lexists(path) and (path.is_symlink() or not path.is_dir() or any(path.iterdir())):
        raise ChatmlError(f"{path} is in the way", "move it away and try again")
    tip: str | None = found.note.get("tip")
    there = repository.tip(session.branch)
    head: str | None = found.note.get("head", tip or there)
    if "head" not in found.note and head is None:
        return session, "its branch and its worktree were gone already"
    if there is None and tip is not None:
        _make_branch(repository, session.branch, tip, found)
        undo.callback(repository.delete_branch, session.branch, tip)
    start = head or tip or session.base.commit
    with Store(repository.common_dir).lock():  # git fails where it finds the half-made worktree of another one
        repository.git("worktree", "add", "--quiet", "--no-checkout", "--detach", "--", str(path), start)
    undo.callback(_remove_worktree, repository, path)
    place = locate(repository, path)
    assert place.admin is not None
    (place.admin / MARK).write_text(session.id)
    wanted = found.note.get("head_ref", f"refs/heads/{session.branch}")
    remark = None
    if wanted and not _attach(repository, place, wanted, head):
        remark = f"{wanted.removeprefix('refs/heads/')} has moved on or is in use, so HEAD is detached at {start[:9]}"
    carrying.keep(repository, session)
    _fill(repository, found, place, head, session.checkout.carried)  # after that, because it has the reflog as it was
    # A branch that is somebody else's now is not ours to delete later.
    return session.with_checkout(owns_branch=session.checkout.owns_branch and there in (None, tip)), remark


def _clear_half_made(repository: Repository, session: Session) -> None:
    """Remove the worktree of a restore that was killed: nothing is in it that isn't in the trash."""
    place = locate(repository, Path(session.worktree))
    if place.folder is None or place.admin is None:
        return
    marked = (place.admin / MARK).is_file() and (place.admin / MARK).read_text() == session.id
    if marked or os.listdir(place.folder) == [".git"]:
        _remove_worktree(repository, Path(session.worktree))


def _remove_worktree(repository: Repository, path: Path) -> None:
    with Store(repository.common_dir).lock():
        repository.git("worktree", "remove", "--force", "--force", str(path), check=False)


def _make_branch(repository: Repository, branch: str, tip: str, found: Found) -> None:
    try:
        repository.git("update-ref", "--create-reflog", f"refs/heads/{branch}", tip, "0" * len(tip))
    except GitError as error:
        other = repository.in_the_way(branch)
        if other is None:
            raise ChatmlError(error.message, "nothing was changed: it is still in the trash") from error
        raise ChatmlError(
            f"the branch '{other}' exists, so '{branch}' can't be brought back",
            f"rename that one first: git branch -m {shlex.quote(other)} NAME",
        ) from error
    for key, value in found.note.get("config") or ():
        repository.git("config", "--local", "--add", key, value, check=False)


def _attach(repository: Repository, place: Place, ref: str, head: str | None) -> bool:
    """Check a branch out where it still is at the commit that it was at, and nobody else has it."""
    branch = ref.removeprefix("refs/heads/")
    if repository.tip(branch) != head or any(worktree.branch == branch for worktree in repository.worktrees()):
        return False
    place.git("symbolic-ref", "HEAD", ref)
    return True


# --- files ------------------------------------------------------------------------------------------------------


def _fill(repository: Repository, found: Found, place: Place, head: str | None, carried: str | None) -> None:
    """Fill a worktree that was just registered: the files, git's state of it, and the index last.

    One that has not had its files yet gets those that it was to have, of the commit `carried` if there is one.
    """
    assert place.folder is not None
    assert place.admin is not None
    _write_out(repository, found.commit, "git", place.admin, lambda path: path not in ("HEAD", "index"))
    if head is not None:
        place.git("read-tree", "--reset", "-u", carried or head, fetching=True)
    if head is not None and carried is not None:
        place.git("read-tree", "-m", head)
    for path in found.note.get("deleted", ()):
        if is_file(place.folder / path):
            (place.folder / path).unlink()
            prune(place.folder / path, place.folder)
    _write_out(repository, found.commit, "files", place.folder)
    _write_out(repository, found.commit, "git", place.admin, lambda path: path == "index")
    place.git("update-index", "-q", "--refresh", check=False)


@dataclass(frozen=True)
class _Entry:
    mode: str
    sha: str
    size: int
    path: str


def _write_out(
    repository: Repository, commit: str, part: str, folder: Path, wanted: Callable[[str], bool] = lambda _: True
) -> None:
    """Write the files of that part of what was kept, if there is one, byte for byte, in place of what is there."""
    listed = repository.git("ls-tree", "-r", "-l", "-z", "--full-tree", commit, "--", f"{part}/").text.split("\0")
    found = (
        (about, path.removeprefix(f"{part}/")) for about, _, path in (one.partition("\t") for one in listed if one)
    )
    parts = [(*about.split(), path) for about, path in found]
    entries = [_Entry(mode, sha, int(size), path) for mode, _, sha, size, path in parts if wanted(path)]
    for batch in _batches(entries):
        shas = "".join(f"{entry.sha}\n" for entry in batch)
        raw = repository.git("cat-file", "--batch", stdin=shas.encode()).stdout
        start = 0
        for entry in batch:
            start = raw.index(b"\n", start) + 1
            _put(folder, entry, raw[start : start + entry.size])
            start += entry.size + 1


def _batches(entries: list[_Entry]) -> Iterator[list[_Entry]]:
    batch: list[_Entry] = []
    size = 0
    for entry in entries:
        if batch and size + entry.size > BATCH:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch


def _put(folder: Path, entry: _Entry, content: bytes) -> None:
    target = folder / entry.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise ChatmlError(f"{target} would be written outside of {folder}")
    if os.path.lexists(target):
        target.unlink()
    if entry.mode == "120000":
        target.symlink_to(os.fsdecode(content))
    else:
        target.write_bytes(content)
        if entry.mode == "100755":
            target.chmod(target.stat().st_mode | 0o111)
