"""`landed` in `ls` and JSON: what `rm --merged` would remove, and only that; from memory where nothing has moved."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from chatml.model import Landed, Request, Status, now
from tests.made import commit, make_session, write
from tests.support import Sandbox
from tests.test_halfmade import wrap, wrapped

__all__ = ["wrapped"]

MEMORY = ".git/chatml/landed.json"


def landed(sandbox: Sandbox) -> dict[str, bool | None]:
    """What `ls` says; `rm --merged` agrees with each yes, and removes nothing else."""
    said = {one["name"]: one["landed"] for one in sandbox.chatml("ls", "--json").json}
    removes = sandbox.chatml("rm", "--merged", "-n", "-q", code=None).out.split()
    assert sorted(removes) == sorted(name for name, yes in said.items() if yes)
    return said


def squash(sandbox: Sandbox, name: str = "x") -> None:
    sandbox.git("merge", "-q", "--squash", f"chatml/{name}")
    sandbox.git("commit", "-q", "-m", "squashed")


@pytest.fixture
def worktree(sandbox: Sandbox) -> Path:
    """A session with two commits."""
    top = make_session(sandbox, "x")
    commit(sandbox, top, "first", a="1\n")
    commit(sandbox, top, "second", b="2\n")
    return top


def test_a_session_has_landed_once_its_base_has_it(sandbox: Sandbox, worktree: Path) -> None:
    make_session(sandbox, "y")
    assert landed(sandbox) == {"x": False, "y": False}
    squash(sandbox)
    assert landed(sandbox) == {"x": True, "y": False}
    sandbox.commit("later", a="quite another\n")
    assert landed(sandbox)["x"] is True
    sandbox.git("reset", "-q", "--hard", "HEAD~1")
    commit(sandbox, worktree, "more", c="3\n")
    assert landed(sandbox)["x"] is False
    sandbox.git("cherry-pick", "chatml/x")
    assert landed(sandbox)["x"] is True
    sandbox.git("reset", "-q", "--hard", "HEAD~1")
    assert landed(sandbox)["x"] is False


@pytest.mark.usefixtures("worktree")
def test_what_was_landed_and_taken_back_is_not_lost(sandbox: Sandbox) -> None:
    squash(sandbox)
    sandbox.git("revert", "--no-edit", "HEAD")
    assert landed(sandbox) == {"x": True}


LONG = pytest.mark.long


@pytest.mark.parametrize("mode", ["squash", *(pytest.param(one, marks=LONG) for one in ("rebase", "no-ff", "ff"))])
def test_what_merge_has_landed_is_shown_with_its_commit(sandbox: Sandbox, worktree: Path, mode: str) -> None:
    sandbox.chatml("merge", f"--{mode}", "x")
    assert landed(sandbox) == {"x": True}
    assert sandbox.session("x")["landed"] is True
    tip = sandbox.git("rev-parse", "main")
    assert f"landed: as {tip[:9]} in main\n" in sandbox.chatml("show", "x").out
    assert re.split("  +", sandbox.chatml("ls").out.splitlines()[1])[:2] == ["x", "done, landed"]
    commit(sandbox, worktree, "more", c="3\n")
    assert f"landed: as {tip[:9]} in main; it may have more since\n" in sandbox.chatml("show", "x").out
    assert landed(sandbox) == {"x": False}


def test_what_is_uncommitted_has_not_landed(sandbox: Sandbox, worktree: Path) -> None:
    squash(sandbox)
    assert landed(sandbox) == {"x": True}
    write(worktree, untracked="u\n")
    assert landed(sandbox) == {"x": False}
    (worktree / "untracked").unlink()
    assert landed(sandbox) == {"x": True}
    write(worktree, a="edited\n")
    assert sandbox.session("x")["landed"] is False


def test_what_was_merged_elsewhere_is_seen_after_a_fetch(sandbox: Sandbox, worktree: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    sandbox.git("clone", "-q", "--bare", str(sandbox.repo), str(remote))
    sandbox.git("remote", "add", "origin", str(remote))
    sandbox.git("fetch", "-q", "origin")
    assert landed(sandbox) == {"x": False}
    other = tmp_path / "other"
    sandbox.git("clone", "-q", str(remote), str(other))
    sandbox.git("merge", "-q", "--squash", "origin/chatml/x", cwd=other)
    sandbox.git("commit", "-q", "-m", "squashed", cwd=other)
    sandbox.git("push", "-q", "origin", "main", cwd=other)
    assert landed(sandbox) == {"x": False}
    sandbox.git("fetch", "-q", "origin")
    assert landed(sandbox) == {"x": True}
    assert worktree.is_dir()


@pytest.mark.long
def test_a_base_that_is_gone(sandbox: Sandbox) -> None:
    sandbox.git("branch", "topic")
    commit(sandbox, make_session(sandbox, "x", base="topic"), "work", a="1\n")
    assert landed(sandbox) == {"x": False}
    sandbox.git("branch", "-D", "topic")
    assert landed(sandbox) == {"x": False}
    squash(sandbox)
    assert landed(sandbox) == {"x": True}


@pytest.mark.usefixtures("worktree")
def test_nobody_knows_of_one_at_work_or_whose_branch_is_gone(sandbox: Sandbox) -> None:
    squash(sandbox)
    asked = Request("1", "permission", "Bash: ls", {}, now())
    make_session(sandbox, "y", status=Status.WAITING, requests=(asked,))
    make_session(sandbox, "z")
    sandbox.git("checkout", "-q", "--detach", cwd=Path(f"{sandbox.repo}.chatml/z"))
    sandbox.git("branch", "-D", "chatml/z")
    assert landed(sandbox) == {"x": True, "y": None, "z": None}


@pytest.mark.usefixtures("worktree")
def test_what_can_not_be_found_out_is_no_answer(sandbox: Sandbox) -> None:
    squash(sandbox)
    (sandbox.repo / ".git" / "worktrees" / "x" / "index").write_bytes(b"garbage")
    assert {one["name"]: one["landed"] for one in sandbox.chatml("ls", "--json").json} == {"x": None}
    (sandbox.repo / ".git" / "worktrees" / "x" / "index").unlink()
    sandbox.git("reset", "-q", cwd=Path(f"{sandbox.repo}.chatml/x"))
    for log in ("worktrees/x/logs/HEAD", "logs/refs/heads/chatml/x"):
        (sandbox.repo / ".git" / log).write_text("")
    assert {one["name"]: one["landed"] for one in sandbox.chatml("ls", "--json").json} == {"x": None}


@pytest.mark.usefixtures("worktree")
def test_one_that_holds_commits_on_no_branch_has_not_landed(sandbox: Sandbox) -> None:
    squash(sandbox)
    top = Path(f"{sandbox.repo}.chatml/x")
    assert landed(sandbox) == {"x": True}
    sandbox.git("checkout", "-q", "--detach", cwd=top)
    commit(sandbox, top, "more", c="3\n")
    assert landed(sandbox) == {"x": False}


@pytest.mark.parametrize(
    "damage",
    ["garbage", *(pytest.param(one, marks=LONG) for one in ("[]", '{"refs": {}, "rows": {"x": 1}}', "folder"))],
)
@pytest.mark.usefixtures("worktree")
def test_a_damaged_memory_is_none(sandbox: Sandbox, damage: str) -> None:
    squash(sandbox)
    memory = sandbox.repo / MEMORY
    if damage == "folder":
        memory.mkdir()
    else:
        memory.write_text(damage)
    assert landed(sandbox) == {"x": True}
    assert damage == "folder" or sandbox.written("x")["id"] in json.loads(memory.read_text())["rows"]


@pytest.mark.long
def test_no_question_is_asked_twice(sandbox: Sandbox, wrapped: Path) -> None:
    """Where no ref has moved, `ls` starts no git for it; where one has, it starts no more for many than for one."""
    for name in "abcdefgh":
        commit(sandbox, make_session(sandbox, name), name, **{name: "1\n"})
    squash(sandbox, "a")
    log = wrapped.with_name("calls")
    wrap(wrapped, f'#!/bin/sh\necho "$*" >> {log}\nexec {{git}} "$@"\n')

    def asked() -> list[str]:
        log.write_text("")
        said = {one["name"]: one["landed"] for one in sandbox.chatml("ls", "--json").json}
        assert said == {name: name == "a" for name in "abcdefgh"}
        return log.read_text().splitlines()

    sandbox.chatml("ls", "a", "b", "c", "d")
    sandbox.chatml("ls", "e", "f", "g", "h")
    asked()
    git_dir = sandbox.repo / ".git"
    for path in (git_dir / "HEAD", git_dir / "config", *(git_dir / "refs").rglob("*"), git_dir / "refs"):
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**10))
    asked()
    assert len(asked()) == 1  # where the repository is
    sandbox.git("update-ref", "refs/heads/other", "HEAD")
    assert sum("for-each-ref" in call for call in asked()) == 1
    sandbox.git("update-ref", "refs/heads/chatml/z", "HEAD")
    assert len(asked()) <= 3


def test_a_worktree_that_is_gone_says_nothing_of_who_made_its_commits(sandbox: Sandbox, worktree: Path) -> None:
    squash(sandbox)
    sandbox.git("worktree", "remove", "--force", str(worktree))
    assert landed(sandbox) == {"x": False}
    own = Landed(sandbox.git("rev-parse", "main"), "main", sandbox.git("rev-parse", "chatml/x"))
    make_session(sandbox, "y", landed_as=own)
    sandbox.git("reset", "-q", "--hard", own.tip, cwd=Path(f"{sandbox.repo}.chatml/y"))
    sandbox.git("worktree", "remove", "--force", f"{sandbox.repo}.chatml/y")
    assert landed(sandbox) == {"x": False, "y": True}
