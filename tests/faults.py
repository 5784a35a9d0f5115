"""What the tests of faults share: finding a session's processes, ending them, and what must be true afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatml.scripted.api import ScriptedApi
from chatml.scripted.script import Script
from tests.support import Sandbox, marked_processes, wait_until

Serve = Callable[[Script], ScriptedApi]

ANSWER_USD = 0.006
"""What one scripted answer costs: its fixed usage at the price of the CLI's default model."""


def kill(pid: int) -> None:
    """The one signal that nothing can prepare for."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def agents(sandbox: Sandbox) -> list[int]:
    """PIDs of the living Claude Code processes."""
    found = marked_processes(sandbox.home)
    return [pid for pid, words in found.items() if "--output-format stream-json" in words and "/claude " in words]


def record(sandbox: Sandbox, name: str) -> dict[str, Any]:
    """The record as it lies on the disk, read without starting chatml: for waits that must not miss a moment."""
    return sandbox.written(name)


def logged(sandbox: Sandbox, name: str, *types: str) -> list[dict[str, Any]]:
    """Events of the log as it lies on the disk."""
    return sandbox.events(name, *types)


def worker(sandbox: Sandbox, name: str) -> int:
    """PID of the session's worker, once it has written it down."""
    wait_until(lambda: isinstance(record(sandbox, name)["pid"], int), "the worker's PID")
    pid: int = record(sandbox, name)["pid"]
    return pid


def all_gone(sandbox: Sandbox) -> None:
    """Every process that was started under the sandbox's home has ended."""
    home = sandbox.home
    wait_until(lambda: not marked_processes(home), "all processes to end", lambda: marked_processes(home))


def delivered_once(sandbox: Sandbox, api: ScriptedApi, name: str, *messages: str) -> None:
    """Each message (a word found in no other) is once in the log, and once in what the model was last asked with."""
    session = sandbox.session(name)["session_id"]
    talk = [request.talk for request in api.requests if request.session == session][-1]
    asked = "\n".join(talk.texts)
    said = "\n".join(event["text"] for event in sandbox.events(name) if event["type"] == "message")
    for message in messages:
        assert asked.count(message) == 1, f"{message!r} reached the model {asked.count(message)} times: {talk.texts}"
        assert said.count(message) == 1, f"{message!r} is in the log {said.count(message)} times"


def cost_is_true(sandbox: Sandbox, api: ScriptedApi, name: str) -> None:
    """What the session says it cost is what its turns cost, and no more than all that was asked."""
    cost = sandbox.session(name)["cost_usd"]
    turns = [event["cost_usd"] for event in sandbox.events(name) if event["type"] == "turn"]
    assert abs(cost - sum(turns)) < 1e-9
    assert all(turn >= ANSWER_USD - 1e-9 for turn in turns), f"a turn was counted twice, or not at all: {turns}"
    assert cost <= ANSWER_USD * len(api.requests) + 1e-9


def fifo(path: Path) -> Path:
    """A named pipe: whoever reads it stands still there."""
    os.mkfifo(path)
    return path


def arrived(pipe: Path, count: int = 1) -> None:
    """Wait until so many processes have come to the pipe: each adds a line to the file beside it just before."""
    beside = pipe.with_suffix(".at")
    wait_until(lambda: beside.exists() and beside.read_text().count("\n") == count, "somebody at the pipe")


def has_reader(pipe: Path) -> bool:
    """Whether some process still stands there. It is let go by this."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file of a folder with its size and time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            stat = path.lstat()
            found[str(path.relative_to(folder))] = (stat.st_size, stat.st_mtime_ns)
    return found
