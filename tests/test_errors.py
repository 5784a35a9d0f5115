"""Errors of the world are shown as what they are, and bad input changes nothing: one clear line and a hint."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.faults import Serve, delivered_once, logged
from tests.made import make_session
from tests.support import ROOT, TIMEOUT, Sandbox, thinned, wait_until


@dataclass(frozen=True)
class Case:
    """How the model, or the machine, fails; and what must be told."""

    kind: str
    says: str
    step: Any = "Fine."
    options: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    retries: bool = False


SOON, LATE = {"retry-after": "0"}, {"retry-after": "3600"}
NOBODY = "http://127.0.0.1:9"
"""Where nobody listens."""

CALL = {"Bash": {"command": "ls"}}
CASES = {
    "401": Case("auth", "Invalid API key", {"fail": 401, "message": "invalid x-api-key", "times": 2}, retries=True),
    "403": Case("auth", "not allowed", {"fail": 403, "message": "not allowed", "times": 1}),
    "404": Case("agent", "no-such-model", {"fail": 404, "message": "model: no-such-model", "times": 2},
                ("--model", "no-such-model")),
    "429": Case("rate_limit", "too many", {"fail": 429, "message": "too many", "headers": SOON, "times": 2},
                retries=True),
    "429 for long": Case("rate_limit", "too many", {"fail": 429, "message": "too many", "headers": LATE, "times": 1}),
    "529": Case("overloaded", "", {"fail": 529, "message": "Overloaded", "times": 2}, retries=True),
    "dropped": Case("network", "", {"drop": True, "times": 2}, retries=True),
    "refused port": Case("network", "", env={"ANTHROPIC_BASE_URL": NOBODY}, retries=True),
    "no key": Case("auth", "log", env={"ANTHROPIC_API_KEY": ""}),
    "budget": Case("budget", "the budget of $0.001 is used up", options=("--max-budget-usd", "0.001")),
    "max turns": Case("max_turns", "the limit of 1 model turn is reached", CALL, ("--max-turns", "1")),
}  # fmt: skip


@pytest.mark.parametrize("name", thinned(CASES, 3))
def test_an_error_of_the_model_is_told_and_gone_on_after(sandbox: Sandbox, serve: Serve, name: str) -> None:
    case = CASES[name]
    api = serve({"*": {"turns": [[case.step], ["Fine."], ["Fine."]]}})
    env = dict(case.env)
    sandbox.chatml("new", "first-message", "--name", "task", "--wait", *case.options, code=1, env=env)
    session = sandbox.session("task")
    assert session["status"] == "failed"
    error = session["error"]
    assert error["kind"] == case.kind, error
    assert case.says in error["message"]
    assert error["hint"]
    assert f"{case.kind}: " in sandbox.chatml("ls").out
    if case.retries:
        told = [event["message"] for event in logged(sandbox, "task", "error") if event.get("retry")]
        assert told
        assert told[0].startswith("retrying 1/1: ")
    if case.kind in ("budget", "max_turns"):
        return  # it stays used up
    sandbox.chatml("send", "task", "second-message", "--wait")
    assert sandbox.session("task")["error"] is None
    if not case.env:  # else it never got as far as the model
        delivered_once(sandbox, api, "task", "first-message", "second-message")


def test_a_retry_is_seen_while_it_waits(sandbox: Sandbox) -> None:
    sandbox.env.update(CLAUDE_CODE_MAX_RETRIES="10", ANTHROPIC_BASE_URL=NOBODY)
    sandbox.chatml("new", "first-message", "--name", "task")
    wait_until(lambda: "retrying " in sandbox.chatml("ls").out, "the retry in ls")
    session = sandbox.session("task")
    assert session["status"] == "running"
    assert re.match(r"retrying \d/10: .*, next try in \d+ s$", session["activity"])
    sandbox.chatml("stop", "task")


def test_an_agent_that_is_missing_or_does_not_start(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    """A copy of the SDK without its CLI, as on a platform that the SDK brings none for."""
    import claude_agent_sdk

    api = serve({"*": ["Fine."]})
    source = Path(claude_agent_sdk.__file__).parent
    shutil.copytree(source, tmp_path / "lib" / "claude_agent_sdk", ignore=shutil.ignore_patterns("_bundled"))
    without = {"PYTHONPATH": f"{tmp_path / 'lib'}:{sandbox.env['PYTHONPATH']}"}

    def failure(code: int = 1) -> dict[str, Any]:
        sandbox.chatml("resume", "task", code=None, env=without)
        sandbox.chatml("wait", "task", code=code)
        found: dict[str, Any] = sandbox.session("task")["error"]
        return found

    sandbox.chatml("new", "first-message", "--name", "task", "--wait", code=1, env=without)
    error = failure()
    assert (error["kind"], error["message"]) == ("agent", "the Claude Code CLI is missing")
    assert "doctor" in error["hint"]

    cli = tmp_path / "bin" / "claude"
    cli.parent.mkdir()
    cli.write_text("#!/bin/sh\necho 'cannot start: no such luck' >&2\nexit 7\n")
    cli.chmod(0o700)
    without["PATH"] = f"{cli.parent}:{sandbox.env['PATH']}"
    error = failure()
    assert error["kind"] == "agent"
    assert "exited with code 7: cannot start: no such luck" in error["message"]
    cli.unlink()
    sandbox.chatml("resume", "task")
    sandbox.chatml("wait", "task")
    delivered_once(sandbox, api, "task", "first-message")


NEW_REFUSED: dict[str, tuple[list[str], int]] = {
    "unknown base": (["x", "--base", "nope"], 1),
    "option-like base": (["x", "--base", "--help"], 2),
    "base with a line break": (["x", "--base", "main\nmain"], 2),
    "empty base": (["x", "--base", ""], 2),
    "unknown branch": (["x", "--branch", "nope"], 1),
    "branch checked out": (["x", "--branch", "main"], 1),
    "option-like branch": (["x", "--branch", "--all"], 1),
    "name taken": (["x", "--name", "taken"], 1),
    "option-like name": (["x", "--name", "-x"], 2),
    "long option-like name": (["x", "--name", "--force"], 2),
    "name with a line break": (["x", "--name", "a\nb"], 2),
    "name with a space": (["x", "--name", "a b"], 2),
    "name with a slash": (["x", "--name", "../x"], 2),
    "dots": (["x", "--name", "a..b"], 2),
    "lock": (["x", "--name", "a.lock"], 2),
    "hidden": (["x", "--name", ".new-x"], 2),
    "empty name": (["x", "--name", ""], 2),
    "41 characters": (["x", "--name", "x" * 41], 2),
    "emoji": (["x", "--name", "🦀"], 2),
    "escape in the name": (["x", "--name", "a\x1b[31mb"], 2),
    "surrogate name": (["x", "--name", "a\udcff"], 2),
    "empty prompt": ([""], 2),
    "blank prompt": ([" \n\t"], 2),
    "no prompt": ([], 2),
    "escape in the prompt": (["red \x1b[31m alert"], 2),
    "surrogate prompt": (["a\udcff"], 2),
    "unknown agent": (["x", "--agent", "nobody"], 2),
    "unknown mode": (["x", "--permission-mode", "yolo"], 2),
    "no turns": (["x", "--max-turns", "0"], 2),
    "no budget": (["x", "--max-budget-usd", "nan"], 2),
    "two prompts": (["x", "y"], 2),
}


def _listing(sandbox: Sandbox) -> list[str]:
    """Every file under .git and beside the repository."""
    found = [str(path) for path in sandbox.repo.parent.rglob("*") if "home" not in path.parts]
    return [*sorted(found), sandbox.git("for-each-ref")]


def _refused(sandbox: Sandbox, args: list[str], code: int, cwd: Path | None = None, stdin: bytes = b"") -> str:
    done = forked.run(args, cwd=cwd or sandbox.repo, env=sandbox.env, stdin=stdin, timeout=TIMEOUT)
    err = done.err.decode()
    assert done.code == code, (args, done)
    assert done.out == b""
    assert err.startswith("error: "), err
    assert err.split("\n")[1].startswith("hint: "), err
    assert err.count("\n") == 2, err
    assert len(err) < 400, err
    assert err.isprintable() or "\x1b" not in err
    return err


def test_bad_input_of_new_is_refused_and_changes_nothing(sandbox: Sandbox) -> None:
    sandbox.git("branch", "chatml/taken")
    sandbox.chatml("new", "x", "--name", "taken", code=1)  # makes the folder of the state
    before = _listing(sandbox)
    for name, (args, code) in NEW_REFUSED.items():
        _refused(sandbox, ["new", *args], code)
        assert _listing(sandbox) == before, name
    assert "NUL" in _refused(sandbox, ["new", "-"], 2, stdin=b"a\0b")
    assert "1,000,000" in _refused(sandbox, ["new", "-"], 2, stdin=b"x" * 1_000_001)
    _refused(sandbox, ["new", "-"], 2)
    assert _listing(sandbox) == before


def test_bad_places_and_names(sandbox: Sandbox, tmp_path: Path) -> None:
    outside, empty = tmp_path / "outside", tmp_path / "empty"
    outside.mkdir()
    sandbox.git("init", "-q", str(empty), cwd=tmp_path)
    for args in (["ls"], ["new", "x"], ["send", "task", "x"]):
        assert "not a git repository" in _refused(sandbox, args, 1, cwd=outside)
    assert "no commit yet" in _refused(sandbox, ["new", "x"], 1, cwd=empty)
    assert not (empty / ".git" / "worktrees").exists()
    assert "no such directory" in _refused(sandbox, ["-C", "nowhere", "ls"], 1)
    for name in ("nope", "../victim", "/etc", "", ".", "a\nb", "x" * 300, "a\udcff", "-x"):
        _refused(sandbox, ["send", "--", name, "hello"], 1)
        _refused(sandbox, ["stop", "--", name], 1)
    for message in ("", " ", "a\x07b"):
        _refused(sandbox, ["send", "nope", message], 2)
    (tmp_path / "gone").mkdir()
    script = f"cd {tmp_path}/gone && rmdir {tmp_path}/gone && exec {sys.executable} -m chatml ls"
    env = {**sandbox.env, "PYTHONPATH": str(ROOT)}
    gone = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert gone.returncode == 1
    assert gone.stderr.startswith("error: ")


def test_a_checkout_that_git_can_not_look_at_starts_a_session_all_the_same(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": ["Fine."]})
    (sandbox.repo / ".git" / "index").write_bytes(b"garbage")
    assert sandbox.chatml("new", "first").out.startswith("first on chatml/first from main (")
    assert sandbox.chatml("new", "second", "--wait").out == "Fine.\n"
    sandbox.chatml("wait", "first")


def test_a_message_that_was_forgotten(sandbox: Sandbox) -> None:
    make_session(sandbox, "task")
    other = make_session(sandbox, "other")
    for cwd in (None, other):
        assert "no message for 'task'" in _refused(sandbox, ["send", "task"], 2, cwd)
    assert "task" not in (sandbox.state("other") / "inbox.jsonl").read_text()


NAMES: tuple[list[str], ...] = (
    ["ls"], ["path"], ["logs"], ["attach"], ["wait"], ["stop"], ["resume"], ["diff"], ["merge"], ["pr"], ["rm"],
    ["rm", "-n", "--force"], ["restore"],
)  # fmt: skip


def test_a_name_is_never_taken_for_a_path(sandbox: Sandbox, tmp_path: Path) -> None:
    make_session(sandbox, "task")
    (tmp_path / "outside").mkdir()
    before = _listing(sandbox)
    odd = (str(tmp_path / "outside"), "", ".", "..", "task/", "./task", "../sessions/task", ".hidden")
    for args, name in [*zip(NAMES, cycle(odd)), *((["rm", "--force"], name) for name in odd)]:
        assert "named '" in _refused(sandbox, [*args, name], 1), (args, name)
    assert _listing(sandbox) == before


def test_a_limit_on_file_sizes_is_told_and_nothing_is_left(sandbox: Sandbox) -> None:
    sandbox.chatml("ls")
    before = sandbox.git("for-each-ref"), sandbox.git("worktree", "list")
    limited = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *sandbox.command("new", "first", "--name", "task")]
    done = subprocess.run(
        limited, cwd=sandbox.repo, env=sandbox.env, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: file too large")
    assert "hint: a file grew over the limit" in done.stderr
    assert (sandbox.git("for-each-ref"), sandbox.git("worktree", "list")) == before
    assert os.listdir(sandbox.repo / ".git" / "chatml" / "sessions") == []


@pytest.mark.long
def test_a_model_may_say_anything(sandbox: Sandbox, serve: Serve) -> None:
    """Half a surrogate pair, control characters, and a megabyte on one line."""
    odd = "half \ud83d a pair, \x1b[31mred\x07, \0 and " + "long " * 200_000
    serve({"*": [odd]})
    told = sandbox.chatml("new", "first", "--name", "task", "--wait")
    assert "\x1b" not in told.out
    assert sandbox.session("task")["status"] == "done"
    for args in (["ls"], ["ls", "--json"], ["logs", "task"], ["logs", "--json", "task"]):
        sandbox.chatml(*args)
    sandbox.chatml("send", "task", "/no-such-command and {braces} $(echo x) `y` 'z'", "--wait")
