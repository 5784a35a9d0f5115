"""What other people's scripts rely on: JSON keys, exit codes, where output goes, pipes and colours."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from tests.faults import Serve
from tests.support import TIMEOUT, Sandbox, wait_until

SESSION_KEYS = {
    "name", "status", "prompt", "activity", "request", "branch", "base", "worktree", "agent", "model",
    "permission_mode", "session_id", "created_at", "updated_at", "turns", "cost_usd", "tokens", "changes", "conflicts",
    "pr", "port", "result", "error", "pid",
}  # fmt: skip

EVENT_KEYS = {
    "status": {"status"},
    "message": {"text"},
    "text": {"text"},
    "delta": {"text"},
    "tool": {"id", "name", "input"},
    "tool_result": {"id", "ok", "output"},
    "turn": {"result", "cost_usd", "tokens", "duration_ms"},
    "request": {"id", "kind", "summary"},
    "reply": {"id"},
}


def test_session_and_event_json_have_the_keys_of_the_contract(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [["Look. ", {"Bash": {"command": "ls"}}, {"Bash": {"command": "curl http://127.0.0.1:9"}}], "Ready."]})
    made = sandbox.chatml("new", "first task", "--json", "--wait", "--max-turns", "9", "--on-request", "deny")
    assert made.err == ""
    session = made.json
    assert set(session) >= SESSION_KEYS
    assert [session] == sandbox.chatml("ls", "--json").json
    assert session["status"] == "done"
    assert session["agent"] == "claude"
    assert session["permission_mode"] == "acceptEdits"
    assert set(session["base"]) == {"ref", "commit"}
    assert session["base"]["ref"] == "main"
    assert set(session["tokens"]) == {"input", "output", "cache_read", "cache_creation"}
    assert set(session["changes"]) == {"files", "insertions", "deletions", "commits", "uncommitted", "left_out"}
    for key in ("request", "activity", "conflicts", "pr", "port", "error", "pid"):
        assert session[key] is None, key
    for key in ("created_at", "updated_at"):
        assert session[key].endswith("Z")
        datetime.fromisoformat(session[key].replace("Z", "+00:00"))

    events = sandbox.events("first-task")
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {event["type"] for event in events} >= set(EVENT_KEYS)
    for event in events:
        assert set(event) >= {"seq", "time", "type"} | EVENT_KEYS.get(event["type"], set()), event
    results = [event for event in events if event["type"] == "tool_result"]
    assert [result["ok"] for result in results] == [True, False]
    assert session["denied"] == 1


def test_a_message_amid_a_turn_does_not_hide_what_was_denied_before(sandbox: Sandbox, serve: Serve) -> None:
    look = {"Read": {"file_path": "{cwd}/README.md"}}
    refused = {"Bash": {"command": "curl http://127.0.0.1:9"}}
    api = serve({"*": {"turns": [[refused, [{"hold": "here"}, look], "Fine."], ["Fine."]]}})
    sandbox.chatml("new", "first", "--name", "task", "--permission-mode", "dontAsk")
    api.wait_for(lambda: api.holding["here"])
    sandbox.chatml("send", "task", "second")
    unread = ("unsend", "task", "--json")
    wait_until(lambda: sandbox.chatml(*unread).json[0]["state"] == "handed", "the agent to be given the message")
    api.release("here")
    sandbox.chatml("wait", "task")
    assert [event["type"] for event in sandbox.events("task") if event["type"] in ("message", "turn", "request")] == [
        "message", "request", "message", "turn",
    ]  # fmt: skip
    assert sandbox.session("task")["denied"] == 1
    assert "[1 denied]" in sandbox.chatml("ls").out
    sandbox.chatml("send", "task", "third", "--wait")
    assert sandbox.session("task")["denied"] == 0


def test_the_answer_goes_to_stdout_and_the_narration_to_stderr(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": ["Ready."]})
    assert sandbox.chatml("new", "-q", "one").out == "one\n"
    assert sandbox.chatml("wait", "-q").out in ("one\n", "")
    assert sandbox.chatml("ls", "-q").out == "one\n"
    assert sandbox.chatml("path", "one").out == f"{sandbox.repo}.chatml/one\n"
    sent = sandbox.chatml("send", "one", "more")
    assert (sent.out, sent.err) == ("", "sent to one\n")
    assert sandbox.chatml("attach", "one").out.rstrip().splitlines()[-1].startswith("── turn ended")


def test_exit_codes(sandbox: Sandbox, serve: Serve) -> None:
    serve({"held": [["…", {"hold": "on"}]], "bad": [{"fail": 400, "message": "no"}], "*": ["Ready."]})
    assert sandbox.chatml("ls", "nobody", code=1).err.startswith("error: no session named 'nobody'\nhint: ")
    assert sandbox.chatml("frobnicate", code=2).err.startswith("error: no such command 'frobnicate'")
    assert "did you mean 'attach'" in sandbox.chatml("atach", code=2).err
    assert sandbox.chatml("ls", "--stauts", "x", code=2).err.startswith("error: no such option")
    assert sandbox.chatml("new", code=2).err.startswith("error: no prompt\nhint: ")
    assert sandbox.chatml("-C", "/", "ls", code=1).err.startswith("error: not a git repository: /\n")
    sandbox.chatml("new", "held task", "-q")
    assert sandbox.chatml("wait", "held-task", "--timeout", "0.2", code=124).err.startswith("error: still at work")
    failed = sandbox.chatml("new", "bad task", "--wait", code=1)
    assert "error: bad-task failed: " in failed.err
    both = sandbox.chatml("ls", "bad-task", "nobody", "-q", code=1)
    assert both.out == "bad-task\n"
    assert sandbox.chatml("wait", "--any", "held-task", "bad-task", code=1).out == "bad-task: failed\n"


BUG = """\
import chatml.output

def json_answer(*_: object) -> None:
    raise RuntimeError("nobody thought of it")

chatml.output.json_answer = json_answer
"""
"""A module that Python loads by itself at its start, where it finds it on its path (`site`)."""


def test_a_bug_is_one_line_and_a_file(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "bug").mkdir()
    (tmp_path / "bug" / "sitecustomize.py").write_text(BUG)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    path = os.pathsep.join([str(tmp_path / "bug"), sandbox.env["PYTHONPATH"]])
    broken = sandbox.chatml("ls", "--json", code=70, env={"PYTHONPATH": path, "TMPDIR": str(temporary)})
    (report,) = temporary.iterdir()
    assert broken.out == ""
    assert broken.err.splitlines() == [
        "error: this is a bug in chatml: RuntimeError: nobody thought of it",
        f"hint: please report it with {report}",
    ]
    assert "Traceback (most recent call last):" in report.read_text()
    assert report.read_text().startswith("chatml ")


def test_a_file_in_the_place_of_the_state_is_no_bug(sandbox: Sandbox) -> None:
    (sandbox.repo / ".git" / "chatml").write_text("in the way")
    broken = sandbox.chatml("ls", code=None)
    assert "Traceback" not in broken.err
    assert broken.code in (0, 1)


def test_a_closed_pipe_is_no_error(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": ["word " * 20_000]})
    sandbox.chatml("new", "talk", "--wait", "-q")
    command = " ".join(sandbox.command("logs", "talk", "--json")) + ' | head -n 1; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=sandbox.repo,
        env=sandbox.env,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    first, code = done.stdout.splitlines()
    assert json.loads(first)["seq"] == 1
    assert (code, done.stderr) == ("0", "")


@pytest.mark.parametrize(
    ("args", "env", "coloured"),
    [
        ([], {}, False),
        (["--color", "always"], {}, True),
        ([], {"FORCE_COLOR": "1"}, True),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_unless_asked_for(
    sandbox: Sandbox, args: list[str], env: dict[str, str], coloured: bool
) -> None:
    said = sandbox.chatml("ls", "nobody", *args, env=env, code=1)
    assert ("\x1b[" in said.err) is coloured


def test_help_needs_no_repository_and_fits_80_columns(sandbox: Sandbox) -> None:
    text = sandbox.chatml("-h", cwd=sandbox.home).out
    assert "Start and watch" in text
    assert max(map(len, text.splitlines())) <= 80
    assert sandbox.chatml("--version", cwd=sandbox.home).out.startswith("chatml 0.")
