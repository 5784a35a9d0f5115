"""Where the time from `new` to the first request goes, read off the session's record, log and processes."""

from __future__ import annotations

import time
from dataclasses import dataclass

from chatml.model import parse_time
from chatml.state.store import Store
from tests.bench.rig import Side, started


@dataclass(frozen=True)
class Moment:
    """One moment on both clocks: the log has the time of day, processes and requests have the monotonic one."""

    monotonic: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.monotonic(), time.time())


def steps(side: Side, began: Moment, name: str, asked: float) -> dict[str, float]:
    """Milliseconds by step, in their order; the steps add up to the whole. Processes' starts are true to 10 ms."""

    def since(text: str) -> float:
        return parse_time(text).timestamp() - began.wall

    store = Store(side.sandbox.repo / ".git").session(name)
    status = {event["status"]: event["time"] for event in side.sandbox.events(name) if event["type"] == "status"}
    pids = {kind: pid for pid, command in side.processes().items() for kind in _kinds(command)}
    marks = {
        "new: interpreter, imports, finding the repository": since(store.read().created_at),
        "new: branch, worktree and record": started(pids["worker"]) - began.monotonic,
        "worker: interpreter, imports": since(status["preparing"]),
        "worker: checkout, beside the SDK's import": started(pids["cli"]) - began.monotonic,
        "CLI: start and handshake": since(status["running"]),
        "CLI: from the message to the request": asked - began.monotonic,
    }
    result, last = {}, 0.0
    for step, mark in marks.items():
        result[step] = (mark - last) * 1000
        last = mark
    return result


def _kinds(command: str) -> list[str]:
    return [kind for kind, word in (("worker", "chatml.worker"), ("cli", "--output-format")) if word in command]
