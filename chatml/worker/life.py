"""A worker from its start to its end: prepares the worktree, converses with the agent, comes to rest."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Collection, Sequence

from chatml import marking, notify
from chatml.agents import table
from chatml.agents.base import AgentError
from chatml.errors import ChatmlError, Kind, words
from chatml.model import Failure, Status, transitions
from chatml.model.event import Event, SetUp, StatusChanged
from chatml.runners import table as runners
from chatml.state.log import read
from chatml.state.store import SessionStore, Store
from chatml.worker import check, furnish, scoping, succession
from chatml.worker.check import Verdict
from chatml.worker.conversation import Conversation, Stopped
from chatml.worker.journal import Journal, fail, failure_of
from chatml.worker.limits import LimitReachedError
from chatml.workspace import checkout


class Worker:
    """Drives one session from its record to rest."""

    def __init__(self, store: SessionStore) -> None:
        self.journal = Journal(store)
        self.past = read(store.events)
        self.talk = Conversation(self.journal, self.past)
        self.earlier = self.journal.session.error
        self.checked = False
        """Whether the check has passed on what the worktree holds."""
        self.broken_off = False
        """Whether a person has ended the turn or the check, and nothing has followed yet."""
        self.idly = False
        """Whether it only looks after the pull request: then nothing is broken off where it is stopped."""
        self.looked_after = False
        """Whether nothing is left to do for the pull request."""

    async def run(self) -> None:
        """Prepare, converse, and come to rest under the session's lock, so that no message is ever missed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.talk.told_to_end)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # whatever terminal that was, it is none of ours
        try:
            await self._prepare()
            while not await self._work():
                pass
        except Stopped:
            self._end_stopped()
        except Exception as error:  # noqa: BLE001 - nobody else is there to say that the session failed, and why
            fail(self.journal.store, failure_of(error), self.journal.log, words(error))

    async def _work(self) -> bool:
        """Converse until there is nothing more to do; False where something came in just then."""
        self.talk.receive()
        try:
            if self.talk.ready() or self.talk.unanswered:
                await self.talk.converse(self.make_agent)
        except AgentError as error:
            if self.talk.stopping or not self.journal.store.worker_lock.ours():
                raise Stopped from error  # with the agent, by whoever ends or replaces this worker
            if not isinstance(error, LimitReachedError):
                marking.sweep(self.journal.session.id)  # an agent that was killed leaves its tools running
            self.talk.failure = error.failure
            if not isinstance(error, LimitReachedError):
                self.journal.failed(error.failure)
            elif self.talk.limits.raised():
                self.talk.mail.go_on()
                return False
            return self._rest(known={message.id for message in self.talk.mail.waiting})
        return await self._verified() and await self._watched() and self._rest()

    async def _verified(self) -> bool:
        """Run the check where it is due; False where the agent has to go on first, or something came in meanwhile."""
        self.broken_off = self.checked = False
        if self.journal.session.terms.check is None or self.talk.failure:
            return True
        if self.talk.unanswered:  # a person has broken off the turn: there is nothing finished to check
            self.broken_off = True
            return True
        if not self.talk.worked:  # else the agent's turn ended with a look at that
            asked, self.talk.failure = await scoping.check(self.journal)
            if asked or self.talk.failure:
                return not asked
        verdict = await check.verify(self.journal, self._disturbed)
        if self.talk.stopping:
            raise Stopped
        if isinstance(verdict, Failure):
            self.talk.failure = verdict
        if verdict is Verdict.PASSED:  # what the check itself has changed is held against the scope as all else
            asked, self.talk.failure = await scoping.check(self.journal)
            if asked:
                return False
        self.checked = verdict is Verdict.PASSED and self.talk.failure is None
        return self.checked or self.broken_off or self.talk.failure is not None

    async def _watched(self) -> bool:
        """Look after the pull request, where a person wants that; False where the agent has to go on."""
        self.journal.update()  # a person may have asked for it meanwhile
        if self.journal.session.watching is None or self.talk.failure or self.broken_off:
            return True
        from chatml.worker import watching  # here alone: few sessions are watched, and it loads all about forges

        self.idly = True
        try:
            self.looked_after = await watching.watch(self.journal, self._called)
        except ChatmlError as error:
            self.talk.failure = Failure(Kind.WORKTREE.value, error.message, error.hint)
            self.journal.failed(self.talk.failure)
            return True
        if self.talk.stopping:
            raise Stopped
        self.idly = False
        return self.looked_after

    def _called(self) -> bool:
        """Whether looking after the pull request is to end: for a message, or with this worker."""
        self.talk.receive()
        return self.talk.stopping or bool(self.talk.ready())

    def _disturbed(self) -> bool:
        """Whether the check is to be ended: by a message, by a person, or with this worker."""
        self.broken_off = self.talk.receive(checking=True) or self.broken_off
        return self.broken_off or self.talk.stopping or bool(self.talk.ready())

    async def _prepare(self) -> None:
        if self.past:
            if not came_to_rest(self.past):
                marking.sweep(self.journal.session.id)  # what a worker that was killed has left
            self.journal.count_lost_turns(self.past)
        self.journal.change(self.journal.preparing)
        loading = asyncio.create_task(asyncio.to_thread(table.load, self.journal.session.terms))
        try:
            said = await asyncio.to_thread(self._checkout)
        except TimeoutError:
            raise Stopped from None
        finally:
            self.make_agent = await loading
        for line in said:
            self.journal.log.append(SetUp(line))
        try:
            await asyncio.to_thread(furnish.furnish, self.journal, lambda: self.talk.stopping)
        except TimeoutError:
            raise Stopped from None
        if self.earlier is not None and self.earlier.kind == Kind.SETUP.value:
            self.earlier = None  # it has passed now

    def _checkout(self) -> list[str]:
        """Make the worktree ready, from what was there before it; returns what a person has to know."""
        journal = self.journal
        notes = succession.settle(journal.session, Store(journal.common_dir), journal.change)
        said = checkout.prepare(journal.session, journal.common_dir, journal.note_checkout, lambda: self.talk.stopping)
        return [*notes, *said.splitlines()]

    def _rest(self, known: Collection[str] = ()) -> bool:
        """Write the last word, if nothing came in meanwhile; the worker lock goes while nobody can send.

        What is `known` has waited already when the agent failed, and waits on.
        """
        left = runners.of(self.journal.session).left([self.journal.session])
        leftovers = left is None or any(left.values())
        with self.journal.store.lock():
            if not self.journal.store.worker_lock.ours():
                raise Stopped  # another worker has taken over
            self.talk.receive()
            if any(message.id not in known for message in self.talk.mail.waiting + self.talk.ready()):
                return False
            if self.journal.store.read().watching and not (self.talk.failure or self.broken_off):
                return False  # asked for just now
            failure = self.talk.failure or (None if self.talk.worked or self.checked else self.earlier)
            taken_back = bool(self.talk.unanswered) and not self.talk.worked  # what was to go on with the turn
            open_turn = taken_back or self.broken_off
            self.journal.change(lambda session: transitions.rested(session, failure, open_turn, leftovers), locked=True)
            self.journal.store.worker_lock.release()
        if self.talk.worked or self.talk.failure or self.checked or self.looked_after:
            notify.tell(self.journal.session, self.journal.store.log)
        return True

    def _end_stopped(self) -> None:
        """Told to end: by a person, if the record says so; else by the system, and then the turn is still open."""
        with self.journal.store.lock():
            session = self.journal.store.read()
            if session.stopping and self.journal.store.worker_lock.ours():
                self.journal.session = session
                how = transitions.unwatched if self.idly else transitions.stopped
                self.journal.change(how, locked=True)
            self.journal.store.worker_lock.release()


def came_to_rest(past: Sequence[Event]) -> bool:
    """Whether the last worker has ended its work in order: then what its agent has left running may stay."""
    last = next((one.what.status for one in reversed(past) if isinstance(one.what, StatusChanged)), None)
    return last in (Status.DONE.value, Status.FAILED.value)
