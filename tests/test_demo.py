"""`demo`: the whole tour through the real parts, what it leaves to play with, and what it does when it can't."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support import TIMEOUT, Sandbox, wait_until
from tests.terminal import terminal

SHOWN = [
    "$ cd chatml-demo/todo",
    '$ chatml new "Add due dates"',
    '$ chatml new "Fix first-run crash"',
    '$ chatml new "Write a guide"',
    "$ chatml ls",
    "$ chatml answer write-a-guide 1",
    '$ chatml send add-due-dates "ISO dates like 2026-01-31, please, not words"',
    "$ chatml attach add-due-dates",
    "$ chatml ls",
    "$ chatml diff add-due-dates --stat",
    "$ chatml diff add-due-dates -- todo",
    "$ git merge chatml/fix-first-run-crash",
    "$ chatml rm fix-first-run-crash",
    "$ chatml ls",
]


def unknown_to_git(sandbox: Sandbox) -> None:
    """As on a fresh machine: nobody has told git a name, and there is no key."""
    (sandbox.home / ".gitconfig").write_text("[user]\n    useConfigOnly = true\n")
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CONFIG_DIR"):
        del sandbox.env[name]


@pytest.mark.long
def test_the_whole_tour_and_what_it_leaves(sandbox: Sandbox) -> None:
    unknown_to_git(sandbox)
    before = sorted(sandbox.home.rglob("*"))

    done = sandbox.chatml("demo")  # within another repository
    assert [line for line in done.out.splitlines() if line.startswith("$ ")] == SHOWN
    assert 'I store dates as words: "next friday".' in done.out
    assert "> ISO dates like 2026-01-31, please, not words" in done.out
    assert "+    due: date | None = None" in done.out
    assert "\x1b" not in done.out + done.err
    assert sorted(sandbox.home.rglob("*")) == before
    assert sandbox.git("status", "--porcelain") == ""

    play = Sandbox(sandbox.home, sandbox.repo / "chatml-demo" / "todo", sandbox.env)
    left = {session["name"]: session for session in play.chatml("ls", "--json").json}
    assert {name: session["status"] for name, session in left.items()} == {
        "add-due-dates": "done",
        "write-a-guide": "done",
    }
    # It was redirected within its turn: no second one was needed.
    assert left["add-due-dates"]["turns"] == 1
    play.chatml("restore", "fix-first-run-crash")
    assert "overloaded: retrying 1/" in play.chatml("logs", "fix-first-run-crash").out

    for name in left:
        play.git("merge", "--no-edit", f"chatml/{name}")
    tested = "import unittest; unittest.main(module=None, argv=['', 'discover'])"
    assert "OK" in _run_python(play, tested)

    _once_more(sandbox)
    _play(sandbox)


def _run_python(play: Sandbox, code: str) -> str:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=play.repo, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    return done.stdout + done.stderr


def _once_more(sandbox: Sandbox) -> None:
    """Nothing that is there is touched."""
    again = sandbox.chatml("demo", code=1)
    assert f"error: a demo is there already: {sandbox.repo / 'chatml-demo'}" in again.err
    assert "chatml demo --play" in again.err
    assert again.out == ""


def _play(sandbox: Sandbox) -> None:
    """The shell has the script behind it; what still works at the end is stopped; --rm leaves nothing."""
    typed = 'chatml send write-a-guide "Thanks" --wait\nchatml new "Anything" --wait\nchatml diff anything --stat\n'
    done = sandbox.chatml("demo", "--play", "--rm", stdin=typed, env={"SHELL": "/bin/sh"})
    assert 'all that I do about "Thanks"' in done.out
    assert 'all that I do about "Anything"' in done.out
    assert "docs/wishes.md" in done.out
    assert not (sandbox.repo / "chatml-demo").exists()


@pytest.mark.long
def test_ctrl_c_in_a_terminal_stops_all_of_it(sandbox: Sandbox) -> None:
    with terminal(sandbox, rows=24) as window:
        window.type("chatml demo --dir here; echo code $?")
        screen = window.expect("add-due-dates        running", "$ chatml ls --watch")
        assert max(map(len, screen.splitlines())) <= 80
        window.press("C-c")
        window.expect("stopping the sessions; the demo stays in here", "code 130")
    play = Sandbox(sandbox.home, sandbox.repo / "here" / "todo", sandbox.env)
    assert "running" not in play.chatml("ls").out


def test_it_says_when_a_session_goes_wrong(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "claude_agent_sdk.py").write_text("raise ImportError('half installed')\n")
    path = os.pathsep.join([str(tmp_path / "broken"), sandbox.env["PYTHONPATH"]])
    done = sandbox.chatml("demo", "--rm", code=1, env={"PYTHONPATH": path})
    assert "error: add-due-dates is failed" in done.err
    assert "chatml doctor" in done.err
    assert "chatml send" not in done.out
    assert (sandbox.repo / "chatml-demo" / "todo").is_dir()  # to look into, in spite of --rm


def test_it_touches_nothing_that_is_there(sandbox: Sandbox) -> None:
    for folder, reason in (
        (".", "there is something already"),
        ("README.md", "there is something already"),
        ("no/where", "can't make"),
        ("README.md/demo", "can't make"),
    ):
        done = sandbox.chatml("demo", "--dir", folder, code=1)
        assert f"error: {reason}" in done.err
        assert "--dir PATH" in done.err
    assert sandbox.git("status", "--porcelain") == ""


def test_its_place_may_be_an_empty_folder(sandbox: Sandbox) -> None:
    """And the whole of it ends with the system's word, as it does with the person's."""
    (sandbox.repo / "empty place").mkdir()
    demo = sandbox.start("demo", "--dir", "empty place")
    state = sandbox.repo / "empty place" / "todo" / ".git" / "chatml" / "sessions"
    wait_until(lambda: (state / "add-due-dates").exists(), "the first session")
    demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=TIMEOUT)
    assert demo.returncode == 143
