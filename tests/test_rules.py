"""What a person's own rules let run, ask about and deny, from the settings to a restarted agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.calls import bash
from tests.faults import Serve
from tests.support import Sandbox


def configure(sandbox: Sandbox, text: str) -> Path:
    config = sandbox.repo / ".git" / "chatml" / "config.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(text)
    return config


def tried(sandbox: Sandbox, serve: Serve, *calls: Any, mode: str = "acceptEdits") -> list[bool]:
    """Whether each call ran, where nobody is there to be asked."""
    serve({"*": [*([call] for call in calls), "Tried."]})
    sandbox.chatml("new", "try", "-q", "--name", "t", "--wait", "--on-request", "deny", "--permission-mode", mode)
    return [event["ok"] for event in sandbox.events("t") if event["type"] == "tool_result"]


def test_deny_comes_before_ask_and_ask_before_allow(sandbox: Sandbox, serve: Serve) -> None:
    configure(
        sandbox,
        "deny: ['Bash(python3 -X:*)', 'Edit(secret/**)']\nask: ['Bash(python3 -V:*)', 'Bash(git commit:*)']\n"
        "allow: ['Bash(python3:*)']\n",
    )
    write = {"Write": {"file_path": "{cwd}/secret/key", "content": "x"}}
    calls = [
        bash("python3 -c 1"),
        bash("python3 -V"),
        bash("python3 -X dev"),
        bash("git commit --allow-empty -m x"),
        write,
    ]
    assert tried(sandbox, serve, *calls) == [True, False, False, False, False]
    shown = sandbox.chatml("show", "t").out
    assert "allowed: Bash(python3:*)" in shown
    assert "asked about: Bash(python3 -V:*), Bash(git commit:*)" in shown
    assert "denied: Bash(python3 -X:*), Edit(secret/**)" in shown


@pytest.mark.long
@pytest.mark.parametrize("mode", ["bypassPermissions", "dontAsk"])
def test_a_denied_call_is_denied_in_every_mode(sandbox: Sandbox, serve: Serve, mode: str) -> None:
    configure(sandbox, "deny: ['Bash(touch:*)']\nallow: [Bash]\n")
    assert tried(sandbox, serve, bash("touch x"), bash("python3 -V"), mode=mode) == [False, True]


def test_what_lies_outside_is_asked_about_whatever_the_rules_say(sandbox: Sandbox, serve: Serve) -> None:
    configure(sandbox, "allow: [Write, Edit]\n")
    out = sandbox.repo.parent / "out.txt"
    write = {"Write": {"file_path": str(out), "content": "x"}}
    assert tried(sandbox, serve, write, mode="default") == [False]
    assert not out.exists()


def test_a_committed_file_restricts_and_frees_nothing(sandbox: Sandbox, serve: Serve) -> None:
    configure(sandbox, "allow: ['Bash(python3:*)', 'Bash(make:*)']\n")
    sandbox.commit("rules", _dot_chatml_dot_yaml="deny: ['Bash(python3:*)']\n")
    assert tried(sandbox, serve, bash("python3 -V")) == [False]
    (sandbox.repo / ".chatml.yaml").write_text("allow: ['Bash(python3:*)']\n")
    refused = sandbox.chatml("new", "x", code=1)
    assert refused.err.startswith("error: .chatml.yaml:1: 'allow' can't be set in a committed file\nhint: ")


@pytest.mark.long
def test_the_rules_of_a_session_are_those_it_began_with(sandbox: Sandbox, serve: Serve) -> None:
    """Also for the agent that goes on later, whatever the settings say by then."""
    config = configure(sandbox, "deny: ['Bash(touch:*)']\nallow: ['Bash(python3:*)']\n")
    calls = [[bash("touch x")], [bash("python3 -V")], "Tried."]
    serve({"*": {"turns": [calls, calls]}})
    sandbox.chatml("new", "try", "-q", "--name", "t", "--wait", "--on-request", "deny", "--permission-mode", "default")
    config.write_text("allow: ['Bash(touch:*)']\n")
    sandbox.chatml("send", "t", "again", "--wait")
    assert [event["ok"] for event in sandbox.events("t") if event["type"] == "tool_result"] == [False, True] * 2


@pytest.mark.long
def test_for_all_holds_in_this_session_and_in_later_ones(sandbox: Sandbox, serve: Serve) -> None:
    config = configure(sandbox, "# mine\nmodel: null  # any\n")
    serve({"*": [[bash("python3 -V")], [bash("python3 -V")], "Done."]})
    sandbox.chatml("new", "a", "-q", "--name", "a")
    sandbox.chatml("wait", "a", code=3)
    (rule,) = sandbox.session("a")["request"]["detail"]["rules"]
    said = sandbox.chatml("approve", "a", "--for-all").err
    assert said == f"a: approved Bash: python3 -V; from now on without asking: {rule} (all sessions)\n"
    sandbox.chatml("wait", "a")
    assert config.read_text() == "# mine\nmodel: null  # any\n"
    assert json.loads((config.parent / "approvals.json").read_text()) == {"allow": [rule]}
    assert sandbox.chatml("new", "b", "-q", "--wait").code == 0


def test_for_all_refuses_a_damaged_file_of_approvals(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[bash("python3 -V")], "Done."]})
    sandbox.chatml("new", "a", "-q", "--name", "a")
    sandbox.chatml("wait", "a", code=3)
    approvals = sandbox.repo / ".git" / "chatml" / "approvals.json"
    approvals.write_text("{")
    refused = sandbox.chatml("approve", "a", "--for-all", code=1)
    assert f"error: {approvals}: damaged\nhint: mend it" in refused.err
    assert (approvals.read_text(), sandbox.session("a")["status"]) == ("{", "waiting")
    sandbox.chatml("deny", "a")
    sandbox.chatml("wait", "a")
