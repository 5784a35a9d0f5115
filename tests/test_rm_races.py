"""`rm` while other things happen: agents at work, other commands, a kill at any step."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chatml.model import Status
from tests import forked
from tests.made import assert_comes_back, commit, make_session, state, traces, write
from tests.support import TIMEOUT, Sandbox, marked_processes, wait_until

AGENTS = """\
agents:
  quick: {command: [sh, -c, "echo done", "{prompt}"]}
  sleeper: {command: [sh, -c, "setsid sleep 600 >/dev/null 2>&1 & echo begun; exec sleep 600", "{prompt}"]}
  writer: {command: [sh, -c, "trap 'echo late > late.txt; exit' TERM; echo begun; sleep 600 & wait", "{prompt}"]}
  deaf: {command: [sh, -c, "trap '' TERM; setsid sleep 600 & echo begun; sleep 600", "{prompt}"]}
"""


@pytest.fixture(autouse=True)
def _agents(sandbox: Sandbox) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(AGENTS)


def begin(sandbox: Sandbox, agent: str, name: str = "x") -> dict[str, Any]:
    """A session whose agent is in the middle of a turn."""
    sandbox.chatml("new", "work", "--agent", agent, "--name", name, "-q")
    wait_until(lambda: "begun" in sandbox.chatml("logs", name).out, "the agent to begin")
    return sandbox.session(name)


def trashed_messages(sandbox: Sandbox, label: str = "x") -> list[str]:
    lines = sandbox.git("show", f"refs/chatml/trash/{label}:session/inbox.jsonl").splitlines()
    return [entry["text"] for entry in map(json.loads, lines) if entry["type"] == "message"]


# --- agents at work ---------------------------------------------------------------------------------------------


def test_a_session_at_work(sandbox: Sandbox) -> None:
    session = begin(sandbox, "sleeper")
    assert sandbox.chatml("rm", "x").err == "removed x; branch chatml/x deleted\n"
    assert marked_processes(sandbox.home) == {}
    assert not Path(session["worktree"]).exists()


def test_a_refusal_does_not_stop_the_agent(sandbox: Sandbox) -> None:
    session = begin(sandbox, "sleeper")
    write(Path(session["worktree"]), a="1")
    assert "1 uncommitted file (a)" in sandbox.chatml("rm", "x", code=1).err
    assert sandbox.session("x")["status"] == "running"
    sandbox.chatml("rm", "-f", "x")


def test_what_an_agent_writes_while_it_ends_is_seen(sandbox: Sandbox) -> None:
    session = begin(sandbox, "writer")
    refused = sandbox.chatml("rm", "x", code=1).err.splitlines()
    assert refused == [
        "error: 'x' is not safe to remove: 1 uncommitted file (late.txt)",
        "hint: it was stopped, but not removed; 'chatml resume x' lets it go on",
    ]
    assert sandbox.session("x")["status"] == "stopped"
    assert_comes_back(sandbox, "x", Path(session["worktree"]))
    assert (Path(session["worktree"]) / "late.txt").read_text() == "late\n"


@pytest.mark.long
def test_a_crashed_session_and_what_it_left_running(sandbox: Sandbox) -> None:
    session = begin(sandbox, "deaf")
    os.kill(session["pid"], signal.SIGKILL)
    wait_until(lambda: sandbox.session("x")["status"] == "crashed", "the crash to show")
    sandbox.chatml("rm", "x")
    assert marked_processes(sandbox.home) == {}
    sandbox.chatml("restore", "x")
    assert sandbox.session("x")["status"] == "stopped"


WRITER = """\
import itertools, os, sys, time

outside, worktree = sys.argv[1:]
for number in itertools.count():
    with open(outside, "w") as file:
        file.write(str(number))
    try:
        os.rename(outside, f"{worktree}/{number}")
    except FileNotFoundError:
        break
    print(number, flush=True)
    time.sleep(0.002)
"""
"""Puts files into a worktree, each whole or not at all, and says which, until the worktree is gone."""


@pytest.mark.long
def test_what_somebody_writes_until_the_very_last_is_kept(sandbox: Sandbox, tmp_path: Path) -> None:
    worktree = make_session(sandbox, "x")
    argv = [sys.executable, "-c", WRITER, str(tmp_path / "next"), str(worktree)]
    with (tmp_path / "said").open("w") as output:
        writer = subprocess.Popen(argv, stdout=output)
    wait_until(lambda: (tmp_path / "said").read_text() != "", "the first file")
    sandbox.chatml("rm", "--force", "x")
    assert writer.wait(60) == 0
    said = (tmp_path / "said").read_text().split()
    sandbox.chatml("restore", "x")
    assert {path.name for path in worktree.iterdir()} == {".git", "README.md", *said}
    assert all((worktree / number).read_text() == number for number in said)


# --- other commands at the same time ----------------------------------------------------------------------------


def ended(*processes: forked.Child) -> list[tuple[int, str]]:
    """Exit code and errors of commands that were started beside each other; that one waited for another is none."""
    said = [process.communicate(timeout=60)[1] for process in processes]
    errors = [re.sub(r"^waiting for another chatml command.*\n", "", err, flags=re.MULTILINE) for err in said]
    return [(process.returncode, err) for process, err in zip(processes, errors, strict=True)]


@pytest.mark.long
def test_two_at_once(sandbox: Sandbox) -> None:
    make_session(sandbox, "other")
    before = traces(sandbox)
    for _ in range(5):
        write(make_session(sandbox, "x"), a="1")
        outcomes = ended(*(sandbox.start("rm", "-f", "x") for _ in range(3)))
        assert sorted(code for code, _ in outcomes) == [0, 1, 1], outcomes
        for code, err in outcomes:
            assert code == 0 or err.startswith(("error: session 'x' was removed just now", "error: no session named"))
        assert traces(sandbox) == before
    assert len(sandbox.chatml("restore").out.splitlines()) == 5


def test_messages_arrive_or_are_refused(sandbox: Sandbox) -> None:
    sandbox.chatml("new", "first", "--agent", "quick", "--name", "x", "--wait", "-q")
    texts = [f"message {number}" for number in range(10)]
    sends = [sandbox.start("send", "x", text) for text in texts[:6]]
    removal = sandbox.start("rm", "x")
    sends += [sandbox.start("send", "x", text) for text in texts[6:]]
    assert ended(removal)[0][0] == 0
    outcomes = dict(zip(texts, ended(*sends), strict=True))
    for text, (code, err) in outcomes.items():
        told = err.startswith(("error: session 'x' was removed just now", "error: no session named 'x'"))
        assert code == 0 or told, (text, err)
    kept = trashed_messages(sandbox)
    assert sorted(kept[1:]) == [text for text, (code, _) in outcomes.items() if code == 0]
    assert marked_processes(sandbox.home) == {}
    assert not sandbox.state("x").exists()
    assert sandbox.chatml("ls", "--json").json == []


def test_resume_and_rm(sandbox: Sandbox) -> None:
    for _ in range(3):
        make_session(sandbox, "x", status=Status.STOPPED, agent="quick", command=("sh", "-c", "echo done"))
        (removal, _), resumed = ended(sandbox.start("rm", "x"), sandbox.start("resume", "x"))
        assert removal == 0
        told = ("resumed x", "error: session 'x' was removed just now", "error: no session named 'x'")
        assert resumed[1].startswith(told)
        assert marked_processes(sandbox.home) == {}
        assert not sandbox.state("x").exists()


@pytest.mark.long
def test_new_and_rm_of_one_name(sandbox: Sandbox) -> None:
    make_session(sandbox, "x")
    before = {**traces(sandbox), "state": 0}
    for _ in range(6):
        new = sandbox.start("new", "again", "--agent", "quick", "--name", "x", "-q")
        (made, told), (removal, err) = ended(new, sandbox.start("rm", "x"))
        assert removal == 0, err
        if made:
            assert "exist" in told, told
            assert sandbox.chatml("ls", "--json").json in (
                [],
                [sandbox.session("x")] if sandbox.state("x").exists() else [],
            )
            sandbox.chatml("new", "again", "--agent", "quick", "--name", "x", "-q", code=None)
        if not sandbox.state("x").exists():
            make_session(sandbox, "x")
        sandbox.until("x", "done")
        assert {**traces(sandbox), "state": 0} == before


# --- killed on the way ------------------------------------------------------------------------------------------

KILLER = """\
import os, sys
from chatml import cli

left = int(sys.argv[1])

def watch(event, args):
    global left
    if event == "subprocess.Popen":
        step = {"update-ref", "worktree", "symbolic-ref", "read-tree", "config"}.intersection(args[1])
    elif event in ("os.remove", "open"):
        step = str(args[0]).endswith(("/.git", "/chatml-restoring", "plan.json", "/index"))
    elif event in ("os.rmdir", "shutil.rmtree"):
        step = not any(word in str(args[0]) for word in ("chatml-", ".saving-", ".new-"))
    else:
        step = event in ("os.rename", "shutil.move")
    if step:
        left -= 1
        if left == 0 and os.environ.get("FAIL"):
            raise OSError(28, "No space left on device", "here")
        if left == 0:
            os.kill(os.getpid(), 9)

sys.addaudithook(watch)
sys.exit(cli.run(sys.argv[2:]))
"""
"""Runs chatml and kills it, or has the disk full, right before the nth step that could be left half done."""


SHARDS = [pytest.param(3, 24), *(pytest.param(first, 3, marks=pytest.mark.long) for first in (1, 2, 3))]
"""The steps of a test, from the first, each so many: every eighth always, all of them in the suite's long part."""


def killed(sandbox: Sandbox, step: int, *args: str) -> bool:
    """Run a command and kill it at that step; False where it has fewer steps."""
    done = struck(sandbox, step, {}, *args)
    assert done.returncode in (0, -signal.SIGKILL), done
    return done.returncode != 0


def struck(sandbox: Sandbox, step: int, env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-B", "-c", KILLER, str(step), *args]
    return subprocess.run(
        argv,
        cwd=sandbox.repo,
        env={**sandbox.env, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def worked_in(sandbox: Sandbox) -> Path:
    """A session with every kind of work in it."""
    worktree = make_session(sandbox, "x")
    commit(sandbox, worktree, "work", a="1")
    write(worktree, staged="2", _dot_env="ignored", untracked="3", deep__er="4")
    sandbox.git("add", "staged", cwd=worktree)
    sandbox.git("init", "-q", str(worktree / "inner"))
    write(worktree / "inner", precious="5")
    return worktree


@pytest.mark.parametrize(("first", "stride"), SHARDS)
def test_a_removal_that_is_killed_at_any_step(sandbox: Sandbox, first: int, stride: int) -> None:
    sandbox.commit("ignore", _dot_gitignore=".env\n")
    make_session(sandbox, "other")
    clean = traces(sandbox)
    worktree = worked_in(sandbox)
    before = state(sandbox, "x", worktree)
    for step in range(first, 1000, stride):
        if not killed(sandbox, step, "rm", "--force", "x"):
            break
        if sandbox.chatml("ls", "x", "-q", code=None).out:
            assert state(sandbox, "x", worktree) == before, step
            sandbox.chatml("rm", "--force", "x")
        else:
            sandbox.chatml("rm", "nobody", code=1)  # clears up
        assert traces(sandbox) == clean, step
        sandbox.chatml("restore", "x")
        assert state(sandbox, "x", worktree) == before, step
        assert sandbox.chatml("restore").out == "", step
    assert step > 20


@pytest.mark.parametrize(("first", "stride"), SHARDS)
def test_a_restore_that_is_killed_at_any_step(sandbox: Sandbox, first: int, stride: int) -> None:
    sandbox.commit("ignore", _dot_gitignore=".env\n")
    worktree = worked_in(sandbox)
    before = state(sandbox, "x", worktree)
    for step in range(first, 1000, stride):
        sandbox.chatml("rm", "--force", "x")
        if not killed(sandbox, step, "restore", "x"):
            break
        sandbox.chatml("restore", "x", code=None)
        assert state(sandbox, "x", worktree) == before, step
        assert sandbox.git("for-each-ref", "refs/chatml") == "", step
        assert not list((sandbox.repo / ".git" / "worktrees").rglob("chatml*")), step
    assert step > 10


@pytest.mark.parametrize(("first", "stride"), SHARDS)
def test_a_removal_that_runs_into_a_full_disk(sandbox: Sandbox, first: int, stride: int) -> None:
    make_session(sandbox, "other")
    worktree = worked_in(sandbox)
    before = state(sandbox, "x", worktree)
    for step in range(first, 1000, stride):
        done = struck(sandbox, step, {"FAIL": "1"}, "rm", "--force", "x")
        if done.returncode == 0 and not sandbox.state("x").exists():
            if step > 20:
                break
        else:
            assert "no space left on device" in done.stderr.lower(), (step, done)
        if sandbox.state("x").exists():
            assert state(sandbox, "x", worktree) == before, step
        else:
            sandbox.chatml("restore", "x")
            assert state(sandbox, "x", worktree) == before, step
