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


def test_every_kind_of_conflict_is_told_in_plain_words(sandbox: Sandbox) -> None:
    top = sandbox.repo
    long = "".join(f"a rather long line, number {number}\n" for number in range(30))
    write(
        top,
        both=LINES,
        gone=LINES,
        moved=long,
        moved_too=long.replace("rather", "quite other and even more"),
        plain="x\n",
    )
    (top / "bits").write_bytes(b"\0\1\2" * 50)
    (top / "link").symlink_to("plain")
    sandbox.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(top), "sub")
    sandbox.commit("all kinds")
    for name in "ab":
        work = make_session(sandbox, name)
        own = {"a": "one\n", "b": "two\n"}[name]
        write(work, both=LINES.replace("line 9\n", own), added=own, gone=LINES + own)
        (work / "bits").write_bytes(b"\0\1\2" * 50 + own.encode())
        (work / "link").unlink()
        (work / "link").symlink_to(name)
        (work / "moved").rename(work / f"moved-{name}")
        if name == "a":
            (work / "moved_too").rename(work / "elsewhere")
            write(work, place="a file\n", tool="#!/bin/sh\n", plain="x\ny\n")
            (work / "tool").chmod(0o755)
        else:
            (work / "moved_too").unlink()
            (work / "gone").unlink()
            write(work, place__file="in a folder\n", tool="#!/bin/sh\n")
        made = sandbox.git("commit-tree", "HEAD^{tree}", "-m", own, cwd=top)
        sandbox.git("add", "-A", cwd=work)
        sandbox.git("update-index", "--cacheinfo", f"160000,{made},sub", cwd=work)
        sandbox.git("commit", "-qm", name, cwd=work)
    found = pair(sandbox)
    assert found["verdict"] == "conflict"
    kinds = {file["path"]: file["kind"] for file in found["files"]}
    assert kinds == {
        "both": "content",
        "added": "add/add",
        "gone": "modify/delete",
        "moved": "rename/rename",
        "moved-a": "rename/rename",
        "moved-b": "rename/rename",
        "elsewhere": "rename/delete",
        "place": "file/folder",
        "tool": "mode",
        "bits": "binary",
        "link": "symlink",
        "sub": "submodule",
    }
    lines = {file["path"]: file["lines"] for file in found["files"] if file["lines"]}
    assert lines == {"both": [[9, 9]], "added": [[1, 1]]}
    shown = sandbox.chatml("conflicts").out
    assert all(len(line) <= 80 for line in shown.splitlines())
