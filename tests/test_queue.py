"""The queue of `max_parallel`: oldest first, never stuck whatever is killed, never more at once than allowed."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chatml.model import now
from chatml.state.locks import lock
from tests.faults import Serve, fifo, has_reader, kill, logged, record, worker
from tests.support import Sandbox, marked_processes, wait_until
from tests.test_halfmade import ATTEMPTS, WRAPPER, wrap, wrapped

__all__ = ["wrapped"]

HOLD = """\
max_parallel: {places}
agent: holder
agents:
  holder:
    command:
    - sh
    - -c
    - 'echo >> $PIPES/begun; read line < $PIPES/$(basename "$PWD"); echo "did $(echo "$0" | tail -1)"'
    - "{{prompt}}"
"""
"""An agent that stands still at a pipe named after its session, until somebody writes there."""


class Line:
    """Sessions whose agents stand still until the test lets them go, and a look at how many do at once."""

    def __init__(self, sandbox: Sandbox, pipes: Path, places: int) -> None:
        self.sandbox, self.pipes, self.places = sandbox, pipes, places
        pipes.mkdir()
        sandbox.env["PIPES"] = str(pipes)
        folder = sandbox.home / ".config" / "chatml"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(HOLD.format(places=places))

    def new(self, name: str, *options: str) -> str:
        fifo(self.pipes / name)
        return self.sandbox.chatml("new", f"do {name}", "--name", name, *options).err

    def held(self) -> set[str]:
        """The sessions whose agent lives and stands at its pipe; never more than there are places."""
        names = set()
        for pid, words in marked_processes(self.sandbox.home).items():
            if re.match(r"\S*sh -c echo", words):
                try:
                    names.add(os.path.basename(os.readlink(f"/proc/{pid}/cwd")))
                except OSError:
                    continue
        assert len(names) <= self.places, names
        return names

    def until_held(self, *names: str) -> None:
        wait_until(lambda: self.held() == set(names), f"{names} to be at work", self.held)

    def until_taken(self, count: int, ended: set[str]) -> list[str]:
        """The sessions at work, once there are so many; without those that were let go and are just ending."""
        found: set[str] = set()

        def taken() -> bool:
            found.clear()
            found.update(self.held() - ended)
            return len(found) == count

        wait_until(taken, f"{count} places to be taken", lambda: found)
        return sorted(found)

    def let_go(self, name: str) -> None:
        wait_until(lambda: has_reader(self.pipes / name), f"{name} at its pipe")

    def kill(self, name: str) -> None:
        """SIGKILL the session's worker, and wait until its agent has gone with it."""
        kill(worker(self.sandbox, name))
        wait_until(lambda: name not in self.held(), f"the agent of {name} to be gone")

    def statuses(self) -> dict[str, str]:
        return {one["name"]: one["status"] for one in self.sandbox.chatml("ls", "--json").json}


@pytest.fixture
def line(sandbox: Sandbox, tmp_path: Path) -> Iterator[Line]:
    yield Line(sandbox, tmp_path / "pipes", 2)
    sandbox.chatml("stop", "--all", "-q", code=None)


def test_what_has_no_place_is_queued_and_starts_in_its_order(sandbox: Sandbox, line: Line) -> None:
    assert "queued" not in line.new("a") + line.new("b")
    assert line.new("c") == "queued as number 1: all places are taken\n"
    made = sandbox.chatml("new", "do d", "--name", "d", "--json")
    fifo(line.pipes / "d")
    assert (made.json["status"], made.json["queue_place"], made.json["pid"]) == ("queued", 2, None)
    line.until_held("a", "b")
    rows = sandbox.chatml("ls").out.splitlines()
    assert [row.split()[0] for row in rows[3:]] == ["c", "d"]
    assert "queued   number 1 in the queue" in rows[3]
    assert "number 2" in sandbox.chatml("show", "d").out
    waiting = sandbox.start("wait", "c", "d")
    line.let_go("b")
    line.until_held("a", "c")
    assert line.statuses() == {"a": "running", "b": "done", "c": "running", "d": "queued"}
    for name in ("a", "c", "d"):
        line.let_go(name)
    assert waiting.communicate(timeout=30)[0] == "c: done\nd: done\n"
    assert sandbox.session("d")["queue_place"] is None


def test_a_queued_session_is_whole_and_can_be_stopped_removed_and_talked_to(sandbox: Sandbox, line: Line) -> None:
    sandbox.commit("files", a="one\n", b="two\n")
    for name in ("a", "b", "c", "d", "e"):
        line.new(name)
    line.until_held("a", "b")
    assert sandbox.session("c")["changes"] is None
    assert sandbox.chatml("diff", "c").out == ""
    assert sandbox.git("rev-parse", "chatml/c") == sandbox.git("rev-parse", "main")
    assert sandbox.chatml("stop", "c").err == "stopped c\n"
    assert sandbox.session("c")["status"] == "stopped"
    assert sandbox.chatml("rm", "d").err == "removed d; branch chatml/d deleted\n"
    assert sandbox.chatml("send", "e", "and more").err.splitlines() == [
        "sent to e",
        "e is queued as number 1: all places are taken",
    ]
    assert sandbox.chatml("resume", "c").err.splitlines()[1] == "c is queued as number 2: all places are taken"
    line.let_go("a")
    line.until_held("b", "e")
    line.let_go("b")
    line.until_held("c", "e")
    line.let_go("c")
    line.let_go("e")
    wait_until(lambda: logged(sandbox, "e", "turn") != [], "the first turn of e")
    line.let_go("e")
    sandbox.chatml("wait")
    assert [event["text"] for event in logged(sandbox, "e", "message")] == ["do e", "and more"]
    assert sandbox.session("c")["result"] == "did do c"


def test_send_to_a_session_at_rest_waits_for_its_place_too(sandbox: Sandbox, line: Line) -> None:
    line.new("a")
    line.let_go("a")
    sandbox.until("a", "done")
    line.new("b")
    line.new("c")
    line.until_held("b", "c")
    follow = sandbox.start("send", "a", "again", "--wait")
    wait_until(lambda: record(sandbox, "a")["status"] == "queued", "a to be queued")
    line.let_go("b")
    line.until_held("a", "c")
    line.let_go("a")
    out, err = follow.communicate(timeout=30)
    assert (out, follow.returncode) == ("did again\n", 0)
    assert "queued as number 1" in err
    line.let_go("c")


def test_the_limit_may_change_and_holds_where_it_is_not_set(sandbox: Sandbox, line: Line) -> None:
    """A queued session keeps the limit it was ordered with; what is configured now goes before it."""
    config = sandbox.home / ".config" / "chatml" / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("max_parallel: 2", ""))
    sandbox.env["CHATML_MAX_PARALLEL"] = "1"
    for name in ("a", "b", "c"):
        line.new(name)
    del sandbox.env["CHATML_MAX_PARALLEL"]
    line.until_held("a")
    assert line.statuses() == {"a": "running", "b": "queued", "c": "queued"}
    config.write_text(text)
    sandbox.chatml("ls")
    line.until_held("a", "b")
    assert line.statuses()["c"] == "queued"
    sandbox.chatml("stop", "--all", "-q")
    assert set(line.statuses().values()) == {"stopped"}


def test_a_worker_that_is_killed_before_it_lets_the_next_one_begin(sandbox: Sandbox, line: Line) -> None:
    """The lock of the repository holds it at that very point."""
    for name in ("a", "b", "c", "d"):
        line.new(name)
    line.until_held("a", "b")
    pid = worker(sandbox, "a")
    with lock(sandbox.repo / ".git" / "chatml" / "repo.lock"):
        line.let_go("a")
        wait_until(lambda: record(sandbox, "a")["status"] == "done", "a to be done")
        kill(pid)
    assert record(sandbox, "c")["status"] == "queued"
    sandbox.chatml("ls", "c")
    line.until_held("b", "c")
    line.kill("b")
    with sandbox.start("wait", "d") as waiting:
        line.until_held("c", "d")
        line.let_go("d")
        waiting.wait(30)
    assert line.statuses() == {"a": "done", "b": "crashed", "c": "running", "d": "done"}
    line.let_go("c")


def test_a_worker_that_the_system_ends_starts_no_other(sandbox: Sandbox, line: Line) -> None:
    """As a machine does that shuts down: each one started now would only be killed amid its work."""
    for name in ("a", "b", "c"):
        line.new(name)
    line.until_held("a", "b")
    pids = [worker(sandbox, "a"), worker(sandbox, "b")]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not marked_processes(sandbox.home), "all to end")
    assert record(sandbox, "c")["status"] == "queued"
    found = line.statuses()
    assert (found["a"], found["b"]) == ("crashed", "crashed")
    line.until_held("c")
    line.let_go("c")
    sandbox.until("c", "done")


@pytest.mark.long
def test_a_new_that_is_killed_leaves_nothing_or_a_session_that_begins_by_itself(
    sandbox: Sandbox, wrapped: Path
) -> None:
    """Killed before and after each git command; without a place to wait for, such a session would have crashed."""
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        'max_parallel: 1\nagent: quick\nagents: {quick: {command: [sh, -c, "ls", "{prompt}"]}}\n'
    )
    wrap(wrapped, WRAPPER)
    left = 0
    for when, number in ATTEMPTS:
        (wrapped / "count").unlink(missing_ok=True)
        name = f"{when[4:].lower()}-{number}"
        if sandbox.chatml("new", "do it", "--name", name, code=None, env={when: str(number)}).code == 0:
            break  # so many git commands it doesn't need
        if sandbox.state(name).exists():
            sandbox.chatml("wait", name)
            assert sandbox.session(name)["result"] == "README.md"
            left += 1
    assert left


TOUCH = {"Bash": {"command": "touch asked.txt"}}


def test_one_that_waits_for_a_person_gives_up_its_place_and_takes_it_back(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"first": [[TOUCH], [{"hold": "one"}, "Made."]], "*": [[{"hold": "two"}, "Done."]]})
    sandbox.env["CHATML_MAX_PARALLEL"] = "1"
    sandbox.chatml("new", "first", "-q", "--permission-mode", "default")
    sandbox.chatml("new", "second", "-q")
    api.wait_for(lambda: api.holding["two"])
    assert sandbox.session("first")["status"] == "waiting"
    sandbox.chatml("new", "third", "-q")
    sandbox.chatml("approve", "first")
    api.wait_for(lambda: api.holding["one"])
    assert sandbox.session("third")["status"] == "queued"
    api.release("two")
    sandbox.until("second", "done")
    assert sandbox.session("third")["status"] == "queued"
    api.release("one")
    sandbox.chatml("wait")
    assert sandbox.session("third")["status"] == "done"


@pytest.mark.parametrize("count", [12, pytest.param(40, marks=pytest.mark.long)])
def test_many_sessions_three_at_once_whatever_is_killed(sandbox: Sandbox, tmp_path: Path, count: int) -> None:
    line = Line(sandbox, tmp_path / "pipes", 3)
    names = [f"t{number:02}" for number in range(count)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(line.new, names))

    def created(name: str) -> str:
        return str(record(sandbox, name)["created_at"])

    done: set[str] = set()
    killed: dict[str, list[str]] = {}
    begun: list[str] = []
    rounds = 0
    while len(done) < count:
        rounds += 1
        at_work = line.until_taken(min(3, count - len(done)), done)
        begun += sorted(set(at_work) - set(begun), key=created)
        if rounds % 4 == 2:  # all of them, at once
            victims = at_work
        else:
            victims = at_work[:1] if rounds % 4 == 0 else []
        for name in victims:
            killed.setdefault(name, [])
            line.kill(name)
            killed[name].append(now())
        for name in victims:
            sandbox.chatml("resume", name, "-q")
        for name in set(at_work) - set(victims):
            line.let_go(name)
            done.add(name)
    sandbox.chatml("wait", "-q")
    assert set(line.statuses().values()) == {"done"}
    assert len(line.statuses()) == count
    assert sum(map(len, killed.values())) >= count // 4
    # The first ones began while others were still being made.
    assert begun[3:] == sorted(begun[3:], key=created)
    assert _most_at_once(sandbox, names, killed) == 3
    assert (line.pipes / "begun").read_text().count("\n") == count + sum(map(len, killed.values()))


def _most_at_once(sandbox: Sandbox, names: list[str], killed: dict[str, list[str]]) -> int:
    """By the times in the logs: from each beginning of a worker to its last word, or to its kill."""
    changes: list[tuple[str, int]] = []
    for name in names:
        statuses = logged(sandbox, name, "status")
        changes += [(event["time"], 1) for event in statuses if event["status"] == "preparing"]
        changes += [(event["time"], -1) for event in statuses if event["status"] == "done"]
        changes += [(time, -1) for time in killed.get(name, [])]
    most = at_once = 0
    for _, change in sorted(changes):
        at_once += change
        most = max(most, at_once)
    return most
