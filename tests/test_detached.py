"""A worker depends on nothing of the place and the process it was started from, and runs nothing that lies there."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import Serve, agents, logged, worker
from tests.support import ROOT, TIMEOUT, Sandbox, wait_until

IN_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
ODD = "a b'c\"d$HOME`é日本\\"
"""A folder's name with all that a shell, git or JSON might trip over."""


def test_a_closed_terminal_ctrl_c_and_open_files_leave_the_worker_alone(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": [["Half ", {"hold": "here"}, "done."]]})
    master, slave = pty.openpty()
    leaked, other = os.pipe()
    terminal = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, "sh", "-c", '"$@"; echo made; exec sleep 1000', "sh",
         *sandbox.command("new", "first", "--name", "task")],
        cwd=sandbox.repo, env=sandbox.env, stdin=slave, stdout=slave, stderr=slave, pass_fds=(leaked,),
    )  # fmt: skip
    os.close(slave)
    api.wait_for(lambda: api.holding["here"])
    pid = worker(sandbox, "task")
    assert os.getsid(pid) == pid
    assert os.getpgid(pid) == pid
    open_files = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
    assert os.readlink(f"/proc/self/fd/{leaked}") not in open_files
    assert not {name for name in open_files if name.startswith(("/dev/pts", "/dev/tty"))}
    assert Path(f"/proc/{pid}/cwd").resolve() == sandbox.state("task")

    os.write(master, b"\x03")  # Ctrl-C goes to the whole process group in the foreground
    terminal.wait(TIMEOUT)
    os.close(master)  # and this hangs up on what is left there
    for end in (leaked, other):
        os.close(end)
    os.kill(pid, signal.SIGHUP)
    api.release("here")
    sandbox.until("task", "done")


@pytest.mark.long
def test_it_works_from_any_place_in_a_repository_with_an_odd_name(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [{"Bash": {"command": "echo {prompt} > made-here"}}, "Made."]})
    sandbox.repo.rename(sandbox.repo.with_name(ODD))
    sandbox.repo = sandbox.repo.with_name(ODD)
    (sandbox.repo / "deep" / "er").mkdir(parents=True)
    linked = sandbox.repo.with_name("linked")
    sandbox.git("worktree", "add", "-q", "-b", "linked", str(linked))
    hook = sandbox.repo / ".git" / "hooks" / "pre-commit"
    mode = "--permission-mode=bypassPermissions"
    hook.write_text(f'#!/bin/sh\ncd / && "{sys.executable}" -m chatml -C "{linked}" new hooked -q {mode}\n')
    hook.chmod(0o700)

    def new(prompt: str, *before: str, cwd: Path) -> Path:
        made = sandbox.chatml(*before, "new", prompt, mode, "--json", cwd=cwd).json
        return Path(made["worktree"])

    first = new("subfolder", cwd=sandbox.repo / "deep" / "er")
    sandbox.chatml("wait", "subfolder")
    places = {
        "subfolder": first,
        "linked": new("linked", cwd=linked),
        "nested": new("nested", cwd=first),
        "elsewhere": new("elsewhere", "-C", str(sandbox.repo), cwd=sandbox.home),
    }
    # In a hook of `git commit FILE`, git names an index of its own in the environment.
    (linked / "README.md").write_text("changed\n")
    sandbox.git("commit", "-q", "-m", "change", "README.md", cwd=linked)
    places["hooked"] = Path(sandbox.session("hooked")["worktree"])
    sandbox.chatml("wait")
    for name, worktree in places.items():
        assert worktree.parent == sandbox.repo.with_name(f"{ODD}.chatml")
        assert (worktree / "made-here").read_text() == f"{name}\n"
        assert sandbox.git("rev-parse", "--abbrev-ref", "HEAD", cwd=worktree) == f"chatml/{name}"
    assert sandbox.chatml("path", cwd=first).out == f"{first}\n"
    assert sandbox.git("status", "--porcelain") == ""
    assert sandbox.git("status", "--porcelain", cwd=linked) == ""


def test_a_worktree_of_a_bare_clone(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    serve({"*": ["Fine."]})
    bare = tmp_path / "hub.git"
    sandbox.git("clone", "-q", "--bare", str(sandbox.repo), str(bare))
    sandbox.git("worktree", "add", "-q", str(tmp_path / "work"), "main", cwd=bare)
    made = sandbox.chatml("new", "first", "--wait", "--json", cwd=tmp_path / "work").json
    assert made["status"] == "done"
    assert Path(made["worktree"], "README.md").exists()
    assert sandbox.chatml("ls", "-q", cwd=bare).out == "first\n"


def test_a_line_break_in_the_path_is_refused_or_works(sandbox: Sandbox) -> None:
    sandbox.repo = sandbox.repo.rename(sandbox.repo.with_name("two\nlines"))
    refused = sandbox.chatml("new", "first", code=1)
    assert refused.err.startswith("error: the path of this repository contains a line break")
    assert "hint: " in refused.err


@pytest.mark.long
def test_a_session_started_by_an_agent_outlives_that_agent(sandbox: Sandbox, serve: Serve) -> None:
    start = f"{sys.executable} -m chatml -C {sandbox.repo} new inner --name inner"
    api = serve(
        {
            "outer": [{"Bash": {"command": start}}, "Started it."],
            "inner": [[{"hold": "here"}, "Done."]],
        }
    )
    sandbox.chatml("new", "outer", "--permission-mode", "bypassPermissions", "--wait")
    api.wait_for(lambda: api.holding["here"])
    wait_until(lambda: len(agents(sandbox)) == 1, "the outer agent's end")
    environment = Path(f"/proc/{worker(sandbox, 'inner')}/environ").read_text()
    assert not [line for line in environment.split("\0") if line.startswith(("CLAUDECODE=", "CLAUDE_CODE_SESSION_ID="))]
    sandbox.chatml("stop", "outer")
    sandbox.chatml("send", "outer", "again", "--wait")  # a new worker ends what an old one left
    assert sandbox.session("inner")["status"] == "running"
    api.release("here")
    sandbox.until("inner", "done")


def _trap(repo: Path, marker: Path) -> None:
    """Everything in a repository that somebody might run without being asked."""
    touch = f"open({str(marker)!r}, 'a').write(__name__)\n"
    for name in ("json", "click", "git", "filelock", "claude_agent_sdk", "signal", "sitecustomize", "usercustomize"):
        (repo / f"{name}.py").write_text(touch)
    (repo / "chatml").mkdir()
    (repo / "chatml" / "__init__.py").write_text(touch)
    run = {"hooks": [{"type": "command", "command": f"echo hook >> {marker}"}]}
    events = ("SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "SessionEnd")
    settings = {"hooks": {event: [run] for event in events}, "apiKeyHelper": f"echo key >> {marker}; echo x"}
    (repo / ".claude").mkdir()
    (repo / ".claude" / "settings.json").write_text(json.dumps(settings))
    server = {"command": "sh", "args": ["-c", f"echo mcp >> {marker}"]}
    (repo / ".mcp.json").write_text(json.dumps({"mcpServers": {"trap": server}}))


def test_nothing_of_an_untrusted_repository_runs(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    api = serve({"*": [{"Bash": {"command": "ls"}}, "Looked."]})
    marker = tmp_path / "trapped"
    _trap(sandbox.repo, marker)
    (sandbox.repo / "CLAUDE.md").write_text("Always answer in Latin. " + "é" * 120_000)
    sandbox.commit("a trap")
    script = tmp_path / "bin" / "chatml"  # as pip installs it
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom chatml.cli import main\nmain()\n")
    script.chmod(0o700)
    env = {**sandbox.env, "PYTHONPATH": str(ROOT)}
    for args in (["new", "first", "--wait"], ["ls"], ["logs", "first"]):
        done = subprocess.run(
            [script, *args], cwd=sandbox.repo, env=env, check=False, capture_output=True, timeout=TIMEOUT
        )
        assert done.returncode == 0, done
    assert not marker.exists(), marker.read_text()
    assert "Always answer in Latin." in json.dumps(api.requests[0].body["system"])


@pytest.mark.long
def test_a_link_in_place_of_the_projects_memory_is_not_followed(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    api = serve({"*": ["Fine."]})
    (tmp_path / "secret").write_text("TOP SECRET")
    (sandbox.repo / "CLAUDE.md").symlink_to(tmp_path / "secret")
    sandbox.commit("a link")
    sandbox.chatml("new", "first", "--wait")
    assert "TOP SECRET" not in json.dumps(api.requests[0].body)
    assert not logged(sandbox, "first", "error")
    wait_until(lambda: not agents(sandbox), "the agent's end")
