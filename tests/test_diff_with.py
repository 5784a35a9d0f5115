"""`diff --with` and `diff --conflicts`: what sessions that meet do to the same files, by merges that touch nothing."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import forked
from tests.made import commit, files, make_session, raw, traces, write
from tests.support import TIMEOUT, Result, Sandbox
from tests.test_diff import HOSTILE
from tests.trees import Tree, nested_repository
from tests.worktree import pseudo_terminal

LINES = "".join(f"line {number}\n" for number in range(1, 21))
LONG = "".join(f"a rather long line, number {number}\n" for number in range(30))
NASTY = "-new\nline \x1b[31m\u2028\udcff"


def diff(sandbox: Sandbox, *args: str) -> Result:
    return sandbox.chatml("diff", *args)


def parts(patch: str) -> dict[str, str]:
    """What is shown, by its headings."""
    found = re.split(r"(?m)^(Conflicts of .*|Merges cleanly: .*)\n", patch)
    assert found[0] == ""
    return dict(zip(found[1::2], found[2::2], strict=True))


def two(sandbox: Sandbox) -> tuple[Path, Path]:
    """Sessions `a` and `b`: they don't agree on line 5 of `text`, and both change `both`; most is in no commit."""
    sandbox.commit("text", text=LINES, both=LINES, own=LINES)
    a, b = (make_session(sandbox, name) for name in "ab")
    commit(sandbox, a, "a", text=LINES.replace("line 5\n", "five\n"))
    write(a, both="first\n" + LINES, own="a\n", added="a\n")
    write(b, text=LINES.replace("line 5\n", "FIVE\n"), both=LINES + "last\n", added="b\n", mine="b\n")
    return a, b


def state(sandbox: Sandbox, *tops: Path) -> list[object]:
    git_dir = sandbox.repo / ".git"
    kept = {
        path: path.read_bytes()
        for part in ("objects", "refs", "worktrees", "logs", "index", "HEAD", "config")
        for path in [git_dir / part, *(git_dir / part).rglob("*")]
        if path.is_file()
    }
    return [kept, traces(sandbox), *map(files, (sandbox.repo, *tops)), sorted(os.listdir(sandbox.home))]


def test_what_two_sessions_do_to_the_same_files(sandbox: Sandbox) -> None:
    tops = two(sandbox)
    before = state(sandbox, *tops)
    told = diff(sandbox, "a", "--with", "b")
    assert (state(sandbox, *tops), told.err) == (before, "")
    shown = parts(told.out)
    assert [*shown] == ["Conflicts of a and b", "Merges cleanly: what a changes", "Merges cleanly: what b changes"]
    conflicts, of_a, of_b = shown.values()
    assert "Merge conflict in text\n" in conflicts
    assert "-line 5\n+<<<<<<< a\n+five\n+=======\n+FIVE\n+>>>>>>> b\n" in conflicts
    assert "@@ -0,0 +1,5 @@\n+<<<<<<< a\n+a\n+=======\n+b\n+>>>>>>> b\n" in conflicts  # added, in no commit
    assert re.findall("^diff --git .*", of_a, re.M) == ["diff --git a/both b/both"]
    assert "+first\n" in of_a
    assert "+last\n" in of_b
    assert "+last\n" not in of_a
    assert diff(sandbox, "a", "--with", "b", "--name-only").out == "added\nboth\ntext\n"
    stat = parts(diff(sandbox, "a", "--with", "b", "--stat").out)
    assert " 1 file changed, 1 insertion(+)\n" in stat["Merges cleanly: what b changes"]


def test_only_what_conflicts(sandbox: Sandbox) -> None:
    _, b = two(sandbox)
    assert diff(sandbox, "a", "--with", "b", "--conflicts", "--name-only").out == "added\ntext\n"
    told = sandbox.chatml("diff", "--with", "a", "--conflicts", "--", "text", "both", cwd=b).out
    ((heading, shown),) = parts(told).items()
    assert heading == "Conflicts of b and a"
    assert "+<<<<<<< b\n+FIVE\n+=======\n+five\n+>>>>>>> a\n" in shown
    assert "added" not in shown
    write(b, text=LINES, added="a\n")
    told_again = diff(sandbox, "a", "--with", "b", "--conflicts")
    assert (told_again.out, told_again.err) == ("", "a and b do not conflict\n")


def test_no_file_in_common_is_said_in_one_line(sandbox: Sandbox) -> None:
    a, b = two(sandbox)
    told = diff(sandbox, "a", "--with", "b", "--", "own", "mine")
    assert (told.out, told.err) == ("", "a and b change no file in common there\n")
    sandbox.git("reset", "-q", "--hard", "main", cwd=a)
    for form in ([], ["--name-only"]):
        (a / "added").unlink(missing_ok=True)
        told = diff(sandbox, "a", "--with", "b", *form)
        assert (told.out, told.err) == ("", "a and b change no file in common\n")
    assert b.exists()


def test_conflicts_with_the_base_as_it_is_now(sandbox: Sandbox) -> None:
    a, _ = two(sandbox)
    assert diff(sandbox, "a", "--conflicts").err == "a does not conflict with main\n"
    sandbox.commit("on", text=LINES.replace("line 5\n", "5\n"), both=LINES.replace("line 20\n", "20\n"))
    before = state(sandbox, a)
    ((heading, shown),) = parts(diff(sandbox, "a", "--conflicts").out).items()
    assert state(sandbox, a) == before
    assert heading == "Conflicts of a with main"
    assert "+<<<<<<< main\n+5\n+=======\n+five\n+>>>>>>> a\n" in shown
    assert "both" not in shown
    commit(sandbox, a, "main's", text=LINES.replace("line 5\n", "5\n"))
    assert diff(sandbox, "a", "--conflicts").out == ""


def test_every_kind_of_conflict_is_as_git_merge_leaves_it(sandbox: Sandbox) -> None:
    """The patch makes of what both began with the files that the real merge leaves, and the words say why."""
    write(
        sandbox.repo,
        both=LINES,
        gone=LINES,
        moved=LONG,
        kept=LONG.replace("rather", "quite other and more"),
        plain="x\n",
    )
    write(
        sandbox.repo, **{"_dot_gitattributes": "un* merge=union\ndriven merge=own\n", "union": LINES, "driven": "x\n"}
    )
    write(sandbox.repo, followed=LONG.replace("rather", "wholly different, or even"), **{NASTY: LINES})
    (sandbox.repo / "bits").write_bytes(b"\0\1\2" * 50)
    (sandbox.repo / "link").symlink_to("plain")
    sandbox.git("config", "merge.own.driver", "cat %B >> %A; echo driven >> %A")
    start = sandbox.commit("all kinds")
    tops = {name: make_session(sandbox, name) for name in "ab"}
    for name, top in tops.items():
        own = {"a": "one\n", "b": "two\n"}[name]
        write(top, both=LINES.replace("line 9\n", own), added=own, gone=LINES + own, union=LINES + own, driven=own)
        write(top, **{NASTY: own + LINES})
        (top / "bits").write_bytes(b"\0\1\2" * 50 + own.encode())
        (top / "link").unlink()
        (top / "link").symlink_to(name)
        (top / "moved").rename(top / f"moved-{name}")
        if name == "a":
            (top / "kept").rename(top / "elsewhere")
            (top / "followed").rename(top / "followed-there")
            write(top, place="a file\n", tool="#!/bin/sh\n", plain="x\ny\n")
            (top / "tool").chmod(0o755)
        else:
            (top / "kept").unlink()
            (top / "gone").unlink()
            write(top, place__file="in a folder\n", tool="#!/bin/sh\n", followed=own + (top / "followed").read_text())
    shown = diff(sandbox, "a", "--with", "b").out
    told = parts(shown)
    conflicts = told["Conflicts of a and b"]
    for words in (
        "warning: Cannot merge binary files: bits (a vs. b)",
        "CONFLICT (modify/delete): gone deleted in b and modified in a.",
        "CONFLICT (rename/delete): kept renamed to elsewhere in a, but deleted in b.",
        "CONFLICT (rename/rename): moved renamed to moved-a in a and to moved-b in b.",
        "CONFLICT (file/directory): directory in the way of place from a; moving it to place~a instead.",
        "link is a link to a in a and to b in b.",
        "tool is executable in a, but not in b.",
    ):
        assert f"\n{words}" in f"\n{conflicts}"
    assert "\x1b" not in shown
    of_a, of_b = told["Merges cleanly: what a changes"], told["Merges cleanly: what b changes"]
    assert re.findall("^diff --git a/(.*) b/", of_a, re.M) == ["driven", "followed", "union"]
    assert "rename to followed-there\n" in of_a
    assert re.findall("^diff --git a/(.*) b/", of_b, re.M) == ["driven", "followed", "union"]
    named = diff(sandbox, "a", "--with", "b", "--name-only").out
    assert {"driven", "union", "followed-there"} <= {*named.split("\n")}

    assert len(checked_by_merge(sandbox, start, tops)) > 10


@pytest.mark.long
@pytest.mark.parametrize("seed", range(12))
def test_what_conflicts_in_random_work_is_as_git_merge_leaves_it(sandbox: Sandbox, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    nested = nested_repository(tmp_path / "nested", sandbox.env)
    Tree(sandbox.repo, rng, nested, sandbox.env).grow(14)
    start = committed(sandbox, sandbox.repo)
    tops = {name: make_session(sandbox, name) for name in "ab"}
    for top in tops.values():
        tree = Tree(top, rng, nested, sandbox.env)
        tree.grow(3)
        tree.work(12)
    checked_by_merge(sandbox, start, tops)


def committed(sandbox: Sandbox, top: Path) -> str:
    """All that is there in a commit, whatever bytes its paths are made of."""
    raw(sandbox, top, "add", "-A")
    raw(sandbox, top, "commit", "-qm", "all")
    return sandbox.git("rev-parse", "HEAD", cwd=top)


def checked_by_merge(sandbox: Sandbox, start: str, tops: dict[str, Path]) -> set[bytes]:
    """Check that the patch of what conflicts makes of `start` what the real merge leaves; returns what that leaves."""
    patch = raw_diff(sandbox, "a", "--with", "b", "--conflicts")
    for top in tops.values():
        committed(sandbox, top)
    merged, shaped = sandbox.home / "merged", sandbox.home / "shaped"
    raw(sandbox, sandbox.repo, "worktree", "add", "-q", "--detach", str(merged), "chatml/a")
    sandbox.git("branch", "b", "chatml/b")
    said = raw(sandbox, merged, "merge", "-q", "b")
    assert bool(patch) == (b"CONFLICT" in said)
    raw(sandbox, sandbox.repo, "worktree", "add", "-q", "--detach", str(shaped), start)
    subprocess.run(
        ["git", "apply", "--allow-empty"], cwd=shaped, env=sandbox.env, input=patch, check=True, timeout=TIMEOUT
    )
    unmerged = {entry.split(b"\t", 1)[1] for entry in raw(sandbox, merged, "ls-files", "-uz").split(b"\0")[:-1]}
    for path in unmerged:
        name = os.fsdecode(path)
        there, here = merged / name, shaped / name.replace("~HEAD", "~a")
        assert os.path.lexists(there) == os.path.lexists(here), name
        if there.is_symlink():
            assert os.readlink(there) == os.readlink(here)
        elif there.is_file():
            ours, theirs = (file.read_bytes().replace(b"<<<<<<< HEAD", b"<<<<<<< a") for file in (there, here))
            assert ours == theirs, name
            assert os.access(there, os.X_OK) == os.access(here, os.X_OK)
    return unmerged


def raw_diff(sandbox: Sandbox, *args: str) -> bytes:
    done = forked.run(["diff", *args], cwd=sandbox.repo, env=sandbox.env, stdin=None, timeout=TIMEOUT)
    assert done.code == 0, done
    return done.out


@pytest.mark.long
def test_a_pipe_gets_the_same_whatever_the_persons_settings(sandbox: Sandbox, tmp_path: Path) -> None:
    two(sandbox)
    before = [diff(sandbox, "a", "--with", "b", *form).out for form in ([], ["--stat"])]
    (tmp_path / "order").write_text("text\nadded\nboth\n")
    (tmp_path / "attributes").write_text("* diff=text\n")
    with (sandbox.home / ".gitconfig").open("a") as config:
        config.write(HOSTILE.format(order=tmp_path / "order", attributes=tmp_path / "attributes"))
        config.write("[log]\n showSignature = true\n[format]\n pretty = oneline\n")
    assert [diff(sandbox, "a", "--with", "b", *form).out for form in ([], ["--stat"])] == before
    colored = diff(sandbox, "a", "--with", "b", "--conflicts", "--color", "always").out
    assert colored.startswith("\x1b[33mConflicts of a and b\x1b[m\n")
    assert "\x1b[32m+\x1b[m\x1b[32mFIVE\x1b[m\n" in colored


def test_on_a_terminal_it_looks_as_the_person_wants(sandbox: Sandbox) -> None:
    two(sandbox)
    sandbox.git("config", "core.pager", "sed s/^/paged:/")
    sandbox.git("config", "diff.noprefix", "true")
    with pseudo_terminal(sandbox, "diff", "a", "--with", "b", "--color", "never") as (process, read):
        shown = read()
        assert process.wait(TIMEOUT) == 0
    assert shown.startswith("paged:Conflicts of a and b\n")
    assert "paged:diff --git text text\n" in shown
    assert "paged:\npaged:Merges cleanly: what b changes\npaged:\npaged:diff --git both both\n" in shown
    with pseudo_terminal(sandbox, "diff", "a", "--with", "b", "--stat", env={"GIT_PAGER": "cat"}) as (_, read):
        assert "\x1b[33mMerges cleanly: what a changes\x1b[m\n" in read()


def test_what_does_not_go_together(sandbox: Sandbox) -> None:
    make_session(sandbox, "a")
    for args, says in (
        (["--with", "b", "--watch"], "--with goes without --watch"),
        (["--with", "b", "--json"], "--with goes without --json"),
        (["--conflicts", "--json"], "--conflicts goes without --json"),
        (["--with", "b", "--stat", "--name-only"], "choose one of"),
        (["--with", "a"], "'a' is that session itself"),
    ):
        told = sandbox.chatml("diff", "a", *args, code=2)
        assert (told.out, says in told.err) == ("", True), told


def test_sessions_that_are_gone(sandbox: Sandbox) -> None:
    a, b = two(sandbox)
    commit(sandbox, b, "b")
    shutil.rmtree(b)
    for order in (["a", "--with", "b"], ["b", "--with", "a"]):
        told = diff(sandbox, *order, "--name-only")
        assert told.out == "added\nboth\ntext\n"
        assert re.search("warning: b: the worktree is gone: .*; this is what its branch holds", told.err)
    shutil.rmtree(a)
    assert "+FIVE\n" in diff(sandbox, "a", "--with", "b").out
    sandbox.git("worktree", "prune")
    sandbox.git("branch", "-D", "chatml/b")
    assert "the worktree is gone" in sandbox.chatml("diff", "a", "--with", "b", code=1).err
    told = sandbox.chatml("diff", "a", "--with", "bb", code=1)
    assert told.err.startswith("error: no session named 'bb'")


def test_what_git_can_not_merge(sandbox: Sandbox, tmp_path: Path) -> None:
    a, b = two(sandbox)
    sandbox.git("checkout", "-q", "--orphan", "alone", cwd=b)
    commit(sandbox, b, "alone")
    told = sandbox.chatml("diff", "a", "--with", "b", code=1)
    assert told.err.endswith(
        "error: 'a' and 'b' have no commit in common: git does not merge them\n"
        "hint: see what each of them changes with 'chatml diff NAME'\n"
    )
    assert (told.out, sandbox.chatml("diff", "b", "--conflicts", code=1).out) == ("", "")
    git = tmp_path / "git"
    git.write_text(f'#!/bin/sh\ncase "$*" in *merge-tree*) exit 129;; esac\nexec {shutil.which("git")} "$@"\n')
    git.chmod(0o755)
    sandbox.git("checkout", "-q", "-f", "chatml/b", cwd=b)
    own = {"PATH": f"{tmp_path}{os.pathsep}{sandbox.env['PATH']}"}
    old = sandbox.chatml("diff", "a", "--with", "b", code=1, env=own)
    assert re.search(r"^error: git 2\.38 or later is needed", old.err)
    assert a.exists()


def test_repositories_in_there_that_both_have_moved(sandbox: Sandbox) -> None:
    sandbox.git("update-index", "--add", "--cacheinfo", f"160000,{sandbox.git('rev-parse', 'HEAD')},sub")
    (sandbox.repo / "sub").mkdir()
    sandbox.git("commit", "-qm", "with another repository")
    for name in "ab":
        top = make_session(sandbox, name)
        other = sandbox.git("commit-tree", "HEAD^{tree}", "-m", name)
        sandbox.git("update-index", "--cacheinfo", f"160000,{other},sub", cwd=top)
        sandbox.git("commit", "-qm", name, cwd=top)
    told = diff(sandbox, "a", "--with", "b", "--conflicts").out
    assert "\nCONFLICT (submodule): Merge conflict in sub\n" in told
    assert "+Subproject commit " in told
