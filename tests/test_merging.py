"""Commits merged in memory, and where a session has left a base that holds more than its ref."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatml.errors import ChatmlError, Kind
from chatml.repo import Repository, merge_base
from chatml.repo.merging import MergeConflictError, merged, merges
from tests.support import Sandbox
from tests.test_halfmade import wrap, wrapped
from tests.worktree import sealed

__all__ = ["sealed", "wrapped"]

pytestmark = pytest.mark.usefixtures("sealed")


@pytest.fixture
def repository(sandbox: Sandbox) -> Repository:
    return Repository.discover(sandbox.repo)


def branch(sandbox: Sandbox, name: str, **files: str) -> str:
    """A branch from `main` with one commit."""
    sandbox.git("checkout", "-qb", name, "main")
    commit = sandbox.commit(name, **files)
    sandbox.git("checkout", "-q", "main")
    return commit


def test_a_merge_touches_nothing_and_is_the_same_each_time(sandbox: Sandbox, repository: Repository) -> None:
    a, b = branch(sandbox, "a", one="1"), branch(sandbox, "b", two="2")
    refs, index = sandbox.git("for-each-ref"), (sandbox.repo / ".git" / "index").read_bytes()
    commit = merged(repository, a, b, "Merge b")
    assert merged(repository, a, b, "Merge b") == commit
    assert sandbox.git("log", "-1", "--format=%P%n%s%n%an", commit).split("\n") == [
        f"{a} {b}", "Merge b", sandbox.git("config", "user.name"),
    ]  # fmt: skip
    assert sandbox.git("ls-tree", "--name-only", commit).split() == ["README.md", "one", "two"]
    assert (sandbox.git("for-each-ref"), (sandbox.repo / ".git" / "index").read_bytes()) == (refs, index)
    assert sandbox.git("status", "--porcelain") == ""


def test_what_holds_the_other_is_taken_as_it_is(sandbox: Sandbox, repository: Repository) -> None:
    main, a = sandbox.git("rev-parse", "main"), branch(sandbox, "a", one="1")
    assert merged(repository, main, a, "") == merged(repository, a, main, "") == merged(repository, a, a, "") == a


def test_without_an_identity_chatml_makes_the_merge(sandbox: Sandbox, repository: Repository) -> None:
    a, b = branch(sandbox, "a", one="1"), branch(sandbox, "b", two="2")
    for where in ("--global", "--local"):
        sandbox.git("config", where, "--unset-all", "user.name", check=False)
        sandbox.git("config", where, "--unset-all", "user.email", check=False)
    sandbox.git("config", "user.useConfigOnly", "true")
    assert sandbox.git("log", "-1", "--format=%an", merged(repository, a, b, "Merge b")) == "chatml"


def test_a_conflict_names_the_files_whatever_they_are_called(sandbox: Sandbox, repository: Repository) -> None:
    names = [f"f{number}" for number in range(6)] + ["new\nline"]
    a = branch(sandbox, "a", clean="1", **dict.fromkeys(names, "a\n"))
    b = branch(sandbox, "b", **dict.fromkeys(names, "b\n"))
    with pytest.raises(MergeConflictError) as caught:
        merged(repository, a, b, "")
    assert caught.value.files == names
    assert caught.value.message == "f0, f1, f2, f3, f4 and 2 more"
    assert caught.value.kind is Kind.WORKTREE


def test_an_old_git_says_which_is_needed(sandbox: Sandbox, repository: Repository, wrapped: Path) -> None:
    a, b = branch(sandbox, "a", one="1"), branch(sandbox, "b", two="2")
    wrap(wrapped, '#!/bin/sh\ncase "$*" in *merge-tree*) exit 129;; esac\nexec {git} "$@"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", sandbox.env["PATH"])
        with pytest.raises(ChatmlError, match=r"git 2\.38 or later"):
            merged(repository, a, b, "")


@pytest.mark.parametrize("old", [False, True], ids=["at once", "one by one, with git 2.38"])
def test_many_merges(sandbox: Sandbox, repository: Repository, wrapped: Path, old: bool) -> None:
    a = branch(sandbox, "a", same="a\n", **{"new\nline": "a\n"})
    b, c = branch(sandbox, "b", same="b\n", **{"new\nline": "b\n"}), branch(sandbox, "c", other="c\n")
    if old:
        wrap(wrapped, '#!/bin/sh\ncase "$*" in *merge-tree*--stdin*) exit 129;; esac\nexec {git} "$@"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", sandbox.env["PATH"])
        both, clean, same = merges(repository, [(a, b), (a, c), (c, c)])
    assert not both.clean
    assert both.unmerged == ("new\nline", "same")
    assert {clash.paths for clash in both.clashes if clash.kind == "CONFLICT (contents)"} == {("new\nline",), ("same",)}
    assert clean.clean
    named = sandbox.git("ls-tree", "-z", "--name-only", clean.tree).split("\0")
    assert {"new\nline", "same", "other"} <= set(named)
    assert (same.clean, same.tree) == (True, sandbox.git("rev-parse", "c^{tree}"))


def test_a_session_has_left_the_newer_of_its_base_and_what_was_recorded(sandbox: Sandbox) -> None:
    old = sandbox.git("rev-parse", "main")
    before = branch(sandbox, "before", one="1")
    sandbox.git("checkout", "-qb", "own", "before")
    own = sandbox.commit("own", two="2")
    sandbox.git("checkout", "-q", "main")
    assert merge_base(sandbox.repo, own, "main", before) == before  # more than `main` has
    new = sandbox.commit("on", three="3")
    sandbox.git("rebase", "-q", "main", "own")
    assert merge_base(sandbox.repo, "own", "main", old) == new  # the base has moved on, and it came along
    assert merge_base(sandbox.repo, "own", "gone", old) == old
    assert merge_base(sandbox.repo, "own", "main", "1" * 40) == new  # what was recorded is not there any more
