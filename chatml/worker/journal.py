"""What a worker writes down: the session's record and log, the account of its turns, the count of its changes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chatml import notify
from chatml.agents import base
from chatml.agents.base import AgentError
from chatml.changes.compare import measure_files
from chatml.errors import ChatmlError, Kind
from chatml.model import Failure, Session, Status, transitions
from chatml.model.event import (
    Delta,
    Event,
    Mishap,
    Replied,
    Requested,
    SetUp,
    StatusChanged,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from chatml.state.log import Log
from chatml.state.store import SessionStore, write_json
from chatml.worker.places import let_next
from chatml.workspace.glance import glance

MEASURE_EVERY = 2.0
"""Seconds at least between two counts of the changes while the agent works."""

LISTED = 200
"""Changed paths that are written down for other sessions' agents: more than any of them is told."""


class Journal:
    """The record and the log of one session, while its worker lives."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store
        self.common_dir = store.common_dir
        self.session = store.read()
        self.log = Log(store.events)
        self.measuring: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.measuring.set_result(None)
        self.letting: asyncio.Task[None] | None = None
        """Starts the next session, while this one waits for a person."""
        self._measure_next = 0.0
        self.changed: list[str] | None = None
        """The paths that the session has changed, the first of them; None where this worker has not counted yet."""

    def update(self, **changes: Any) -> None:
        """Change the record; others may have changed other parts of it meanwhile."""
        self.change(lambda session: session.changed(**changes))

    def note_exchange(self, **changes: Any) -> None:
        """Change what the record says of the exchange with the agent."""
        self.change(lambda session: session.with_exchange(**changes).changed())

    def note_checkout(self, **changes: Any) -> None:
        """Change what the record says of the branch and the worktree."""
        self.change(lambda session: session.with_checkout(**changes).changed())

    def ask_anew(self, **changes: Any) -> None:
        """Change the session's terms, as a person has decided."""
        self.change(lambda session: session.with_terms(**changes))

    def change(self, how: Callable[[Session], Session], locked: bool = False) -> None:
        """Change the record by what it is right now; a new status goes to the log too.

        `locked` says that the caller holds the session's lock.
        """
        before = self.session.status
        if locked:
            self.session = how(self.store.read())
            self.store.write(self.session)
        else:
            self.session = self.store.update(how)
        after = self.session.status
        if after is not before or how == self.preparing:
            self.log.append(StatusChanged(after.value))
        if after is not before and after is Status.WAITING:  # for hours, maybe: the next one may run meanwhile
            self.letting = asyncio.create_task(asyncio.to_thread(let_next, self.store))

    def preparing(self, session: Session) -> Session:
        """This worker is at the worktree: each one writes that down, whatever it finds in the record."""
        return transitions.prepared(session, os.getpid())

    def activity(self, text: str) -> None:
        line = next((line.strip() for line in text.splitlines() if line.strip()), "")
        self.update(activity=line[:200])

    def measure_now_and_then(self) -> None:
        """Count the changes beside the reader, unless that was done just now."""
        if self.measuring.done() and time.monotonic() >= self._measure_next:
            self.measuring = asyncio.create_task(self.measure())

    async def measure(self) -> None:
        """Count the changes; a worktree that can't be read right now is no failure."""
        began = time.monotonic()
        try:
            worktree, base = Path(self.session.worktree), self.session.base
            checked = self.session.check is not None
            found = await asyncio.to_thread(measure_files, self.common_dir, worktree, base, checked)
            if found.paths[:LISTED] != self.changed:
                write_json(self.store.changed, found.paths[:LISTED])
                self.changed = found.paths[:LISTED]
        except (ChatmlError, OSError):
            return
        ended = time.monotonic()
        self._measure_next = ended + max(MEASURE_EVERY, 10 * (ended - began))
        seen = glance(self.session)
        self.change(
            lambda one: one.changed(
                changes=found.changes, changes_seen=seen, check=one.check and one.check.seen(found.state)
            )
        )

    def count_lost_turns(self, past: Sequence[Event]) -> None:
        """Turns that the log has and the record has not: the last worker was killed between the two."""
        turns = [event.what for event in past if isinstance(event.what, Turn)]
        for turn in turns[self.session.turns :]:
            reported = self.session.exchange.reported_usd + turn.cost_usd
            self._count(turn, reported, result=turn.result or self.session.result)

    def _count(self, turn: Turn, reported_usd: float, **changes: Any) -> None:
        """A turn has ended, and the agent has reported so much by then."""

        def counted(session: Session) -> Session:
            return session.with_exchange(running_usd=0.0, reported_usd=reported_usd).changed(
                turns=session.turns + 1,
                cost_usd=round(session.cost_usd + turn.cost_usd, 6),
                tokens=session.tokens + turn.tokens,
                **changes,
            )

        self.change(counted)

    def tell(self, one: base.Signal) -> None:
        """What the agent says and does, into the log; and in a few words into the record."""
        match one:
            case Delta() | Thinking() | ToolResult():
                self.log.append(one)
            case Text():
                self.log.append(one)
                self.activity(one.text)
            case ToolCall():
                self.log.append(one)
                self.activity(base.summarize(one.name, one.input, self.session.worktree))
            case base.Spent():
                if round(one.usd, 6) != self.session.exchange.running_usd:
                    self.note_exchange(running_usd=round(one.usd, 6))
            case base.Denied():
                self.denied(one)
            case base.Trouble():
                self.trouble(one)

    def denied(self, one: base.Denied) -> None:
        """Nobody can be asked yet: the log shows the request and that it was refused."""
        i = str(uuid.uuid4())
        self.log.append(Requested(i, "permission", one.summary, tool=one.tool))
        self.log.append(Replied(i, "deny", "nobody can be asked"))
        denied, activity = self.session.exchange.denied + 1, f"denied: {one.summary}"[:200]
        self.change(lambda session: session.with_exchange(denied=denied).changed(activity=activity))

    def heard(self, anew: bool) -> None:
        """The agent has a message: in the turn that is under way, or with `anew` in a new one."""

        def taken(session: Session) -> Session:
            denied = 0 if anew else session.exchange.denied  # only a new turn counts anew
            return session.with_exchange(started=True, denied=denied).changed(error=None)

        self.change(taken)

    def trouble(self, one: base.Trouble) -> None:
        failure = one.failure
        wait = f", next try in {one.wait_ms / 1000:.0f} s"
        text = f"retrying {one.attempt}/{one.attempts}: {failure.message}{wait}"
        self.log.append(Mishap(failure.kind, text, hint=None, retry=one.attempt))
        self.update(activity=text)

    def failed(self, failure: Failure) -> None:
        self.log.append(Mishap(failure.kind, failure.message, failure.hint))

    def turn_ended(self, one: base.TurnEnd) -> None:
        model, cost = self.session.model, one.cost_usd
        turn = Turn(one.result, cost, model, one.tokens, one.duration_ms, one.interrupted)
        self.log.append(turn)
        if one.failure:
            self.failed(one.failure)
        result = one.result if one.result is not None else self.session.result
        self._count(turn, one.total_cost_usd, result=result, error=one.failure)


def fail(store: SessionStore, failure: Failure, log: Log | None = None, said: Sequence[str] = ()) -> None:
    """Write down why the worker ends, as far as the disk takes it: without, readers see a worker that died.

    `said` is all that git said about it: the failure has the gist of that, the log and worker.log have the rest.
    """
    try:
        for line in said:
            print(line, file=sys.stderr)
        if log is not None:
            for line in said:
                log.append(SetUp(line))
            log.append(Mishap(failure.kind, failure.message, failure.hint))
    finally:
        with store.lock():
            try:
                session = transitions.rested(store.read(), failure)
                store.write(session)
            finally:
                store.worker_lock.release()
        notify.tell(session, store.log)


def failure_of(error: Exception) -> Failure:
    """What ended the worker, as the record tells it."""
    if isinstance(error, AgentError):
        return error.failure
    hint = "go on with 'chatml resume' once that is mended"
    if isinstance(error, ChatmlError):
        return Failure((error.kind or Kind.WORKTREE).value, error.message, error.hint or hint, error.output)
    if isinstance(error, OSError):
        return Failure(Kind.INTERNAL.value, f"{error.strerror or error}: {error.filename or 'worker'}".lower(), hint)
    traceback.print_exception(error)
    return Failure(Kind.INTERNAL.value, f"a bug in chatml: {type(error).__name__}: {error}", "see worker.log")
