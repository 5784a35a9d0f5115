"""`chatml conflicts`: what becomes of sessions that meet, by real merges that touch nothing."""

from __future__ import annotations

from typing import Any

from tests.made import commit, make_session, write
from tests.support import Sandbox


def pair(sandbox: Sandbox, *names: str) -> dict[str, Any]:
    """What is told of the only pair."""
    told = sandbox.chatml("conflicts", *names, "--json").json
    assert len(told["pairs"]) == 1
    found: dict[str, Any] = told["pairs"][0]
    return found


LINES = "".join(f"line {number}\n" for number in range(1, 21))


def test_conflicts_overlaps_and_clean_merges_are_told_apart(sandbox: Sandbox) -> None:
    sandbox.commit("text", text=LINES, other=LINES)
    tops = {name: make_session(sandbox, name) for name in ("a", "b", "c")}
    commit(sandbox, tops["a"], "a", text=LINES.replace("line 5\n", "five\nand more\n"))
    commit(sandbox, tops["b"], "b", text="new\n" + LINES.replace("line 5\n", "FIVE\n"))
    write(tops["c"], text=LINES.replace("line 20\n", "twenty\n"), untracked="x\n")
    told = sandbox.chatml("conflicts", "--json").json
    assert told["sessions"] == ["a", "b", "c"]
    assert [(one["a"], one["b"], one["verdict"]) for one in told["pairs"]] == [
        ("a", "b", "conflict"), ("a", "c", "overlap"), ("b", "c", "overlap"),
    ]  # fmt: skip
    assert told["pairs"][0]["files"] == [{"path": "text", "kind": "content", "lines": [[5, 6]], "driver": None}]
    assert told["pairs"][1]["files"] == [{"path": "text", "kind": None, "lines": [], "driver": None}]
    assert [(one["name"], one["verdict"]) for one in told["base"]] == [("a", "clean"), ("b", "clean"), ("c", "clean")]
    assert told["order"] == ["c", "a", "b"]
    assert told["check"] is None
    assert pair(sandbox, "b", "a")["files"][0]["lines"] == [[5, 6]]
