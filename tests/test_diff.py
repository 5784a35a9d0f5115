"""`diff`: what it prints piped, on a terminal and as JSON."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import TIMEOUT, Sandbox
from tests.trees import Tree, nested_repository
from tests.worktree import Work, add_session, pseudo_terminal, work

__all__ = ["work"]

HOSTILE = """\
[diff]
    external = false
    noprefix = true
    mnemonicPrefix = true
    renames = copies
    algorithm = patience
    context = 0
    interHunkContext = 9
    submodule = log
    ignoreSubmodules = all
    orderFile = {order}
    relative = true
    suppressBlankEmpty = true
    wordRegex = .
    statGraphWidth = 1
    colorMoved = zebra
[diff "text"]
    textconv = rev
    command = false
[color]
    ui = always
    diff = always
[core]
    quotePath = true
    attributesFile = {attributes}
    pager = false
    safecrlf = true
    fsmonitor = false
[pager]
    diff = false
[status]
    showUntrackedFiles = no
    relativePaths = false
[apply]
    whitespace = fix
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_piped_patch_makes_the_sessions_tree_of_its_base(sandbox: Sandbox, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    nested = nested_repository(tmp_path / "nested", sandbox.env)
    (sandbox.repo / ".gitignore").write_text("*.ign\n")
    Tree(sandbox.repo, rng, nested, sandbox.env).grow(12)
    sandbox.commit("base")
    work = add_session(sandbox)
    tree = Tree(work.top, rng, nested, sandbox.env)
    tree.grow(6)
    tree.work(15)
    patch = work.patch()
    work.git("add", "-A", check=False)
    assert work.applied(patch) == work.git("write-tree")


def test_everything_is_in_it_and_nothing_else(work: Work) -> None:
    work.write("committed")
    work.commit()
    work.write("staged")
    work.git("add", "staged")
    work.write("a", "one\n2\nthree\n")
    work.write("un tracked\n'\"\t")
    work.write("x.ignored")
    (work.top / "b").unlink()
    (work.top / "dir" / "c").rename(work.top / "dir" / "moved")
    work.write("bin", b"\0\1")
    assert work.changed() == {
        "a": "modified",
        "b": "deleted",
        "bin": "added",
        "committed": "added",
        "dir/moved": "renamed",
        "staged": "added",
        "un tracked\n'\"\t": "added",
    }


def test_json(work: Work) -> None:
    work.write("done")
    work.commit()
    (work.top / "b").rename(work.top / "b2")
    work.write("bin", b"\0\1")
    (work.top / "a").unlink()
    (work.top / "a").symlink_to("b")
    shown = work.sandbox.chatml("diff", "work", "--json").json
    plain = {"old_path": None, "binary": False, "uncommitted": True}
    assert shown == {
        "name": "work",
        "base": {"ref": "main", "commit": work.base},
        "merge_base": work.base,
        "files": [
            {**plain, "path": "a", "status": "type-changed", "insertions": 1, "deletions": 3},
            {**plain, "path": "b2", "old_path": "b", "status": "renamed", "insertions": 0, "deletions": 0},
            {**plain, "path": "bin", "status": "added", "insertions": None, "deletions": None, "binary": True},
            {**plain, "path": "done", "status": "added", "insertions": 1, "deletions": 0, "uncommitted": False},
        ],
        "changes": {"files": 4, "insertions": 2, "deletions": 3, "commits": 1, "uncommitted": True, "left_out": 0},
        "out_of_scope": [],
    }


def test_the_persons_settings_change_nothing_in_a_pipe(work: Work, tmp_path: Path) -> None:
    work.write("a", "one\n2\n\n\nthree\n")
    (work.top / "b").rename(work.top / "ä b")
    work.write("sp ace/bin", b"\0\1")
    forms: list[list[str]] = [[], ["--stat"], ["--name-only"], ["--json"]]
    before = [work.patch(*form) for form in forms]
    attributes = tmp_path / "attributes"
    attributes.write_text("* diff=text\n")
    order = tmp_path / "order"
    order.write_text("sp ace/*\n")
    config = work.sandbox.home / ".gitconfig"
    config.write_text(config.read_text() + HOSTILE.format(attributes=attributes, order=order))
    env = {
        "GIT_EXTERNAL_DIFF": "false", "GIT_DIFF_OPTS": "-u0", "GIT_PAGER": "false", "FORCE_COLOR": "1",
        "GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere", "GIT_WORK_TREE": "/nowhere",
        "GIT_OBJECT_DIRECTORY": "/nowhere", "GIT_PREFIX": "dir/",
    }  # fmt: skip
    inside = work.top / "dir"
    assert [work.patch(*form, env=env, cwd=inside) for form in forms] == before
    assert b"\x1b" not in b"".join(before)


def test_color_only_where_it_is_asked_for(work: Work) -> None:
    work.write("a", "one\n")
    assert b"\x1b[31m-two" in work.patch("--color", "always")
    assert b"\x1b" not in work.patch(env={"FORCE_COLOR": "1"})
    with pseudo_terminal(work.sandbox, "diff", "work", env={"GIT_PAGER": "cat"}) as (_, read):
        assert "\x1b[31m-two" in read()
    with pseudo_terminal(work.sandbox, "diff", "work", "--color", "never", env={"GIT_PAGER": "cat"}) as (_, read):
        assert "\x1b" not in read()
    with pseudo_terminal(work.sandbox, "diff", "work", env={"GIT_PAGER": "cat", "NO_COLOR": "1"}) as (_, read):
        assert "\x1b" not in read()


def test_on_a_terminal_it_looks_as_the_person_wants(work: Work) -> None:
    work.write("a", "one\n2\nthree\n")
    work.write("bin", b"\0\1" * 50)
    work.sandbox.git("config", "core.pager", "sed s/^/paged:/")
    work.sandbox.git("config", "diff.noprefix", "true")
    with pseudo_terminal(work.sandbox, "diff", "work", "--color", "never") as (process, read):
        shown = read()
        assert process.wait(TIMEOUT) == 0
    assert "paged:diff --git a a\n" in shown
    assert "paged:Binary files /dev/null and bin differ\n" in shown
    work.sandbox.git("config", "diff.external", "echo external")
    with pseudo_terminal(work.sandbox, "diff", "work") as (_, read):
        assert "paged:external a " in read()


def test_what_git_can_not_print_is_an_error(work: Work) -> None:
    work.write("big", "line\n" * 200_000)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            work.sandbox.command("diff", "work"),
            cwd=work.sandbox.repo, env=work.sandbox.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            timeout=TIMEOUT,
        )  # fmt: skip
    assert done.returncode == 1, done
    assert "error: git could not show the changes" in done.stderr
    work.sandbox.git("config", "diff.external", "false")
    with pseudo_terminal(work.sandbox, "diff", "work", env={"NO_COLOR": "1"}) as (process, read):
        shown = read()
        assert process.wait(TIMEOUT) == 1
    assert "external diff died" in shown
    assert "error: git could not show the changes (exit code 128)\nhint: " in shown


def test_no_changes(work: Work) -> None:
    assert work.patch() == b""
    assert work.sandbox.chatml("diff", "work", "--json").json["files"] == []
    with pseudo_terminal(work.sandbox, "diff", "work") as (process, read):
        assert read() == "no changes against main\n"
        assert process.wait(TIMEOUT) == 0


def test_paths_are_relative_to_where_one_stands(work: Work) -> None:
    work.write("dir/c", "changed\n")
    work.write("c", "top\n")
    assert work.patch("--name-only", "--", "c") == b"c\n"
    assert work.patch("--name-only", "--", "c", cwd=work.top / "dir") == b"dir/c\n"
    assert work.patch("--name-only", "--", ":(exclude)dir") == b"c\n"
    here = work.sandbox.chatml("diff", "--name-only", "--", "dir", cwd=work.top)
    assert here.out == "dir/c\n"
    files = work.sandbox.chatml("diff", "work", "--json", "--", "dir").json
    assert [file["path"] for file in files["files"]] == ["dir/c"]


def test_wrong_usage(work: Work) -> None:
    chatml = work.sandbox.chatml
    assert "go into a session's worktree" in chatml("diff", code=2).err
    assert "PATHs come after '--'" in chatml("diff", "work", "a", code=2).err
    assert "--stat" in chatml("diff", "work", "--stat", "--name-only", code=2).err
    assert "terminal" in chatml("diff", "work", "--watch", code=2).err
    assert "did you mean 'work'?" in chatml("diff", "wrok", code=1).err
    outside = chatml("diff", "work", "--", "/etc", code=1)
    assert outside.err.startswith("error: ")
    assert outside.out == ""


def test_the_base_as_it_is_now(work: Work) -> None:
    work.write("mine")
    work.commit()
    work.sandbox.commit("others", theirs="x\n")
    assert work.changed() == {"mine": "added"}
    work.git("merge", "-q", "-m", "merge", "main")
    assert work.changed() == {"mine": "added"}
    assert work.sandbox.chatml("diff", "work", "--json").json["changes"]["commits"] == 2
    work.sandbox.git("merge", "-q", "--ff-only", "chatml/work")
    assert work.patch() == b""


def test_a_base_that_is_gone_or_means_something_else_here(work: Work) -> None:
    work.write("mine")
    work.commit()
    work.sandbox.git("checkout", "-q", "--detach")
    work.sandbox.git("branch", "-q", "-D", "main")
    assert work.changed() == {"mine": "added"}


def test_git_that_can_not_be_asked_is_an_error_and_no_answer(work: Work) -> None:
    """A base that was merged in, and a git that won't look into a bare folder: its changes are not the session's."""
    work.sandbox.commit("theirs", theirs="1\n")
    work.write("mine")
    work.commit()
    work.git("merge", "-q", "--no-edit", "main")
    work.sandbox.git("config", "--global", "safe.bareRepository", "explicit")
    work.top.rename(work.top.parent / "elsewhere")
    assert work.sandbox.chatml("diff", "work", "--name-only").out == "mine\n"
    assert work.sandbox.session("work")["changes"] == {
        "files": 1,
        "insertions": 1,
        "deletions": 0,
        "commits": 2,
        "uncommitted": False,
        "left_out": 0,
    }
    (work.sandbox.repo / ".git" / "refs" / "heads" / "main").write_text("f" * 40 + "\n")
    assert "git merge-base" in work.sandbox.chatml("diff", "work", code=1).err
    assert work.sandbox.session("work")["changes"] is None


def test_a_branch_that_can_not_be_read_is_not_gone(work: Work) -> None:
    work.commit()
    work.top.rename(work.top.parent / "elsewhere")
    (work.sandbox.repo / ".git" / "refs" / "heads" / "chatml" / "work").write_text("torn by a crash\n")
    assert "ignoring broken ref" in work.sandbox.chatml("diff", "work", code=1).err
    assert "ignoring broken ref" in work.sandbox.chatml("rm", "--force", "work", code=1).err


def test_without_the_worktree_the_branch_is_shown(work: Work) -> None:
    work.write("committed")
    work.commit()
    work.write("lost")
    work.top.rename(work.top.parent / "elsewhere")
    shown = work.sandbox.chatml("diff", "work", "--name-only")
    assert shown.out == "committed\n"
    assert "is gone" in shown.err
    assert "committed" in work.sandbox.chatml("diff", "work", "--stat", "--", "committed").out
    work.sandbox.git("worktree", "prune")
    work.sandbox.git("branch", "-q", "-D", "chatml/work")
    assert work.sandbox.chatml("diff", "work", code=1).err.startswith("error: the worktree is gone")


def _could_not_look(work: Work, why: str) -> str:
    """Asserts that nobody answers for the session, and returns what to do about it."""
    said = work.sandbox.chatml("diff", "work", code=1)
    assert said.out == ""
    assert said.err.startswith(f"error: could not look: {why}"), said.err
    assert [line.split()[3] for line in work.sandbox.chatml("ls").out.splitlines()[1:]] == ["?"]
    assert work.sandbox.session("work")["changes"] is None
    assert work.sandbox.chatml("ls", "--json").json[0]["changes"] is None
    shown = work.sandbox.chatml("show", "work").out.splitlines()
    hint = said.err.splitlines()[1]
    assert hint in shown
    assert shown[shown.index(hint) - 1].startswith("changes: could not look")
    found = {finding["message"]: finding for finding in work.sandbox.chatml("doctor", "--json", code=None).json}
    assert any(message.startswith("'work': could not look: ") for message in found)
    return hint.removeprefix("hint: ")


def _follow(work: Work, hint: str) -> None:
    """Do what a hint says."""
    subprocess.run(hint, shell=True, check=True, env=work.sandbox.env, capture_output=True, timeout=TIMEOUT)


def test_a_folder_that_is_no_worktree_any_more_is_not_taken_for_what_is_around_it(work: Work) -> None:
    work.write("committed")
    work.commit()
    work.write("mine")
    work.sandbox.git("init", "-q", str(work.top.parent.parent))
    (work.top / ".git").unlink()
    hint = _could_not_look(work, "something else stands in the worktree's place: ")
    _follow(work, hint.partition("; else ")[0].partition(": ")[2])
    assert work.changed() == {"committed": "added", "mine": "added"}


def test_another_repository_in_the_worktrees_place_does_not_answer_for_it(work: Work) -> None:
    work.write("committed")
    work.commit()
    work.write("mine")
    assert work.sandbox.session("work")["changes"]["files"] == 2
    (work.top / ".git").unlink()
    work.git("init", "-q")
    work.commit()
    work.write("later")
    hint = _could_not_look(work, "another git repository stands in the worktree's place: ")
    _follow(work, hint.partition("; else ")[0].partition(": ")[2])
    assert work.changed() == {"committed": "added", "mine": "added", "later": "added"}


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["asked", "forced"])
def test_a_worktree_of_another_repository_in_its_place_is_left_alone(
    work: Work, tmp_path: Path, force: list[str]
) -> None:
    other = tmp_path / "other"
    work.sandbox.git("clone", "-q", str(work.sandbox.repo), str(other))
    work.write("committed")
    work.commit()
    work.top.rename(tmp_path / "before")
    work.sandbox.git("worktree", "add", "-q", "--detach", str(work.top), cwd=other)
    work.write("precious")
    hint = _could_not_look(work, "another git repository stands in the worktree's place: ")
    said = work.sandbox.chatml("send", "work", "go on", "--wait", code=1).err
    assert "could not look: another git repository stands" in said
    work.sandbox.chatml("rm", "work", *force, code=0 if force else 1)
    assert (work.top / "precious").exists()
    assert work.git("status", "--porcelain") == "?? precious"
    if not force:
        _follow(work, hint.partition("move it away (")[2].partition(")")[0])
        assert (work.top.parent / "work.aside" / "precious").exists()
        assert work.changed() == {"committed": "added"}
        assert work.sandbox.session("work")["changes"]["files"] == 1


def test_it_says_what_it_can_not_show(work: Work) -> None:
    work.sandbox.git("init", "-q", str(work.top / "empty repository"))
    os.mkfifo(work.top / "pipe")
    (work.top / "a").unlink()
    os.mkfifo(work.top / "a")
    work.write("b", "changed\n")
    work.git("checkout", "-q", "-b", "other")
    shown = work.sandbox.chatml("diff", "work", "--name-only")
    assert shown.out == "b\n"
    assert "its worktree is on 'other', not on 'chatml/work'" in shown.err
    assert "left out: 'empty repository/' does not have a commit checked out" in shown.err
    assert "left out: a: can only add regular files" in shown.err


def test_an_unreadable_file_hides_no_other(work: Work) -> None:
    secret = work.write("secret")
    secret.chmod(0)
    if os.access(secret, os.R_OK):
        pytest.skip("this user can read everything")
    work.write("plain")
    shown = work.sandbox.chatml("diff", "work", "--name-only")
    assert shown.out == "plain\n"
    assert "left out: unable to index file 'secret'" in shown.err


def test_a_reader_that_leaves_early_is_no_error(work: Work) -> None:
    work.write("big", "line\n" * 200_000)
    process = subprocess.Popen(
        work.sandbox.command("diff", "work"), cwd=work.sandbox.repo, env=work.sandbox.env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == b"diff --git a/big b/big\n"
    process.stdout.close()
    assert process.wait(TIMEOUT) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_watch_redraws_until_ctrl_c(work: Work) -> None:
    size = {"LINES": "12", "COLUMNS": "80"}
    with pseudo_terminal(work.sandbox, "diff", "work", "-w", "--color", "never", env=size) as (process, read):
        read("no changes against main")
        work.write("a", "one\n2\nthree\n\x1b[2J")
        assert "+2" in read("+^[[2J")
        work.write("many", "line\n" * 50)
        read("lines more")
        process.send_signal(signal.SIGINT)
        assert "\x1b[?1049l" in read()
        assert process.wait(TIMEOUT) == 130
