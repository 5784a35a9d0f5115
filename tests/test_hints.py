"""Hints that name a command: each is provoked, the command is run as it stands, and then the thing itself works.

Those of `pr` about a pull request stand beside its other tests.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hints import follow
from tests.made import commit, make_session
from tests.support import Sandbox


@dataclass(frozen=True)
class Case:
    """A command that fails, and what its hint must bring about."""

    provoke: Callable[[Sandbox], object]
    """Makes the situation; the session `x` with its worktree and a commit is there already."""
    fails: str
    names: str
    """How the command begins that the hint is to name; `NAME` and the like in it are filled in."""
    then: str | None = None
    """What works after that; the command that failed, unless it is said."""


def tree(sandbox: Sandbox) -> Path:
    return Path(f"{sandbox.repo}.chatml") / "x"


def _delete_worktree(sandbox: Sandbox) -> None:
    shutil.rmtree(tree(sandbox))


def _delete_branch(sandbox: Sandbox) -> None:
    sandbox.git("switch", "-q", "-c", "other", cwd=tree(sandbox))
    sandbox.git("branch", "-q", "-D", "chatml/x")


def _remove(sandbox: Sandbox) -> None:
    sandbox.chatml("rm", "--force", "x")


def _damage(sandbox: Sandbox) -> None:
    (sandbox.state("x") / "session.json").write_text("{")


def _unborn(sandbox: Sandbox) -> None:
    sandbox.git("checkout", "-q", "--orphan", "empty")


def _nothing(sandbox: Sandbox) -> None:
    """The session as it was made."""


CASES: dict[str, Case] = {
    "a worktree that is gone": Case(_delete_worktree, "path x", "chatml resume"),
    "a worktree that is gone, seen by doctor": Case(_delete_worktree, "doctor", "chatml resume", "path x"),
    "work that is nowhere else": Case(_nothing, "rm x", "chatml restore", "show x"),
    "a damaged record": Case(_damage, "rm x", "chatml rm --force", "ls"),
    "a damaged record, seen by doctor": Case(_damage, "doctor", "chatml rm --force", "ls"),
    "a damaged record, spoken to": Case(_damage, "send x go", "chatml rm --force", "ls"),
    "a branch that gave way": Case(_delete_branch, "pr x", "git -C", "diff x"),
    "no remote": Case(_nothing, "pr x", "git remote add origin", "ls"),
    "no such session": Case(_nothing, "send y go", "chatml ls", "ls"),
    "no such removed session": Case(_remove, "restore y", "chatml restore", "restore x"),
    "nothing to answer": Case(_nothing, "approve x", "chatml ls x", "ls"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hint_works_when_it_is_followed(sandbox: Sandbox, case: str) -> None:
    provoked = CASES[case]
    commit(sandbox, make_session(sandbox, "x"), "work", a="1")
    provoked.provoke(sandbox)
    failed = sandbox.chatml(*provoked.fails.split(), code=None)
    if provoked.names == "chatml restore" and provoked.fails.startswith("rm"):
        sandbox.chatml("rm", "--force", "x")  # the hint says so: with --force, and then that brings it back
    follow(sandbox, failed, provoked.names)
    sandbox.chatml("wait", code=None)
    sandbox.chatml(*(provoked.then or provoked.fails).split())
