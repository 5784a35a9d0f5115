"""The world changes under a session: its repository is moved or copied, its folder or branch goes, the disk is full."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import Serve, all_gone, delivered_once, logged
from tests.made import commit, files, make_session, write
from tests.support import TIMEOUT, Sandbox, init_repository


@pytest.fixture
def rested(sandbox: Sandbox, serve: Serve) -> Path:
    """The worktree of a session `task` that has committed a file and is at rest."""
    serve(
        {
            "*": {
                "turns": [
                    [
                        {"Write": {"file_path": "{cwd}/made", "content": "1\n"}},
                        {"Bash": {"command": "git add made && git commit -qm made"}},
                        "Made.",
                    ],
                    [{"Bash": {"command": "git log --format=%s -1; ls"}}, "Seen."],
                ]
            }
        }
    )
    return Path(sandbox.chatml("new", "first-message", "--name", "task", "--wait", "--json").json["worktree"])


def _goes_on(sandbox: Sandbox, worktree: Path) -> None:
    """A second turn works, in this worktree, with all that was committed."""
    sandbox.chatml("send", "task", "second-message", "--wait")
    assert sandbox.chatml("path", "task").out == f"{worktree}\n"
    seen = [event["output"] for event in logged(sandbox, "task", "tool_result")][-1]
    assert seen.split() == ["made", "README.md", "made"]
    assert sandbox.session("task")["changes"]["commits"] == 1
    assert sandbox.git("status", "--porcelain", cwd=worktree) == ""


@pytest.mark.long
@pytest.mark.parametrize("together", [True, False], ids=["with its worktrees", "alone"])
def test_a_repository_that_was_moved(sandbox: Sandbox, rested: Path, together: bool) -> None:
    parent = sandbox.repo.parent
    if together:
        (parent / "new place").mkdir()
        rested.parent.rename(parent / "new place" / "app.chatml")
        rested = parent / "new place" / "app.chatml" / "task"
    sandbox.repo = sandbox.repo.rename(parent / ("new place/app" if together else "app2"))
    assert sandbox.session("task")["status"] == "done"
    assert sandbox.chatml("path", "task").out == f"{rested}\n"
    assert sandbox.chatml("path", cwd=rested).out == f"{rested}\n"
    _goes_on(sandbox, rested)


def test_a_repository_that_was_copied_leaves_the_first_ones_worktree_alone(sandbox: Sandbox, rested: Path) -> None:
    first, copy = sandbox.repo, sandbox.repo.with_name("copy")
    shutil.copytree(first, copy, symlinks=True)
    sandbox.repo = copy
    assert sandbox.chatml("ls", "-q").out == "task\n"
    for args in (["send", "task", "second-message"], ["resume", "task"], ["stop", "task"], ["path", "task"]):
        refused = sandbox.chatml(*args, code=1)
        assert refused.err.startswith("error: the worktree of 'task' belongs to another copy of this repository: ")
    sandbox.repo = first
    assert sandbox.git("rev-parse", "--git-common-dir", cwd=rested) == str(first / ".git")
    _goes_on(sandbox, rested)


def test_a_worktree_folder_that_was_deleted_is_made_again(sandbox: Sandbox, rested: Path) -> None:
    shutil.rmtree(rested.parent)
    assert sandbox.session("task")["status"] == "done"
    gone = sandbox.chatml("path", "task", code=1)
    assert gone.err.startswith("error: the worktree of 'task' is gone: ")
    _goes_on(sandbox, rested)


def test_a_session_without_its_folder_beside_a_worktree_whose_path_is_no_text(sandbox: Sandbox) -> None:
    shutil.rmtree(make_session(sandbox, "x"))
    sandbox.git("worktree", "prune")
    sandbox.git("worktree", "add", "-q", "--detach", os.fsdecode(b"../odd-\xff"))
    assert sandbox.chatml("show", "x", "--json").json["branch"] == "chatml/x"


def test_what_stands_in_a_worktrees_place_is_not_touched(sandbox: Sandbox, rested: Path) -> None:
    """The branch is checked out elsewhere, then something else is where the worktree was; at last both are away."""
    shutil.rmtree(rested)
    elsewhere = sandbox.repo.with_name("elsewhere")
    sandbox.git("worktree", "add", "-qf", str(elsewhere), "chatml/task")

    def refused() -> str:
        sandbox.chatml("send", "task", "second-message", "--wait", code=1)
        error = sandbox.session("task")["error"]
        assert error["kind"] == "worktree"
        assert error["hint"]
        return str(error["message"])

    assert str(elsewhere) in refused()
    sandbox.git("worktree", "remove", str(elsewhere))
    rested.mkdir()
    (rested / "mine").write_text("precious")
    assert refused() == f"could not look: something else stands in the worktree's place: {rested}"
    assert (rested / "mine").read_text() == "precious"
    shutil.rmtree(rested)
    sandbox.chatml("resume", "task")
    sandbox.chatml("wait", "task")
    assert (rested / "made").exists()


@pytest.mark.long
def test_a_branch_that_was_deleted_or_moved_by_hand(sandbox: Sandbox, rested: Path) -> None:
    tip = sandbox.git("rev-parse", "chatml/task")
    sandbox.git("update-ref", "-d", "refs/heads/chatml/task")
    sandbox.chatml("send", "task", "second-message", "--wait", code=1)
    error = sandbox.session("task")["error"]
    assert error["message"] == "the branch that 'task' works on is gone"
    assert error["kind"] == "worktree"
    subprocess.run(error["hint"].partition(": ")[2], shell=True, check=True, env=sandbox.env, timeout=TIMEOUT)
    assert sandbox.git("rev-parse", "chatml/task") == tip
    sandbox.chatml("resume", "task")
    sandbox.chatml("wait", "task")
    # Moved away: what the worktree holds stays as it is, and is a change against the branch as it is now.
    sandbox.git("update-ref", "refs/heads/chatml/task", "main")
    sandbox.chatml("send", "task", "third-message", "--wait")
    changes = sandbox.session("task")["changes"]
    assert (changes["files"], changes["commits"], changes["uncommitted"]) == (1, 0, True)
    shutil.rmtree(rested)
    sandbox.git("update-ref", "-d", "refs/heads/chatml/task")
    sandbox.chatml("send", "task", "fourth-message", "--wait", code=1)
    assert sandbox.session("task")["error"]["message"] == "both the worktree and the branch of 'task' are gone"


def _made_by_a_shell(sandbox: Sandbox) -> Path:
    """The worktree of a session `task` at rest, whose agent is a shell that says what git finds there."""
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("agents: {sh: {command: [sh, -c, 'git status --porcelain', '{prompt}']}}\n")
    return Path(sandbox.chatml("new", "look", "--agent", "sh", "--name", "task", "--wait", "--json").json["worktree"])


def _doctor(sandbox: Sandbox, check: str) -> list[str]:
    """What `doctor` finds amiss, and its hints."""
    found = sandbox.chatml("doctor", "--json", code=None).json
    return [f"{one['message']} | {one['hint']}" for one in found if one["check"] == check and one["level"] != "ok"]


@pytest.mark.parametrize("verb", ["resume", "send"])
def test_gits_folder_of_a_worktree_is_made_anew_around_its_files(sandbox: Sandbox, verb: str) -> None:
    sandbox.commit("before", a="1\n", b="1\n")
    worktree = _made_by_a_shell(sandbox)
    commit(sandbox, worktree, "work", a="2\n")
    write(worktree, b="3\n", mine="4\n")
    sandbox.git("add", "b", cwd=worktree)
    before = files(worktree)
    shutil.rmtree(sandbox.repo / ".git" / "worktrees")
    said = sandbox.chatml("diff", "task", code=1)
    assert (said.out, said.err.splitlines()) == (
        "",
        [
            f"error: could not look: git's own folder for the worktree is gone: {sandbox.repo}/.git/worktrees/task",
            "hint: its files are all there: 'chatml resume task' makes that folder anew around them",
        ],
    )
    assert sandbox.chatml("ls", "--json").json[0]["changes"] is None
    assert any("could not look" in line and "chatml resume task" in line for line in _doctor(sandbox, "worktrees"))
    told = sandbox.chatml(verb, "task", *(["go on"] if verb == "send" else [])).err
    assert told.startswith("warning: task: git's own folder of the worktree was gone: made anew around the files")
    sandbox.chatml("wait", "task")
    assert _doctor(sandbox, "worktrees") == []
    assert files(worktree) == before
    assert sandbox.git("status", "--porcelain", "--branch", cwd=worktree).split("\n") == [
        "## chatml/task",
        " M b",
        "?? mine",
    ]
    assert sandbox.session("task")["changes"]["files"] == 3
    assert any("made anew" in event["line"] for event in logged(sandbox, "task", "setup"))


def test_a_sparse_worktree_whose_folder_of_git_was_made_anew_has_deleted_nothing(sandbox: Sandbox) -> None:
    sandbox.commit("before", a="1\n", far__b="1\n")
    sandbox.git("sparse-checkout", "set")
    worktree = _made_by_a_shell(sandbox)
    assert not (worktree / "far").exists()
    write(worktree, a="2\n")
    shutil.rmtree(sandbox.repo / ".git" / "worktrees")
    sandbox.chatml("resume", "task")
    sandbox.chatml("wait", "task")
    assert sandbox.git("status", "--porcelain", cwd=worktree) == "M a"
    assert [file["path"] for file in sandbox.chatml("diff", "task", "--json").json["files"]] == ["a"]


@pytest.mark.parametrize("why", ["branch gone", "branch elsewhere"])
def test_gits_folder_of_a_worktree_that_can_not_be_made_anew(sandbox: Sandbox, why: str, tmp_path: Path) -> None:
    worktree = _made_by_a_shell(sandbox)
    write(worktree, mine="1")
    tip = sandbox.git("rev-parse", "chatml/task")
    shutil.rmtree(sandbox.repo / ".git" / "worktrees")
    if why == "branch gone":
        sandbox.git("update-ref", "-d", "refs/heads/chatml/task")
    else:
        sandbox.git("worktree", "add", "-q", str(tmp_path / "elsewhere"), "chatml/task")
    sandbox.chatml("resume", "task")
    sandbox.chatml("wait", "task", code=1)
    error = sandbox.session("task")["error"]
    assert error["message"].startswith("git's own folder of the worktree of 'task' is gone, and ")
    assert (worktree / "mine").read_text() == "1"
    if why == "branch gone":
        sandbox.git("branch", "chatml/task", tip)
    else:
        sandbox.git("checkout", "-q", "--detach", cwd=tmp_path / "elsewhere")
    sandbox.chatml("resume", "task")
    sandbox.chatml("wait", "task")
    assert sandbox.git("status", "--porcelain", cwd=worktree) == "?? mine"


@pytest.mark.parametrize("verb", ["resume", "send"])
def test_a_worktree_that_is_made_anew_is_said_so(sandbox: Sandbox, verb: str) -> None:
    worktree = _made_by_a_shell(sandbox)
    commit(sandbox, worktree, "work", made="1\n")
    write(worktree, lost="1\n")
    assert sandbox.session("task")["changes"]["files"] == 2
    shutil.rmtree(worktree)
    assert sandbox.chatml("ls", "--json").json[0]["changes"]["files"] == 1
    assert any("is gone" in line and "chatml resume task" in line for line in _doctor(sandbox, "worktrees"))
    told = sandbox.chatml(verb, "task", *(["go on"] if verb == "send" else [])).err
    assert told.startswith("warning: task: its worktree was gone: made anew from chatml/task, without what was not")
    sandbox.chatml("wait", "task")
    assert (worktree / "made").exists()
    assert _doctor(sandbox, "worktrees") == []
    assert any("made anew" in event["line"] for event in logged(sandbox, "task", "setup"))
    assert "made anew" not in sandbox.chatml(verb, "task", *(["go on"] if verb == "send" else [])).err
    sandbox.chatml("wait", "task")


@pytest.fixture
def small_disk(sandbox: Sandbox) -> Iterator[Path]:
    """The sandbox's repository on a file system of its own, of 4 MB."""
    place = sandbox.repo.with_name("disk")
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a file system: {mounted.stderr.strip()}")
    sandbox.repo = place / "app"
    try:
        init_repository(sandbox.repo, sandbox.env)
        yield place
        sandbox.chatml("stop", "--all", "-q", code=None)
        all_gone(sandbox)
    finally:
        subprocess.run(["umount", "--lazy", place], check=True, timeout=TIMEOUT)


def _fill(ballast: Path) -> Path:
    """Write until not a byte is left."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return ballast


@pytest.mark.long
def test_a_full_disk_loses_nothing(sandbox: Sandbox, small_disk: Path, serve: Serve) -> None:
    api = serve({"*": [[{"hold": "here"}, "I look.", {"Bash": {"command": "ls"}}], "Fine."]})
    sandbox.chatml("new", "first-message", "--name", "task")
    api.wait_for(lambda: api.holding["here"])
    ballast = _fill(small_disk / "ballast")
    before = sandbox.git("for-each-ref"), sandbox.git("worktree", "list")

    unsent = "unsent-message" + " and so on" * 1000  # more than fits into what is left of a page
    for args in (["new", "x", "--name", "other"], ["send", "task", unsent]):
        refused = sandbox.chatml(*args, code=1)
        assert refused.err.startswith("error: "), refused
        assert "hint: " in refused.err, refused
    assert (sandbox.git("for-each-ref"), sandbox.git("worktree", "list")) == before
    assert sandbox.chatml("ls", "-q").out == "task\n"

    api.release("here")  # now the agent answers, and nothing of it can be written down
    sandbox.chatml("wait", "task", code=1)
    session = sandbox.session("task")
    assert session["status"] in ("crashed", "failed")
    all_gone(sandbox)
    rest = _fill(small_disk / "rest")
    sandbox.chatml("send", "task", unsent, code=1)
    assert not sandbox.session("task")["pid"]

    ballast.unlink()
    rest.unlink()
    sandbox.chatml("send", "task", "second-message", "--wait")
    delivered_once(sandbox, api, "task", "first-message", "second-message")
    assert "unsent" not in str([request.talk.texts for request in api.requests])
    sandbox.chatml("new", "x", "--name", "other", "--wait")


def test_a_disk_that_is_full_halfway_through_a_list(sandbox: Sandbox, small_disk: Path) -> None:
    """What was made stays, what was not is named, and the same command goes on."""
    sandbox.env["CHATML_MAX_PARALLEL"] = "3"
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("agent: sh\nagents:\n  sh: {command: [sh, -c, exit, '{prompt}']}\n")
    names = [f"number-{n}" for n in range(10)]
    (sandbox.home / "t.md").write_text("".join(f"- number {n}\n" for n in range(10)))
    ballast = _fill(small_disk / "ballast")
    os.truncate(ballast, ballast.stat().st_size - (120 << 10))
    command = ("new", "-f", str(sandbox.home / "t.md"))
    halfway = sandbox.chatml(*command, "--json", code=1)
    became = {one["name"]: one["outcome"] for one in halfway.json}
    made = [name for name in names if became[name] == "made"]
    assert [*became] == names
    assert 0 < len(made) < 10, halfway
    assert set(sandbox.chatml("ls", "-q").out.split()) == set(made)
    assert "hint: " in halfway.err
    assert f"error: not made: {', '.join(name for name in names if name not in made)}\n" in halfway.err
    ballast.unlink()
    rest = sandbox.chatml(*command, "--json").json
    assert [one["name"] for one in rest if one["outcome"] == "made"] == [name for name in names if name not in made]
    sandbox.chatml("resume", "--all")  # whose worker met the full disk
    sandbox.chatml("wait")


def test_a_checkout_that_does_not_fit_is_told_and_goes_on_with_space(
    sandbox: Sandbox, small_disk: Path, serve: Serve
) -> None:
    api = serve({"*": ["Fine."]})
    (sandbox.repo / "big").write_bytes(os.urandom(1_000_000))
    sandbox.commit("big")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 1_300_000)
    sandbox.chatml("new", "first-message", "--name", "task", "--wait", code=1)
    session = sandbox.session("task")
    assert session["status"] in ("crashed", "failed")  # the latter only where there was still room to say so
    assert session["status"] == "crashed" or session["error"]["kind"] == "worktree"
    ballast.unlink()
    sandbox.chatml("resume", "task")
    sandbox.chatml("wait", "task")
    delivered_once(sandbox, api, "task", "first-message")
    worktree = Path(sandbox.session("task")["worktree"])
    assert sandbox.git("status", "--porcelain", cwd=worktree) == ""


def test_a_state_folder_that_is_read_only_can_be_read(sandbox: Sandbox, rested: Path) -> None:
    before = sandbox.session("task")["changes"]["files"]
    (rested / "more").write_text("1")
    state = sandbox.repo / ".git" / "chatml"
    bound = subprocess.run(
        ["mount", "--bind", "-o", "ro", state, state], capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    if bound.returncode:
        pytest.skip(f"needs the right to mount a file system: {bound.stderr.strip()}")
    try:
        (sandbox.repo / "README.md").write_text("changed\n")
        assert sandbox.session("task")["status"] == "done"
        assert sandbox.session("task")["changes"]["files"] == before + 1
        assert "Made." in sandbox.chatml("logs", "task").out
        for args in (["send", "task", "x"], ["new", "x"], ["resume", "task"]):
            refused = sandbox.chatml(*args, code=1)
            assert refused.err.startswith("error: read-only file system: ")
            assert "\nhint: " in refused.err
    finally:
        subprocess.run(["umount", state], check=True, timeout=TIMEOUT)
    assert sandbox.git("branch", "--list", "chatml/*", "--format=%(refname:short)") == "chatml/task"


@pytest.mark.parametrize("echoes", [True, False], ids=["repeats what it does not know", "fails"])
def test_a_git_that_is_too_old_is_told(sandbox: Sandbox, tmp_path: Path, echoes: bool) -> None:
    """A stand-in for git 2.20, which prints an option that it does not know."""
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    rest = 'printf "%s\\n" --path-format=absolute .git .git "$PWD"' if echoes else "echo usage >&2; exit 129"
    old.write_text(f'#!/bin/sh\ncase "$*" in *version*) echo git version 2.20.1;; *) {rest};; esac\n')
    old.chmod(0o700)
    refused = sandbox.chatml("ls", code=1, env={"PATH": f"{old.parent}:{sandbox.env['PATH']}"})
    assert refused.err == "error: git 2.20.1 is too old\nhint: chatml needs git 2.31 or later\n"
    missing = sandbox.chatml("ls", code=1, env={"PATH": str(tmp_path)})
    assert missing.err.startswith("error: git is not installed, or not in PATH\nhint: ")
