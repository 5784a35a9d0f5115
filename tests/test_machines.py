"""The mailbox, the requests and the queue as state machines: any order of steps, and a worker killed at any of them."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from chatml import queue
from chatml.agents.base import Agent, Ask
from chatml.model import Base, Queueing, Reply, Session, Status, now
from chatml.model.entry import Handed, Message, Unsend
from chatml.model.event import MessageTaken, Replied
from chatml.model.terms import Terms
from chatml.state import inbox
from chatml.state.log import Log, read
from chatml.state.store import SessionStore, Store
from chatml.worker.asking import Asking
from chatml.worker.journal import Journal
from chatml.worker.mail import Mail

TRIES = settings(
    max_examples=12, stateful_step_count=20, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def session(name: str, number: int = 0, **changes: Any) -> Session:
    stamp = now()
    made = Session(
        name=name, status=Status.RUNNING, terms=Terms(prompt="do it"), branch=f"chatml/{name}", base=Base("main", "0"),
        worktree=f"/nowhere/{name}", session_id=None, created_at=stamp, updated_at=stamp, repository="/nowhere",
        id=f"id-{number}",
    )  # fmt: skip
    return made.changed(**changes)


class Machine(RuleBasedStateMachine):
    """With a state folder of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.states = Store(self.folder)

    def add(self, one: Session) -> SessionStore:
        with self.states.stage() as staged:
            staged.write(one)
            store = self.states.claim(staged, one.name)
        store.worker_lock.release()
        return store

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


class MailMachine(Machine):
    """Nothing that was sent is lost or read twice, what was taken back is never read, the order stays."""

    def __init__(self) -> None:
        super().__init__()
        self.store = self.add(session("x"))
        self.log = Log(self.store.events)
        self.sent: list[Message] = []
        self.back: set[str] = set()
        self.had: list[str] = []
        self.begin()

    def begin(self) -> None:
        assert self.store.worker_lock.take()
        self.mail = Mail(self.store, read(self.store.events))
        self.given: list[Message] = []

    @rule(queued=st.booleans())
    def send(self, queued: bool) -> None:
        message = Message(f"message {len(self.sent)}", queue=queued)
        self.sent.append(message)
        with self.store.lock():
            inbox.post(self.store, message)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def unsend(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.sent))
        with self.store.lock():
            handed = {one for entry in inbox.entries(self.store) if isinstance(entry, Handed) for one in entry.messages}
            if message.id not in handed:
                inbox.post(self.store, Unsend((message.id,)))
                self.back.add(message.id)

    @rule()
    def receive(self) -> None:
        self.mail.receive()

    @rule(idle=st.booleans(), joins=st.booleans())
    def hand_over(self, idle: bool, joins: bool) -> None:
        self.given += self.mail.hand_over(self.mail.ready(idle=idle, joins=joins))

    @precondition(lambda self: self.given)
    @rule()
    def read_one(self) -> None:
        message = self.given.pop(0)
        self.had.append(message.id)
        self.log.append(MessageTaken(message.id, message.text))

    @rule()
    def kill(self) -> None:
        self.begin()

    @invariant()
    def once_and_never_what_was_taken_back(self) -> None:
        assert len(self.had) == len(set(self.had))
        assert not self.back & set(self.had)

    def teardown(self) -> None:
        self.begin()
        for _ in range(2 * len(self.sent) + 1):
            self.receive()
            self.hand_over(idle=True, joins=True)
            while self.given:
                self.read_one()
        self.once_and_never_what_was_taken_back()
        assert set(self.had) == {message.id for message in self.sent} - self.back
        self.log.close()
        self.store.worker_lock.release()
        super().teardown()


class OrderMachine(MailMachine):
    """Where no worker is killed, the messages of each kind are read in the order in which they were sent."""

    @rule()
    def kill(self) -> None:
        """Not here."""

    def teardown(self) -> None:
        places = {message.id: place for place, message in enumerate(self.sent)}
        queued = {message.id for message in self.sent if message.queue}
        for kind in (queued, set(places) - queued):
            order = [places[one] for one in self.had if one in kind]
            assert order == sorted(order)
        super().teardown()


class _Journal:
    """A worker's journal without its loop: the record and the log."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store
        self.session = store.read()
        self.log = Log(store.events)

    def change(self, how: Callable[[Session], Session]) -> None:
        self.session = self.store.update(how)

    def ask_anew(self, **changes: Any) -> None:
        self.change(lambda one: one.with_terms(**changes))


class RequestsMachine(Machine):
    """Each request is decided once, and an agent hears of its own calls only, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.store = self.add(session("x"))
        self.asked = 0
        self.heard: list[str] = []
        self.asking: Asking
        self.begin()

    def begin(self) -> None:
        self.journal = _Journal(self.store)
        self.asking = Asking(cast(Journal, self.journal), read(self.store.events))
        self.calls: list[str] = []

    def answer(self, call: str, reply: Reply) -> None:
        """What the agent hears."""
        assert call in self.calls, reply
        assert call == f"call {reply.request}"  # both count from 1 over the whole session
        self.calls.remove(call)
        self.heard.append(call)

    @rule()
    def ask(self) -> None:
        self.asked += 1
        call = f"call {self.asked}"
        self.calls.append(call)
        self.asking.opened(Ask(call, "permission", call, {"tool": "Bash", "input": {"command": call}}))

    @rule(back=st.integers(0, 3), decision=st.sampled_from(["approve", "deny"]))
    def reply(self, back: int, decision: str) -> None:
        """To one of the last requests, whatever has become of it."""
        self.asking.take(Reply(str(max(1, self.asked - back)), decision))

    @rule()
    def hand_over(self) -> None:
        self.asking.hand_over(cast(Agent, self))

    @precondition(lambda self: self.calls)
    @rule()
    def withdraw(self) -> None:
        self.asking.withdrawn(self.calls.pop())

    @rule()
    def the_agent_dies(self) -> None:
        self.asking.broke_off()
        self.calls.clear()

    @rule()
    def the_next_agent_is_told(self) -> None:
        if not self.calls:
            self.asking.settle()

    @rule()
    def the_worker_dies(self) -> None:
        self.journal.log.close()
        self.begin()

    @invariant()
    def each_is_decided_once(self) -> None:
        decided = [event.what.id for event in read(self.store.events) if isinstance(event.what, Replied)]
        assert len(decided) == len(set(decided))
        assert not set(decided) & {one.id for one in self.store.read().requests}
        assert len(self.heard) == len(set(self.heard))

    def teardown(self) -> None:
        self.asking.broke_off()
        self.asking.settle()
        self.each_is_decided_once()
        assert self.store.read().requests == ()
        self.journal.log.close()
        super().teardown()


PLACES = 3


class QueueMachine(Machine):
    """Never more at work than there are places, nobody overtakes, and nobody is left once there are places."""

    current: ClassVar[QueueMachine]
    """The one that is tried just now."""

    def __init__(self) -> None:
        super().__init__()
        QueueMachine.current = self
        self.queue = queue.Queue(self.states, lambda: PLACES)
        self.numbers = itertools.count(1)
        self.entered: list[str] = []
        self.working: dict[str, SessionStore] = {}

    def start(self, store: SessionStore) -> None:
        """In the place of a worker's start: its lock stays held, and it is at work."""
        name = store.folder.name
        assert name == self.entered.pop(0), "somebody overtook"
        store.write(store.read().changed(status=Status.RUNNING))
        self.working[name] = store

    @rule()
    def enter(self) -> None:
        number = next(self.numbers)
        name = f"s{99 - number:02}"  # names in the other order, which must not count
        stamp = f"2026-01-01T00:00:00.{number:03}Z"
        self.add(session(name, number, status=Status.QUEUED, created_at=stamp, queueing=Queueing(stamp)))
        self.entered.append(name)

    @rule()
    def fill(self) -> None:
        self.queue.fill()

    @precondition(lambda self: self.working)
    @rule(data=st.data(), killed=st.booleans())
    def end(self, data: st.DataObject, killed: bool) -> None:
        store = self.working.pop(data.draw(st.sampled_from(sorted(self.working))))
        if not killed:
            store.write(store.read().changed(status=Status.DONE))
        store.worker_lock.release()

    @invariant()
    def never_too_many(self) -> None:
        assert len(self.working) <= PLACES
        assert [one.name for one in self.queue.waiting()] == self.entered

    def teardown(self) -> None:
        while self.entered:
            self.queue.fill()
            assert len(self.working) == PLACES or not self.entered
            for store in self.working.values():
                store.worker_lock.release()
            self.working.clear()
        super().teardown()


@pytest.mark.parametrize("machine", [MailMachine, OrderMachine, RequestsMachine])
def test_any_order_of_steps(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=TRIES)


def test_the_queue_in_any_order_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_start", lambda store: QueueMachine.current.start(store))
    run_state_machine_as_test(QueueMachine, settings=TRIES)
