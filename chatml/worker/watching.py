"""A worker looks after its session's pull request: again and again, until nothing is left to do for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from chatml.landing.order import Order
from chatml.landing.pull import Work
from chatml.landing.pull_watch import Next, step
from chatml.model import Status, transitions
from chatml.model.event import SetUp
from chatml.repo import Repository
from chatml.state.inbox import messages, post
from chatml.worker.journal import Journal
from chatml.worker.places import let_next

SOONEST, LATEST = 5.0, 120.0
"""Seconds between two looks: the first after something has happened, and the longest while nothing does."""

POLL = 0.1
"""Seconds between two looks whether something came in meanwhile."""

ENDING = 10.0
"""Seconds that a look has to end where the worker is to end: less than whoever ends it waits."""


async def watch(journal: Journal, disturbed: Callable[[], bool]) -> bool:
    """Look until the pull request needs nothing more; False once something came in, or the agent has to be told.

    PushRefusedError where a person has to see to it.
    """
    if journal.session.status is not Status.RUNNING:
        journal.change(transitions.running)
    journal.update(looking=True)
    try:
        await asyncio.to_thread(let_next, journal.store)
        return await _watch(journal, disturbed)
    finally:
        journal.update(looking=False)


async def _watch(journal: Journal, disturbed: Callable[[], bool]) -> bool:
    repository = await asyncio.to_thread(Repository.discover, Path(journal.session.repository))
    pause, shown = SOONEST, None
    while True:
        found = await _look(journal, repository, disturbed)
        if found.over:
            journal.log.append(SetUp(f"no longer watched: {found.waits}"))
            journal.update(watching=None)
            return True
        if disturbed():  # what the agent is to be told is found again
            return False
        if found.message is not None:
            with journal.store.lock():
                post(journal.store, found.message)
            return False
        if found.waits != shown:
            journal.activity(found.waits)
            pause, shown = SOONEST, found.waits
        until = time.monotonic() + max(SOONEST if found.new else pause, found.not_before - time.time())
        pause = min(2 * pause, LATEST)
        while time.monotonic() < until:
            if disturbed():
                return False
            await asyncio.sleep(POLL)


async def _look(journal: Journal, repository: Repository, disturbed: Callable[[], bool]) -> Next:
    """One look, beside the loop; where the worker is to end, it gets a while to come to its end."""
    known = {key for message in messages(journal.store) for key in message.about}
    said: list[str] = []  # the log has one writer, and that is not the thread
    work = Work(repository, journal.store, journal.session, Order(), said.append)
    looking = asyncio.create_task(asyncio.to_thread(step, work, known))
    while not looking.done():
        if disturbed():
            await asyncio.wait({looking}, timeout=ENDING)
            break
        await asyncio.wait({looking}, timeout=POLL)
    found = await looking if looking.done() else Next("")
    for text in said:
        journal.log.append(SetUp(text))
    return found
