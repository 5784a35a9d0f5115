"""What a worker does about the queue: its place goes to the next session."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from chatml import config, notify, predecessors
from chatml.errors import ChatmlError
from chatml.model import Status
from chatml.queue import Queue
from chatml.state.store import SessionStore, Store


def tell_stuck(store: SessionStore) -> None:
    """Tell a person of the sessions that wait for this one, now that it has failed; never raises."""
    with suppress(OSError, ChatmlError):
        session = store.read()
        if session.status is Status.FAILED:
            everyone = Store(store.common_dir)
            for one in predecessors.held_up_by(everyone, session):
                notify.tell(one, everyone.session(one.name).log)


def let_next(store: SessionStore) -> None:
    """Start what may run now that this session has given up its place.

    Not where its worker ends amid the work: the system told it to, and tells all others.
    """
    top = None
    try:
        session = store.read()
        if session.status.active and not session.looking:
            return
        top = Path(session.repository)
    except (OSError, ChatmlError):
        pass  # removed
    repository = Store(store.common_dir)
    Queue(repository, lambda: config.max_parallel(state=repository, top=top)).fill()
