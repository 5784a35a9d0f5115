"""The sandbox around an agent's shell commands: what runs in it unasked, and what is asked about all the same."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.calls import bash
from tests.contained import needs_sandbox, path_without
from tests.faults import Serve, agents, kill, worker
from tests.support import Sandbox, needs, wait_until

COMMIT = {"Bash": {"command": "echo new > new.txt && git add -A && git commit -qm 'Add it' && git status --porcelain"}}


PLAN = ["# The plan", {"ExitPlanMode": {}}]


def begin(sandbox: Sandbox, serve: Serve, *steps: Any, options: tuple[str, ...] = (), code: int = 0) -> dict[str, Any]:
    """A session of these calls in a sandbox, once it needs a person or is done."""
    serve({"*": [*(step if isinstance(step, list) else [step] for step in steps), "Done."]})
    sandbox.chatml("new", "do it", "-q", "--name", "t", "--sandbox", "auto", *options)
    sandbox.chatml("wait", "t", code=code)
    return sandbox.session("t")


def outputs(sandbox: Sandbox) -> list[str]:
    return [event["output"] for event in sandbox.events("t") if event["type"] == "tool_result"]


@needs_sandbox
def test_a_command_in_the_sandbox_runs_unasked(sandbox: Sandbox, serve: Serve) -> None:
    session = begin(sandbox, serve, bash("python3 -c \"open('made.txt', 'w')\"; touch ../no"))
    assert Path(session["worktree"], "made.txt").exists()
    assert not Path(session["worktree"], "..", "no").exists()
    assert "read-only file system" in outputs(sandbox)[0].lower()


@needs_sandbox
@pytest.mark.parametrize("own", ["core.excludesFile", "default", "none"])
def test_an_agent_commits_all_from_within(sandbox: Sandbox, serve: Serve, own: str) -> None:
    """Nothing that the sandbox masks gets in the way, and what the person's own git leaves out stays out."""
    ignored = {"core.excludesFile": sandbox.home / "mine", "default": sandbox.home / ".config" / "git" / "ignore"}.get(
        own
    )
    if ignored is not None:
        ignored.parent.mkdir(parents=True, exist_ok=True)
        ignored.write_text("*.log")
        if own != "default":
            sandbox.git("config", "--global", "core.excludesFile", str(ignored))
    env = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "Grace"}
    sandbox.env.update(env)
    sandbox.git("gc", "-q")  # all branches are packed: the folder of the session's own may be missing
    session = begin(sandbox, serve, bash("touch x.log"), COMMIT, COMMIT)
    assert outputs(sandbox)[1] == "(Bash completed with no output)"
    log = sandbox.git("log", "--format=%an %s", "--name-only", "main..chatml/t").split("\n")
    assert log == ["Grace Add it", "", *(["new.txt"] if own != "none" else ["new.txt", "x.log"])]
    assert sandbox.git("status", "--porcelain", "--ignored", cwd=Path(session["worktree"])) in ("", "!! x.log")
    assert not (sandbox.repo / ".git" / "info" / "exclude").read_text().count("bashrc")


@needs_sandbox
def test_what_the_sandbox_masks_is_committed_where_it_is_really_there(sandbox: Sandbox, serve: Serve) -> None:
    sandbox.commit("settings", _dot_vscode__tasks="{}")
    write = {"Write": {"file_path": "{cwd}/.idea/own.xml", "content": "<x/>\n"}}
    begin(sandbox, serve, write, COMMIT, code=3)
    sandbox.chatml("approve", "t")
    sandbox.chatml("wait", "t")
    assert "own.xml" in sandbox.git("show", "--stat", "chatml/t")


@pytest.mark.long
@needs_sandbox
def test_what_the_sandbox_puts_in_place_is_no_change_and_does_not_stay(sandbox: Sandbox, serve: Serve) -> None:
    """While a command runs, there are empty files in the worktree, and one that locks the repository's settings."""
    serve({"first": [[bash("touch own.txt; python3 -c 'import time; time.sleep(600)'")], "Done."], "*": ["Hello."]})
    sandbox.chatml("new", "first", "-q", "--name", "t", "--sandbox", "required")
    worktree = Path(sandbox.session("t")["worktree"])
    wait_until((worktree / "own.txt").exists, "the command")
    assert (worktree / ".bashrc").exists()
    assert sandbox.chatml("diff", "t", "--name-only").out == "own.txt\n"
    sandbox.chatml("new", "second", "-q", "--name", "second", "--wait")
    sandbox.chatml("rm", "second")
    for pid in agents(sandbox):
        kill(pid)
    sandbox.until("t", "failed")
    assert sandbox.git("status", "--porcelain", cwd=worktree) == "?? own.txt"
    sandbox.git("config", "a.b", "c")


@needs_sandbox
def test_agents_share_no_temporary_files(sandbox: Sandbox, serve: Serve) -> None:
    """Not even the folder of Claude Code's own, where each agent's settings lie."""
    temporary = Path(os.environ["TMPDIR"])
    shared = temporary / f"claude-{os.getuid()}"
    shared.mkdir(exist_ok=True)
    before = set(temporary.iterdir())
    begin(sandbox, serve, bash(f"echo x > {shared}/planted; echo x > $TMPDIR/own && cat $TMPDIR/own"))
    assert outputs(sandbox)[0].endswith("\nx")
    assert not (shared / "planted").exists()
    assert not [path.name for path in set(temporary.iterdir()) - before if path.name.startswith("chatml-")]


@pytest.mark.long
@needs_sandbox
def test_an_agent_that_was_killed_leaves_no_temporary_files_for_good(sandbox: Sandbox, serve: Serve) -> None:
    place = Path(tempfile.mkdtemp(dir=os.environ["TMPDIR"]))  # short: sockets are put into it
    sandbox.env["TMPDIR"] = str(place)
    api = serve({"*": [bash("echo $CLAUDE_CODE_TMPDIR"), [{"hold": "here"}, "Done."]]})
    sandbox.chatml("new", "do it", "-q", "--name", "t", "--sandbox", "auto")
    api.wait_for(lambda: api.holding["here"])
    # Beside it may be others for a moment, such as that of a count of the changes.
    left = place / Path(outputs(sandbox)[0].strip()).relative_to(place).parts[0]
    kill(worker(sandbox, "t"))
    sandbox.until("t", "crashed")
    assert left.exists()
    api.release("here")
    sandbox.chatml("resume", "t")
    sandbox.chatml("wait", "t")
    assert not left.exists()


@needs_sandbox
def test_the_persons_rules_hold_in_the_sandbox_too(sandbox: Sandbox, serve: Serve) -> None:
    config = sandbox.repo / ".git" / "chatml" / "config.yaml"
    config.parent.mkdir()
    config.write_text("deny: ['Bash(touch:*)']\nask: ['Bash(python3:*)']\n")
    session = begin(sandbox, serve, bash("touch no.txt"), bash("python3 -c 1; touch x"), bash("python3 -V"), code=3)
    assert session["request"]["summary"] == "Bash: python3 -V"
    assert not Path(session["worktree"], "no.txt").exists()
    assert not Path(session["worktree"], "x").exists()


@needs_sandbox
def test_leaving_the_sandbox_is_asked_about(sandbox: Sandbox, serve: Serve) -> None:
    out = sandbox.repo.parent / "out.txt"
    session = begin(sandbox, serve, bash(f"touch {out}", dangerouslyDisableSandbox=True), code=3)
    assert session["request"]["detail"]["input"]["dangerouslyDisableSandbox"] is True
    assert not out.exists()
    sandbox.chatml("approve", "t")
    sandbox.chatml("wait", "t")
    assert out.exists()


@needs_sandbox
def test_where_it_is_required_nothing_leaves_it(sandbox: Sandbox, serve: Serve) -> None:
    out = sandbox.repo.parent / "out.txt"
    leave = bash(f"touch {out}", dangerouslyDisableSandbox=True)
    begin(sandbox, serve, leave, options=("--sandbox", "required", "--permission-mode", "bypassPermissions"))
    assert "read-only file system" in outputs(sandbox)[0].lower()
    assert not out.exists()


@needs_sandbox
def test_an_unknown_host_is_asked_about(sandbox: Sandbox, serve: Serve) -> None:
    fetch = "python3 -c \"import urllib.request as r; r.urlopen('http://chatml.example/', timeout=20)\""
    session = begin(sandbox, serve, bash(fetch), code=3)
    assert session["request"]["summary"] == "network access to chatml.example"
    assert "may it? network access to chatml.example" in sandbox.chatml("ls").out
    sandbox.chatml("deny", "t")
    sandbox.chatml("wait", "t")


@needs_sandbox
def test_no_command_writes_while_the_agent_plans(sandbox: Sandbox, serve: Serve) -> None:
    planning = ("--permission-mode", "plan")
    write = bash("python3 -c \"open('a', 'w')\"")
    session = begin(sandbox, serve, bash("ls"), write, PLAN, write, COMMIT, code=3, options=planning)
    assert session["request"]["summary"].startswith("Bash: python3")
    sandbox.chatml("deny", "t")
    sandbox.chatml("wait", "t", code=3)
    assert sandbox.session("t")["request"]["kind"] == "plan"
    assert not Path(session["worktree"], "a").exists()
    sandbox.chatml("approve", "t")
    sandbox.chatml("wait", "t")
    assert Path(session["worktree"], "a").exists()
    assert sandbox.session("t")["changes"]["commits"] == 1


@pytest.mark.long
@needs_sandbox
def test_the_modes_that_do_not_ask_keep_their_meaning(sandbox: Sandbox, serve: Serve) -> None:
    out = sandbox.repo.parent / "out.txt"
    session = begin(sandbox, serve, bash(f"touch {out}"), options=("--permission-mode", "bypassPermissions"))
    assert out.exists()
    sandbox.chatml("rm", "t", "--force")
    session = begin(sandbox, serve, bash("touch made.txt"), COMMIT, options=("--permission-mode", "dontAsk"))
    assert session["denied"] > 0
    assert not Path(session["worktree"], "made.txt").exists()


@needs("socat")
def test_without_the_tools_a_command_is_asked_about(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    sandbox.env["PATH"] = path_without(tmp_path / "bin", "bwrap")
    assert begin(sandbox, serve, bash("python3 -V"), code=3)["request"]["summary"] == "Bash: python3 -V"
    (finding,) = [each for each in sandbox.chatml("doctor", "--json").json if each["check"] == "sandbox"]
    assert (finding["level"], finding["hint"]) == ("warning", "such as: apt install bubblewrap")
    sandbox.chatml("stop", "t")


@pytest.mark.long
@needs("socat")
def test_where_the_kernel_forbids_it_a_command_is_asked_about(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    sandbox.env["PATH"] = path_without(tmp_path / "bin", "bwrap")
    forbidden = tmp_path / "bin" / "bwrap"
    forbidden.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    forbidden.chmod(0o755)
    assert begin(sandbox, serve, bash("python3 -V"), code=3)["request"]["summary"] == "Bash: python3 -V"
    (finding,) = [each for each in sandbox.chatml("doctor", "--json").json if each["check"] == "sandbox"]
    assert "the kernel forbids it: bwrap: No permissions" in finding["message"]


@needs("bwrap")
def test_a_required_sandbox_that_is_not_there_stops_the_session_before_the_agent(
    sandbox: Sandbox, serve: Serve, tmp_path: Path
) -> None:
    api = serve({"*": ["Hello."]})
    bare = {"PATH": path_without(tmp_path / "bin", "socat")}
    refused = sandbox.chatml("new", "x", "--sandbox", "required", env=bare, code=1)
    assert refused.err == "error: no sandbox here: not installed: socat\nhint: such as: apt install socat\n"
    assert sandbox.chatml("ls", "--json").json == []
    assert len(sandbox.git("worktree", "list").splitlines()) == 1
    program = {"CHATML_AGENT": "mine"}
    config = sandbox.repo / ".git" / "chatml" / "config.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text("agents: {mine: {command: [echo, '{prompt}']}}\n")
    other = sandbox.chatml("new", "x", "--sandbox", "required", env=program, code=1)
    assert "can't hold for the agent 'mine'" in other.err
    assert not api.requests


@pytest.mark.long
@needs_sandbox
def test_a_required_sandbox_that_went_away_fails_the_session(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    api = serve({"*": ["Hello."]})
    sandbox.chatml("new", "x", "--name", "t", "--sandbox", "required", "--wait", "-q")
    asked = len(api.requests)
    sandbox.env["PATH"] = path_without(tmp_path / "bin", "bwrap")
    sandbox.chatml("send", "t", "again")
    failed = sandbox.until("t", "failed")
    assert (failed["error"]["kind"], failed["error"]["message"]) == (
        "setup",
        "no sandbox here: not installed: bubblewrap",
    )
    assert len(api.requests) == asked
