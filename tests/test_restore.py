"""`rm --force` loses nothing: `restore` brings back every file, git's state of the worktree, and the conversation."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from tests.faults import Serve
from tests.made import assert_comes_back, commit, files, make_session, raw, write
from tests.support import Sandbox, thinned

# --- any worktree -----------------------------------------------------------------------------------------------

NAMES = [
    b"a",
    b"b",
    b"with space",
    b"new\nline",
    b"quo\"te's",
    b"caf\xe9",
    "ünï".encode(),
    b"-dash",
    b":(glob)*",
    b"x\\y",
]
CONTENTS = [b"", b"one\n", b"two\r\nlines\n", b"\0\xff binary", b"no end", b"text\n" * 500]
IGNORE = "*.log\nbuilt/\n"


class Chaos:
    """Does to a worktree what agents and people do, at random."""

    def __init__(self, sandbox: Sandbox, top: Path, seed: int) -> None:
        self.sandbox, self.top, self.rng = sandbox, top, random.Random(seed)

    def path(self) -> Path:
        parts = [os.fsdecode(self.rng.choice(NAMES)) for _ in range(self.rng.choice([1, 1, 2]))]
        end = self.rng.choice(["", "", "", ".log"])
        return self.top.joinpath(*parts[:-1], parts[-1] + end)

    def known(self) -> Path:
        found = [Path(os.fsdecode(path)) for path in files(self.top)]
        return self.rng.choice(sorted(found)) if found else self.path()

    def make(self) -> None:
        path = self.path()
        for part in [*reversed(path.relative_to(self.top).parents)][1:]:
            if (self.top / part).is_symlink() or (self.top / part).is_file():
                (self.top / part).unlink()
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if self.rng.random() < 0.2:
            path.symlink_to(os.fsdecode(self.rng.choice(NAMES)))
        else:
            path.write_bytes(self.rng.choice(CONTENTS))
            path.chmod(self.rng.choice([0o644, 0o755]))

    def remove(self) -> None:
        self.known().unlink(missing_ok=True)

    def rename(self) -> None:
        path = self.known()
        if os.path.lexists(path):
            path.rename(path.with_name(path.name + "2"))

    def index(self) -> None:
        name = os.path.relpath(self.known(), self.top)
        step = self.rng.choice(
            [
                ["add", "-A"],
                ["add", "-f", "--", name],
                ["add", "-N", "-f", "--", name],
                ["rm", "-q", "--cached", "--", name],
                ["update-index", "--chmod=+x", "--", name],
                ["update-index", "--assume-unchanged", "--", name],
                ["update-index", "--skip-worktree", "--", name],
                ["commit", "-q", "-m", "some"],
                ["commit", "-q", "--amend", "-m", "amended"],
                ["reset", "-q", "--soft", "HEAD~1"],
                ["reset", "-q"],
            ]
        )
        raw(self.sandbox, self.top, "--literal-pathspecs", *step)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.rng.choice([self.make, self.make, self.make, self.remove, self.rename, self.index, self.index])()


@pytest.mark.parametrize("seed", thinned(range(8), 3))
def test_any_worktree_comes_back_as_it_was(sandbox: Sandbox, seed: int) -> None:
    attributes = ["", "* text=auto eol=crlf\n", "a filter=odd\n* text\n"][seed % 3]
    sandbox.git("config", "filter.odd.clean", "tr a-z b-za")
    sandbox.git("config", "filter.odd.smudge", "tr b-za a-z")
    write(sandbox.repo, _dot_gitignore=IGNORE, _dot_gitattributes=attributes)
    Chaos(sandbox, sandbox.repo, seed).run(15)
    sandbox.commit("before")
    worktree = make_session(sandbox, "x")
    chaos = Chaos(sandbox, worktree, seed + 100)
    chaos.run(25)
    if seed % 2:
        raw(sandbox, worktree, "checkout", "-q", "--detach")
        chaos.run(5)
    assert_comes_back(sandbox, "x", worktree)


def in_conflict(sandbox: Sandbox, operation: list[str]) -> Path:
    """A session in the middle of an operation that stopped at conflicts."""
    sandbox.commit("before", a="0\n", gone="0\n", kept="0\n")
    worktree = make_session(sandbox, "x")
    commit(sandbox, worktree, "first", c="1\n")
    (worktree / "gone").unlink()
    commit(sandbox, worktree, "ours", a="ours\n", both="ours\n")
    sandbox.commit("theirs", a="theirs\n", both="theirs\n", gone="theirs\n")
    sandbox.git(*operation, cwd=worktree, check=False)
    write(worktree, new="untracked", kept="staged")
    sandbox.git("add", "kept", cwd=worktree)
    return worktree


@pytest.mark.parametrize("operation", [["merge", "main"], ["rebase", "main"], ["cherry-pick", "main"]], ids=" ".join)
def test_an_operation_goes_on_after_the_restore(sandbox: Sandbox, operation: list[str]) -> None:
    worktree = in_conflict(sandbox, operation)
    assert "UU a" in sandbox.git("status", "--porcelain", cwd=worktree)
    assert_comes_back(sandbox, "x", worktree)
    sandbox.git("checkout", "--theirs", "a", "both", cwd=worktree)
    sandbox.git("add", "-A", cwd=worktree)
    sandbox.env["GIT_EDITOR"] = "true"
    sandbox.git(operation[0], "--continue", cwd=worktree)
    assert sandbox.git("status", "--porcelain=v2", "--branch", cwd=worktree).splitlines()[1].endswith("chatml/x")


def test_a_branch_without_a_commit_and_a_deleted_one(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x")
    sandbox.git("checkout", "-q", "--orphan", "fresh", cwd=worktree)
    write(worktree, a="1")
    assert_comes_back(sandbox, "x", worktree)


def test_what_git_ignores(sandbox: Sandbox) -> None:
    sandbox.commit("ignore", _dot_gitignore=".env\nsmall/\nlarge/\n*.bin\n")
    worktree = make_session(sandbox, "x")
    write(worktree, _dot_env="KEY=1", small__notes="mine", small__deep__er="too", large__note="1", src__a_dot_bin="2")
    (worktree / "large" / "data").write_bytes(b"\0" * 2_000_000)
    (worktree / "huge.bin").write_bytes(b"\0" * 2_000_000)
    told = sandbox.chatml("rm", "x").err
    assert told.splitlines()[1] == ("  not kept for restore, because git ignores it and it is large: huge.bin, large/")
    sandbox.chatml("restore", "x")
    found = {os.path.relpath(os.fsdecode(path), worktree) for path in files(worktree)}
    assert found == {".env", "small/notes", "small/deep/er", "src/a.bin", ".gitignore", "README.md"}


def test_repositories_inside_the_worktree_are_kept_as_they_are(sandbox: Sandbox) -> None:
    sandbox.commit("ignore", _dot_gitignore="vendor/\n")
    worktree = make_session(sandbox, "x")
    for inner in ("tool", "vendor/lib", "deep/empty"):
        sandbox.git("init", "-q", str(worktree / inner))
        write(worktree / inner, precious=inner)
    commit(sandbox, worktree / "tool", "work")
    write(worktree / "vendor", note="1")
    before = files(worktree)
    told = sandbox.chatml("rm", "--force", "x").err
    assert told.count("a git repository was in its worktree, and is kept for restore: ") == 3
    assert not worktree.exists()
    sandbox.chatml("restore", "x")
    assert files(worktree) == before
    assert sandbox.git("log", "--format=%s", cwd=worktree / "tool") == "work"
    assert not (sandbox.repo / ".git" / "chatml" / "trash").exists()


def test_commits_that_only_the_reflog_knew(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x")
    lost = commit(sandbox, worktree, "reset away", a="1")
    sandbox.git("reset", "-q", "--hard", "main", cwd=worktree)
    sandbox.git("branch", "-q", "-f", "side", "main")
    sandbox.chatml("rm", "x")
    sandbox.git("reflog", "expire", "--expire=now", "--all")
    sandbox.git("gc", "-q", "--prune=now")
    sandbox.chatml("restore", "x")
    assert sandbox.git("log", "-1", "--format=%s", lost) == "reset away"
    assert lost in sandbox.git("log", "-g", "--format=%H", cwd=worktree)


def test_settings_that_are_hostile(sandbox: Sandbox, tmp_path: Path) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    sandbox.git("config", "core.autocrlf", "true")
    worktree = make_session(sandbox, "x")
    sandbox.git("config", "branch.chatml/x.remote", "origin")
    commit(sandbox, worktree, "one", a="1")
    write(worktree, b="2")
    for hook in ("pre-commit", "post-checkout", "post-index-change", "reference-transaction", "post-rewrite"):
        (hooks / hook).write_text("#!/bin/sh\necho no >&2\n" + ("exit 1\n" if hook != "reference-transaction" else ""))
        (hooks / hook).chmod(0o755)
    (sandbox.home / ".gitconfig").write_text(
        f"[user]\nuseConfigOnly = true\n[commit]\ngpgSign = true\n[tag]\ngpgSign = true\n[gpg]\nprogram = false\n"
        f"[core]\nhooksPath = {hooks}\nsafecrlf = true\nsplitIndex = true\nuntrackedCache = true\n"
        f"fsmonitor = false\nquotePath = false\nlogAllRefUpdates = always\n[status]\nshowUntrackedFiles = no\n"
        f"relativePaths = false\n[diff]\nnoprefix = true\nexternal = false\n[gc]\nauto = 1\n[advice]\n"
        f"detachedHead = false\n[index]\nversion = 4\n[color]\nui = always\n"
    )
    assert_comes_back(sandbox, "x", worktree)
    assert sandbox.git("config", "branch.chatml/x.remote") == "origin"


# --- several of a name, and what is in the way ----------------------------------------------------------------------


@pytest.mark.long
def test_two_removed_under_one_name(sandbox: Sandbox) -> None:
    for text in ("older", "newer", "newest"):
        write(make_session(sandbox, "x", prompt=text), a=text)
        sandbox.chatml("rm", "-f", "x")
    listed = sandbox.chatml("restore").out.splitlines()
    assert [line.split("\t")[0] for line in listed] == ["x", "x@2", "x@1"]
    assert all(line.partition("\tremoved ")[2].endswith("s ago") for line in listed)
    worktree = Path(f"{sandbox.repo}.chatml/x")
    for label, text, left in (("x", "newest", "x@2 x@1"), ("x@1", "older", "x x@2"), ("x", "older", "x@2")):
        assert sandbox.chatml("restore", "-q", label).out == "x\n"
        assert (worktree / "a").read_text() == text
        assert sandbox.session("x")["prompt"] == text
        refused = sandbox.chatml("restore", label, code=1).err
        assert refused.startswith(("error: a session named 'x' exists\n", "error: no removed session named 'x@1'"))
        assert sandbox.chatml("restore", "-q").out.split() == [one for one in left.split() if one != "x"] or left
        sandbox.chatml("rm", "-f", "x")
    assert sandbox.chatml("restore", "y", code=1).err.startswith("error: no removed session named 'y'")


def test_a_name_that_was_taken_again(sandbox: Sandbox) -> None:
    commit(sandbox, make_session(sandbox, "x"), "old", a="old")
    sandbox.chatml("rm", "-f", "x")
    worktree = make_session(sandbox, "x")
    refused = sandbox.chatml("restore", "x", code=1)
    assert refused.err.startswith("error: a session named 'x' exists\nhint: remove that one first")
    sandbox.chatml("rm", "x")
    write(worktree, precious="1")
    refused = sandbox.chatml("restore", "x@1", code=1)
    assert refused.err == f"error: {worktree} is in the way\nhint: move it away and try again\n"
    assert sandbox.git("for-each-ref", "refs/heads/chatml") == ""
    shutil.rmtree(worktree)
    sandbox.chatml("restore", "x@1")
    assert (worktree / "a").read_text() == "old"


@pytest.mark.parametrize("where", ["moved on", "in use"])
def test_a_branch_that_is_somebody_elses_now(sandbox: Sandbox, tmp_path: Path, where: str) -> None:
    worktree = make_session(sandbox, "x")
    was = commit(sandbox, worktree, "work", a="1")
    write(worktree, b="2")
    sandbox.chatml("rm", "-f", "x")
    sandbox.git("branch", "chatml/x", was if where == "in use" else "main")
    if where == "in use":
        sandbox.git("worktree", "add", "-q", str(tmp_path / "mine"), "chatml/x")
    told = sandbox.chatml("restore", "x").err
    assert f"chatml/x has moved on or is in use, so HEAD is detached at {was[:9]}" in told
    assert sandbox.git("rev-parse", "HEAD", cwd=worktree) == was
    assert sandbox.git("status", "--porcelain", cwd=worktree) == "?? b"
    there = sandbox.git("rev-parse", "chatml/x")
    sandbox.chatml("rm", "-f", "x")
    assert sandbox.git("rev-parse", "chatml/x") == there


def test_a_session_without_a_worktree_comes_back_as_it_was_committed(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x")
    commit(sandbox, worktree, "work", a="1")
    sandbox.git("worktree", "remove", str(worktree))
    sandbox.chatml("rm", "-f", "x")
    sandbox.chatml("restore", "x")
    assert (worktree / "a").read_text() == "1"
    assert sandbox.git("status", "--porcelain=v2", "--branch", cwd=worktree).endswith("branch.head chatml/x")


def test_a_kept_branch_is_checked_out_again(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x")
    commit(sandbox, worktree, "work", a="1")
    sandbox.chatml("rm", "--keep-branch", "x")
    sandbox.chatml("restore", "x")
    assert sandbox.git("branch", "--show-current", cwd=worktree) == "chatml/x"
    sandbox.chatml("rm", "-f", "x")
    assert sandbox.git("for-each-ref", "refs/heads/chatml") == ""


# --- the conversation -------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_conversation_goes_on(sandbox: Sandbox, serve: Serve) -> None:
    api = serve(
        {
            "*": {
                "turns": [
                    [{"Write": {"file_path": "{cwd}/left.txt", "content": "uncommitted\n"}}, "I have begun."],
                    ["You said: {prompt}"],
                ]
            }
        }
    )
    sandbox.chatml("new", "begin", "--name", "x", "--wait", "-q")
    before = sandbox.session("x")
    assert sandbox.chatml("rm", "x", code=1).err.startswith("error: 'x' is not safe to remove: 1 uncommitted file")
    assert_comes_back(sandbox, "x", Path(before["worktree"]))
    assert sandbox.chatml("send", "x", "go on", "--wait").out == "You said: go on\n"
    after = sandbox.session("x")
    assert after["session_id"] == before["session_id"]
    assert after["turns"] == 2
    assert after["cost_usd"] > before["cost_usd"]
    assert "I have begun." in json.dumps(api.requests[-1].body)
