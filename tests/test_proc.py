"""Commands that are run: their own end counts, what they say is whole, and nothing is waited for without a limit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chatml import marking, proc
from chatml.environment import MARKER
from chatml.state.store import Store
from tests.support import TIMEOUT, Sandbox, marked_processes, wait_until

BACKGROUND = 20.0
"""Seconds that a child in the background lives, if nobody ends it: whoever waits for it takes at least that long."""

STAYING = "(sleep 20; echo late; echo late >&2) & "


@pytest.fixture
def marker(monkeypatch: pytest.MonkeyPatch) -> str:
    """What the processes of this test carry, so that all of them can be ended."""
    text = f"test-{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv(MARKER, text)
    return text


@pytest.mark.parametrize("cancelled", [None, lambda: False], ids=["plain", "guarded"])
def test_the_end_of_the_command_counts_and_all_that_it_said_until_then(marker: str, cancelled: None) -> None:
    began = time.monotonic()
    talk = f"{sys.executable} -c \"import os; os.write(1, b'x' * 60000); os.write(2, b'y' * 60000)\"; exit 3"
    done = proc.run(["sh", "-c", STAYING + talk], cancelled=cancelled)
    assert time.monotonic() - began < BACKGROUND / 2
    assert (done.code, done.stdout, done.stderr) == (3, b"x" * 60_000, b"y" * 60_000)
    assert marking.sweep(marker)


def test_what_a_command_leaves_in_the_background_may_print_on(marker: str, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    proc.run(["sh", "-c", f"(until test -e {tmp_path}/go; do sleep 0.02; done; echo late; touch {alive}) & echo now"])
    (tmp_path / "go").touch()
    wait_until(alive.exists, "the child in the background to live on")
    wait_until(lambda: not marking.marked(marker), "it to end")


def test_what_comes_a_moment_after_the_end_is_heard(marker: str) -> None:
    """As with `exec > >(tee log)`, whose `tee` nobody waits for."""
    assert proc.run(["sh", "-c", "(sleep 0.02; echo late) & exit 0"]).stdout == b"late\n"
    assert not marking.marked(marker)


def test_somebody_in_the_background_who_never_stops_talking_is_cut_short(marker: str) -> None:
    done = proc.run(["sh", "-c", "yes & exit 0"])
    assert len(done.stdout) < 1 << 23
    assert marking.sweep(marker)


def test_much_is_read_and_written_at_once() -> None:
    given = os.urandom(3_000_000)
    both = (
        "import shutil, sys; sys.stderr.write('e' * 3_000_000); shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    )
    done = proc.run([sys.executable, "-c", both], stdin=given)
    assert done.stdout == given
    assert len(done.stderr) == 3_000_000


def test_who_does_not_read_what_it_is_given_just_ends(marker: str) -> None:
    assert proc.run(["sh", "-c", "(sleep 20 <&3) 3<&0 & exit 4"], stdin=b"z" * 1_000_000).code == 4
    assert marking.sweep(marker)


def test_a_command_that_closes_its_output_is_waited_for_and_its_time_is_limited(marker: str) -> None:
    assert proc.run(["sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 5"]).code == 5
    with pytest.raises(TimeoutError):
        proc.run(["sh", "-c", "exec >&- 2>&-; sleep 600"], timeout=0.2, cancelled=lambda: False)
    wait_until(lambda: not marking.marked(marker), "the command to be ended")


def test_no_file_stays_open(marker: str) -> None:
    before = len(os.listdir("/dev/fd"))
    proc.run(["sh", "-c", STAYING + "exit 0"], stdin=b"z" * 1_000_000)
    with pytest.raises(FileNotFoundError):
        proc.run(["no-such-program"], stdin=b"z")
    assert len(os.listdir("/dev/fd")) == before
    assert marking.sweep(marker)


# --- the same where a person would notice ---------------------------------------------------------------------------


def _hook(sandbox: Sandbox, name: str, script: str) -> None:
    hook = sandbox.repo / ".git" / "hooks" / name
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


def _marker(sandbox: Sandbox) -> str:
    return Store(sandbox.repo / ".git").session("task").read().id


def _agent(sandbox: Sandbox, script: str) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"agent: sh\nagents:\n  sh: {{command: [sh, -c, '{script}', '{{prompt}}']}}\n")


def test_a_server_that_a_hook_starts_keeps_no_session_preparing(sandbox: Sandbox) -> None:
    _hook(sandbox, "post-checkout", "echo started; sleep 600 &")
    _agent(sandbox, "echo worked")
    assert sandbox.chatml("new", "task", "--wait").out == "worked\n"
    assert "| started" in sandbox.chatml("logs", "task").out
    assert marking.sweep(_marker(sandbox))


def test_a_server_that_an_agent_leaves_keeps_no_turn_open(sandbox: Sandbox) -> None:
    _agent(sandbox, "until test -e go; do sleep 0.02; echo serving; done & echo worked")
    sandbox.chatml("new", "task", "--wait")
    session = sandbox.session("task")
    assert session["status"] == "done"
    assert session["result"].startswith("worked")
    assert marking.marked(_marker(sandbox))
    (Path(session["worktree"]) / "go").touch()
    wait_until(lambda: not marked_processes(sandbox.home), "the server to end by itself")


def test_a_process_that_has_just_ended_has_no_words() -> None:
    ended = subprocess.Popen(["true"])
    try:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # not collected yet
        assert marking.words(ended.pid) == []
    finally:
        ended.wait(TIMEOUT)
