"""Planning first: nothing is touched until a person has approved the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults import Serve, agents, kill, worker
from tests.support import Sandbox, wait_until
from tests.terminal import terminal

PLAN = ["# Split the module\n\n1. Move the parser.\n", {"ExitPlanMode": {}}]
WRITE = {"Write": {"file_path": "{cwd}/parser.py", "content": "PARSER = 1\n"}}
COMMIT = {"Bash": {"command": "git add parser.py && git commit -qm 'Move the parser'"}}


def planned(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.chatml("wait", "p", code=3)
    session = sandbox.session("p")
    assert (session["status"], session["request"]["kind"]) == ("waiting", "plan")
    return session


def new(sandbox: Sandbox, *options: str) -> dict[str, Any]:
    sandbox.chatml("new", "split it", "-q", "--name", "p", "--permission-mode", "plan", *options)
    return planned(sandbox)


def parser(sandbox: Sandbox) -> Path:
    return Path(sandbox.session("p")["worktree"]) / "parser.py"


def test_a_plan_is_approved_and_the_work_goes_on_in_the_mode_without_it(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[WRITE], PLAN, [WRITE], [COMMIT], "Split."]})
    session = new(sandbox)
    assert session["permission_mode"] == "plan"
    assert session["request"]["summary"] == "Split the module"
    assert "plan ready: Split the module" in sandbox.chatml("ls").out
    assert sandbox.chatml("show", "p", "--plan").out == "# Split the module\n\n1. Move the parser.\n"
    assert "1. Move the parser." in sandbox.chatml("show", "p").out
    assert not parser(sandbox).exists()
    refused = [event for event in sandbox.events("p") if event["type"] == "tool_result"]
    assert "plan mode" in refused[0]["output"]
    sandbox.chatml("approve", "p")
    done = sandbox.until("p", "done", "failed")
    assert (done["result"], done["permission_mode"]) == ("Split.", "acceptEdits")
    assert done["changes"]["commits"] == 1


def test_a_denied_plan_is_planned_again(sandbox: Sandbox, serve: Serve) -> None:
    better = ["# A better plan\n", {"ExitPlanMode": {}}]
    serve({"*": [PLAN, better, "Fine."]})
    new(sandbox)
    sandbox.chatml("deny", "p", "-m", "leave the parser alone")
    again = planned(sandbox)
    assert (again["request"]["summary"], again["permission_mode"]) == ("A better plan", "plan")
    assert sandbox.chatml("show", "p", "--plan").out == "# A better plan\n"
    said = [event["output"] for event in sandbox.events("p") if event["type"] == "tool_result"]
    assert said == ["leave the parser alone"]


def test_the_mode_after_the_plan_is_the_configured_one(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [PLAN, [WRITE], "Split."]})
    (sandbox.repo / ".git" / "chatml").mkdir(exist_ok=True)
    (sandbox.repo / ".git" / "chatml" / "config.yaml").write_text("permission_mode: default\n")
    new(sandbox)
    sandbox.chatml("approve", "p")
    sandbox.chatml("wait", "p", code=3)
    asked = sandbox.session("p")
    assert (asked["request"]["summary"], asked["permission_mode"]) == ("Write parser.py", "default")


def test_an_edited_plan_is_what_the_agent_and_show_have(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [PLAN, "Split."]})
    new(sandbox)
    sandbox.chatml("approve", "p", "--edit", env={"EDITOR": "sed -i s/parser/lexer/"})
    sandbox.until("p", "done")
    assert sandbox.chatml("show", "p", "--plan").out == "# Split the module\n\n1. Move the lexer.\n"
    said = [event["output"] for event in sandbox.events("p") if event["type"] == "tool_result"]
    assert "Move the lexer." in said[0]


@pytest.mark.long
def test_a_plan_outlives_its_worker(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": {"turns": [[PLAN]], "on": {"the plan is approved": [[WRITE], "Split."]}}})
    new(sandbox)
    kill(worker(sandbox, "p"))
    wait_until(lambda: not agents(sandbox), "the agent to end with its worker")
    assert sandbox.session("p")["status"] == "waiting"
    sandbox.chatml("approve", "p")
    done = sandbox.until("p", "done", "failed", "waiting")
    assert (done["status"], done["result"], done["permission_mode"]) == ("done", "Split.", "acceptEdits"), done
    assert parser(sandbox).read_text() == "PARSER = 1\n"
    assert "the plan is approved" in "\n".join(api.requests[-1].talk.texts)


def test_a_session_without_a_plan_says_so(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": ["Hello."]})
    sandbox.chatml("new", "hello", "-q", "--name", "p", "--wait")
    assert sandbox.chatml("show", "p", "--plan", code=1).err.startswith("error: 'p' has made no plan\nhint: ")


def test_after_the_plan_everything_may_run_where_that_was_configured(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [PLAN, [{"Bash": {"command": "python3 -c \"open('made.py', 'w')\""}}], "Split."]})
    (sandbox.repo / ".git" / "chatml").mkdir(exist_ok=True)
    (sandbox.repo / ".git" / "chatml" / "config.yaml").write_text("permission_mode: bypassPermissions\n")
    new(sandbox)
    sandbox.chatml("approve", "p")
    done = sandbox.until("p", "done", "failed", "waiting")
    assert (done["status"], done["permission_mode"]) == ("done", "bypassPermissions"), done["request"]
    assert parser(sandbox).with_name("made.py").exists()


def test_a_plan_is_read_denied_and_approved_in_attach(sandbox: Sandbox, serve: Serve) -> None:
    better = ["# A better plan\n", {"ExitPlanMode": {}}]
    serve({"*": [PLAN, better, [WRITE], "Split."]})
    sandbox.chatml("new", "split it", "-q", "--name", "p", "--permission-mode", "plan")
    with terminal(sandbox) as window:
        window.type("chatml attach p")
        window.expect("? plan ready: Split the module", "1. Move the parser.", "y yes · n [REASON] no")
        window.type("n leave the parser alone")
        window.expect("denied: leave the parser alone", "? plan ready: A better plan")
        window.type("y")
        window.expect("Split.", "p is done")
    assert parser(sandbox).exists()
