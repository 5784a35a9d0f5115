"""`merge --check`: only what passes lands, exactly as it was tried; who makes it fail is left out, and told why."""

from __future__ import annotations

from typing import Any

from tests.made import commit, make_session
from tests.support import TIMEOUT, Sandbox
from tests.test_merge import clean, tip

RUNS = 'echo run >> "$HOME/runs"; git rev-parse "HEAD^{tree}" >> "$HOME/trees"; '
"""Counts the runs of a check and notes what they were run on, outside of where it runs."""


def sessions(sandbox: Sandbox, names: str) -> None:
    """A session for each letter, each with a file of that name; their agents are in no sandbox, nor are checks then."""
    for name in names:
        top = make_session(sandbox, name, agent="quick", command=("sh", "-c", "echo done"))
        commit(sandbox, top, f"Add {name}", **{name: f"{name}\n"})


def runs(sandbox: Sandbox) -> int:
    """How often the check has run; counted anew from here on."""
    place = sandbox.home / "runs"
    count = len(place.read_text().split()) if place.exists() else 0
    place.unlink(missing_ok=True)
    return count


def trees(sandbox: Sandbox) -> list[str]:
    return (sandbox.home / "trees").read_text().split()


def told(sandbox: Sandbox, check: str, *args: str, code: int = 0) -> Any:
    return sandbox.chatml("merge", "--all", "--check", check, "--json", *args, code=code, timeout=4 * TIMEOUT).json


def names(found: list[dict[str, Any]]) -> str:
    return "".join(one["name"] for one in found)


def test_what_passes_lands_exactly_as_it_was_tried(sandbox: Sandbox) -> None:
    sessions(sandbox, "abc")
    done = told(sandbox, RUNS + "test -e a && test -e b && test -e c")
    assert names(done["landed"]) == "abc"
    assert (done["left"], done["flaky"]) == ([], [])
    assert trees(sandbox) == [tip(sandbox, "main^{tree}")]
    clean(sandbox)


def test_a_train_of_ten_with_two_culprits_one_of_which_fails_only_together_with_a_third(sandbox: Sandbox) -> None:
    sessions(sandbox, "abcdefghij")
    check = RUNS + "echo looking; test -e d && echo d is bad && exit 3; if test -e b && test -e g; then exit 4; fi"
    done = told(sandbox, check, code=1)
    assert names(done["landed"]) == "abcefhij"
    left = {one["name"]: one for one in done["left"]}
    assert left == {
        "d": {"name": "d", "reason": "check", "files": [], "output": "looking\nd is bad"},
        "g": {
            "name": "g",
            "reason": "check",
            "files": [],
            "output": "the check fails with it together with b, not alone: it exited with code 4\nlooking",
        },
    }
    assert tip(sandbox, "main^{tree}") in trees(sandbox)
    assert tip(sandbox) == done["landed"][-1]["commit"]
    assert runs(sandbox) == 25
    clean(sandbox)
