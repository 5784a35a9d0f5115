"""Runs a worker as a detached process on this machine; the worker lock that it holds says that it lives."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

from chatml import environment, proc
from chatml.model import Process, Session
from chatml.state.store import SessionStore

WORKER = "chatml.worker"
"""The module that runs as a worker."""


class LocalRunner:
    """Workers as processes of this machine."""

    def start(self, store: SessionStore, session: Session) -> int | None:
        lock = store.worker_lock
        if not lock.take():
            return None
        assert lock.fd is not None
        try:
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
        return [*proc.python(), "-m", WORKER, str(store.folder), str(lock)]

    def alive(self, store: SessionStore) -> bool:
        return store.worker_lock.held()

    def signal(self, session: Session, number: int) -> bool:
        if session.pid is None or not proc.is_marked(session.pid, session.id):
            return False
        with suppress(ProcessLookupError):
            os.kill(session.pid, number)
        return True

    def left(self, sessions: Sequence[Session]) -> Mapping[str, tuple[Process, ...]] | None:
        if not proc.sees_marks():
            return None
        found: dict[str, tuple[Process, ...]] = {session.id: () for session in sessions}
        for pid, marker in sorted(proc.marks().items()):
            if marker in found and (words := proc.words(pid)) and WORKER not in words:
                found[marker] += (Process(pid, " ".join(words)),)
        return found

    def end(self, session: Session) -> int:
        return proc.sweep(session.id)
