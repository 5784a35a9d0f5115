"""Files under `.git/chatml`: locks, atomic JSON, the records of the sessions.

Every record is replaced whole by a rename, so it is read without a lock; whoever changes one holds its
session's lock from reading to replacing.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.model import SCHEMA, Session

try:
    import fcntl
except ImportError:  # Windows: liveness falls back to the lock library
    fcntl = None  # type: ignore[assignment]

LOCK_TIMEOUT = 20.0
"""Seconds to wait for a lock that is only ever held for milliseconds; longer means a stuck process or disk."""

LOCK_POLL = 0.01
"""Seconds between two tries for a lock that somebody holds."""

STAGE = ".new-"
"""How the folders of sessions in the making begin."""

PROBED = 2.0
"""Seconds to try for a lock that nobody holds: those who look whether it's held hold it themselves for microseconds."""


def write_json(path: Path, data: Any) -> None:
    """Replace `path` by `data`, whole or not at all, also across a power cut."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"
    # A lone surrogate is what Python makes of a byte in a path that is no text, and what a model may say.
    write_file(path, text.encode("utf-8", "surrogatepass"))


def write_file(path: Path, content: bytes) -> None:
    """Replace `path` by `content` through a synced temporary file in the same folder."""
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


@contextlib.contextmanager
def lock(path: Path, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold the file lock at `path`; the file itself stays.

    ChatmlError after `timeout` seconds; FileNotFoundError where its folder is gone, also while waiting. Not left to
    filelock, which makes missing folders anew (a removed session would come back as an empty one), and which takes
    the lock of a file that was moved away for the one at the path.
    """
    deadline = time.monotonic() + timeout
    while (fd := _lock_at(path)) is None:
        if time.monotonic() >= deadline:
            raise ChatmlError(
                f"another chatml command has held {path} for {timeout:.0f} s",
                hint="wait for it, or end it if it hangs",
            )
        time.sleep(LOCK_POLL)
    try:
        yield
    finally:
        os.close(fd)


def _lock_at(path: Path) -> int | None:
    """The open, locked file at `path`; None where another holds it, or has put another one there meanwhile."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if _try_lock(fd, shared=False) and os.path.samestat(os.fstat(fd), os.stat(path)):
            return fd
    except FileNotFoundError:
        pass  # moved away between the two looks: the next open tells what is there now
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


class WorkerLock:
    """The lock that a worker holds for its whole life: held means alive, whatever any PID says.

    It is taken by the one who starts the worker and inherited as an open file, so there is no moment at which
    a session is active and its living worker can't be seen.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd: int | None = None

    def take(self) -> bool:
        """Take the lock if it is free; True as well where it is ours already."""
        if self.fd is not None:
            return True
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + PROBED
        while not _try_lock(fd, shared=False):
            if time.monotonic() >= deadline or self.held():
                os.close(fd)
                return False
            time.sleep(0.001)
        self.fd = fd
        return True

    def adopt(self, fd: int) -> None:
        """Own the lock that a parent process took; children of this process don't inherit it."""
        os.set_inheritable(fd, False)
        self.fd = fd

    def release(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def held(self) -> bool:
        """Whether some process holds it. Probing takes it shared, so that two probes never see each other."""
        if self.fd is not None:
            return True
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)  # also on a disk that can't be written
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(fd, shared=True)
        finally:
            os.close(fd)


def _try_lock(fd: int, shared: bool) -> bool:
    if fcntl is None:  # pragma: no cover - Windows
        import msvcrt

        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class CorruptRecordError(ChatmlError):
    """A session's record can't be read; its worktree, branch and log are untouched."""

    def __init__(self, name: str, path: Path, reason: str) -> None:
        super().__init__(
            f"the record of session '{name}' is damaged: {reason}",
            hint=f"its worktree and branch are untouched; see 'chatml doctor' and {path}",
        )
        self.name = name


class SessionStore:
    """One session's folder: record, log, inbox and locks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.record = folder / "session.json"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

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
                stack.enter_context(lock(self.folder / "session.lock"))
            except (FileNotFoundError, NotADirectoryError):
                raise ChatmlError(f"session '{self.name}' was removed just now", "see 'chatml restore'") from None
            yield

    def read(self, name: str | None = None) -> Session:
        """The record. FileNotFoundError without one, CorruptRecordError for one that can't be understood.

        `name` is the session that it must be about, where that is not the folder's name: in a staged one.
        """
        try:
            raw = self.record.read_bytes()
        except FileNotFoundError:
            if self.folder.is_dir():
                raise CorruptRecordError(self.name, self.record, "it is missing") from None
            raise
        except IsADirectoryError as error:
            raise CorruptRecordError(self.name, self.record, "a folder stands in its place") from error
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


class Store:
    """The folder `.git/chatml` of one repository."""

    def __init__(self, common_dir: Path) -> None:
        self.root = common_dir / "chatml"
        self.sessions = self.root / "sessions"
        self.config = self.root / "config.yaml"

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the repository's lock, briefly: for what two sessions could both claim."""
        self.root.mkdir(parents=True, exist_ok=True)
        return lock(self.root / "repo.lock")

    def names(self) -> list[str]:
        """The names of all sessions, in no order that means anything."""
        try:
            with os.scandir(self.sessions) as entries:
                return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        except FileNotFoundError:
            return []

    def session(self, name: str) -> SessionStore:
        return SessionStore(self.sessions / name)

    @contextlib.contextmanager
    def stage(self) -> Iterator[SessionStore]:
        """A folder for a session in the making, unseen by all others until `claim`; gone if not claimed.

        Its worker lock is held from the start: a session whose maker lives is no crashed one, and nobody else starts
        a worker for it. What makers left who were killed is removed.
        """
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
