"""Files under `.git/chatml`: atomic JSON, the records of the sessions and what stands beside them.

Every record is replaced whole by a rename, so it is read without a lock; whoever changes one holds its
session's lock from reading to replacing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.model import SCHEMA, Session, Status
from chatml.state.locks import LOCK_TIMEOUT, WorkerLock, lock
from chatml.state.paths import STAGE, SessionPaths, StatePaths

AT_ONCE = 1 << 16
"""Bytes to read by one call: few records are longer."""


def write_json(path: Path, data: Any) -> None:
    """Replace `path` by `data`, whole or not at all, also across a power cut."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"
    # A lone surrogate is what Python makes of a byte in a path that is no text, and what a model may say.
    write_file(path, text.encode("utf-8", "surrogatepass"))


def write_file(path: Path, content: bytes) -> None:
    """Replace `path` by `content` through a synced temporary file in the same folder."""
    import tempfile  # here and below alone: whoever only reads needs no part of it

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read_whole(path: str) -> bytes:
    """What a small file holds, by the fewest system calls: `ls` reads one of each session. OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(fd, AT_ONCE), b""))
    finally:
        os.close(fd)


class CorruptRecordError(ChatmlError):
    """A session's record can't be read; its worktree, branch and log are untouched."""

    def __init__(self, name: str, path: Path, reason: str) -> None:
        super().__init__(
            f"the record of session '{name}' is damaged: {reason}",
            hint=f"its worktree and branch are untouched: mend {path}; "
            f"or 'chatml rm --force {name}' removes the record alone, and keeps it in the trash",
        )
        self.name = name


class UnreadableRecordError(CorruptRecordError):
    """A session's files can't be looked at: they are another user's, or the disk fails. Nothing is known of it."""

    def __init__(self, name: str, path: Path, error: OSError) -> None:
        super().__init__(name, path, "")
        reason = (error.strerror or str(error)).lower()
        self.message = f"the record of session '{name}' can't be read: {reason}"
        self.hint = f"nothing is known of it, so nothing of it is touched; see 'ls -l {shlex.quote(str(path.parent))}'"


class SessionStore(SessionPaths):
    """One session's folder: record, log, inbox and locks."""

    @cached_property
    def worker_lock(self) -> WorkerLock:
        return WorkerLock(self.folder / "worker.lock")

    def exists(self) -> bool:
        return self.record.exists()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the session's lock: around each read-modify-write, and around appends to the inbox.

        The session is there as long as it is held; ChatmlError where it isn't any more.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock(self.own_lock))
            except (FileNotFoundError, NotADirectoryError):
                raise ChatmlError(f"session '{self.name}' was removed just now", "see 'chatml restore'") from None
            yield

    def stamp(self) -> tuple[int, int, int] | None:
        """Another one means that the record was written, or that something came in; None without a record."""
        try:
            record = os.stat(self._record)
            inbox = os.stat(f"{self._folder}/inbox.jsonl")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return record.st_mtime_ns, record.st_ino, inbox.st_size

    def raw(self) -> bytes:
        """The record as it stands on the disk. OSError."""
        return read_whole(self._record)

    def read(self, name: str | None = None) -> Session:
        """The record. FileNotFoundError without one, CorruptRecordError for one that can't be understood or read.

        `name` is the session that it must be about, where that is not the folder's name: in a staged one.
        """
        try:
            raw = self.raw()
        except FileNotFoundError:
            if self.folder.is_dir():
                raise CorruptRecordError(self.name, self.record, "it is missing") from None
            raise
        except NotADirectoryError:
            raise
        except IsADirectoryError as error:
            raise CorruptRecordError(self.name, self.record, "a folder stands in its place") from error
        except OSError as error:
            raise UnreadableRecordError(self.name, self.record, error) from error
        try:
            data = json.loads(raw.decode("utf-8", "surrogatepass"))
            schema = data["schema"]
            if schema != SCHEMA:
                raise ValueError(f"written by another version of chatml (schema {schema}, known: {SCHEMA})")
            session = Session.from_json(data)
            if session.name != (name or self.name):
                raise ValueError(f"it is about '{session.name}'")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CorruptRecordError(self.name, self.record, str(error) or type(error).__name__) from error
        return session

    def write(self, session: Session) -> None:
        """Replace the record; the caller holds the session's lock, or is still alone with a new session."""
        write_json(self.record, {"schema": SCHEMA, **session.to_json()})

    def update(self, change: Callable[[Session], Session]) -> Session:
        """Read, change and replace the record under the session's lock."""
        with self.lock():
            old = self.read()
            new = change(old)
            if new != old:
                self.write(new)
            return new


class Store(StatePaths):
    """The sessions of one repository."""

    def __init__(self, common_dir: Path) -> None:
        super().__init__(common_dir)
        self._sessions = str(self.sessions)

    def lock(self, timeout: float = LOCK_TIMEOUT) -> contextlib.AbstractContextManager[None]:
        """Hold the repository's lock, briefly: for what two sessions could both claim.

        Whoever needs a session's lock as well takes that one first.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        return lock(self.own_lock, timeout)

    def names(self) -> list[str]:
        """The names of all sessions, in no order that means anything."""
        try:
            with os.scandir(self.sessions) as entries:
                return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        except FileNotFoundError:
            return []

    def stamps(self) -> list[tuple[str, int]]:
        """Other ones mean that a session came or went, or that a record was written. OSError."""
        return [(name, os.stat(f"{self._sessions}/{name}").st_mtime_ns) for name in self.names()]

    def having(self, *marks: bytes) -> Iterator[Session]:
        """The sessions in whose records one of these texts stands, without those that can't be read.

        Few records are parsed: to parse them all would cost more than all that is done with them.
        """
        for name in self.names():
            store = self.session(name)
            with contextlib.suppress(OSError, ChatmlError):
                raw = store.raw()
                if any(mark in raw for mark in marks):
                    yield store.read()

    def of_status(self, *statuses: Status) -> Iterator[Session]:
        """The sessions whose records have one of these statuses, without those that can't be read."""
        marks = (f'"status":"{status.value}"'.encode() for status in statuses)
        return (session for session in self.having(*marks) if session.status in statuses)

    def repositories(self) -> Iterator[Path]:
        """The main checkouts that the records name, each once: where git can't tell."""
        seen = set()
        for name in self.names():
            with contextlib.suppress(OSError, ChatmlError):
                path = self.session(name).read().repository
                if path not in seen:
                    seen.add(path)
                    yield Path(path)

    def named(self, name: str) -> SessionStore:
        """The files of the session that a person has named so. FileNotFoundError where that is another one's name.

        A disk that ignores case leads to `task` by `TASK` as well.
        """
        store = self.session(name)
        if not name.isascii() or os.path.lexists(self.sessions / name.swapcase()):
            with os.scandir(self.sessions) as entries:
                if all(entry.name != name for entry in entries):
                    raise FileNotFoundError(errno.ENOENT, "no such session", name)
        return store

    def session(self, name: str) -> SessionStore:
        """The files of that session, if there are any. FileNotFoundError for a text that can't be a name.

        As a path it would lead to another folder, or to the same one by another name.
        """
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise FileNotFoundError(errno.ENOENT, "no such session", name)
        return SessionStore(f"{self._sessions}/{name}")

    @contextlib.contextmanager
    def stage(self) -> Iterator[SessionStore]:
        """A folder for a session in the making, unseen by all others until `claim`; gone if not claimed.

        Its worker lock is held from the start: a session whose maker lives is no crashed one, and nobody else starts
        a worker for it. What makers left who were killed is removed.
        """
        import tempfile

        self.sessions.mkdir(parents=True, exist_ok=True)
        with self.lock():
            self._sweep_stages()
            staged = SessionStore(Path(tempfile.mkdtemp(prefix=STAGE, dir=self.sessions)))
            staged.worker_lock.take()
        try:
            yield staged
        finally:
            remove_tree(staged.folder)
            staged.worker_lock.release()

    def _sweep_stages(self) -> None:
        with os.scandir(self.sessions) as entries:
            left = [Path(entry.path) for entry in entries if entry.name.startswith(STAGE)]
        for folder in left:
            if not SessionStore(folder).worker_lock.held():
                remove_tree(folder)

    def claim(self, staged: SessionStore, name: str) -> SessionStore:
        """Give a staged session its name, in one step; its worker lock comes along. FileExistsError where taken."""
        target = self.session(name)
        try:
            os.rename(staged.folder, target.folder)
        except OSError as error:
            if target.folder.exists():
                raise FileExistsError(name) from error
            raise
        target.worker_lock.fd, staged.worker_lock.fd = staged.worker_lock.fd, None
        return target


def remove_tree(folder: Path) -> None:
    """Remove a folder of ours, if it is there."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
