"""`chatml conflicts`: what becomes of sessions that meet, by real merges that touch nothing."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any

from tests.made import commit, files, make_session, state, write
from tests.support import Sandbox, wait_until
from tests.test_halfmade import wrap, wrapped

__all__ = ["wrapped"]


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


def two(sandbox: Sandbox, **start: str) -> tuple[Path, Path]:
    """Two sessions that start from these files."""
    sandbox.commit("start", **start)
    return make_session(sandbox, "a"), make_session(sandbox, "b")


def untouched(sandbox: Sandbox) -> object:
    """All that looking could change."""
    return (
        {name: state(sandbox, name, Path(f"{sandbox.repo}.chatml") / name) for name in "ab"},
        [path.read_bytes() for path in sorted((sandbox.repo / ".git").rglob("index"))],
        sandbox.git("for-each-ref"),
        sorted((sandbox.repo / ".git" / "objects").rglob("*")),
        files(sandbox.repo),
    )


def test_what_is_not_committed_counts_and_nothing_is_touched(sandbox: Sandbox) -> None:
    a, b = two(sandbox, text=LINES)
    write(a, text=LINES.replace("line 3\n", "a\n"), new="a\n", staged="a\n")
    sandbox.git("add", "staged", cwd=a)
    write(b, text=LINES.replace("line 3\n", "b\n"), new="b\n", staged="b\n", ignored="b\n")
    before = untouched(sandbox)
    kinds = {file["path"]: (file["kind"], file["lines"]) for file in pair(sandbox)["files"]}
    assert kinds == {"text": ("content", [[3, 3]]), "new": ("add/add", [[1, 1]]), "staged": ("add/add", [[1, 1]])}
    assert untouched(sandbox) == before


def test_a_base_that_has_moved_conflicts_too(sandbox: Sandbox) -> None:
    a, _ = two(sandbox, text=LINES)
    commit(sandbox, a, "a", text=LINES.replace("line 3\n", "a\n"))
    sandbox.commit("main", text=LINES.replace("line 3\n", "main\n"))
    told = sandbox.chatml("conflicts", "--json").json
    assert told["base"] == [
        {
            "name": "a", "base": "main", "verdict": "conflict", "reason": None,
            "files": [{"path": "text", "kind": "content", "lines": [[3, 3]], "driver": None}],
        },
        {"name": "b", "base": "main", "verdict": "clean", "reason": None, "files": []},
    ]  # fmt: skip
    assert [one["verdict"] for one in told["pairs"]] == ["clean"]
    assert told["order"] == ["a"]  # b brings nothing


def test_merge_drivers_and_attributes_are_honoured_and_named(sandbox: Sandbox) -> None:
    start = {"joined": LINES, "whole": LINES, "own": LINES, "text": LINES}
    sandbox.commit("attributes", _dot_gitattributes="joined merge=union\nwhole -merge\nown merge=mine\n")
    sandbox.git("config", "merge.mine.driver", "cat %B > %A")
    for name, top in zip("ab", two(sandbox, **start), strict=True):
        write(top, **{file: LINES.replace("line 3\n", f"{name}\n") for file in ("joined", "whole", "own")})
    found = pair(sandbox)
    assert found["files"] == [{"path": "whole", "kind": "binary", "lines": [], "driver": None}]
    write(Path(f"{sandbox.repo}.chatml/b"), whole=LINES)
    found = pair(sandbox)
    assert found["verdict"] == "overlap"
    assert {file["path"]: file["driver"] for file in found["files"]} == {"joined": "union", "own": "mine"}
    shown = sandbox.chatml("conflicts").out
    assert "overlap   a + b: joined (by the merge driver union), own (by the merge driver mine)\n" in shown
    assert "note: a forge does not run merge drivers of yours: mine\n" in shown
    sandbox.git("config", "merge.mine.driver", "exit 1")  # other settings, other merges
    assert [(file["path"], file["kind"]) for file in pair(sandbox)["files"]] == [("own", "content")]


def test_what_can_not_be_known_is_said_with_its_reason(sandbox: Sandbox) -> None:
    a, b = two(sandbox, text=LINES)
    commit(sandbox, a, "a", text="a\n")
    sandbox.git("checkout", "-qb", "other", cwd=b)
    commit(sandbox, b, "b", text="b\n")
    sandbox.git("merge", "-q", "chatml/a", cwd=b, check=False)
    found = pair(sandbox)
    assert (found["verdict"], found["files"]) == ("unknown", [])
    assert found["reason"] == "b: it is in the middle of a merge with conflicts in 1 file"
    shown = sandbox.chatml("conflicts").out
    assert shown.count("unknown   b: it is in the middle of a merge with conflicts in 1 file\n") == 1
    assert sandbox.chatml("ls", "--json", "a").json[0]["conflicts"] is None


def test_of_a_worktree_that_is_gone_its_branch_counts(sandbox: Sandbox) -> None:
    a, b = two(sandbox, text=LINES)
    for name, top in (("a", a), ("b", b)):
        commit(sandbox, top, name, text=f"{name}\n")
    shutil.rmtree(a)
    done = sandbox.chatml("conflicts", "--json")
    assert done.json["pairs"][0]["verdict"] == "conflict"
    assert "this is what its branch holds" in done.err
    sandbox.git("worktree", "prune")
    sandbox.git("branch", "-D", "chatml/a")
    assert pair(sandbox)["verdict"] == "unknown"


# --- names ------------------------------------------------------------------------------------------------------


def test_one_name_is_met_with_all_and_several_with_each_other(sandbox: Sandbox) -> None:
    a, b = two(sandbox, text=LINES)
    commit(sandbox, a, "a", text=LINES.replace("line 3\n", "a\n"))
    commit(sandbox, b, "b", text="first\n" + LINES.replace("line 3\n", "b\n"))
    make_session(sandbox, "c")
    told = sandbox.chatml("conflicts", "b", "--json").json
    assert [(one["a"], one["b"], one["verdict"]) for one in told["pairs"]] == [
        ("b", "a", "conflict"), ("b", "c", "clean"),
    ]  # fmt: skip
    assert told["pairs"][0]["files"][0]["lines"] == [[4, 4]]
    assert [one["name"] for one in told["base"]] == ["b"]
    told = sandbox.chatml("conflicts", "a", "c", "--json").json
    assert [(one["a"], one["b"]) for one in told["pairs"]] == [("a", "c")]
    done = sandbox.chatml("conflicts", "a", "x", code=1)
    assert done.err.startswith("error: no session named 'x'")
    assert "a + main" not in done.out


def test_a_git_that_can_not_merge_in_memory_is_said_to_be_too_old(sandbox: Sandbox, wrapped: Path) -> None:
    a, b = two(sandbox, text=LINES)
    for name, top in (("a", a), ("b", b)):
        commit(sandbox, top, name, text=f"{name}\n")
    wrap(wrapped, '#!/bin/sh\ncase "$*" in *merge-tree*) exit 129;; esac\nexec {git} "$@"\n')
    done = sandbox.chatml("conflicts", code=1)
    assert done.err == "error: git 2.38 or later is needed to merge several branches\nhint: install it\n"
    assert sandbox.chatml("ls", "-q").out.split() == ["b", "a"], "the newest first"


# --- what is remembered -----------------------------------------------------------------------------------------


def test_what_was_merged_is_not_merged_again(sandbox: Sandbox, wrapped: Path) -> None:
    wrap(wrapped, '#!/bin/sh\necho "$*" >> {folder}/said\nexec {git} "$@"\n')
    a, b = two(sandbox, text=LINES)
    write(a, text=LINES.replace("line 3\n", "a\n"), untracked="x\n")
    commit(sandbox, b, "b", text=LINES.replace("line 3\n", "b\n"))
    settle(a)
    first = sandbox.chatml("conflicts", "--json").json
    (wrapped / "said").unlink()
    assert sandbox.chatml("conflicts", "--json").json == first
    assert not [line for line in (wrapped / "said").read_text().splitlines() if re.search("merge-tree| add ", line)]
    assert listed(sandbox) == {"a": ["b"], "b": ["a"]}
    write(a, text=LINES)
    assert pair(sandbox)["verdict"] == "clean"
    assert listed(sandbox) == {"a": [], "b": []}
    (sandbox.repo / ".git" / "chatml" / "conflicts.json").write_text("{")
    assert listed(sandbox) == {"a": None, "b": None}
    assert pair(sandbox)["verdict"] == "clean"


def listed(sandbox: Sandbox) -> dict[str, list[str] | None]:
    """What `ls` knows of each: with whom it conflicts."""
    return {one["name"]: one["conflicts"] for one in sandbox.chatml("ls", "--json").json}


def settle(top: Path) -> None:
    """Let all files of a worktree be some seconds old; of what was written just now, times tell nothing."""
    wait_until(lambda: time.time() - max(path.stat().st_ctime for path in top.iterdir()) > 0.2, "some time to pass")


def test_a_worker_finds_out_at_the_end_of_its_turn(sandbox: Sandbox) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("agents: {sh: {command: [sh, -c, '{prompt}']}}\nagent: sh\n")
    sandbox.commit("text", text=LINES)
    for name in "ab":
        sandbox.chatml("new", "-q", "--wait", "--name", name, f"echo {name} > text")
    wait_until(lambda: listed(sandbox) == {"a": ["b"], "b": ["a"]}, "it to be known", lambda: listed(sandbox))
    table = sandbox.chatml("ls").out.splitlines()
    place = table[0].index("CONFLICTS")
    assert [line[place:].split()[0] for line in table[1:3]] in (["a", "b"], ["b", "a"])
    assert [one["conflicts"] for one in sandbox.chatml("summary", "--json").json] == [["a"], ["b"]]
    assert "conflicts" in sandbox.chatml("summary", "a").out


# --- the order --------------------------------------------------------------------------------------------------


def test_sessions_land_in_the_order_that_is_proposed(sandbox: Sandbox) -> None:
    """The fewest conflicts first, then the smallest, then the oldest; and none before one that it comes after."""
    sandbox.commit("text", text=LINES)
    for name, text, after in (
        ("a", LINES.replace("line 3\n", "a\n"), ()),
        ("b", LINES.replace("line 3\n", "b\n"), ()),
        ("large", LINES + "1\n2\n3\n", ()),
        ("late", "new\n" + LINES, ("large",)),
        ("small", LINES.replace("line 15\n", ""), ()),
    ):
        commit(sandbox, make_session(sandbox, name, after=after), name, text=text)
    order = ["small", "large", "late", "a", "b"]
    assert sandbox.chatml("conflicts", "--json").json["order"] == order
    shown = sandbox.chatml("conflicts").out.splitlines()
    assert shown[-2:] == ["order     small, large, late, a, b", "next      chatml merge -n small large late a b"]
    done = sandbox.chatml("merge", "--all", "--json", code=1).json
    assert [one["name"] for one in done["landed"]] == order[:-1]
    told = sandbox.chatml("conflicts", "--json").json
    assert (told["sessions"], told["order"]) == (["b"], ["b"])
    assert told["base"][0]["verdict"] == "conflict"


# --- the check --------------------------------------------------------------------------------------------------


def checked(sandbox: Sandbox, command: str, code: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = sandbox.chatml("conflicts", "--check", command, "--json", code=code).json["check"]
    return told


def test_a_check_names_who_fails_alone_and_who_only_together(sandbox: Sandbox) -> None:
    """Also by what is not committed; what conflicts with others is left out of it, and nothing is touched."""
    sandbox.commit("text", text=LINES)
    for name in "abcde":
        write(make_session(sandbox, name, agent="quick", command=("sh", "-c", "echo done")), **{name: f"{name}\n"})
    for name in "de":
        write(Path(f"{sandbox.repo}.chatml/{name}"), text=LINES.replace("line 3\n", f"{name}\n"))
    before = sorted(Path(f"{sandbox.repo}.chatml").iterdir()), sandbox.git("status", "--porcelain")
    fine = checked(sandbox, "test -e a && test -e d || test ! -e a")
    assert (fine["ok"], fine["culprits"], fine["output"]) == (True, [], "")
    assert (fine["sessions"], fine["left_out"]) == (["a", "b", "c", "d"], ["e"])
    found = checked(sandbox, "echo no; ! test -e b && ! { test -e a && test -e c; }", code=1)
    assert (found["ok"], sorted(found["culprits"]), found["output"]) == (False, [["a", "c"], ["b"]], "no")
    shown = sandbox.chatml("conflicts", "--check", "echo no; ! test -e b && ! { test -e a && test -e c; }", code=1)
    assert "b fails alone\n" in shown.out
    assert "a + c fail only together\n" in shown.out
    assert "without what conflicts: e\n" in shown.out
    assert (sorted(Path(f"{sandbox.repo}.chatml").iterdir()), sandbox.git("status", "--porcelain")) == before
    assert "no" in sandbox.chatml("logs", "--check").out


def test_a_check_that_fails_without_any_is_nobodys_fault(sandbox: Sandbox) -> None:
    write(make_session(sandbox, "a", agent="quick", command=("sh", "-c", "echo done")), a="a\n")
    found = checked(sandbox, "echo base; false", code=1)
    assert (found["ok"], found["culprits"], found["output"]) == (False, [], "base")
    shown = sandbox.chatml("conflicts", "--check", "echo base; false", code=1).out
    assert "check     echo base; false fails on main itself: it exited with code 1\n" in shown
    missing = sandbox.chatml("conflicts", "--check", "no-such-program", code=1)
    assert missing.err.startswith("error: the check can't be run: ")
    assert "conflict" not in missing.out
    assert sandbox.chatml("conflicts", "--check", " ", code=2).err.startswith("error: --check is empty")
