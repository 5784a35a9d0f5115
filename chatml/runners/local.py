"""Runs a worker as a detached process on this machine."""

from __future__ import annotations

from chatml import environment, proc
from chatml.state.store import SessionStore


def start(store: SessionStore, session_id: str) -> int | None:
    """Start the session's worker and hand it the worker lock; the caller holds the session's lock.

    Returns the worker's PID, or None where one lives already. The caller may hold the worker lock already, as the
    maker of a session does.
    """
    lock = store.worker_lock
    if not lock.take():
        return None
    assert lock.fd is not None
    try:
        return proc.spawn_detached(
            [*proc.python(), "-m", "chatml.worker", str(store.folder), str(lock.fd)],
            # A folder of ours: Python must not pick up modules from a repository's own folder.
            cwd=store.folder,
            env=environment.session_env({environment.MARKER: session_id}),
            output=store.log,
            keep=(lock.fd,),
        )
    finally:
        lock.release()
