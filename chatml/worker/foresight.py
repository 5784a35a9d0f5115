"""What a worker does last of all: finds out for those who list sessions whether its own merges with the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from chatml.errors import ChatmlError
from chatml.landing import outlook
from chatml.model import Session
from chatml.repo import Repository
from chatml.state.store import SessionStore, Store

NEIGHBOURS = 100
"""Other sessions that are merged with at the most, the newest: it takes a look at each worktree."""


def refresh(store: SessionStore) -> None:
    """Merge the session with the others and with its base, in memory, and note what comes of it; never raises.

    Nothing where there is no other one that has changed something, or where its own worker will go on.
    """
    with suppress(OSError, ChatmlError):
        session = store.read()
        if session.status.active or not _brings(session):
            return
        others = [one for one in _others(store) if one.id != session.id]
        newest = sorted(others, key=lambda one: one.created_at)[-NEIGHBOURS:]
        if newest:
            repository = Repository.discover(store.common_dir)
            outlook.look(repository, Store(store.common_dir), [*newest, session], {session.name}, offline=True)


def _others(store: SessionStore) -> Iterator[Session]:
    everyone = Store(store.common_dir)
    for name in everyone.names():
        with suppress(OSError, ChatmlError):
            if _brings(other := everyone.session(name).read()):
                yield other


def _brings(session: Session) -> bool:
    if session.terms.reads_only or session.terms.reviews is not None or session.changes is None:
        return False
    return session.changes.files > 0
