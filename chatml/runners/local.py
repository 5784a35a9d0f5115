"""Runs a worker as a detached process on this machine; the worker lock that it holds says that it lives."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from chatml import environment, marking, proc
from chatml.model import Process, Session
from chatml.state.store import SessionStore

if TYPE_CHECKING:
    import socket


MANY = "--many"
"""What it is told to be the process that forks workers."""

NOBODY = str(uuid.UUID(int=0))
"""The marker of that process: no session's, and as long as each of theirs."""


class LocalRunner:
    """Workers as processes of this machine."""

    def __init__(self) -> None:
        self._nursery: Nursery | None = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Workers that are started meanwhile are forked from one process, so that what all need is loaded once.

        On Linux alone: elsewhere what the system's own libraries hold does not survive a fork.
        """
        if sys.platform == "linux":
            self._nursery = Nursery()
        try:
            yield
        finally:
            if self._nursery is not None:
                self._nursery.close()
            self._nursery = None

    def start(self, store: SessionStore, session: Session) -> int | None:
        lock = store.worker_lock
        if not lock.take():
            return None
        assert lock.fd is not None
        try:
            if self._nursery is not None and self._nursery.start(store, session, lock.fd):
                return None  # it writes its PID down itself
            return proc.spawn_detached(
                self.command(store, lock.fd),
                # A folder of ours: Python must not pick up modules from a repository's own folder.
                cwd=store.folder,
                env=environment.session_env({environment.MARKER: session.id}),
                output=store.log,
                keep=(lock.fd,),
            )
        finally:
            lock.release()

    def command(self, store: SessionStore, lock: int) -> list[str]:
        """What runs as the worker; it inherits the open worker lock under that number."""
        return [*proc.python(), "-m", marking.WORKER, str(store.folder), str(lock)]

    def alive(self, store: SessionStore) -> bool:
        return store.worker_lock.held()

    def signal(self, session: Session, number: int) -> bool:
        if session.pid is None or not marking.is_marked(session.pid, session.id):
            return False
        with suppress(ProcessLookupError):
            os.kill(session.pid, number)
        return True

    def left(self, sessions: Sequence[Session]) -> Mapping[str, tuple[Process, ...]] | None:
        if not marking.sees_marks():
            return None
        found: dict[str, tuple[Process, ...]] = {session.id: () for session in sessions}
        for pid, marker in sorted(marking.marks().items()):
            if marker in found and (words := marking.words(pid)) and marking.WORKER not in words:
                found[marker] += (Process(pid, " ".join(words)),)
        return found

    def end(self, session: Session) -> int:
        return marking.sweep(session.id)


class Nursery:
    """This process's end of the line to the one that forks workers; that is started with the first of them."""

    def __init__(self) -> None:
        self._line: socket.socket | None = None

    def start(self, store: SessionStore, session: Session, lock: int) -> bool:
        """Have a worker forked that takes over the open lock; False where that can't be."""
        import socket  # here alone: most commands start one worker at most

        try:
            if self._line is None:
                self._line = self._begin(store.folder)
            socket.send_fds(self._line, [f"{session.id}\0".encode() + os.fsencode(store.folder)], [lock])
        except OSError:
            return False
        return True

    def close(self) -> None:
        """No more will come: it ends once it has forked those that it was given."""
        if self._line is not None:
            self._line.close()

    def _begin(self, folder: Path) -> socket.socket:
        import socket

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            proc.spawn_detached(
                [*proc.python(), "-m", marking.WORKER, MANY, str(theirs.fileno())],
                cwd=folder,
                env=environment.session_env({environment.MARKER: NOBODY}),
                output=SessionStore(folder).log,
                keep=(theirs.fileno(),),
            )
        return ours
