"""SIGKILL of the worker and of the agent at each step of a session's life: `ls` stays true, nothing lost or doubled."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chatml.environment import MARKER
from chatml.model.entry import Message
from chatml.scripted.api import ScriptedApi
from chatml.scripted.script import Script
from chatml.state.inbox import post
from chatml.state.locks import WorkerLock
from chatml.state.store import SessionStore
from tests.faults import (
    Serve,
    agents,
    all_gone,
    arrived,
    cost_is_true,
    delivered_once,
    fifo,
    has_reader,
    kill,
    logged,
    record,
    snapshot,
    worker,
)
from tests.support import TIMEOUT, Sandbox, marked_processes, thinned, wait_until

Reach = Callable[[Sandbox, ScriptedApi, Path], None]

LATE = "import sys; p = sys.argv[1]; print(file=open(p + '.at', 'a')); open(p).read(); print(file=open('late', 'a'))"
"""A tool that stands still at a pipe, ignores being asked to end, and writes once it is let go."""

STUBBORN = f"import signal; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; {LATE}"


def _at_once(sandbox: Sandbox, api: ScriptedApi, pipe: Path) -> None:
    del sandbox, api, pipe


def _connecting(sandbox: Sandbox, api: ScriptedApi, pipe: Path) -> None:
    del api, pipe
    wait_until(lambda: bool(agents(sandbox)), "the agent's process")


def _holding(sandbox: Sandbox, api: ScriptedApi, pipe: Path) -> None:
    del sandbox, pipe
    api.wait_for(lambda: api.holding["here"])


def _streaming(sandbox: Sandbox, api: ScriptedApi, pipe: Path) -> None:
    del pipe
    api.wait_for(lambda: api.holding["here"])
    wait_until(lambda: bool(logged(sandbox, "task", "delta")), "the first words")


def _in_tool(sandbox: Sandbox, api: ScriptedApi, pipe: Path) -> None:
    del sandbox, api
    arrived(pipe, 2)


def _queued(sandbox: Sandbox, api: ScriptedApi, pipe: Path) -> None:
    _streaming(sandbox, api, pipe)
    sandbox.chatml("send", "task", "second-message")


def _turn_ended(sandbox: Sandbox, api: ScriptedApi, pipe: Path) -> None:
    del api, pipe
    wait_until(lambda: bool(logged(sandbox, "task", "turn")), "the end of the turn")


def _resumed(sandbox: Sandbox, api: ScriptedApi, pipe: Path) -> None:
    sandbox.until("task", "done")
    sandbox.chatml("send", "task", "second-message")
    _streaming(sandbox, api, pipe)


HOLD = {"hold": "here"}
ANSWER: Script = {"*": ["All", "right."]}
BLOCKED: Script = {
    "*": ["I run it.", {"Bash": {"command": f'setsid python3 -c "{STUBBORN}" "$PIPE" & python3 -c "{LATE}" "$PIPE"'}}]
}
POINTS: dict[str, tuple[Script, Reach]] = {
    "at once": (ANSWER, _at_once),
    "while the agent connects": (ANSWER, _connecting),
    "before the first word": ({"*": [[HOLD, "All right."]]}, _holding),
    "in mid-stream": ({"*": [["All ", HOLD, "right."]]}, _streaming),
    "in a tool": ({"*": [BLOCKED["*"]]}, _in_tool),
    "between a tool and the answer": ({"*": [{"Bash": {"command": "echo x"}}, [HOLD, "All right."]]}, _holding),
    "with a message queued": ({"*": [["All ", HOLD, "right."]]}, _queued),
    "at the end of the turn": (ANSWER, _turn_ended),
    "in a later turn": ({"*": {"turns": [["One."], [["Tw", HOLD, "o."]]]}}, _resumed),
}
"""How far a session gets, and how the test knows that it is there."""


@pytest.mark.parametrize(
    ("victim", "point"),
    thinned([("worker", point) for point in POINTS] + [("agent", point) for point in POINTS][1:], 5),
)
def test_a_session_goes_on_after_a_kill(
    sandbox: Sandbox, serve: Serve, tmp_path: Path, victim: str, point: str
) -> None:
    script, reach = POINTS[point]
    pipe = sandbox.env["PIPE"] = str(fifo(tmp_path / "pipe"))
    api = serve(script)
    made = sandbox.chatml("new", "first-message", "--name=task", "--permission-mode=bypassPermissions", "--json").json
    reach(sandbox, api, Path(pipe))
    for pid in agents(sandbox) if victim == "agent" else [worker(sandbox, "task")]:
        kill(pid)

    if victim == "agent":
        sandbox.chatml("wait", "task", "-q", code=None)
    # Waited for only because a child that the kernel had just forked lives on for the moment until it has started.
    sandbox.until("task", "failed" if victim == "agent" else "crashed", *(["done"] if _turn_ended is reach else []))
    all_gone(sandbox)
    before = snapshot(Path(made["worktree"]))
    api.release("here")
    assert not has_reader(Path(pipe))

    sandbox.chatml("send", "task", "last-message", "--wait")
    assert sandbox.session("task")["status"] == "done"
    sent = ["first-message", *(["second-message"] if reach in (_queued, _resumed) else []), "last-message"]
    delivered_once(sandbox, api, "task", *sent)
    cost_is_true(sandbox, api, "task")
    if reach is not _at_once:
        assert snapshot(Path(made["worktree"])) == before


CHECKOUT = {
    "hook": ("hooks/post-checkout", "if [ -p $PIPE ]; then sleep 1000 & echo >>$PIPE.at; cat $PIPE; fi; touch {}/hook"),
    "filter": ("smudge", "if [ -p $PIPE ]; then echo >>$PIPE.at; cat $PIPE >&2; fi; cat"),
}
"""Programs that git runs while it fills a worktree: after all files, and amid them."""

NOTHING = {"files": 0, "insertions": 0, "deletions": 0, "commits": 0, "uncommitted": False, "left_out": 0}


class Checkout:
    """A checkout that stands still at a pipe: in the hook after it, or in a filter amid it."""

    def __init__(self, sandbox: Sandbox, tmp_path: Path, where: str) -> None:
        self.sandbox = sandbox
        self.pipe = fifo(tmp_path / "pipe")
        sandbox.env["PIPE"] = str(self.pipe)
        sandbox.commit("more", a="a", b="b", c="c", folder__d="d", folder__e="e", _dot_gitattributes="b filter=slow\n")
        sandbox.git("config", "filter.slow.smudge", str(sandbox.repo / ".git" / "smudge"))
        place, text = CHECKOUT[where]
        program = sandbox.repo / ".git" / place
        program.write_text("#!/bin/sh\n" + text.format(tmp_path))
        program.chmod(0o700)

    def killed(self, victim: str = "worker") -> Path:
        """The worktree of a session `task` whose worker, or git, was killed there; nobody stands at the pipe later."""
        sandbox = self.sandbox
        worktree = Path(sandbox.chatml("new", "first-message", "--name", "task", "--json").json["worktree"])
        self.strike(victim)
        return worktree

    def strike(self, victim: str = "worker") -> None:
        sandbox = self.sandbox
        arrived(self.pipe)
        assert sandbox.session("task")["status"] == "preparing"
        running = marked_processes(sandbox.home)
        gits = [pid for pid, words in running.items() if words.startswith("git ") and "read-tree" in words]
        for pid in gits if victim == "git" else [worker(sandbox, "task")]:
            kill(pid)
        if victim == "git":
            assert len(gits) == 1, running
            assert has_reader(self.pipe)  # lets the filter end, too, which git started
            assert sandbox.until("task", "failed")["error"]["kind"] == "worktree"
        else:
            sandbox.until("task", "crashed")  # a program that it was just starting holds its lock until it runs
        all_gone(sandbox)
        self.pipe.unlink()

    def resumed(self, api: ScriptedApi) -> None:
        self.sandbox.chatml("resume", "task", "-q")
        self.sandbox.chatml("wait", "task", "-q")
        delivered_once(self.sandbox, api, "task", "first-message")


FILES = {".git", ".gitattributes", "README.md", "a", "b", "c", "folder"}

KILLS = [("hook", "worker"), ("filter", "worker"), ("filter", "git")]


@pytest.mark.long
@pytest.mark.parametrize(("where", "victim"), KILLS)
def test_a_killed_checkout_ends_and_is_begun_again(
    sandbox: Sandbox, serve: Serve, tmp_path: Path, where: str, victim: str
) -> None:
    checkout = Checkout(sandbox, tmp_path, where)
    api = serve({"*": ["All right."]})
    worktree = checkout.killed(victim)
    assert sandbox.session("task")["changes"] in (None, NOTHING)
    checkout.resumed(api)
    assert sandbox.git("status", "--porcelain", cwd=worktree) == ""
    assert sandbox.git("diff-files", cwd=worktree) == ""
    assert {path.name for path in worktree.iterdir()} == FILES
    assert (tmp_path / "hook").exists() == (where == "hook")
    admin = Path(sandbox.git("rev-parse", "--git-dir", cwd=worktree))
    assert [path.name for path in admin.iterdir() if "chatml" in path.name or path.suffix == ".lock"] == []


@pytest.mark.long
@pytest.mark.parametrize(("where", "victim"), KILLS)
def test_what_a_person_wrote_after_a_killed_checkout_stays(
    sandbox: Sandbox, serve: Serve, tmp_path: Path, where: str, victim: str
) -> None:
    checkout = Checkout(sandbox, tmp_path, where)
    api = serve({"*": ["All right."]})
    worktree = checkout.killed(victim)
    (worktree / "folder").mkdir(exist_ok=True)
    mine = {name: worktree / name for name in ("README.md", "a", "b", "folder/d", "folder/new")}
    for path in mine.values():
        path.write_text("mine")
    checkout.resumed(api)
    for path in mine.values():
        assert path.read_text() == "mine", path
    changed = sandbox.git("status", "--porcelain", cwd=worktree)
    assert changed.split() == ["M", "README.md", "M", "a", "M", "b", "M", "folder/d", "??", "folder/new"]
    assert sandbox.session("task")["changes"]["files"] == 5


def test_a_person_takes_over_a_killed_checkout_with_git(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    """An index that is there, or that a running git has locked, is theirs."""
    checkout = Checkout(sandbox, tmp_path, "filter")
    api = serve({"*": ["All right."]})
    worktree = checkout.killed()
    (worktree / "mine").write_text("mine")
    sandbox.git("reset", cwd=worktree)
    sandbox.git("add", "mine", cwd=worktree)
    lock = Path(sandbox.git("rev-parse", "--path-format=absolute", "--git-path", "index.lock", cwd=worktree))
    lock.write_text("of a git that runs")
    checkout.resumed(api)
    assert lock.read_text() == "of a git that runs"
    lock.unlink()
    assert sandbox.git("status", "--porcelain", cwd=worktree) == "A  mine"


@pytest.mark.long
def test_a_worktree_that_was_deleted_and_then_half_made_again_is_made_whole(
    sandbox: Sandbox, serve: Serve, tmp_path: Path
) -> None:
    checkout = Checkout(sandbox, tmp_path, "filter")
    checkout.pipe.rename(tmp_path / "away")
    serve({"*": ["All right."]})
    made = sandbox.chatml("new", "first-message", "--name", "task", "--wait", "--json").json
    worktree = Path(made["worktree"])
    shutil.rmtree(worktree)
    (tmp_path / "away").rename(checkout.pipe)
    sandbox.chatml("send", "task", "second-message")
    checkout.strike()
    sandbox.chatml("resume", "task", "-q")
    sandbox.chatml("wait", "task", "-q")
    assert sandbox.git("status", "--porcelain", cwd=worktree) == ""
    assert {path.name for path in worktree.iterdir()} == FILES


def test_a_worker_that_is_told_to_end_leaves_the_turn_to_be_resumed(sandbox: Sandbox, serve: Serve) -> None:
    """As a machine does that shuts down; a hang-up of some terminal ends nothing."""
    api = serve({"*": [["All ", HOLD, "right."]]})
    sandbox.chatml("new", "first-message", "--name", "task")
    _streaming(sandbox, api, sandbox.repo)
    pid = worker(sandbox, "task")
    os.kill(pid, signal.SIGHUP)
    sandbox.chatml("send", "task", "second-message")
    os.kill(pid, signal.SIGTERM)
    all_gone(sandbox)
    assert sandbox.session("task")["status"] == "crashed"
    api.release("here")
    sandbox.chatml("resume", "--all", "-q")
    sandbox.chatml("wait", "-q")
    delivered_once(sandbox, api, "task", "first-message", "second-message")


def test_a_message_that_was_read_just_before_the_kill_is_not_said_twice(
    sandbox: Sandbox, serve: Serve, tmp_path: Path
) -> None:
    """The worker stands still while the agent reads a message, so that it can't write down that it was read."""
    pipe = fifo(tmp_path / "pipe")
    tool = {"Bash": {"command": f"echo >> {pipe.with_suffix('.at')}; cat {pipe}"}}
    api = serve({"*": [[HOLD, tool], [{"hold": "there"}, "All right."]]})
    sandbox.chatml("new", "first-message", "--name", "task", "--permission-mode", "bypassPermissions")
    api.wait_for(lambda: api.holding["here"])
    sandbox.chatml("send", "task", "second-message")
    kept = sandbox.home / ".claude" / "projects"
    wait_until(
        lambda: any("second-message" in path.read_text() for path in kept.glob("*/*.jsonl")),
        "the message to reach the agent",
    )
    pid = worker(sandbox, "task")
    api.release("here")
    arrived(pipe)  # the worker has had its say about the call; the message is read at the end of it
    os.kill(pid, signal.SIGSTOP)
    pipe.write_text("")
    api.wait_for(lambda: api.holding["there"])
    kill(pid)
    all_gone(sandbox)
    api.release("there")
    assert "second-message" not in [event["text"] for event in logged(sandbox, "task", "message")]
    sandbox.chatml("resume", "task", "-q")
    sandbox.chatml("wait", "task", "-q")
    delivered_once(sandbox, api, "task", "first-message", "second-message")


def test_several_messages_to_an_agent_that_has_lost_its_conversation_repeat_the_earlier_ones_once(
    sandbox: Sandbox, serve: Serve
) -> None:
    """It was killed before it wrote its conversation down, with a message on its way."""
    api = serve({"*": [["All ", HOLD, "right."]]})
    sandbox.chatml("new", "first-message", "--name", "task")
    _streaming(sandbox, api, sandbox.repo)
    kill(worker(sandbox, "task"))
    all_gone(sandbox)
    api.release("here")
    shutil.rmtree(sandbox.home / ".claude" / "projects")
    for text in ("second-message", "last-message"):
        post(SessionStore(sandbox.state("task")), Message(text))
    sandbox.chatml("resume", "task", "-q")
    sandbox.chatml("wait", "task", "-q")
    delivered_once(sandbox, api, "task", "first-message", "second-message", "last-message")


@pytest.mark.long
def test_a_message_amid_a_stop_is_answered(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    """The worker has ended, and a process of the session that ignores being asked to end keeps `stop` busy."""
    pipe = fifo(tmp_path / "pipe")
    api = serve({"*": {"turns": [[["All ", HOLD, "right."]], ["Fine."]]}})
    sandbox.chatml("new", "first-message", "--name", "task")
    _streaming(sandbox, api, pipe)
    marked = {**sandbox.env, MARKER: record(sandbox, "task")["id"]}
    left = subprocess.Popen([sys.executable, "-c", STUBBORN, str(pipe)], env=marked, cwd=tmp_path)
    arrived(pipe)
    lock = WorkerLock(sandbox.state("task") / "worker.lock")
    stopping = sandbox.start("stop", "task")
    wait_until(lambda: not lock.held(), "the end of the worker")
    api.release("here")
    sandbox.chatml("send", "task", "second-message")
    _, err = stopping.communicate(timeout=TIMEOUT)
    assert (stopping.returncode, err) == (0, "stopped task\n")
    sandbox.chatml("wait", "task", "-q")
    delivered_once(sandbox, api, "task", "first-message", "second-message")
    left.wait(TIMEOUT)
    all_gone(sandbox)
