"""The detached process: one session's worktree, agent and log, for as long as there is work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatml import proc, workspace
from chatml.agents import base
from chatml.agents.base import Agent, AgentError, Message
from chatml.errors import ChatmlError, Kind
from chatml.events import Inbox, Log, read
from chatml.landing.changes import measure
from chatml.model import Event, Failure, Session, Status, Tokens
from chatml.store import SessionStore
from chatml.typed import build

POLL = 0.05
"""Seconds between two looks at the inbox: a quarter of the 200 ms within which a message must reach the agent."""

MEASURE_EVERY = 2.0
"""Seconds at least between two counts of the changes while the agent works."""


class Stopped(Exception):  # noqa: N818 - no error
    """The worker was told to end."""


class Worker:
    """Drives one session from its record to rest."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store
        self.session = store.read()
        self.log = Log(store.events)
        self.inbox = Inbox(store)
        past = read(store.events)
        self.first = not past
        self.lost = [event.data for event in past if event.type == "turn"][self.session.turns :]
        self.taken = {str(event.data.get("id")) for event in past if event.type == "message"}
        self.unanswered = _unanswered(past)
        self.sent: dict[str, str] = {}
        self.recap = ""
        self.waiting: list[Message] = []
        self.idle = True
        self.failure: Failure | None = None
        self.changed = asyncio.Event()
        self.stopping = False
        self.measure_next = 0.0
        self.measuring: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.measuring.set_result(None)
        self.tools: dict[str, str] = {}

    # --- life -------------------------------------------------------------------------------------------------

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
            fail(self.store, _failure(error), self.log)

    async def _work(self) -> bool:
        """Converse until there is nothing more to do; False where something came in just then."""
        try:
            await self._converse()
        except AgentError as error:
            if self.stopping or not self.store.worker_lock.ours():
                raise Stopped from error  # with the agent, by whoever ends or replaces this worker
            proc.sweep(self.session.id)  # an agent that was killed leaves its tools running
            self.failure = error.failure
            self.log.append("error", kind=error.failure.kind, message=error.failure.message, hint=error.failure.hint)
            return self._rest(known={message.id for message in self.waiting})
        return self._rest()

    def _told_to_end(self) -> None:
        self.stopping = True
        self.changed.set()

    async def _prepare(self) -> None:
        if not self.first:
            proc.sweep(self.session.id)  # what a worker that was killed has left
            self._count_lost_turns()
        self._status(Status.PREPARING, pid=os.getpid(), activity="checkout", error=None)
        loading = asyncio.create_task(asyncio.to_thread(_agent_factory, self.session))
        try:
            said = await asyncio.to_thread(workspace.prepare, self.session, lambda: self.stopping)
        except TimeoutError:
            raise Stopped from None
        finally:
            self.make_agent = await loading
        self._update(populated=True)
        for line in said.splitlines():
            self.log.append("setup", line=line)

    def _count_lost_turns(self) -> None:
        """Turns that the log has and the record has not: the last worker was killed between the two."""
        for data in self.lost:
            cost = float(data.get("cost_usd") or 0)
            self._update(
                turns=self.session.turns + 1,
                cost_usd=round(self.session.cost_usd + cost, 6),
                agent_cost_usd=self.session.agent_cost_usd + cost,
                tokens=self.session.tokens + _tokens(data.get("tokens")),
                result=data.get("result") or self.session.result,
            )

    def _rest(self, known: Collection[str] = ()) -> bool:
        """Write the last word, if nothing came in meanwhile; the worker lock goes while nobody can send.

        What is `known` has waited already when the agent failed, and waits on.
        """
        with self.store.lock():
            if not self.store.worker_lock.ours():
                raise Stopped  # another worker has taken over
            self._receive()
            if any(message.id not in known for message in self.waiting):
                return False
            end = Status.FAILED if self.failure else Status.DONE
            self._status(end, locked=True, activity=None, request=None, pid=None, error=self.failure)
            self.store.worker_lock.release()
        return True

    def _end_stopped(self) -> None:
        """Told to end: by a person, if the record says so; else by the system, and then the turn is still open."""
        with self.store.lock():
            session = self.store.read()
            if session.stopping and self.store.worker_lock.ours():
                self.session = session
                self._status(Status.STOPPED, locked=True, activity=None, request=None, pid=None, stopping=False)
            self.store.worker_lock.release()

    # --- the conversation -------------------------------------------------------------------------------------

    async def _converse(self) -> None:
        """From the first waiting message until the agent has answered all of them."""
        self.idle = True
        self._receive()
        agent = await self._start_agent()
        loop = asyncio.get_running_loop()
        self._skip_taken(agent)
        reader = asyncio.create_task(self._read(agent))
        try:
            while True:
                self.changed.clear()
                if self.stopping:
                    await agent.interrupt()
                    raise Stopped
                if self._receive():
                    await agent.interrupt()
                if self.idle and not self.sent and not self.waiting:
                    return
                if reader.done():
                    reader.result()
                while self.waiting:
                    message = self.waiting.pop(0)
                    self.sent[message.id] = message.text
                    self.idle = False
                    await agent.send(replace(message, text=self.recap + message.text))
                tick = loop.call_later(POLL, self.changed.set)  # `wait_for` makes a task each time: 1.6 times the CPU
                await self.changed.wait()
                tick.cancel()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            await agent.stop()
            await self.measuring
            await self._measure()
            # What the agent did not take is still in the inbox, and goes to the next one.
            self.waiting = [Message(i, text) for i, text in self.sent.items()] + self.waiting
            self.sent = {}

    async def _start_agent(self) -> Agent:
        setting = base.Setting(
            worktree=Path(self.session.worktree),
            state_dir=self.store.folder,
            instruction=instruction(self.session),
            env={proc.MARKER: self.session.id},
        )
        agent = self.make_agent(self.session, setting)
        try:
            await agent.start()
        except AgentError as error:
            if error.resumable:
                raise
            agent = self.make_agent(self._begin_anew(), setting)
            await agent.start()
        self._status(Status.RUNNING, activity=None)
        return agent

    def _skip_taken(self, agent: Agent) -> None:
        """What the agent had read before it or the last worker died is not said twice; it is told to go on.

        What it had read, and did not get to write down before it was killed, is said again.
        """
        forgotten = [message for message in self.unanswered.values() if agent.holds(message) is False]
        self.waiting = forgotten + self.waiting
        held = [message for message in self.waiting if agent.holds(message)]
        self.waiting = [message for message in self.waiting if message not in held]
        self.sent = {message.id: message.text for message in held}
        self._consumed(tuple(self.sent))
        if held and not self.waiting:
            self.waiting = [Message(str(uuid.uuid4()), base.GO_ON)]

    def _begin_anew(self) -> Session:
        """The agent has lost its conversation: a new one, which is told all that was said to the old one."""
        said = [event.data["text"] for event in read(self.store.events) if event.type == "message"]
        self._update(session_id=str(uuid.uuid4()), agent_started=False, agent_cost_usd=0.0)
        if said:
            lost = "the agent's conversation was lost; it starts anew"
            self.log.append("error", kind=Kind.AGENT.value, message=lost)
            recap = "Your earlier conversation about this task was lost. These were the messages to you, oldest first:"
            self.unanswered.clear()
            self.recap = "\n\n".join([recap, *said, "What is new:", ""])
            self.waiting = self.waiting or [Message(str(uuid.uuid4()), base.GO_ON)]
        return self.session

    def _receive(self) -> bool:
        """Take what came in; whether somebody asked to interrupt the turn."""
        interrupt = False
        seen = {*self.taken, *self.sent, *(message.id for message in self.waiting)}
        for entry in self.inbox.take():
            if entry.get("type") == "interrupt":
                interrupt = not self.idle
            elif entry.get("type") == "message" and entry["id"] not in seen:
                self.waiting.append(Message(entry["id"], str(entry.get("text", ""))))
        return interrupt

    async def _read(self, agent: Agent) -> None:
        """Drain the agent's signals into the log; never waits for anybody."""
        try:
            async for one in agent.signals():
                self._take_in(one)
                if isinstance(one, base.ToolResult) and self._measure_due():
                    self.measuring = asyncio.create_task(self._measure())
        finally:
            self.changed.set()

    def _take_in(self, one: base.Signal) -> None:
        match one:
            case base.Started():
                self._update(model=one.model or self.session.model, session_id=one.session_id)
            case base.Taken():
                self._consumed(one.ids)
            case base.Delta():
                self.log.append("delta", text=one.text)
            case base.Text():
                self.log.append("text", text=one.text)
                self._activity(one.text)
            case base.Thinking():
                self.log.append("thinking", text=one.text)
            case base.ToolCall():
                self.tools[one.id] = base.summarize(one.name, one.input, self.session.worktree)
                parent = {"parent": one.parent} if one.parent else {}
                self.log.append("tool", id=one.id, name=one.name, input=dict(one.input), **parent)
                self._activity(self.tools[one.id])
            case base.ToolResult():
                parent = {"parent": one.parent} if one.parent else {}
                self.log.append("tool_result", id=one.id, ok=one.ok, output=one.output, **parent)
            case base.Denied():
                self._denied(one)
            case base.Trouble():
                self._trouble(one)
            case base.TurnEnd():
                self._turn_ended(one)
            case base.Idle():
                self.idle = True
                self.changed.set()

    def _consumed(self, ids: tuple[str, ...]) -> None:
        for i in ids:
            text = self.sent.pop(i, None)
            if text is None:
                continue
            self.recap = ""
            self.unanswered[i] = Message(i, text)
            if i not in self.taken:
                self.taken.add(i)
                self.log.append("message", id=i, text=text)
            self.idle = False
            self.failure = None
            self._update(agent_started=True, denied=0, error=None)

    def _denied(self, one: base.Denied) -> None:
        """Nobody can be asked yet: the log shows the request and that it was refused."""
        i = str(uuid.uuid4())
        self.log.append("request", id=i, kind="permission", summary=one.summary, tool=one.tool)
        self.log.append("reply", id=i, decision="deny", message="nobody can be asked")
        self._update(denied=self.session.denied + 1, activity=f"denied: {one.summary}"[:200])

    def _trouble(self, one: base.Trouble) -> None:
        failure = one.failure
        wait = f", next try in {one.wait_ms / 1000:.0f} s"
        text = f"retrying {one.attempt}/{one.attempts}: {failure.message}{wait}"
        self.log.append("error", kind=failure.kind, message=text, retry=one.attempt)
        self._update(activity=text)

    def _turn_ended(self, one: base.TurnEnd) -> None:
        self._consumed(one.taken)
        tokens = {name: getattr(one.tokens, name) for name in one.tokens.__dataclass_fields__}
        self.log.append(
            "turn",
            result=one.result,
            cost_usd=one.cost_usd,
            tokens=tokens,
            duration_ms=one.duration_ms,
            interrupted=one.interrupted,
        )
        self.unanswered.clear()
        self.failure = one.failure
        if one.failure:
            self.log.append("error", kind=one.failure.kind, message=one.failure.message, hint=one.failure.hint)
        self._update(
            turns=self.session.turns + 1,
            cost_usd=round(self.session.cost_usd + one.cost_usd, 6),
            agent_cost_usd=one.total_cost_usd,
            tokens=self.session.tokens + one.tokens,
            result=one.result if one.result is not None else self.session.result,
            error=one.failure,
        )

    # --- the record -------------------------------------------------------------------------------------------

    def _activity(self, text: str) -> None:
        line = next((line.strip() for line in text.splitlines() if line.strip()), "")
        self._update(activity=line[:200])

    def _status(self, status: Status, locked: bool = False, **changes: Any) -> None:
        before = self.session.status
        self._update(locked=locked, status=status, **changes)
        if before is not status or status is Status.PREPARING:
            self.log.append("status", status=status.value)

    def _update(self, locked: bool = False, **changes: Any) -> None:
        """Change the record; others may have changed other parts of it meanwhile."""

        def change(session: Session) -> Session:
            status = changes.get("status", session.status)
            return session.moved_to(status, **{k: v for k, v in changes.items() if k != "status"})

        if locked:
            self.session = change(self.store.read())
            self.store.write(self.session)
        else:
            self.session = self.store.update(change)

    def _measure_due(self) -> bool:
        return self.measuring.done() and time.monotonic() >= self.measure_next

    async def _measure(self) -> None:
        """Count the changes, beside the reader; a worktree that can't be read right now is no failure."""
        start = self.session.base
        began = time.monotonic()
        try:
            changes = await asyncio.to_thread(measure, Path(self.session.worktree), start.ref, start.commit)
        except (ChatmlError, OSError):
            return
        ended = time.monotonic()
        self.measure_next = ended + max(MEASURE_EVERY, 10 * (ended - began))
        self._update(changes=changes, changes_seen=workspace.glance(self.session))


def instruction(session: Session) -> str:
    """What the agent is told about where it is, beside its own system prompt."""
    return (
        f"You work on one task in a git worktree of your own: {session.worktree}\n"
        f"It is on the branch '{session.branch}', which started from '{session.base.ref}' "
        f"({session.base.commit[:12]}). Other agents work in other worktrees of the same repository at the same time.\n"
        "- Commit your work in small, coherent commits with messages that say why. Leave nothing "
        "uncommitted at the end.\n"
        "- Never push, merge, rebase onto other branches, switch branches, or use git stash (it is shared by all "
        "worktrees). A person reviews and lands your branch.\n"
        "- Never change anything outside your worktree.\n"
        "- End with a short summary of what you did and what is left: it is shown as the session's result."
    )


def fail(store: SessionStore, failure: Failure, log: Log | None = None) -> None:
    """Write down why the worker ends, as far as the disk takes it: without, readers see a worker that died."""
    try:
        if log is not None:
            log.append("error", kind=failure.kind, message=failure.message, hint=failure.hint)
    finally:
        with store.lock():
            try:
                rest = {"activity": None, "request": None, "pid": None, "error": failure}
                store.write(store.read().moved_to(Status.FAILED, **rest))
            finally:
                store.worker_lock.release()


def _unanswered(past: list[Event]) -> dict[str, Message]:
    """The messages that were taken since the last turn ended, by id."""
    found: dict[str, Message] = {}
    for event in past:
        if event.type == "turn":
            found.clear()
        elif event.type == "message":
            i = str(event.data.get("id"))
            found[i] = Message(i, str(event.data.get("text", "")))
    return found


def _tokens(data: Any) -> Tokens:
    try:
        return build(Tokens, data, "tokens")
    except (TypeError, ValueError):
        return Tokens()


def _failure(error: Exception) -> Failure:
    """What ended the worker, as the record tells it."""
    if isinstance(error, AgentError):
        return error.failure
    hint = "go on with 'chatml resume' once that is mended"
    if isinstance(error, ChatmlError):
        return Failure((error.kind or Kind.WORKTREE).value, error.message, error.hint or hint)
    if isinstance(error, OSError):
        return Failure(Kind.INTERNAL.value, f"{error.strerror or error}: {error.filename or 'worker'}".lower(), hint)
    traceback.print_exception(error)
    return Failure(Kind.INTERNAL.value, f"a bug in chatml: {type(error).__name__}: {error}", "see worker.log")


def _agent_factory(session: Session) -> base.MakeAgent:
    """Loads the agent's code, which may be slow: called beside the checkout."""
    if session.command is not None:
        from chatml.agents.command import CommandAgent

        return CommandAgent
    from chatml.agents.claude import ClaudeAgent

    return ClaudeAgent


def main(argv: list[str]) -> int:
    """`python -m chatml.worker FOLDER LOCK_FD`: started by a runner, never by hand."""
    store = SessionStore(Path(argv[0]))
    store.worker_lock.adopt(int(argv[1]))
    try:
        asyncio.run(_run(store))
    except (OSError, ChatmlError) as error:
        fail(store, _failure(error))
    return 0


async def _run(store: SessionStore) -> None:
    await Worker(store).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
