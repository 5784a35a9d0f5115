"""A package brings an agent or a runner in ten lines, and it lives like those that are built in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from chatml.model import Queueing, Status
from tests.faults import all_gone, record
from tests.made import make_session
from tests.support import Sandbox, wait_until

AGENT = """
from chatml.agents.plain import PlainAgent

class Parrot(PlainAgent):
    async def reply(self, text):
        (self.setting.worktree / "said").write_text(text)
        return f"You said: {text}"
"""

RUNNER = """
from chatml.runners.local import LocalRunner

class NiceRunner(LocalRunner):
    def command(self, store, lock):
        return ["nice", "-n", "5", *super().command(store, lock)]
"""

SHELL = "agents: {shell: {command: [sh, -c, 'echo \"$0\" > said; echo \"You said: $0\"', '{prompt}']}}\n"


def plug(sandbox: Sandbox, group: str, name: str, code: str) -> None:
    """Install a package as pip would, with one entry point."""
    folder = sandbox.home / "plugins"
    info = folder / f"{name}_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    kind = code.partition("class ")[2].partition("(")[0]
    (folder / f"{name}_plugin.py").write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}_plugin:{kind}\n")
    sandbox.env["PYTHONPATH"] = os.pathsep.join([str(folder), sandbox.env["PYTHONPATH"]])


@pytest.mark.parametrize(("agent", "runner"), [("shell", "local"), ("parrot", "local"), ("shell", "nice")])
def test_an_agent_and_a_runner_live_like_those_that_are_built_in(sandbox: Sandbox, agent: str, runner: str) -> None:
    plug(sandbox, "chatml.agents", "parrot", AGENT)
    plug(sandbox, "chatml.runners", "nice", RUNNER)
    (sandbox.repo / ".git" / "chatml").mkdir()
    (sandbox.repo / ".git" / "chatml" / "config.yaml").write_text(f"agent: {agent}\nrunner: {runner}\n{SHELL}")
    done = sandbox.chatml("new", "hello", "--name", "t", "--wait", "--json").json
    assert (done["status"], done["result"], done["agent"]) == ("done", "You said: hello", agent)
    assert Path(done["worktree"], "said").read_text().strip() == "hello"
    sandbox.chatml("send", "t", "and more", "--wait")
    assert (sandbox.session("t")["turns"], sandbox.session("t")["result"]) == (2, "You said: and more")
    assert [event["text"] for event in sandbox.events("t") if event["type"] == "message"] == ["hello", "and more"]
    sandbox.chatml("rm", "--force", "t")
    assert sandbox.chatml("ls", "t", code=1).out == ""
    sandbox.chatml("restore", "t")
    sandbox.chatml("send", "t", "once more", "--wait")
    assert sandbox.session("t")["result"] == "You said: once more"
    all_gone(sandbox)


@pytest.mark.long
def test_a_runner_stops_and_resumes_its_worker(sandbox: Sandbox) -> None:
    plug(sandbox, "chatml.runners", "nice", RUNNER)
    (sandbox.repo / ".git" / "chatml").mkdir()
    slow = "agents: {slow: {command: [sh, -c, 'command nice > nice; sleep 600', '{prompt}']}}\n"
    (sandbox.repo / ".git" / "chatml" / "config.yaml").write_text(f"agent: slow\nrunner: nice\n{slow}")
    sandbox.chatml("new", "hello", "-q", "--name", "t")
    nice = Path(record(sandbox, "t")["worktree"], "nice")
    wait_until(lambda: nice.exists() and nice.read_text().strip() == "5", "the agent to run, and to be nice")
    sandbox.chatml("stop", "t")
    assert sandbox.session("t")["status"] == "stopped"
    all_gone(sandbox)
    nice.unlink()
    sandbox.chatml("resume", "t")
    wait_until(nice.exists, "the agent to go on")
    sandbox.chatml("rm", "--force", "t")
    all_gone(sandbox)


def test_unknown_ones_are_an_error_and_a_session_whose_runner_is_gone_is_told(sandbox: Sandbox) -> None:
    wrong = sandbox.chatml("new", "hello", "--agent", "parrot", code=2)
    assert wrong.err.startswith("error: no agent named 'parrot'\nhint: known: claude")
    wrong = sandbox.chatml("new", "hello", code=2, env={"CHATML_RUNNER": "nice"})
    assert wrong.err == "error: no runner named 'nice'\nhint: known: local\n"
    assert sandbox.chatml("ls", "--json").json == []
    make_session(sandbox, "resting", runner="nice")
    make_session(sandbox, "busy", runner="nice", status=Status.RUNNING)
    told = sandbox.chatml("ls", "--json", code=1)
    assert [session["name"] for session in told.json] == ["resting"]
    assert "'busy'" in told.err
    assert "no runner named 'nice'" in told.err
    for verb in (["send", "resting", "go on"], ["stop", "resting"], ["rm", "--force", "resting"]):
        assert "needs the package that brings it" in sandbox.chatml(*verb, code=2).err


def test_a_session_whose_runner_is_gone_keeps_nobody_else_from_its_place(sandbox: Sandbox) -> None:
    (sandbox.repo / ".git" / "chatml").mkdir()
    (sandbox.repo / ".git" / "chatml" / "config.yaml").write_text(f"agent: shell\nmax_parallel: 1\n{SHELL}")
    gone: dict[str, Any] = {"runner": "nice", "max_parallel": 1}
    make_session(sandbox, "first", status=Status.QUEUED, queueing=Queueing("2020-01-01T00:00:00.000Z"), **gone)
    make_session(sandbox, "busy", status=Status.RUNNING, **gone)
    make_session(sandbox, "resting", leftovers=True, **gone)
    assert sandbox.chatml("new", "hello", "--name", "t", "--wait", "--json").json["status"] == "done"
    listed = sandbox.chatml("ls", "--json", code=1)
    assert {one["name"]: one["processes"] for one in listed.json} == {"resting": None, "t": []}
    assert [name for name in ("first", "busy") if f"'{name}'" not in listed.err] == []


def test_a_package_whose_code_can_not_be_loaded_is_told(sandbox: Sandbox) -> None:
    plug(sandbox, "chatml.runners", "nice", f"import nowhere\n{RUNNER}")
    plug(sandbox, "chatml.agents", "parrot", f"import nowhere\n{AGENT}")
    why = "No module named 'nowhere'\nhint: install the package that brings it anew\n"
    wrong = sandbox.chatml("new", "hello", code=2, env={"CHATML_RUNNER": "nice"})
    assert wrong.err == f"error: can't load nice_plugin:NiceRunner: {why}"
    wrong = sandbox.chatml("new", "hello", "--agent", "parrot", code=2)
    assert wrong.err == f"error: can't load parrot_plugin:Parrot: {why}"
    make_session(sandbox, "busy", runner="nice", status=Status.RUNNING)
    assert "can't load nice_plugin:NiceRunner" in sandbox.chatml("ls", code=1).err
