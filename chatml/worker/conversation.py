"""A worker's talk with its agent: hands messages over, takes signals in, until all is answered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chatml.agents import base, briefing, table
from chatml.agents.base import Agent, AgentError, MakeAgent
from chatml.errors import Kind
from chatml.model import Failure, Session, transitions
from chatml.model.entry import Answer, Interrupt, Message
from chatml.model.event import Event, MessageTaken, Mishap, ToolResult
from chatml.state.inbox import messages, unanswered
from chatml.state.log import read, taken
from chatml.worker import scoping
from chatml.worker.asking import Asking
from chatml.worker.journal import Journal
from chatml.worker.limits import LimitReachedError, Limits
from chatml.worker.mail import Mail
from chatml.worker.neighbours import Neighbourhood
from chatml.workspace.values import marked_environ

POLL = 0.05
"""Seconds between two looks at the inbox: a quarter of the 200 ms within which a message must reach the agent."""


class Stopped(Exception):  # noqa: N818 - no error
    """The worker was told to end."""


class Conversation:
    """What one worker says to its session's agents, one after the other, and hears from them."""

    def __init__(self, journal: Journal, past: Sequence[Event]) -> None:
        """`past` is the log as it was when this worker began."""
        self.journal = journal
        self.limits = Limits(journal)
        self.asking = Asking(journal, past)
        self.mail = Mail(journal.store, past)
        self.neighbourhood = Neighbourhood(journal, past)
        self.taken = set(taken(past))
        self.unanswered = unanswered(past)
        self.sent: dict[str, Message] = {}
        self.recap = ""
        self.idle = True
        self.failure: Failure | None = None
        self.worked = False
        """Whether an agent has been given anything."""
        self.changed = asyncio.Event()
        self.stopping = False
        said = messages(journal.store)
        if self.unanswered and said and said[-1].id in self.taken:
            self.mail.go_on()  # another worker, unseen, took what this one was started for, and has not answered it

    def told_to_end(self) -> None:
        """The worker is to end: the turn is broken off."""
        self.stopping = True
        self.changed.set()

    async def converse(self, make_agent: MakeAgent) -> None:
        """From the first waiting message until the agent has answered all of them."""
        self.idle = True
        self.receive()
        agent = await self._start_agent(make_agent)
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
                if self.receive() or self.limits.overdrawn():
                    await agent.interrupt()
                self.asking.hand_over(agent)
                if self.worked and self.idle and not (self.sent or self.mail.waiting or self.failure):
                    asked, self.failure = await scoping.check(self.journal)
                    if asked:
                        continue
                if self.idle and not self.sent and not self.ready():
                    return
                if reader.done():
                    reader.result()
                if self.ready() and self.limits.allow(self.idle):
                    await self._hand_over(agent)
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
            self.mail.waiting = [*self.sent.values(), *self.mail.waiting]
            self.sent = {}
            self.neighbourhood.unheard()

    async def _hand_over(self, agent: Agent) -> None:
        news = await self.neighbourhood.news(amid_turn=not self.idle)
        handed = self.mail.hand_over(self.ready())
        recap = "" if self.sent else self.recap  # else what is on its way has it already
        self.sent |= {message.id: message for message in handed}
        for message in handed:
            self.idle, self.worked = False, True
            plain = not message.text.startswith("/")  # a command of the agent's own, which the model may never see
            before = self.neighbourhood.before(message.id, news) if plain else ""
            await agent.send(replace(message, text=recap + message.text, before=before))
            recap, news = "", [] if plain else news

    async def _start_agent(self, make_agent: MakeAgent) -> Agent:
        waits = [message.text for message in self.unanswered.values()]
        session = self.journal.session
        setting = base.Setting(
            worktree=Path(session.worktree),
            state_dir=self.journal.store.folder,
            instruction=briefing.instruction(session),
            env=marked_environ(session),
            decided=self.asking.decided(),
            unanswered=tuple(waits),
        )
        setting = self.limits.within(setting)
        agent = make_agent(self.journal.session, setting)
        try:
            await agent.start()
        except AgentError as error:
            if error.resumable:
                raise
            agent = make_agent(self._begin_anew(), setting)
            await agent.start()
        self.journal.change(transitions.running)
        return agent

    def ready(self) -> list[Message]:
        """What the agent is to have now: a program can't be talked to while it runs."""
        idle, joins = self.idle and not self.sent, table.row_of(self.journal.session.terms).traits.joins_turn
        return self.mail.ready(idle=idle, failed=self.failure is not None, joins=joins)

    def _skip_taken(self, agent: Agent) -> None:
        """What the agent had read before it or the last worker died is not said twice; it is told to go on.

        What it had read, and did not get to write down before it was killed, is said again.
        """
        forgotten = [message for message in self.unanswered.values() if agent.holds(message) is False]
        self.mail.waiting = forgotten + self.mail.waiting
        held = self.mail.take_out(agent.holds)
        self.sent = {message.id: message for message in held}
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
        said = [*taken(read(self.journal.store.events)).values()]
        anew = str(uuid.uuid4())
        self.journal.change(lambda now: now.with_exchange(started=False, reported_usd=0.0).changed(session_id=anew))
        if said:
            lost = "the agent's conversation was lost; it starts anew"
            self.journal.log.append(Mishap(Kind.AGENT.value, lost, hint=None))
            self.unanswered.clear()
            self.recap = briefing.recap(briefing.LOST, said)
            self.neighbourhood.forget()
            self.mail.go_on()
        return self.journal.session

    def receive(self, checking: bool = False) -> bool:
        """Take what came in; whether somebody asked to interrupt the turn, or the check that is under way."""
        interrupt = False
        for entry in self.mail.receive():
            if isinstance(entry, Interrupt):
                interrupt = checking or not self.idle
            elif isinstance(entry, Answer):
                self.asking.take(entry.reply)
        return interrupt

    async def _read(self, agent: Agent) -> None:
        """Drain the agent's signals into the log; never waits for anybody."""
        try:
            async for one in agent.signals():
                self._take_in(one)
                if isinstance(one, ToolResult):
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
            message = self.sent.pop(i, None)
            if message is None:
                continue
            self.recap = ""
            self.neighbourhood.heard(i)
            self.asking.settle()
            anew = not self.unanswered
            self.unanswered[i] = message
            if i not in self.taken:
                self.taken.add(i)
                self.journal.log.append(MessageTaken(i, message.text, message.auto))
            self.idle = False
            self.failure = None
            self.journal.heard(anew)
