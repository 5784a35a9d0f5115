"""Random sessions: `conflicts` says of every pair what `git merge` then really does."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.histories import begin, change, work
from tests.made import make_session
from tests.support import Sandbox


def _as_git_does(sandbox: Sandbox, seed: int, count: int) -> None:
    chance = random.Random(seed)
    begin(sandbox, chance)
    names = "abcdef"[:count]
    for name in names:
        top = make_session(sandbox, name)
        work(sandbox, chance, name, top)
        for number in range(chance.randint(0, 2)):
            change(top, chance, name, number)  # not committed
    told = sandbox.chatml("conflicts", "--json").json
    verdicts = {(one["a"], one["b"]): one for one in told["pairs"]}
    assert [*verdicts] == [(a, b) for number, a in enumerate(names) for b in names[number + 1 :]]
    for name in names:
        top = Path(f"{sandbox.repo}.chatml") / name
        sandbox.git("add", "-A", cwd=top)
        sandbox.git("commit", "-q", "--allow-empty", "-m", "all", cwd=top)
    for (a, b), one in verdicts.items():
        files = _merged(sandbox, a, b)
        shown = {file["path"] for file in one["files"]}
        assert (one["verdict"] == "conflict") == bool(files), (a, b, one, files)
        assert one["verdict"] != "unknown"
        if files:
            assert {path.partition("~")[0] for path in files} == shown, (a, b)
        else:
            assert (one["verdict"] == "overlap") == bool(shown)


def _merged(sandbox: Sandbox, a: str, b: str) -> set[str]:
    """The files that `git merge` leaves to a person."""
    top = Path(f"{sandbox.repo}.chatml") / a
    sandbox.git("checkout", "-q", "--detach", f"chatml/{a}", cwd=top)
    sandbox.git("merge", "-q", "--no-edit", f"chatml/{b}", cwd=top, check=False)
    said = sandbox.git("status", "--porcelain=v2", "-z", cwd=top).split("\0")
    files = {entry.split(" ", 10)[10] for entry in said if entry.startswith("u ")}
    sandbox.git("reset", "-q", "--hard", f"chatml/{a}", cwd=top)
    sandbox.git("clean", "-qfd", cwd=top)
    return files


@pytest.mark.long
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 30), count=st.integers(2, 6))
def test_every_pair_is_told_as_git_merges_it(sandbox: Sandbox, tmp_path: Path, seed: int, count: int) -> None:
    saved = tmp_path / "saved"
    if not saved.exists():
        shutil.copytree(sandbox.repo, saved, symlinks=True)
    for folder in (sandbox.repo, Path(f"{sandbox.repo}.chatml")):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(saved, sandbox.repo, symlinks=True)
    _as_git_does(sandbox, seed, count)


@pytest.mark.parametrize("seed", [3, 8])
def test_some_pairs_are_told_as_git_merges_them(sandbox: Sandbox, seed: int) -> None:
    _as_git_does(sandbox, seed, 4)
