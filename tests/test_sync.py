"""`chatml sync`: a session comes up to its base with all that it holds, or stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.made import commit, make_session, state, write
from tests.support import Sandbox
from tests.test_merge import shown, tip


def clean(sandbox: Sandbox) -> None:
    """No lock of git's, and nothing that was only needed in between."""
    git_dir = sandbox.repo / ".git"
    found = [path.name for path in git_dir.rglob("*.lock") if "chatml" not in path.relative_to(git_dir).parts]
    assert not found + [path.name for path in git_dir.rglob("index.*")]
    assert not {"moving.json", "merging"} & set(os.listdir(git_dir / "chatml"))


@pytest.fixture
def worktree(sandbox: Sandbox) -> Path:
    """The session `x`, with two commits, on a base that has moved on."""
    sandbox.commit("before", a="1\n2\n3\n4\n5\n6\n7\n8\n9\n", old="old\n")
    top = make_session(sandbox, "x")
    commit(sandbox, top, "Change the end\n\nFor a reason.", a="1\n2\n3\n4\n5\n6\n7\n8\nnine\n")
    commit(sandbox, top, "Add one", one="1\n", sub__two="2\n")
    sandbox.commit("meanwhile", a="one\n2\n3\n4\n5\n6\n7\n8\n9\n", other="o\n")
    return top


def names(sandbox: Sandbox, *refs: str) -> list[str]:
    return sandbox.git("diff", "--name-only", *refs).split()


def test_its_commits_are_made_anew_on_the_base(sandbox: Sandbox, worktree: Path) -> None:
    sandbox.git("commit", "-q", "--amend", "--no-edit", "--author=Ada <ada@example.org>", cwd=worktree)
    told = sandbox.chatml("sync", "x")
    assert told.out == f"synced x: 2 commits onto main {tip(sandbox)[:7]}\n"
    assert sandbox.git("log", "--format=%s", "main..chatml/x").splitlines() == ["Add one", "Change the end"]
    assert shown(sandbox, "%an <%ae>", "chatml/x") == "Ada <ada@example.org>"
    assert shown(sandbox, "%b", "chatml/x~1") == "For a reason."
    assert tip(sandbox, "chatml/x~2") == tip(sandbox)
    assert (worktree / "a").read_text() == "one\n2\n3\n4\n5\n6\n7\n8\nnine\n"
    assert sandbox.git("status", "--porcelain", "--branch", cwd=worktree) == "## chatml/x"
    assert sandbox.session("x")["base"] == {"ref": "main", "commit": tip(sandbox)}
    assert names(sandbox, sandbox.session("x")["base"]["commit"], "chatml/x") == ["a", "one", "sub/two"]
    assert sandbox.chatml("sync", "x").out == "x is up to date\n"
    assert sandbox.chatml("sync", "x", "-q").out == ""
    clean(sandbox)


def test_the_base_is_merged_into_it(sandbox: Sandbox, worktree: Path) -> None:
    before = tip(sandbox, "chatml/x")
    told = sandbox.chatml("sync", "--merge", "x")
    assert told.out == f"synced x: merged main {tip(sandbox)[:7]}\n"
    assert shown(sandbox, "%P", "chatml/x") == f"{before} {tip(sandbox)}"
    assert shown(sandbox, "%s", "chatml/x") == "Merge branch 'main' into chatml/x"
    assert (worktree / "a").read_text() == "one\n2\n3\n4\n5\n6\n7\n8\nnine\n"
    assert sandbox.session("x")["base"]["commit"] == tip(sandbox)
    assert sandbox.session("x")["changes"]["files"] == 3


@pytest.mark.parametrize("way", ["--rebase", "--merge"])
def test_what_is_not_committed_comes_along(sandbox: Sandbox, worktree: Path, way: str) -> None:
    (sandbox.repo / ".git" / "info" / "exclude").write_text("ignored\n")
    write(worktree, a="1\n2\n3\n4\nfive\n6\n7\n8\nnine\n", untracked__deep="u\n", ignored="i\n", staged="s\n")
    sandbox.git("add", "staged", "a", cwd=worktree)
    write(worktree, staged="s\nmore\n")
    (worktree / "old").unlink()
    before = sandbox.git("status", "--porcelain", "-uall", cwd=worktree)
    told = sandbox.chatml("sync", way, "x")
    assert told.out.endswith(f"main {tip(sandbox)[:7]} with its uncommitted work\n")
    assert sandbox.git("status", "--porcelain", "-uall", cwd=worktree) == before
    assert (worktree / "a").read_text() == "one\n2\n3\n4\nfive\n6\n7\n8\nnine\n"
    assert sandbox.git("show", ":staged", cwd=worktree) == "s"
    assert [(worktree / name).read_text() for name in ("staged", "untracked/deep", "ignored", "other")] == [
        "s\nmore\n", "u\n", "i\n", "o\n"
    ]  # fmt: skip
    assert sandbox.git("stash", "list") == ""
    clean(sandbox)


def _conflicting(sandbox: Sandbox, top: Path, where: str) -> str:
    """Make a conflict with the base; returns its file."""
    if where == "committed":
        commit(sandbox, top, "mine", a="mine\n")
    elif where in ("uncommitted", "staged"):
        write(top, a="mine\n")
    if where == "staged":
        sandbox.git("add", "a", cwd=top)
        write(top, a="1\n2\n3\n4\n5\n6\n7\n8\nnine\n")
    if where in ("untracked", "ignored"):
        write(top, other="mine\n", untracked="u\n")
        (sandbox.repo / ".git" / "info" / "exclude").write_text("other\n" if where == "ignored" else "")
        return "other"
    return "a"


@pytest.mark.parametrize("where", ["committed", "uncommitted", "staged", "untracked", "ignored"])
def test_a_conflict_leaves_all_as_it_was(sandbox: Sandbox, worktree: Path, where: str) -> None:
    file = _conflicting(sandbox, worktree, where)
    before = state(sandbox, "x", worktree)
    refused = sandbox.chatml("sync", "x", code=1)
    whose = "it conflicts" if where == "committed" else "its uncommitted work conflicts"
    assert refused.err.startswith(f"error: 'x' is left as it was: {whose} with main {tip(sandbox)[:7]} in {file}\n")
    (told,) = sandbox.chatml("sync", "--merge", "x", "--json", code=1).json
    assert (told["outcome"], told["files"], told["onto"]) == ("failed", [file], tip(sandbox))
    assert state(sandbox, "x", worktree) == before
    clean(sandbox)
