"""What a worker does about the queue: its place goes to the next session."""

from __future__ import annotations

from pathlib import Path

from chatml import config
from chatml.errors import ChatmlError
from chatml.queue import Queue
from chatml.state.store import SessionStore, Store


def let_next(store: SessionStore) -> None:
    """Start what may run now that this session has given up its place.

    Not where its worker ends amid the work: the system told it to, and tells all others.
    """
    top = None
    try:
        session = store.read()
        if session.status.active:
            return
        top = Path(session.repository)
    except (OSError, ChatmlError):
        pass  # removed
    repository = Store(store.common_dir)
    Queue(repository, lambda: config.max_parallel(state=repository, top=top)).fill()
