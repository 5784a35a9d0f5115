"""A worker from its start to its end: prepares the worktree, converses with the agent, comes to rest."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Collection
from dataclasses import replace

from chatml import notify, proc
from chatml.agents import base
from chatml.agents.base import Agent, AgentError, Message
from chatml.errors import Kind, words
from chatml.model import Failure, Session, Status
from chatml.state.events import read
from chatml.state.store import SessionStore
from chatml.worker import scoping
from chatml.worker.agent import load_agent, make_setting
from chatml.worker.asking import Asking
from chatml.worker.journal import Journal, fail, failure_of
from chatml.worker.limits import LimitReachedError, Limits
from chatml.worker.mail import Mail, unanswered
from chatml.workspace import checkout

POLL = 0.05
"""Seconds between two looks at the inbox: a quarter of the 200 ms within which a message must reach the agent."""


class Stopped(Exception):  # noqa: N818 - no error
    """The worker was told to end."""


class Worker:
    """Drives one session from its record to rest."""

    def __init__(self, store: SessionStore) -> None:
        self.journal = Journal(store)
        self.limits = Limits(self.journal)
        self.past = past = read(store.events)
        self.asking = Asking(self.journal, past)
        self.mail = Mail(store, past)
        self.taken = {str(event.data.get("id")) for event in past if event.type == "message"}
        self.unanswered = unanswered(past)
        self.sent: dict[str, str] = {}
        self.recap = ""
        self.idle = True
        self.failure: Failure | None = None
        self.earlier = self.journal.session.error
        self.worked = False
        self.changed = asyncio.Event()
        self.stopping = False

    async def run(self) -> None:
        """Prepare, converse, and come to rest under the session's lock, so that no message is ever missed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_end)
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
        try:
            await self._converse()
        except AgentError as error:
            if self.stopping or not self.journal.store.worker_lock.ours():
                raise Stopped from error  # with the agent, by whoever ends or replaces this worker
            proc.sweep(self.journal.session.id)  # an agent that was killed leaves its tools running
            self.failure = error.failure
            if not isinstance(error, LimitReachedError):
                self.journal.failed(error.failure)
            elif self.limits.raised():
                self.mail.go_on()
                return False
            return self._rest(known={message.id for message in self.mail.waiting})
        return self._rest()

    def _told_to_end(self) -> None:
        self.stopping = True
        self.changed.set()

    async def _prepare(self) -> None:
        if self.past:
            proc.sweep(self.journal.session.id)  # what a worker that was killed has left
            self.journal.count_lost_turns(self.past)
        self.journal.status(Status.PREPARING, pid=os.getpid(), activity="checkout", error=None, queued_at=None)
        loading = asyncio.create_task(asyncio.to_thread(load_agent, self.journal.session))
        try:
            said = await asyncio.to_thread(
                checkout.prepare, self.journal.session, self.journal.update, lambda: self.stopping
            )
        except TimeoutError:
            raise Stopped from None
        finally:
            self.make_agent = await loading
        for line in said.splitlines():
            self.journal.log.append("setup", line=line)

    def _rest(self, known: Collection[str] = ()) -> bool:
        """Write the last word, if nothing came in meanwhile; the worker lock goes while nobody can send.

        What is `known` has waited already when the agent failed, and waits on.
        """
        with self.journal.store.lock():
            if not self.journal.store.worker_lock.ours():
                raise Stopped  # another worker has taken over
            self._receive()
            if any(message.id not in known for message in self.mail.waiting + self._ready()):
                return False
            failure = self.failure or (None if self.worked else self.earlier)
            open_turn = self.unanswered and not self.worked  # what was to go on with it was taken back
            end = Status.FAILED if failure else Status.STOPPED if open_turn else Status.DONE
            self.journal.status(end, locked=True, activity=None, requests=(), pid=None, error=failure)
            self.journal.store.worker_lock.release()
        if self.worked or self.failure:
            notify.tell(self.journal.session, self.journal.store.log)
        return True

    def _end_stopped(self) -> None:
        """Told to end: by a person, if the record says so; else by the system, and then the turn is still open."""
        with self.journal.store.lock():
            session = self.journal.store.read()
            if session.stopping and self.journal.store.worker_lock.ours():
                self.journal.session = session
                self.journal.status(Status.STOPPED, locked=True, activity=None, requests=(), pid=None, stopping=False)
            self.journal.store.worker_lock.release()

    # --- the conversation -------------------------------------------------------------------------------------

    async def _converse(self) -> None:
        """From the first waiting message until the agent has answered all of them."""
        self.idle = True
        self._receive()
        agent = await self._start_agent()
        loop = asyncio.get_running_loop()
        self._skip_taken(agent)
        self._tell_decisions()
        reader = asyncio.create_task(self._read(agent))
        try:
            while True:
                self.changed.clear()
                if self.stopping:
                    await agent.interrupt()
                    raise Stopped
                if self.limits.reached:
                    raise LimitReachedError(self.limits.reached)
                if self._receive() or self.limits.overdrawn():
                    await agent.interrupt()
                self.asking.hand_over(agent)
                if self.worked and self.idle and not (self.sent or self.mail.waiting or self.failure):
                    asked, self.failure = await scoping.check(self.journal)
                    if asked:
                        continue
                if self.idle and not self.sent and not self._ready():
                    return
                if reader.done():
                    reader.result()
                ready = self._ready()
                handed = self.mail.hand_over(ready) if ready and self.limits.allow(self.idle) else []
                self.sent |= {message.id: message.text for message in handed}
                for message in handed:
                    self.idle, self.worked = False, True
                    await agent.send(replace(message, text=self.recap + message.text))
                tick = loop.call_later(POLL, self.changed.set)  # `wait_for` makes a task each time: 1.6 times the CPU
                await self.changed.wait()
                tick.cancel()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            await agent.stop()
            self.asking.broke_off()
            await self.journal.measuring
            await self.journal.measure()
            # What the agent did not take is still in the inbox, and goes to the next one.
            self.mail.waiting = [Message(i, text) for i, text in self.sent.items()] + self.mail.waiting
            self.sent = {}

    async def _start_agent(self) -> Agent:
        waits = [message.text for message in self.unanswered.values()]
        setting = self.limits.within(make_setting(self.journal, self.asking.decided(), waits))
        agent = self.make_agent(self.journal.session, setting)
        try:
            await agent.start()
        except AgentError as error:
            if error.resumable:
                raise
            agent = self.make_agent(self._begin_anew(), setting)
            await agent.start()
        self.journal.status(Status.RUNNING, activity=None)
        return agent

    def _ready(self) -> list[Message]:
        """What the agent is to have now: a program can't be talked to while it runs."""
        idle, joins = self.idle and not self.sent, self.journal.session.command is None
        return self.mail.ready(idle=idle, failed=self.failure is not None, joins=joins)

    def _skip_taken(self, agent: Agent) -> None:
        """What the agent had read before it or the last worker died is not said twice; it is told to go on.

        What it had read, and did not get to write down before it was killed, is said again.
        """
        forgotten = [message for message in self.unanswered.values() if agent.holds(message) is False]
        self.mail.waiting = forgotten + self.mail.waiting
        held = self.mail.take_out(agent.holds)
        self.sent = {message.id: message.text for message in held}
        self._consumed(tuple(self.sent))
        if held:
            self.mail.go_on()

    def _tell_decisions(self) -> None:
        """What the last agent had asked is not lost with it."""
        if news := self.asking.news():
            self.recap += news
            self.mail.go_on()

    def _begin_anew(self) -> Session:
        """The agent has lost its conversation: a new one, which is told all that was said to the old one."""
        said = [event.data["text"] for event in read(self.journal.store.events) if event.type == "message"]
        self.journal.update(session_id=str(uuid.uuid4()), agent_started=False, agent_cost_usd=0.0)
        if said:
            lost = "the agent's conversation was lost; it starts anew"
            self.journal.log.append("error", kind=Kind.AGENT.value, message=lost)
            self.unanswered.clear()
            self.recap = base.recap("Your earlier conversation about this task was lost.", said)
            self.mail.go_on()
        return self.journal.session

    def _receive(self) -> bool:
        """Take what came in; whether somebody asked to interrupt the turn."""
        interrupt = False
        for entry in self.mail.receive():
            if entry.get("type") == "interrupt":
                interrupt = not self.idle
            elif entry.get("type") == "reply":
                self.asking.take(entry)
        return interrupt

    async def _read(self, agent: Agent) -> None:
        """Drain the agent's signals into the log; never waits for anybody."""
        try:
            async for one in agent.signals():
                self._take_in(one)
                if isinstance(one, base.ToolResult):
                    self.journal.measure_now_and_then()
        finally:
            self.changed.set()

    def _take_in(self, one: base.Signal) -> None:
        if self.limits.reached:
            return  # what it says from then on is that the limit is reached
        match one:
            case base.Started():
                self.journal.update(model=one.model or self.journal.session.model, session_id=one.session_id)
            case base.Taken():
                self._consumed(one.ids)
            case base.Ask():
                self.asking.opened(one)
                self.changed.set()
            case base.Withdrawn():
                if not self.stopping:  # else it stays open, for whoever goes on
                    self.asking.withdrawn(one.call)
            case base.Answered():
                self.limits.answered()
            case base.TurnEnd():
                one = self.limits.end(one)
                self._consumed(one.taken)
                if one.result is not None:
                    self.unanswered.clear()
                self.failure = self.asking.failure or one.failure
                self.journal.turn_ended(one)
            case base.Idle():
                self.idle = True
                self.changed.set()
            case _:
                self.journal.tell(one)

    def _consumed(self, ids: tuple[str, ...]) -> None:
        for i in ids:
            text = self.sent.pop(i, None)
            if text is None:
                continue
            self.recap = ""
            self.asking.settle()
            denied = self.journal.session.denied if self.unanswered else 0  # only a new turn counts anew
            self.unanswered[i] = Message(i, text)
            if i not in self.taken:
                self.taken.add(i)
                self.journal.log.append("message", id=i, text=text, **({"auto": True} if i in self.mail.auto else {}))
            self.idle = False
            self.failure = None
            self.journal.update(agent_started=True, denied=denied, error=None)
