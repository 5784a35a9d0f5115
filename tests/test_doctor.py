"""`doctor`: what it sees on a healthy machine, in a broken repository, and that it only looks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contained import needs_sandbox
from tests.faults import Serve
from tests.support import TIMEOUT, Sandbox

Found = list[dict[str, Any]]

SECRET = "sk-ant-not-to-be-seen"


def doctor(sandbox: Sandbox, code: int = 0, **how: Any) -> Found:
    found: Found = sandbox.chatml("doctor", "--json", code=code, **how).json
    return found


def bad(found: Found) -> list[str]:
    """All that isn't well, but what depends on the machine that the tests run on."""
    return [one["message"] for one in found if one["level"] != "ok" and one["check"] not in ("gh", "sandbox")]


def one(found: Found, check: str) -> dict[str, Any]:
    (only,) = [each for each in found if each["check"] == check]
    return only


def files(folder: Path) -> dict[str, tuple[float, int]]:
    return {
        str(path): (path.lstat().st_mtime, path.lstat().st_size) for path in folder.rglob("*") if not path.is_socket()
    }


def rested(sandbox: Sandbox, serve: Serve, name: str = "task") -> dict[str, Any]:
    """A session that is done."""
    serve({"*": ["Done."]})
    sandbox.chatml("new", name, "--wait", "-q")
    return sandbox.session(name)


@needs_sandbox
def test_a_healthy_repository(sandbox: Sandbox) -> None:
    before = files(sandbox.repo) | files(sandbox.home)
    done = sandbox.chatml("doctor", env={"GH_TOKEN": "x"})
    assert [line for line in done.out.splitlines() if not line.startswith("ok ")] == []
    for expected in ("git 2", "Python 3", "Claude Code 2", "ANTHROPIC_API_KEY is set", "locks work", "no session"):
        assert expected in done.out
    assert done.err == "all is well\n"
    assert files(sandbox.repo) | files(sandbox.home) == before


def test_json_is_a_list_of_findings(sandbox: Sandbox) -> None:
    found = doctor(sandbox)
    assert all(set(each) == {"check", "level", "message", "hint"} for each in found)
    assert {each["level"] for each in found} <= {"ok", "warning", "problem"}
    assert {"git", "python", "claude", "credentials", "gh", "config", "locks", "trust"} < {
        each["check"] for each in found
    }


def test_outside_of_a_repository_only_the_machine_is_checked(sandbox: Sandbox) -> None:
    done = sandbox.chatml("doctor", cwd=sandbox.home)
    assert "Claude Code 2" in done.out
    assert "repository" not in done.out
    assert "only the machine was checked" in done.err


def test_a_missing_folder_is_a_problem(sandbox: Sandbox) -> None:
    found: Found = sandbox.chatml("-C", "nowhere", "doctor", "--json", code=1).json
    assert one(found, "repository")["message"] == f"no such directory: {sandbox.repo / 'nowhere'}"


@pytest.mark.parametrize(
    ("variables", "file", "content", "said"),
    [
        ({"ANTHROPIC_API_KEY": SECRET}, None, None, "ANTHROPIC_API_KEY is set"),
        ({"ANTHROPIC_AUTH_TOKEN": SECRET}, None, None, "ANTHROPIC_AUTH_TOKEN is set"),
        ({"CLAUDE_CODE_OAUTH_TOKEN": SECRET}, None, None, "CLAUDE_CODE_OAUTH_TOKEN is set"),
        ({"CLAUDE_CODE_USE_BEDROCK": "1"}, None, None, "Amazon Bedrock"),
        ({}, ".credentials.json", {"claudeAiOauth": {"accessToken": SECRET}}, "logged in"),
        ({}, ".claude.json", {"primaryApiKey": SECRET}, "a key in"),
        ({}, "settings.json", {"env": {"ANTHROPIC_API_KEY": SECRET}}, "set in"),
        ({}, "settings.json", {"apiKeyHelper": "print-key"}, "set in"),
        ({}, None, None, None),
        ({"CLAUDE_CODE_USE_BEDROCK": "0"}, ".credentials.json", ["odd"], None),
    ],
)
def test_credentials_are_found_and_never_shown(
    sandbox: Sandbox, variables: dict[str, str], file: str | None, content: object, said: str | None
) -> None:
    del sandbox.env["ANTHROPIC_API_KEY"]
    if file is not None:
        (sandbox.home / ".claude").mkdir()
        (sandbox.home / ".claude" / file).write_text(json.dumps(content))
    done = sandbox.chatml("doctor", "--json", cwd=sandbox.home, env={**variables, "GH_TOKEN": SECRET})
    assert SECRET not in done.out + done.err
    found = one(done.json, "credentials")
    if said is None:
        assert (found["level"], found["message"]) == ("warning", "no credentials for Claude found")
        assert "ANTHROPIC_API_KEY" in found["hint"]
    else:
        assert found["level"] == "ok"
        assert said in found["message"]


def test_git_is_missing(sandbox: Sandbox, tmp_path: Path) -> None:
    found = doctor(sandbox, code=1, env={"PATH": str(tmp_path)})
    assert [each["message"] for each in found if each["level"] == "problem"] == ["git is not installed, or not in PATH"]
    assert one(found, "gh")["message"].startswith("gh is not installed")


def test_the_sdk_is_broken(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "claude_agent_sdk.py").write_text("raise ImportError('half installed')\n")
    path = os.pathsep.join([str(tmp_path / "broken"), sandbox.env["PYTHONPATH"]])
    found = doctor(sandbox, code=1, env={"PYTHONPATH": path})
    assert bad(found) == ["the Agent SDK can't be loaded: half installed"]


def test_no_agent_could_commit(sandbox: Sandbox) -> None:
    (sandbox.home / ".gitconfig").write_text("[user]\n    useConfigOnly = true\n")
    found = one(doctor(sandbox, code=1), "identity")
    assert found["level"] == "problem"
    assert "git config --global user.name" in found["hint"]


def test_a_repository_without_a_commit(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.git("init", "-q", str(tmp_path / "empty"))
    found = doctor(sandbox, code=1, cwd=tmp_path / "empty")
    assert bad(found) == ["this repository has no commit yet"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_somebody_else(sandbox: Sandbox) -> None:
    for path in (sandbox.repo, sandbox.repo / ".git"):
        os.chown(path, 12345, 12345)
    found = one(doctor(sandbox, code=1), "repository")
    assert found["level"] == "problem"
    assert "safe.directory" in found["hint"]


def test_a_broken_configuration(sandbox: Sandbox) -> None:
    (sandbox.repo / ".chatml.yaml").write_text("agent: claude\nmodle: opus\n")
    found = one(doctor(sandbox, code=1), "config")
    assert found["level"] == "problem"
    assert ".chatml.yaml:2" in found["message"]
    assert "model" in found["hint"]


def test_settings_are_named_by_their_file(sandbox: Sandbox) -> None:
    (sandbox.repo / ".chatml.yaml").write_text("permission_mode: plan\n")
    found = doctor(sandbox, env={"CHATML_SANDBOX": "", "CHATML_PORT_RANGE": ""})
    assert one(found, "config")["message"] == "settings from .chatml.yaml"


def test_worktrees_in_a_place_that_is_refused(sandbox: Sandbox) -> None:
    found = doctor(sandbox, code=1, env={"CHATML_WORKTREES": "."})
    assert len(bad(found)) == 1
    assert "is the main checkout itself" in bad(found)[0]


def test_trust_decides_about_the_projects_settings(sandbox: Sandbox) -> None:
    assert one(doctor(sandbox), "trust")["level"] == "ok"
    (sandbox.repo / ".mcp.json").write_text("{}")
    assert one(doctor(sandbox), "trust")["level"] == "warning"
    (sandbox.home / ".claude").mkdir()
    trusted = {"projects": {str(sandbox.repo): {"hasTrustDialogAccepted": True}}}
    (sandbox.home / ".claude" / ".claude.json").write_text(json.dumps(trusted))
    found = one(doctor(sandbox), "trust")
    assert (found["level"], found["message"].partition(":")[0]) == ("ok", "trusted in Claude Code")


def test_a_damaged_record(sandbox: Sandbox, serve: Serve) -> None:
    rested(sandbox, serve)
    record = sandbox.state("task") / "session.json"
    record.write_text(record.read_text()[:50])
    found = doctor(sandbox, code=1)
    assert len(bad(found)) == 1  # and its worktree is not taken for a leftover
    assert "the record of session 'task' is damaged" in bad(found)[0]
    assert record.stat().st_size == 50


def test_a_worker_that_was_killed(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [{"hang": True}]})
    sandbox.chatml("new", "task", "-q")
    sandbox.until("task", "running")
    assert bad(doctor(sandbox)) == []
    os.kill(sandbox.session("task")["pid"], signal.SIGKILL)
    sandbox.until("task", "crashed")
    assert "the worker of 'task' died" in bad(doctor(sandbox))


@pytest.fixture
def orphan(sandbox: Sandbox, serve: Serve) -> Iterator[int]:
    """The PID of a process that says it belongs to a session at rest."""
    rested(sandbox, serve)
    marker = json.loads((sandbox.state("task") / "session.json").read_text())["id"]
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
        env={**sandbox.env, "CHATML_SESSION_ID": marker},
        stdout=subprocess.PIPE,
    )
    assert sleeper.stdout is not None
    sleeper.stdout.readline()
    yield sleeper.pid
    sleeper.kill()
    sleeper.communicate(timeout=TIMEOUT)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found by their marker in /proc")
def test_processes_that_outlived_their_worker(sandbox: Sandbox, orphan: int) -> None:
    found = [each for each in doctor(sandbox) if each["check"] == "leftovers"]
    assert [each["message"] for each in found] == ["1 process of 'task' outlived its worker"]
    assert f"'ps {orphan}'" in found[0]["hint"]
    assert "'chatml stop task'" in found[0]["hint"]


def test_a_worktree_that_is_gone(sandbox: Sandbox, serve: Serve) -> None:
    worktree = Path(rested(sandbox, serve)["worktree"])
    worktree.rename(worktree.with_name(".away"))
    assert bad(doctor(sandbox)) == [f"the worktree of 'task' is gone: {worktree}"]
    # As its hint says:
    sandbox.chatml("send", "task", "go on", "--wait")
    assert bad(doctor(sandbox)) == []


def test_a_worktree_of_nobodys_session_that_is_gone(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.git("worktree", "add", "-q", str(tmp_path / "other"))
    assert bad(doctor(sandbox)) == []
    (tmp_path / "other").rename(tmp_path / "away")
    (found,) = [each for each in doctor(sandbox) if each["level"] == "warning" and each["check"] == "worktrees"]
    assert found["message"] == f"git knows a worktree that is gone: {tmp_path / 'other'}"
    assert "git worktree prune" in found["hint"]


def test_what_interrupted_commands_have_left(sandbox: Sandbox, serve: Serve) -> None:
    worktree = Path(rested(sandbox, serve)["worktree"])
    folder = sandbox.state("task")
    folder.rename(sandbox.home / "lost")
    staged, young = folder.with_name(".new-old"), folder.with_name(".new-young")
    gone = worktree.with_name(".gone-1")
    for path in (staged, young, gone):
        path.mkdir()
    for path in (staged, gone):
        os.utime(path, (time.time() - 3600,) * 2)
    assert sorted(bad(doctor(sandbox))) == sorted(
        [
            f"the making of a session was interrupted and left {staged}",
            f"the removal of a session was interrupted and left {gone}",
            f"a worktree without a session: {worktree}",
        ]
    )
    assert all(path.is_dir() for path in (staged, young, gone, worktree))


def test_the_state_folder_is_no_folder(sandbox: Sandbox) -> None:
    (sandbox.repo / ".git" / "chatml").mkdir()
    (sandbox.repo / ".git" / "chatml" / "sessions").write_text("")
    found = doctor(sandbox, code=1)
    assert [each["check"] for each in found if each["level"] == "problem"] == ["state"]


def test_two_at_once_don_t_take_each_other_for_a_broken_disk(sandbox: Sandbox) -> None:
    running = [sandbox.start("doctor", "--json") for _ in range(4)]
    for process in running:
        out, err = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, out + err
        assert one(json.loads(out), "locks")["message"] == "file locks work"
