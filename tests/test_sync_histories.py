"""Random histories: `sync` gives what git gives, loses no line that one side has added, or leaves all as it was."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.histories import NAMES, work
from tests.made import make_session, state
from tests.support import Sandbox
from tests.test_merge_histories import lines_in
from tests.worktree import sealed

__all__ = ["sealed"]

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("sealed")]


@pytest.mark.timeout(900)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 30), way=st.sampled_from(["rebase", "merge"]), dirty=st.booleans())
def test_random_histories(sandbox: Sandbox, seed: int, way: str, dirty: bool) -> None:
    """The base moves on; the session has commits, and maybe work in no commit, some of it staged."""
    _afresh(sandbox)
    chance = random.Random(seed)
    for name in NAMES:
        path = sandbox.repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name} {number} 0.\n" for number in range(chance.randint(2, 12))))
    sandbox.commit("start")
    top = make_session(sandbox, "x")
    base = lines_in(top)
    work(sandbox, chance, "x", top)
    if dirty:
        work(sandbox, chance, "dirty", top, commits=False)
        if chance.random() < 0.5:
            sandbox.git("reset", "-q", cwd=top)
    mine = lines_in(top)
    work(sandbox, chance, "main", sandbox.repo)
    theirs = lines_in(sandbox.repo)
    before = state(sandbox, "x", top)
    old = sandbox.git("rev-parse", "chatml/x")
    done = sandbox.chatml("sync", f"--{way}", "x", code=None)
    wanted = _by_git(sandbox, old, way)
    if done.code:
        assert "is left as it was" in done.err, done
        assert state(sandbox, "x", top) == before
        assert dirty or wanted is None
        return
    assert (mine - base) | (theirs - base) <= lines_in(top)
    assert sandbox.git("rev-parse", "chatml/x^{tree}") == wanted
    assert sandbox.git("rev-list", "--count", "chatml/x..main") == "0"
    assert sandbox.git("symbolic-ref", "HEAD", cwd=top) == "refs/heads/chatml/x"
    assert dirty or sandbox.git("status", "--porcelain", cwd=top) == ""


def _afresh(sandbox: Sandbox) -> None:
    """Put the sandbox back to what it was before the first example."""
    saved = Path(f"{sandbox.repo.parent}.saved")
    if not saved.exists():
        shutil.copytree(sandbox.repo.parent, saved, symlinks=True)
    for folder in sandbox.repo.parent.iterdir():
        shutil.rmtree(folder)
    shutil.copytree(saved, sandbox.repo.parent, symlinks=True, dirs_exist_ok=True)


def _by_git(sandbox: Sandbox, old: str, way: str) -> str | None:
    """The tree that git itself makes of the session's commits and the base; None where it finds a conflict."""
    sandbox.git("checkout", "-q", "--detach", old)
    command = ("rebase", "-q", "main") if way == "rebase" else ("merge", "-q", "--no-edit", "main")
    sandbox.git(*command, check=False)
    stuck = any((sandbox.repo / ".git" / name).exists() for name in ("rebase-merge", "MERGE_HEAD"))
    return None if stuck else sandbox.git("rev-parse", "HEAD^{tree}")


@pytest.mark.timeout(900)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1 << 30),
    how=st.sampled_from(["not", "some", "picked", "squash", "merge"]),
    more=st.sampled_from(["", "commit", "file"]),
)
def test_what_is_said_to_have_landed_is_in_the_base(sandbox: Sandbox, seed: int, how: str, more: str) -> None:
    """Each line that the session has added stands in some commit of the base; with more of its own it has not."""
    _afresh(sandbox)
    chance = random.Random(seed)
    for name in NAMES:
        path = sandbox.repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name} {number} 0.\n" for number in range(chance.randint(2, 12))))
    sandbox.commit("start")
    top = make_session(sandbox, "x")
    base = lines_in(top)
    work(sandbox, chance, "x", top)
    if chance.random() < 0.5:
        work(sandbox, chance, "main", sandbox.repo)
    home = _land(sandbox, how)
    if chance.random() < 0.5:
        work(sandbox, chance, "later", sandbox.repo)
        sandbox.chatml("ls")
    if more:
        extra = top / "extra"
        extra.write_text("extra 0.5\n")
        sandbox.git("add", "-A", cwd=top)
        if more == "commit":
            sandbox.git("commit", "-q", "-m", "extra", cwd=top)
    said = sandbox.session("x")["landed"]
    assert said is not None
    if not said:
        assert more or not home
        return
    assert not more
    there = set()
    for one in sandbox.git("rev-list", "main").splitlines():
        sandbox.git("checkout", "-q", "--detach", one)
        there |= lines_in(sandbox.repo)
    assert lines_in(top) - base <= there


def _land(sandbox: Sandbox, how: str) -> bool:
    """Bring the session's work, or some of it, into the base, as a person would; whether all of it is there."""
    changed = sandbox.git("diff", "--name-only", "main...chatml/x") != ""
    commits = sandbox.git("rev-list", "--reverse", "main..chatml/x").splitlines()
    commands: dict[str, list[tuple[str, ...]]] = {
        "not": [],
        "some": [("cherry-pick", "--allow-empty", "--keep-redundant-commits", commits[0])],
        "picked": [("cherry-pick", "--allow-empty", "--keep-redundant-commits", *commits)],
        "squash": [("merge", "-q", "--squash", "chatml/x"), ("commit", "-q", "--allow-empty", "-m", "squashed")],
        "merge": [("merge", "-q", "--no-ff", "--no-edit", "chatml/x")],
    }
    for command in commands[how]:
        sandbox.git(*command, check=False)
    stuck = sandbox.git("ls-files", "--unmerged") != ""
    if stuck:
        sandbox.git(*(("cherry-pick", "--abort") if how in ("some", "picked") else ("reset", "-q", "--hard")))
    return how in ("squash", "merge") and not stuck and changed
