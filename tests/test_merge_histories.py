"""Random histories: `merge` gives what git gives, and loses no line that one side has added and none removed."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatml.landing.merge import Maker, Mode, NothingNewError, Offer
from chatml.repo import Repository
from chatml.repo.merging import MergeConflictError
from tests.histories import begin, work
from tests.made import commit, files, make_session
from tests.support import Sandbox
from tests.worktree import sealed

__all__ = ["sealed"]

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("sealed")]


def _lines(sandbox: Sandbox, commit: str) -> set[str]:
    """All lines of all files of a commit, but of binary ones."""
    sandbox.git("checkout", "-q", "--detach", commit)
    return lines_in(sandbox.repo)


def lines_in(top: Path) -> set[str]:
    """All lines of all files of a checkout, but of binary ones."""
    found = files(top)
    return {
        line
        for kind, content in found.values()
        if kind != "link" and b"\0" not in content
        for line in content.decode("utf-8", "replace").split("\n")
        if " 0." in line
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 30), mode=st.sampled_from([Mode.SQUASH, Mode.NO_FF, Mode.REBASE]))
def test_random_histories(sandbox: Sandbox, tmp_path: Path, seed: int, mode: Mode) -> None:
    saved = tmp_path / "saved"
    if not saved.exists():
        shutil.copytree(sandbox.repo, saved, symlinks=True)
    shutil.rmtree(sandbox.repo)
    shutil.copytree(saved, sandbox.repo, symlinks=True)
    chance = random.Random(seed)
    start = begin(sandbox, chance)
    sandbox.git("checkout", "-qb", "x")
    work(sandbox, chance, "x")
    sandbox.git("checkout", "-q", "main")
    work(sandbox, chance, "main")
    onto, theirs = sandbox.git("rev-parse", "main"), sandbox.git("rev-parse", "x")
    maker = Maker(Repository.discover(sandbox.repo), mode, "main")
    try:
        made: str | None = maker.make(Offer("x", "x", theirs, "x"), onto)
    except NothingNewError:
        made = onto
    except MergeConflictError:
        made = None
    if mode is Mode.REBASE:
        sandbox.git("checkout", "-q", "--detach", "x")
        sandbox.git("rebase", "-q", "main", check=False)
        stuck = (sandbox.repo / ".git" / "rebase-merge").exists()
    else:
        sandbox.git("merge", "-q", "--no-ff", "--no-edit", "x", check=False)
        stuck = (sandbox.repo / ".git" / "MERGE_HEAD").exists()
    assert stuck == (made is None)
    if made is None:
        return
    assert sandbox.git("rev-parse", f"{made}^{{tree}}") == sandbox.git("rev-parse", "HEAD^{tree}")
    base, ours, other, after = (_lines(sandbox, commit) for commit in (start, onto, theirs, made))
    assert (ours - base) | (other - base) <= after


@pytest.mark.timeout(300)
def test_fifty_sessions_on_a_thousand_files(sandbox: Sandbox) -> None:
    """Each fifth changes what the one before has changed: all the others land, and those are named."""
    for number in range(1000):
        path = sandbox.repo / f"part{number // 50}" / f"file{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{number} {line}\n" for line in range(20)))
    sandbox.commit("many")
    for number in range(50):
        top = make_session(sandbox, f"s{number:02}")
        same = number - 1 if number % 5 == 4 else number
        path = top / f"part{same}" / f"file{same * 50}" if same < 20 else top / "part0" / f"file{same}"
        path.write_text(path.read_text().replace(" 7\n", f" 7 changed by {number}\n"))
        commit(sandbox, top, f"Part {number}", **{f"new{number}": "n\n"})
    told = sandbox.chatml("merge", "--all", "--json", code=1, timeout=200).json
    conflicts = [f"s{number:02}" for number in range(4, 50, 5)]
    assert [one["name"] for one in told["left"]] == conflicts
    assert {one["reason"] for one in told["left"]} == {"conflict"}
    assert [one["name"] for one in told["landed"]] == [name for name in told["order"] if name not in conflicts]
    assert sandbox.git("rev-list", "--count", "main") == str(2 + 40)
    assert sandbox.git("status", "--porcelain") == ""
    assert not list((sandbox.repo / ".git").glob("index.*"))
