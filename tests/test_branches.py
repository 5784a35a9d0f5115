"""Branches whose names are folders of others: git can't have both; and what is said where something fails."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from tests.made import make_session
from tests.support import TIMEOUT, Sandbox


@pytest.fixture(autouse=True)
def _agent(sandbox: Sandbox) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("agent: sh\nagents:\n  sh: {command: ['true', '{prompt}']}\n")


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_a_made_name_goes_around_the_folder_of_a_branch(sandbox: Sandbox, packed: bool) -> None:
    sandbox.git("branch", "chatml/fix/typo")
    sandbox.git("branch", "chatml/fix-2/typo")
    if packed:
        sandbox.git("pack-refs", "--all")
    assert sandbox.chatml("new", "fix", "--wait", "-q").out == "fix-3\n"
    refused = sandbox.chatml("new", "x", "--name", "fix", code=1)
    assert refused.err == (
        "error: the branch 'chatml/fix/typo' exists, so there can't be one named 'chatml/fix'\n"
        "hint: choose another --name, or see 'chatml ls'\n"
    )
    sandbox.git("branch", "-D", "-q", "chatml/fix/typo")
    sandbox.chatml("new", "x", "--name", "fix", "--wait", "-q")
    assert sandbox.session("fix")["branch"] == "chatml/fix"


@pytest.mark.parametrize("other", ["chatml", "chatml/fix"])
def test_a_branch_in_place_of_the_folder(sandbox: Sandbox, other: str) -> None:
    """No name gets around that: the hint does, whichever of its two ways is gone."""
    prefix = {"CHATML_BRANCH_PREFIX": f"{other}/"}
    sandbox.git("branch", other)
    for args in (["fix"], ["x", "--name", "fix"]):
        refused = sandbox.chatml("new", *args, code=1, env=prefix)
        said, _, hint = refused.err.partition("\nhint: ")
        assert said == f"error: the branch '{other}' exists, so there can't be one named '{other}/fix'"
        assert "CHATML_BRANCH_PREFIX=ai/" in hint
    assert sandbox.chatml("new", "fix", "--wait", "-q", env={"CHATML_BRANCH_PREFIX": "ai/"}).out == "fix\n"
    command = hint.strip().partition("rename that branch: ")[2].replace("NAME", "kept")
    subprocess.run(shlex.split(command), cwd=sandbox.repo, env=sandbox.env, check=True, timeout=TIMEOUT)
    sandbox.chatml("new", "x", "--name", "other", "--wait", "-q", env=prefix)
    assert sandbox.session("other")["branch"] == f"{other}/other"


@pytest.mark.parametrize("other", ["chatml", "chatml/x/y"])
def test_a_session_comes_back_once_the_branch_in_its_way_has_another_name(sandbox: Sandbox, other: str) -> None:
    make_session(sandbox, "x")
    sandbox.chatml("rm", "--force", "x")
    sandbox.git("branch", other)
    refused = sandbox.chatml("restore", "x", code=1)
    said, _, hint = refused.err.partition("\nhint: ")
    assert said == f"error: the branch '{other}' exists, so 'chatml/x' can't be brought back"
    assert sandbox.chatml("ls", "-q").out == ""
    command = hint.strip().partition("rename that one first: ")[2].replace("NAME", "kept")
    subprocess.run(shlex.split(command), cwd=sandbox.repo, env=sandbox.env, check=True, timeout=TIMEOUT)
    sandbox.chatml("restore", "x")
    assert sandbox.session("x")["branch"] == "chatml/x"


def test_a_text_that_looks_like_an_option_is_told_where_it_goes(sandbox: Sandbox) -> None:
    refused = sandbox.chatml("new", "--help me", code=2)
    assert refused.err.endswith("hint: a text that begins with '-' goes behind '--': chatml new -- '--help me'\n")
    words = shlex.split(refused.err.strip().rpartition("'--': ")[2])
    sandbox.chatml(*words[1:], "--name", "x", code=2)  # behind `--` all is text
    sandbox.chatml("new", "--name", "x", "--wait", *words[2:])
    assert sandbox.session("x")["prompt"] == "--help me"
    mistyped = "error: no such option '--hlep'; did you mean '--help'?\nhint: see 'chatml new --help'\n"
    assert sandbox.chatml("new", "--hlep", code=2).err == mistyped
    sent = sandbox.chatml("send", "x", "--wait", "-1 and - 2", code=2)
    words = shlex.split(sent.err.strip().rpartition("'--': ")[2])
    assert words[1:] == ["send", "x", "--wait", "--", "-1 and - 2"]


def test_all_that_git_says_is_kept_where_a_checkout_fails(sandbox: Sandbox) -> None:
    sandbox.commit("filtered", _dot_gitattributes="big filter=big\n", big="x\n")
    sandbox.git("config", "--global", "filter.big.process", "no-such-filter --process")
    sandbox.git("config", "--global", "filter.big.required", "true")
    sandbox.chatml("new", "x", "--wait", code=1)
    error = sandbox.session("x")["error"]
    assert error["kind"] == "worktree"
    assert "no-such-filter: " in error["message"]  # the shell's word why; what git itself says last is its own end
    logged = [event["line"] for event in sandbox.events("x") if event["type"] == "setup"]
    worker_log = next(sandbox.state("x").glob("*.log")).read_text()
    for line in ("no-such-filter: ", "fatal: "):
        assert any(line in one for one in logged)
        assert line in worker_log
    sandbox.git("config", "--global", "--remove-section", "filter.big")
    sandbox.chatml("resume", "x")
    sandbox.chatml("wait", "x")
