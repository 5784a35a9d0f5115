"""Which folder is the repository: the same one for every layout, seen from everywhere in it; and why there is none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chatml.repo import Repository
from tests.support import Sandbox, thinned
from tests.worktree import sealed

__all__ = ["sealed"]


def agent(sandbox: Sandbox) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("agent: sh\nagents:\n  sh: {command: ['true', '{prompt}']}\n")


def normal(sandbox: Sandbox, top: Path) -> tuple[Path, Path]:
    sandbox.git("clone", "-q", str(sandbox.repo), str(top / "shop"))
    return top / "shop", top / "shop"


def separate(sandbox: Sandbox, top: Path) -> tuple[Path, Path]:
    shop, _ = normal(sandbox, top)
    (top / "kept").mkdir()
    sandbox.git("init", "-q", "--separate-git-dir", str(top / "kept" / "shop.git"), cwd=shop)
    return shop, shop


def submodule(sandbox: Sandbox, top: Path) -> tuple[Path, Path]:
    sandbox.git("init", "-q", str(top / "super"))
    add = ["submodule", "--quiet", "add", str(sandbox.repo), "shop"]
    sandbox.git("-c", "protocol.file.allow=always", *add, cwd=top / "super")
    return top / "super" / "shop", top / "super" / "shop"


def bare(sandbox: Sandbox, top: Path) -> tuple[Path, Path]:
    sandbox.git("clone", "-q", "--bare", str(sandbox.repo), str(top / "shop.git"))
    return top / "shop.git", top / "shop.git"


def worktree_of_bare(sandbox: Sandbox, top: Path) -> tuple[Path, Path]:
    bare(sandbox, top)
    sandbox.git("worktree", "add", "-q", str(top / "work"), "main", cwd=top / "shop.git")
    return top / "work", top / "shop.git"


def bare_in_a_hidden_folder(sandbox: Sandbox, top: Path) -> tuple[Path, Path]:
    """As many lay out a repository that is only used through worktrees."""
    shop = top / "shop"
    sandbox.git("clone", "-q", "--bare", str(sandbox.repo), str(shop / ".bare"))
    (shop / ".git").write_text("gitdir: ./.bare\n")
    sandbox.git("worktree", "add", "-q", "main", cwd=shop)
    return shop / "main", shop


def bare_as_git_folder(sandbox: Sandbox, top: Path) -> tuple[Path, Path]:
    sandbox.git("clone", "-q", "--bare", str(sandbox.repo), str(top / "shop" / ".git"))
    return top / "shop", top / "shop"


def elsewhere(sandbox: Sandbox, top: Path) -> tuple[Path, Path]:
    """A checkout that is where `core.worktree` says."""
    sandbox.git("clone", "-q", "--no-checkout", str(sandbox.repo), str(top / "kept"))
    (top / "shop").mkdir()
    sandbox.git("config", "core.worktree", "../../shop", cwd=top / "kept")
    sandbox.git("reset", "-q", "--hard", cwd=top / "kept")
    return top / "kept", top / "shop"


def linked(sandbox: Sandbox, top: Path) -> tuple[Path, Path]:
    shop, _ = normal(sandbox, top)
    (top / "link").symlink_to(shop)
    return top / "link", shop


LAYOUTS = [normal, separate, submodule, bare, worktree_of_bare, bare_in_a_hidden_folder, bare_as_git_folder, elsewhere,
           linked]  # fmt: skip


@pytest.mark.parametrize("make", thinned(LAYOUTS, 3), ids=lambda make: make.__name__)
def test_sessions_of_sessions_lie_beside_each_other(
    sandbox: Sandbox, tmp_path: Path, make: Callable[[Sandbox, Path], tuple[Path, Path]]
) -> None:
    top = tmp_path / "top"
    top.mkdir()
    agent(sandbox)
    start, home = make(sandbox, top)
    first = sandbox.chatml("new", "x", "--name", "first", "--wait", "--json", cwd=start).json
    worktree = Path(first["worktree"])
    assert worktree == home.parent / "shop.chatml" / "first"
    second = sandbox.chatml("new", "x", "--name", "second", "--wait", "--json", cwd=worktree).json
    assert Path(second["worktree"]) == worktree.with_name("second")
    for place in (start, worktree, Path(second["worktree"])):
        assert sandbox.chatml("path", "first", cwd=place).out == f"{worktree}\n"
        assert sandbox.chatml("doctor", "--json", cwd=place, code=None).out.count("outlived") == 0
        records = [json.loads(file.read_text()) for file in top.rglob("chatml/sessions/*/session.json")]
        assert {record["repository"] for record in records} == {str(home)}
    sandbox.chatml("rm", "first", "second", cwd=start)


def test_what_surrounds_a_command_does_not_lead_it_elsewhere(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.git("init", "-q", str(tmp_path / "other"))
    env = {"GIT_DIR": str(tmp_path / "other" / ".git"), "GIT_WORK_TREE": str(tmp_path / "other")}
    assert sandbox.chatml("ls", "--json", env=env).json == []
    assert f"repository {sandbox.repo}" in sandbox.chatml("doctor", env=env, code=None).out


@pytest.mark.usefixtures("sealed")
def test_a_checkout_that_is_only_noted_must_lead_here(sandbox: Sandbox, tmp_path: Path) -> None:
    shop, _ = separate(sandbox, tmp_path)
    sandbox.git("worktree", "add", "-q", "--detach", str(tmp_path / "linked"), cwd=shop)
    found = Repository.discover(tmp_path / "linked")
    found.noted = lambda: [tmp_path / "gone", sandbox.repo, shop]
    assert found.home == shop
    alone = Repository.discover(tmp_path / "linked")
    assert alone.home == tmp_path / "kept" / "shop.git"


# --- no repository, and why ----------------------------------------------------------------------------------------


NEWER = {
    "reftable": ("extensions.refStorage", "reftable", "refstorage"),
    "an unknown extension": ("extensions.somethingNew", "true", "somethingnew"),
    "an unknown object format": ("extensions.objectFormat", "sha1024", "sha1024"),
}


@pytest.mark.parametrize(("key", "value", "said"), NEWER.values(), ids=NEWER)
@pytest.mark.parametrize("below", [False, True], ids=["at the top", "in a folder"])
def test_a_repository_that_this_git_can_not_read(
    sandbox: Sandbox, key: str, value: str, said: str, below: bool
) -> None:
    if key == "extensions.refStorage" and _knows_reftable(sandbox):
        pytest.skip("this git knows reftable")
    sandbox.git("config", "core.repositoryFormatVersion", "1")
    sandbox.git("config", key, value)
    place = sandbox.repo / "folder" if below else sandbox.repo
    place.mkdir(exist_ok=True)
    for args in (["ls"], ["new", "x"]):
        refused = sandbox.chatml(*args, code=1, cwd=place)
        assert refused.err.startswith("error: git can't use the repository here: ")
        assert said in refused.err
        assert "git init" not in refused.err
    found = sandbox.chatml("doctor", "--json", code=1, cwd=place).json
    (problem,) = [one for one in found if one["check"] == "repository"]
    assert problem["level"] == "problem"
    assert said in problem["message"]
    assert "git 2." in problem["hint"]


def _knows_reftable(sandbox: Sandbox) -> bool:
    return (
        sandbox.git("init", "-q", "--ref-format=reftable", str(sandbox.home / "probe"), check=False) == ""
        and (sandbox.home / "probe" / ".git" / "reftable").exists()
    )


def test_a_repository_of_a_later_format_or_damaged(sandbox: Sandbox) -> None:
    sandbox.git("config", "core.repositoryFormatVersion", "7")
    assert "found 7" in sandbox.chatml("ls", code=1).err
    (sandbox.repo / ".git" / "config").write_text("[core\n")
    assert "bad config line 1" in sandbox.chatml("ls", code=1).err
    shutil.rmtree(sandbox.repo / ".git")
    assert "not a git repository" in sandbox.chatml("ls", code=1).err
    os.mkdir(sandbox.repo / ".git")
    assert "git can't use the repository here: not a git repository" in sandbox.chatml("ls", code=1).err


def test_a_branch_without_a_commit_beside_others_that_have_some(sandbox: Sandbox) -> None:
    agent(sandbox)
    sandbox.git("checkout", "-q", "--orphan", "fresh")
    refused = sandbox.chatml("new", "x", code=1)
    assert refused.err == (
        "error: the branch checked out here, fresh, has no commit yet\n"
        "hint: name what to start from, as in: chatml new --base main PROMPT\n"
    )
    sandbox.chatml("new", "--base", "main", "x", "--wait")
    assert sandbox.session("x")["base"]["ref"] == "main"
    sandbox.chatml("rm", "x")
