"""Many commands at once: exactly one wins what only one can have, and no message is lost or said twice."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from chatml.state.locks import WorkerLock
from tests.faults import Serve, all_gone, delivered_once, kill, logged, worker
from tests.support import TIMEOUT, Sandbox, wait_until


def _all_at_once(sandbox: Sandbox, *commands: Sequence[str]) -> list[tuple[int, str, str]]:
    """Run commands side by side; their exit codes, answers and messages."""
    running = [sandbox.start(*command) for command in commands]
    ended = []
    for process in running:
        out, err = process.communicate(timeout=60)
        ended.append((process.returncode, out, err))
    return ended


@pytest.mark.long
def test_twenty_new_with_the_same_prompt_make_twenty_sessions(sandbox: Sandbox) -> None:
    sandbox.git("config", "filter.broken.smudge", "false")  # no agent is needed for this: end at the checkout
    sandbox.commit("more", _dot_gitattributes="README.md filter=broken\n")
    sandbox.git("config", "filter.broken.required", "true")
    ended = _all_at_once(sandbox, *[["new", "Do it", "-q"]] * 20)
    assert not [err for code, _, err in ended if code]
    names = {out.strip() for _, out, _ in ended}
    assert names == {"do-it", *(f"do-it-{number}" for number in range(2, 21))}, ended
    sandbox.chatml("wait", "-q", code=None)
    found = sandbox.chatml("ls", "--json").json
    assert {(one["name"], one["branch"], one["status"]) for one in found} == {
        (name, f"chatml/{name}", "failed") for name in names
    }
    assert {one["error"]["kind"] for one in found} == {"worktree"}
    assert len({one["worktree"] for one in found}) == 20
    assert len(sandbox.git("branch", "--list", "chatml/*").splitlines()) == 20
    assert len(sandbox.git("worktree", "list").splitlines()) == 21


def test_one_of_many_new_with_the_same_name_wins_and_the_others_leave_nothing(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": ["Fine."]})
    ended = _all_at_once(sandbox, *[["new", f"task {number}", "--name", "one", "-q"] for number in range(12)])
    assert sorted(code for code, _, _ in ended) == [0] + [1] * 11
    for code, _, err in ended:
        assert code == 0 or ("error: " in err and "exists already" in err), err
    sandbox.chatml("wait", "one", "-q")
    assert [path.name for path in sandbox.state("one").parent.iterdir()] == ["one"]
    assert sandbox.git("branch", "--list", "chatml/*", "--format=%(refname:short)") == "chatml/one"
    assert len(sandbox.git("worktree", "list").splitlines()) == 2
    winner = sandbox.session("one")["prompt"]
    assert [event["text"] for event in sandbox.events("one") if event["type"] == "message"] == [winner]


def _reads(pid: int) -> bool:
    """Whether a process waits for its standard input; some kernels only say that it waits."""
    where = Path(f"/proc/{pid}/wchan").read_text()
    return "pipe" in where or (where == "0" and Path(f"/proc/{pid}/stat").read_text().split()[2] == "S")


class Senders:
    """Ten `send` that are under way, and read their message when the test lets them."""

    def __init__(self, sandbox: Sandbox, name: str, occasion: str) -> None:
        self.messages = [f"{occasion}-{letter}" for letter in "abcdefghij"]
        self._running = [sandbox.start("send", name, "-", reads=True) for _ in self.messages]
        for process in self._running:
            wait_until(partial(_reads, process.pid), "a sender to wait for its message")

    def go(self) -> None:
        for process, message in zip(self._running, self.messages, strict=True):
            assert process.stdin is not None
            process.stdin.write(message.encode())
            process.stdin.close()
            process.stdin = None
        for process in self._running:
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err


def _ended(sandbox: Sandbox, turns: int) -> bool:
    return len(logged(sandbox, "task", "turn")) > turns


@pytest.mark.long
def test_ten_sends_at_once_all_arrive_each_once(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"first": [["A ", {"hold": "here"}, "B"]], "*": ["Fine."]})
    sandbox.chatml("new", "first", "--name", "task")
    said = ["first"]

    def check(senders: Senders) -> None:
        sandbox.chatml("wait", "task", "-q")
        said.extend(senders.messages)
        delivered_once(sandbox, api, "task", *said)

    running = Senders(sandbox, "task", "running")
    api.wait_for(lambda: api.holding["here"])
    running.go()
    api.release("here")
    check(running)

    resting = Senders(sandbox, "task", "resting")
    resting.go()
    check(resting)

    for number in range(2):
        ending = Senders(sandbox, "task", f"ending{number}")
        turns = sandbox.session("task")["turns"]
        sandbox.chatml("send", "task", f"before{number}", "-q")
        said.append(f"before{number}")
        wait_until(partial(_ended, sandbox, turns), "the end of the turn")
        ending.go()
        check(ending)

    killed = Senders(sandbox, "task", "killed")
    sandbox.chatml("send", "task", "doomed", "-q")
    said.append("doomed")
    killer = threading.Thread(target=kill, args=(worker(sandbox, "task"),))
    killer.start()
    killed.go()
    killer.join(TIMEOUT)
    sandbox.chatml("resume", "task", "-q")
    check(killed)
    all_gone(sandbox)


def test_those_who_look_never_keep_a_worker_from_being_started(tmp_path: Path) -> None:
    path = tmp_path / "worker.lock"
    path.touch()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            WorkerLock(path).held()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            lock = WorkerLock(path)
            assert lock.take()
            assert not WorkerLock(path).take()
            lock.release()
    finally:
        done.set()
        for thread in threads:
            thread.join(TIMEOUT)
