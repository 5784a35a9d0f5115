"""What an agent is told of the other sessions at work: who they are, what for, and which files they have changed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from chatml.agents import briefing, table
from chatml.agents.briefing import Neighbour
from chatml.changes.compare import measure_files
from chatml.errors import ChatmlError
from chatml.model import Session, Status, Terms
from chatml.model.event import Event, ToldOfOthers
from chatml.runners import table as runners
from chatml.state.store import SessionStore, Store, read_whole
from chatml.worker.journal import Journal
from chatml.workspace.glance import looks_the_same

PATIENCE, HURRY = 1.0, 0.1
"""Seconds after which no further worktree is looked into: before a turn, and within one. There a message has to reach
its agent within 200 ms."""

FAR = 3
"""The distance of a session that has changed nothing."""


class Neighbourhood:
    """The other sessions at work, as far as this session's agent has been told of them."""

    def __init__(self, journal: Journal, past: Sequence[Event]) -> None:
        """`past` is the log as it was when this worker began."""
        self._journal = journal
        self._told = next((list(one.what.lines) for one in reversed(past) if isinstance(one.what, ToldOfOthers)), [])
        self._given: dict[str, list[str]] = {}
        """What goes ahead of the messages (by id) that the agent has not yet read."""

    async def news(self, amid_turn: bool) -> list[str]:
        """What the agent does not know yet; nothing for one that changes no file, or where it can't be found out."""
        if self._journal.session.terms.reads_only:
            return []
        try:
            near, others = await asyncio.to_thread(self._look, HURRY if amid_turn else PATIENCE)
        except (OSError, ChatmlError):
            return []
        known = self._told if _remembers(self._journal.session.terms) else []
        known = [*self._given.values()][-1] if self._given else known
        lines = briefing.neighbours(near, others) or ([briefing.NO_OTHERS] if known else [])
        return lines if lines != known else []

    def before(self, message: str, news: list[str]) -> str:
        """What goes ahead of the message with this id."""
        if not news:
            return ""
        self._given[message] = news
        return "\n".join(news) + "\n\n"

    def heard(self, message: str) -> None:
        """The agent has read this message (by id), and what went ahead of it."""
        if (lines := self._given.pop(message, None)) is not None:
            self._told = lines
            self._journal.log.append(ToldOfOthers(tuple(lines)))

    def unheard(self) -> None:
        """The agent has ended: what it has not read, the next one is told."""
        self._given.clear()

    def forget(self) -> None:
        """The agent has lost its conversation."""
        self._told = []

    def _look(self, patience: float) -> tuple[list[Neighbour], int]:
        """The nearest of the other sessions, those who change files in the same folders first; and how many more."""
        store = self._journal.store
        own = self._journal.changed if self._journal.changed is not None else _listed(store)
        distance, until = _distance_from(own), time.monotonic() + patience
        found = [self._neighbour(one, session, distance, until) for one, session in _at_work(store)]
        found.sort(key=lambda one: (min(map(distance, one.files), default=FAR), one.name))
        return found[: briefing.LINES], len(found[briefing.LINES :])

    def _neighbour(
        self, store: SessionStore, session: Session, distance: Callable[[str], int], until: float
    ) -> Neighbour:
        paths, changed = _listed(store), session.changes.files if session.changes else None
        if not session.checkout.populated:
            changed = 0
        elif (not paths or not looks_the_same(session)) and time.monotonic() < until:
            with contextlib.suppress(OSError, ChatmlError):
                paths = measure_files(self._journal.common_dir, Path(session.worktree), session.base).paths
                changed = len(paths)
        paths = sorted(paths, key=distance)
        return Neighbour(session.name, session.terms.prompt, tuple(paths), max(changed or 0, len(paths)) or changed)


def _at_work(own: SessionStore) -> Iterator[tuple[SessionStore, Session]]:
    """The other sessions whose agents may change files now; one whose record can't be read is nobody's neighbour."""
    everyone = Store(own.common_dir)
    for session in everyone.of_status(Status.PREPARING, Status.RUNNING, Status.WAITING):
        store = everyone.session(session.name)
        if session.name == own.name or session.terms.reads_only:
            continue
        with contextlib.suppress(OSError, ChatmlError):
            if session.status is Status.WAITING or runners.alive(store, session):
                yield store, session


def _listed(store: SessionStore) -> list[str]:
    """The paths that the session's worker has written down last; none where that can't be read."""
    try:
        paths = json.loads(read_whole(str(store.changed)).decode("utf-8", "surrogatepass"))
    except (OSError, ValueError):
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


def _distance_from(own: Collection[str]) -> Callable[[str], int]:
    """How far a changed path is from one's own: one of them, in the same folder, or anywhere else."""
    files, folders = set(own), {os.path.dirname(path) for path in own}
    return lambda path: 0 if path in files else 1 if os.path.dirname(path) in folders else 2


def _remembers(terms: Terms) -> bool:
    """Whether the agent knows at its next turn what it was told before."""
    return table.row_of(terms).memory is not None or terms.resume_command is not None
