"""Whether a session's work counts as landed, for `rm`: by what real git did to bring it home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.made import commit, make_session, write
from tests.support import Sandbox, thinned

Land = Callable[[Sandbox], object]


def squash(sandbox: Sandbox) -> None:
    sandbox.git("merge", "-q", "--squash", "chatml/x")
    sandbox.git("commit", "-q", "-m", "squashed")


def pick(sandbox: Sandbox) -> None:
    sandbox.git("cherry-pick", "main..chatml/x")


def move_on(sandbox: Sandbox) -> None:
    """The base goes on where the session worked, so that a merge would be a conflict."""
    sandbox.commit("later", a="quite another\n", b="and here\n")


@pytest.fixture
def session_tree(sandbox: Sandbox) -> Path:
    """A session with two commits, on a base that has moved on since."""
    sandbox.commit("before", a="1\n2\n3\n4\n5\n6\n7\n8\n9\n", other="0\n")
    folder = make_session(sandbox, "x")
    commit(sandbox, folder, "first", a="1\n2\n3\n4\nmine\n6\n7\n8\n9\n")
    commit(sandbox, folder, "second", b="new\n")
    sandbox.commit("meanwhile", other="1\n")
    return folder


def outcome(sandbox: Sandbox) -> str:
    """`landed in …` as `rm` tells it, or its refusal."""
    plan = sandbox.chatml("rm", "-n", "x", code=None)
    merged = sandbox.chatml("rm", "-n", "-q", "--merged").out
    if plan.code:
        assert merged == ""
        return plan.err.splitlines()[0].partition("to remove: ")[2]
    said = sandbox.chatml("rm", "x").err
    assert merged == ("x\n" if "(landed" in said else "")
    return said.partition("deleted")[2].strip(" ()\n")


NOT = "2 commits on chatml/x that are nowhere else, not landed in main"

WAYS: dict[str, list[Land]] = {
    "merge": [lambda s: s.git("merge", "-q", "--no-ff", "--no-edit", "chatml/x")],
    "fast-forward": [lambda s: s.git("reset", "-q", "--hard", "chatml/x")],
    "squash": [squash],
    "squash, base moved on": [squash, move_on],
    "squash, reverted": [squash, lambda s: s.git("revert", "--no-edit", "HEAD")],
    "merge, reverted": [
        lambda s: s.git("merge", "-q", "--no-ff", "--no-edit", "chatml/x"),
        lambda s: s.git("revert", "--no-edit", "-m1", "HEAD"),
    ],
    "picked": [pick],
    "picked, base moved on": [pick, move_on],
    "rebased": [
        lambda s: s.git("rebase", "-q", "main", "chatml/x~0"),
        lambda s: s.git("checkout", "-q", "-B", "main"),
    ],
    "same content by hand": [lambda s: s.commit("by hand", a="1\n2\n3\n4\nmine\n6\n7\n8\n9\n", b="new\n", c="more\n")],
}


@pytest.mark.parametrize("way", WAYS)
def test_landed(sandbox: Sandbox, session_tree: Path, way: str) -> None:  # noqa: ARG001
    for step in WAYS[way]:
        step(sandbox)
    assert outcome(sandbox) == "landed in main"


PARTLY: dict[str, list[Land]] = {
    "not at all": [],
    "one of two picked": [lambda s: s.git("cherry-pick", "chatml/x")],
    "one of two picked, base moved on": [lambda s: s.git("cherry-pick", "chatml/x"), move_on],
    "same place, other content": [lambda s: s.commit("other", a="1\n2\n3\n4\nyours\n6\n7\n8\n9\n", b="new\n")],
    "only a branch like the base": [lambda s: s.git("branch", "-m", "main", "trunk")],
}


@pytest.mark.parametrize("way", PARTLY)
def test_not_landed(sandbox: Sandbox, session_tree: Path, way: str) -> None:  # noqa: ARG001
    for step in PARTLY[way]:
        step(sandbox)
    assert outcome(sandbox) == NOT
    assert sandbox.chatml("ls", "-q").out == "x\n"


def test_landed_only_on_the_remote(sandbox: Sandbox, session_tree: Path) -> None:  # noqa: ARG001
    remote = sandbox.repo.parent / "remote.git"
    sandbox.git("clone", "-q", "--bare", str(sandbox.repo), str(remote))
    sandbox.git("remote", "add", "origin", str(remote))
    squash(sandbox)
    sandbox.git("push", "-q", "origin", "main")
    sandbox.git("reset", "-q", "--hard", "HEAD~1")
    assert outcome(sandbox) == "landed in origin/main"


@pytest.mark.parametrize("landed", [True, False])
def test_a_base_on_a_remote(sandbox: Sandbox, landed: bool) -> None:
    remote = sandbox.repo.parent / "remote.git"
    sandbox.git("clone", "-q", "--bare", str(sandbox.repo), str(remote))
    sandbox.git("remote", "add", "my/fork", str(remote))
    sandbox.git("fetch", "-q", "my/fork")
    sandbox.git("switch", "-q", "-c", "elsewhere")
    commit(sandbox, make_session(sandbox, "x", base="my/fork/main"), "work", a="1\n")
    if landed:
        sandbox.git("switch", "-q", "main")
        squash(sandbox)
        sandbox.git("push", "-q", "my/fork", "main")
        sandbox.git("switch", "-q", "elsewhere")
        sandbox.git("branch", "-q", "-D", "main")
        assert outcome(sandbox) == "landed in my/fork/main"
    else:
        sandbox.git("branch", "-q", "-D", "main")
        assert outcome(sandbox) == "1 commit on chatml/x that is nowhere else, not landed in my/fork/main"


@pytest.mark.parametrize("base", ["sha", "tag", "deleted branch"])
def test_a_base_that_is_no_branch(sandbox: Sandbox, base: str) -> None:
    ref = sandbox.git("rev-parse", "HEAD") if base == "sha" else "start"
    if base != "sha":
        sandbox.git("tag" if base == "tag" else "branch", "start")
    commit(sandbox, make_session(sandbox, "x", base=ref), "work", a="1\n")
    if base == "deleted branch":
        sandbox.git("branch", "-q", "-D", "start")
    assert outcome(sandbox).startswith("1 commit on chatml/x that is nowhere else")
    squash(sandbox)
    assert outcome(sandbox) == "landed in main"


CHANGES: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "binary": (lambda f: f.joinpath("bin").write_bytes(b"\0a"), lambda f: f.joinpath("bin").write_bytes(b"\0b")),
    "mode": (lambda f: f.joinpath("run").chmod(0o755), lambda f: f.joinpath("calm").chmod(0o755)),
    "empty file": (lambda f: f.joinpath("a").touch(), lambda f: f.joinpath("b").touch()),
    "white space": (lambda f: write(f, run="a b\n"), lambda f: write(f, run="a  b\n")),
    "link": (lambda f: f.joinpath("l").symlink_to("a"), lambda f: f.joinpath("l").symlink_to("b")),
}


@pytest.mark.parametrize("same", [True, False], ids=["same", "other"])
@pytest.mark.parametrize("kind", thinned(CHANGES, 3))
def test_changes_that_look_alike_are_told_apart(sandbox: Sandbox, kind: str, same: bool) -> None:
    sandbox.commit("before", bin="\0", run="0\n", calm="0\n")
    folder = make_session(sandbox, "x")
    ours, theirs = CHANGES[kind]
    ours(folder)
    commit(sandbox, folder, "ours")
    (ours if same else theirs)(sandbox.repo)
    sandbox.commit("theirs")
    sandbox.git("reset", "-q", "--hard")
    for name in ("bin", "run", "calm", "a", "b", "l"):  # so that only the history tells
        (sandbox.repo / name).unlink(missing_ok=True)
    sandbox.commit("away")
    expected = "landed in main" if same else "1 commit on chatml/x that is nowhere else, not landed in main"
    assert outcome(sandbox) == expected


def test_a_merge_among_the_commits_is_not_guessed_about(sandbox: Sandbox, session_tree: Path) -> None:
    sandbox.git("merge", "-q", "--no-ff", "--no-commit", "main", cwd=session_tree)
    write(session_tree, hidden="in the merge")
    commit(sandbox, session_tree, "merged")
    sandbox.git("cherry-pick", "chatml/x~2", "chatml/x~1")
    assert outcome(sandbox).endswith("that are nowhere else, not landed in main")


def test_a_head_that_is_detached_lands_as_well(sandbox: Sandbox, session_tree: Path) -> None:
    sandbox.git("checkout", "-q", "--detach", cwd=session_tree)
    commit(sandbox, session_tree, "third", c="3\n")
    squash(sandbox)
    assert outcome(sandbox) == "1 commit checked out there on no branch that is nowhere else, not landed in main"
    sandbox.git("cherry-pick", sandbox.git("rev-parse", "HEAD", cwd=session_tree))
    assert outcome(sandbox) == "landed in main"


def test_the_base_of_a_bare_repository(sandbox: Sandbox, session_tree: Path) -> None:
    sandbox.git("config", "core.bare", "true")
    assert sandbox.chatml("rm", "-n", "x", code=1, cwd=sandbox.repo / ".git").err.startswith("error: 'x' is not safe")
    sandbox.git("update-ref", "refs/heads/main", "chatml/x")
    assert "landed in main" in sandbox.chatml("rm", cwd=session_tree).err


@pytest.fixture
def partial(sandbox: Sandbox, tmp_path: Path) -> Path:
    """The sandbox's repository, a partial and sparse clone by now; returns the file that each fetch of it lengthens."""
    sandbox.commit("many", a="1\n2\n3\n", **{f"far__{number}": f"{number}\n" for number in range(50)})
    there, fetches, program = tmp_path / "there.git", tmp_path / "fetches", tmp_path / "upload-pack"
    sandbox.git("clone", "-q", "--bare", str(sandbox.repo), str(there))
    for key in ("allowFilter", "allowAnySHA1InWant"):
        sandbox.git("config", f"uploadpack.{key}", "true", cwd=there)
    sandbox.repo = tmp_path / "partial"
    sandbox.git("clone", "-q", "--filter=blob:none", "--sparse", f"file://{there}", str(sandbox.repo), cwd=tmp_path)
    program.write_text(f'#!/bin/sh\necho fetched >> {fetches}\nexec git-upload-pack "$@"\n')
    program.chmod(0o755)
    sandbox.git("config", "remote.origin.uploadpack", str(program))
    return fetches


def _land_elsewhere(sandbox: Sandbox, tmp_path: Path, also: str) -> None:
    """Squash the session into the base in another clone, with `also` in another file, and fetch that."""
    other = tmp_path / "other"
    sandbox.git("push", "-q", "origin", "chatml/x")
    sandbox.git("clone", "-q", str(tmp_path / "there.git"), str(other))
    commit(sandbox, other, "elsewhere", far__3=also)
    sandbox.git("merge", "-q", "--squash", "origin/chatml/x", cwd=other)
    commit(sandbox, other, "squashed")
    commit(sandbox, other, "later", far__4=also, a="1\n2\n3\nmine\nlater\n")
    sandbox.git("push", "-q", "origin", "main", ":chatml/x", cwd=other)
    sandbox.git("fetch", "-q", "--prune")


def test_a_partial_clone_fetches_nothing_for_a_removal(sandbox: Sandbox, tmp_path: Path, partial: Path) -> None:
    folder = make_session(sandbox, "x")
    commit(sandbox, folder, "work", a="1\n2\n3\nmine\n")
    _land_elsewhere(sandbox, tmp_path, "other\n")
    partial.unlink(missing_ok=True)
    assert sandbox.session("x")["changes"]["files"] == 1
    assert outcome(sandbox) == "landed in origin/main"
    assert not partial.exists()
    sandbox.chatml("restore", "x")
    assert (folder / "a").read_text() == "1\n2\n3\nmine\n"
    assert sandbox.git("status", "--porcelain", cwd=folder) == ""


def test_what_a_partial_clone_can_not_tell_without_fetching_is_said_so(
    sandbox: Sandbox, tmp_path: Path, partial: Path
) -> None:
    """The same lines, landed in a file that was another by then: only its content could tell."""
    folder = make_session(sandbox, "x")
    commit(sandbox, folder, "work", a="1\n2\n3\nmine\n")
    other = tmp_path / "other"
    sandbox.git("clone", "-q", str(tmp_path / "there.git"), str(other))
    commit(sandbox, other, "before", a="0\n1\n2\n3\n")
    commit(sandbox, other, "by hand", a="0\n1\n2\n3\nmine\n")
    sandbox.git("push", "-q", "origin", "main", cwd=other)
    sandbox.git("fetch", "-q")
    partial.unlink()
    said = sandbox.chatml("rm", "x", code=1).err
    assert "1 commit on chatml/x that is nowhere else, could not find out whether it has landed: git" in said
    merged = sandbox.chatml("rm", "--merged", code=1).err
    assert merged.startswith("error: kept x: could not find out whether it has landed: git"), merged
    sandbox.chatml("rm", "--force", "x")
    assert not partial.exists()
    sandbox.chatml("restore", "x")
    assert (folder / "a").read_text() == "1\n2\n3\nmine\n"


def test_a_merged_session_is_found_without_the_persons_reflogs(sandbox: Sandbox) -> None:
    sandbox.git("config", "--global", "core.logAllRefUpdates", "false")
    sandbox.git("config", "--unset", "core.logAllRefUpdates", check=False)
    (sandbox.home / ".config" / "chatml").mkdir(parents=True)
    (sandbox.home / ".config" / "chatml" / "config.yaml").write_text(
        "agents: {sh: {command: [sh, -c, 'echo 1 > made; git add made; git commit -qm made', '{prompt}']}}\n"
    )
    sandbox.chatml("new", "--agent", "sh", "--name", "x", "--wait", "make it")
    assert sandbox.chatml("rm", "--merged", "-n", "-q").out == ""
    sandbox.git("merge", "-q", "--squash", "chatml/x")
    sandbox.git("commit", "-q", "-m", "squashed")
    assert sandbox.chatml("rm", "--merged", "-n", "-q").out == "x\n"
    sandbox.chatml("rm", "--merged")
    sandbox.chatml("restore", "x")
    assert sandbox.chatml("rm", "--merged", "-n", "-q").out == "x\n"
    (sandbox.repo / ".git" / "worktrees" / "x" / "logs" / "HEAD").write_text("")
    said = sandbox.chatml("rm", "--merged").err
    assert said == "kept x, which has landed: its reflog is gone, so nobody can tell whether it made these commits\n"
