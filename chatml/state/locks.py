"""The two kinds of lock: one held briefly around a change, one held by a worker for its whole life."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chatml.errors import ChatmlError

LOCK_TIMEOUT = 20.0
"""Seconds to wait for a lock that is only ever held for milliseconds; longer means a stuck process or disk."""

LOCK_POLL = 0.01
"""Seconds between two tries for a lock that somebody holds."""

PATIENCE = 1.0
"""Seconds of waiting after which a person is told what for."""


def _nobody(path: Path) -> None:
    del path


on_wait: Callable[[Path], None] = _nobody
"""Is told of the lock that has been waited for for so long; set by the command line, which alone prints."""

PROBED = 2.0
"""Seconds to try for a lock that nobody holds: those who look whether it's held hold it themselves for microseconds."""


@contextlib.contextmanager
def lock(path: Path, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold the file lock at `path`; the file itself stays.

    ChatmlError after `timeout` seconds; FileNotFoundError where its folder is gone, also while waiting. The file is
    opened here, and only locked by filelock: that makes missing folders anew (a removed session would come back as an
    empty one), and takes the lock of a file that was moved away for the one at the path.
    """
    began = time.monotonic()
    told = False
    while (fd := _lock_at(path)) is None:
        waited = time.monotonic() - began
        if waited >= PATIENCE and not told:
            told = True
            on_wait(path)
        if waited >= timeout:
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
    from filelock import lock_descriptor  # here alone: whoever only reads takes no lock

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if lock_descriptor(fd, blocking=False) and os.path.samestat(os.fstat(fd), os.stat(path)):
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

    def ours(self) -> bool:
        """Whether the lock that this process holds is the one that others see: its file can be removed by hand."""
        if self.fd is None:
            return False
        try:
            return os.path.samestat(os.fstat(self.fd), os.stat(self.path))
        except FileNotFoundError:
            return True  # nobody else has one

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
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
