"""`rm`: what it refuses and in which words, what it removes, and that it touches nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chatml.model import Exchange
from tests.made import assert_comes_back, commit, files, make_session, traces, write
from tests.support import Sandbox


def refusal(sandbox: Sandbox, name: str = "x") -> str:
    """What speaks against removing the session; asserts that nothing was changed."""
    before = traces(sandbox)
    plan = sandbox.chatml("rm", "-n", name, code=1)
    said = sandbox.chatml("rm", name, code=1)
    assert traces(sandbox) == before
    assert plan == said
    assert said.out == ""
    error, hint = said.err.splitlines()
    assert error.startswith(f"error: '{name}' is not safe to remove: "), said
    assert "--force" in hint
    return error.partition("to remove: ")[2]


def removed(sandbox: Sandbox, *args: str) -> str:
    """What a removal told."""
    said = sandbox.chatml("rm", *args)
    assert said.out == ""
    return said.err


# --- what it leaves ---------------------------------------------------------------------------------------------


def test_nothing_is_left_behind(sandbox: Sandbox) -> None:
    make_session(sandbox, "other")
    before = traces(sandbox)
    make_session(sandbox, "x")
    sandbox.git("config", "branch.chatml/x.remote", "origin")
    sandbox.git("config", "branch.chatml/x.y.remote", "origin")
    assert removed(sandbox, "x") == "removed x; branch chatml/x deleted\n"
    sandbox.git("config", "--remove-section", "branch.chatml/x.y")
    assert traces(sandbox) == before
    assert sandbox.chatml("ls", "-q").out == "other\n"


def test_a_renamed_branch_goes_too_and_comes_back(sandbox: Sandbox) -> None:
    before = traces(sandbox)
    worktree = make_session(sandbox, "x")
    commit(sandbox, worktree, "work", a="1")
    sandbox.git("branch", "-m", "renamed", cwd=worktree)
    assert "1 commit on renamed that is nowhere else" in sandbox.chatml("rm", "x", code=1).err
    assert_comes_back(sandbox, "x", worktree)
    assert removed(sandbox, "x", "--force") == "removed x; branch renamed deleted\n"
    assert traces(sandbox)["branches"] == before["branches"]


def test_the_last_one_takes_the_empty_folders_along(sandbox: Sandbox) -> None:
    make_session(sandbox, "x")
    removed(sandbox, "x")
    assert not Path(f"{sandbox.repo}.chatml").exists()
    assert not (sandbox.repo / ".git" / "worktrees").exists()
    assert not (sandbox.repo / ".git" / "refs" / "heads" / "chatml").exists()
    assert not (sandbox.repo / ".git" / "logs" / "refs" / "heads" / "chatml").exists()
    assert list((sandbox.repo / ".git" / "chatml" / "sessions").iterdir()) == []


def test_dry_run_and_quiet(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x")
    before = traces(sandbox), sorted((sandbox.repo / ".git" / "objects").rglob("*"))
    assert sandbox.chatml("rm", "-n", "x").out == f"would remove x (chatml/x, {worktree})\n"
    assert sandbox.chatml("rm", "-n", "-q", "x").out == "x\n"
    assert (traces(sandbox), sorted((sandbox.repo / ".git" / "objects").rglob("*"))) == before
    done = sandbox.chatml("rm", "-q", "x")
    assert (done.out, done.err) == ("x\n", "")


def test_several_names_the_rest_is_still_done(sandbox: Sandbox) -> None:
    for name in ("a", "b", "c"):
        make_session(sandbox, name)
    write(Path(f"{sandbox.repo}.chatml/b"), new="1")
    said = sandbox.chatml("rm", "a", "nobody", "b", "c", "a", code=1)
    assert [line.split("'")[0].rstrip() for line in said.err.splitlines() if not line.startswith("hint")] == [
        "removed a; branch chatml/a deleted",
        "error: no session named",
        "error:",
        "removed c; branch chatml/c deleted",
    ]
    assert sandbox.chatml("ls", "-q").out == "b\n"
    assert sandbox.chatml("rm", "b", "--all", code=2).err.startswith("error: name sessions, or use one of")
    assert sandbox.chatml("rm", "--all", code=1).err.startswith("error: 'b' is not safe")
    assert removed(sandbox, "--all", "--force").startswith("removed b")
    assert sandbox.chatml("rm", "--all").err == ""


def test_from_inside_its_own_worktree(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x")
    (worktree / "deep").mkdir()
    said = sandbox.chatml("rm", cwd=worktree / "deep")
    assert said.err == (
        f"removed x; branch chatml/x deleted\nnote: your current directory was removed too: cd {sandbox.repo}\n"
    )
    assert sandbox.chatml("rm", code=2).err.startswith("error: no session named\n")


# --- what it refuses --------------------------------------------------------------------------------------------


def test_uncommitted_files(sandbox: Sandbox) -> None:
    sandbox.commit("more", a="1\n", b="2\n", c="3\n")
    worktree = make_session(sandbox, "x")
    write(worktree, new="1")
    assert refusal(sandbox) == "1 uncommitted file (new)"
    (worktree / "new").unlink()
    write(worktree, a="changed")
    assert refusal(sandbox) == "1 uncommitted file (a)"
    sandbox.git("add", "-A", cwd=worktree)
    assert refusal(sandbox) == "1 uncommitted file (a)"
    sandbox.git("mv", "b", "d", cwd=worktree)
    (worktree / "c").unlink()
    write(worktree, **{"with space": "1", "fold__in\ner": "2"})
    assert refusal(sandbox) == "5 uncommitted files (a, c, d, …)"
    sandbox.git("config", "status.showUntrackedFiles", "no")
    sandbox.git("reset", "-q", "--hard", cwd=worktree)
    assert refusal(sandbox) == "2 uncommitted files (fold/in\\ner, with space)"


def test_commits_that_are_nowhere_else(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x")
    commit(sandbox, worktree, "one", a="1")
    assert refusal(sandbox) == "1 commit on chatml/x that is nowhere else, not landed in main"
    commit(sandbox, worktree, "two", a="2")
    write(worktree, b="3")
    assert refusal(sandbox) == (
        "1 uncommitted file (b); 2 commits on chatml/x that are nowhere else, not landed in main"
    )


def test_commits_while_head_is_elsewhere(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x")
    commit(sandbox, worktree, "one", a="1")
    sandbox.git("checkout", "-q", "--detach", "main", cwd=worktree)
    assert refusal(sandbox) == "1 commit on chatml/x that is nowhere else, not landed in main"
    sandbox.git("branch", "-q", "-f", "chatml/x", "main")
    sandbox.git("checkout", "-q", "--detach", cwd=worktree)
    commit(sandbox, worktree, "loose", b="1")
    assert refusal(sandbox) == "1 commit checked out there on no branch that is nowhere else, not landed in main"
    sandbox.git("switch", "-q", "-c", "elsewhere", cwd=worktree)
    assert removed(sandbox, "x") == "removed x; branch chatml/x deleted\n"
    assert sandbox.git("log", "-1", "--format=%s", "elsewhere") == "loose"


@pytest.mark.parametrize("operation", ["merge", "rebase", "cherry-pick", "revert", "bisect"])
def test_an_operation_in_progress(sandbox: Sandbox, operation: str) -> None:
    worktree = make_session(sandbox, "x")
    sandbox.git("checkout", "-q", "-b", "side")
    first = sandbox.commit("theirs", a="theirs\n")
    sandbox.commit("again", a="again\n")
    sandbox.git("checkout", "-q", "main")
    commit(sandbox, worktree, "ours", a="ours\n")
    steps = {
        "merge": ["merge", "side"],
        "rebase": ["rebase", "side"],
        "cherry-pick": ["cherry-pick", "side"],
        "revert": ["revert", "--no-edit", first],
        "bisect": ["bisect", "start"],
    }
    sandbox.git(*steps[operation], cwd=worktree, check=False)
    assert f"a {operation} is in progress" in refusal(sandbox)


def test_a_locked_worktree(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x")
    sandbox.git("worktree", "lock", "--reason", "on a stick", str(worktree))
    assert refusal(sandbox) == "its worktree is locked (on a stick)"
    removed(sandbox, "--force", "x")
    assert not worktree.exists()


def test_pushed_commits_are_not_lost_and_it_says_so(sandbox: Sandbox) -> None:
    sandbox.git("init", "-q", "--bare", "../remote.git")
    sandbox.git("remote", "add", "origin", str(sandbox.repo.parent / "remote.git"))
    worktree = make_session(sandbox, "x")
    commit(sandbox, worktree, "one", a="1")
    sandbox.git("push", "-q", "-u", "origin", "chatml/x", cwd=worktree)
    assert removed(sandbox, "x") == "removed x; branch chatml/x deleted (not landed, but on origin/chatml/x)\n"
    assert "branch.chatml/x" not in sandbox.git("config", "--list")


def test_the_branch_of_another_session_keeps_the_commits(sandbox: Sandbox) -> None:
    commit(sandbox, make_session(sandbox, "x"), "one", a="1")
    make_session(sandbox, "y", base="chatml/x")
    assert removed(sandbox, "x") == "removed x; branch chatml/x deleted (not landed, but on chatml/y)\n"
    assert refusal(sandbox, "y").startswith("1 commit on chatml/y that is nowhere else")


# --- branches that are not its own ------------------------------------------------------------------------------


def test_an_existing_branch_and_a_kept_one_stay(sandbox: Sandbox) -> None:
    sandbox.git("branch", "feature")
    commit(sandbox, make_session(sandbox, "x", branch="feature"), "one", a="1")
    commit(sandbox, make_session(sandbox, "y"), "other", b="1")
    assert removed(sandbox, "x") == "removed x; branch feature kept\n"
    assert removed(sandbox, "y", "--keep-branch") == "removed y; branch chatml/y kept\n"
    assert sandbox.git("log", "--format=%s", "-1", "feature") == "one"
    assert sandbox.git("log", "--format=%s", "-1", "chatml/y") == "other"


def test_a_branch_that_somebody_moved_or_deleted(sandbox: Sandbox) -> None:
    commit(sandbox, make_session(sandbox, "x"), "one", a="1")
    sandbox.git("update-ref", "refs/heads/chatml/x", sandbox.commit("person's"))
    sandbox.git("reset", "-q", "--hard", cwd=Path(f"{sandbox.repo}.chatml/x"))
    assert removed(sandbox, "x") == "removed x; branch chatml/x deleted (landed in main)\n"
    make_session(sandbox, "y")
    sandbox.git("update-ref", "-d", "refs/heads/chatml/y")
    said = refusal(sandbox, "y")
    assert said == "1 uncommitted file (README.md)"  # on a branch without a commit, everything is new
    assert removed(sandbox, "y", "-f") == "removed y; branch chatml/y was gone already\n"


def test_a_branch_checked_out_elsewhere_stays(sandbox: Sandbox, tmp_path: Path) -> None:
    worktree = make_session(sandbox, "x")
    sandbox.git("worktree", "remove", str(worktree))
    sandbox.git("worktree", "add", "-q", str(tmp_path / "mine"), "chatml/x")
    write(tmp_path / "mine", precious="1")
    assert refusal(sandbox) == f"chatml/x is checked out in {tmp_path / 'mine'}"
    told = removed(sandbox, "x", "--force")
    assert told == f"removed x; branch chatml/x kept: it is checked out in {tmp_path / 'mine'}\n"
    assert (tmp_path / "mine" / "precious").read_text() == "1"
    assert sandbox.git("branch", "--show-current", cwd=tmp_path / "mine") == "chatml/x"


# --- folders that are not its own -------------------------------------------------------------------------------


def test_a_worktree_deleted_by_hand(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x")
    shutil.rmtree(worktree)
    removed(sandbox, "x")
    assert str(worktree) not in sandbox.git("worktree", "list")
    commit(sandbox, make_session(sandbox, "y"), "one", a="1")
    shutil.rmtree(f"{sandbox.repo}.chatml/y")
    assert refusal(sandbox, "y") == "1 commit on chatml/y that is nowhere else, not landed in main"


def test_a_worktree_moved_by_git(sandbox: Sandbox, tmp_path: Path) -> None:
    worktree = make_session(sandbox, "x")
    sandbox.git("worktree", "move", str(worktree), str(tmp_path / "there"))
    assert refusal(sandbox) == f"chatml/x is checked out in {tmp_path / 'there'}"


@pytest.mark.parametrize("kind", ["folder", "clone", "link", "file", "copy", "broken"])
def test_what_somebody_put_in_place_of_the_worktree_is_never_touched(
    sandbox: Sandbox, tmp_path: Path, kind: str
) -> None:
    worktree = make_session(sandbox, "x")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(worktree, elsewhere)
    write(elsewhere, precious="1")
    if kind == "folder":
        write(worktree, precious="1")
    elif kind == "clone":
        sandbox.git("clone", "-q", str(sandbox.repo), str(worktree))
        write(worktree, precious="1")
    elif kind == "link":
        worktree.symlink_to(elsewhere)
    elif kind == "copy":
        shutil.copytree(make_session(sandbox, "y"), worktree)
        write(worktree, precious="1")
    elif kind == "broken":
        write(worktree, _dot_git="gitdir: /nowhere", precious="1")
    else:
        worktree.write_text("1")
    assert f"{worktree} is not its worktree any more" in refusal(sandbox)
    assert f"not its worktree, so left as it is: {worktree}\n" in removed(sandbox, "--force", "x")
    assert (worktree if kind == "file" else worktree / "precious").read_text() == "1"
    assert (elsewhere / "precious").read_text() == "1"
    assert sandbox.chatml("restore", "x", code=1).err.startswith(f"error: {worktree} is in the way\n")


def test_a_repository_that_was_moved(sandbox: Sandbox, tmp_path: Path) -> None:
    write(make_session(sandbox, "x"), a="1")
    make_session(sandbox, "y")
    (tmp_path / "new").mkdir()
    shutil.move(sandbox.repo, tmp_path / "new" / "app")
    shutil.move(f"{sandbox.repo}.chatml", tmp_path / "new" / "app.chatml")
    sandbox.repo = tmp_path / "new" / "app"
    said = sandbox.chatml("rm", "x", "y", code=1)
    assert "1 uncommitted file (a)" in said.err
    assert "removed y" in said.err
    removed(sandbox, "--force", "x")
    assert not (tmp_path / "new" / "app.chatml").exists()
    sandbox.chatml("restore", "x")
    assert (tmp_path / "new" / "app.chatml" / "x" / "a").read_text() == "1"


# --- repositories inside the worktree ---------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["the same", "another"])
def test_a_worktree_inside_is_kept_aside_as_it_is(sandbox: Sandbox, tmp_path: Path, whose: str) -> None:
    worktree = make_session(sandbox, "x")
    owner = sandbox.repo
    if whose == "another":
        owner = tmp_path / "other"
        sandbox.git("clone", "-q", str(sandbox.repo), str(owner))
    inner = worktree / "deep" / "inner"
    sandbox.git("worktree", "add", "-q", "-b", "own", str(inner), cwd=owner)
    commit(sandbox, inner, "work", made="1")
    sandbox.git("worktree", "add", "-q", "--detach", str(inner / "innermost"), cwd=owner)
    write(inner, precious="1")
    write(inner / "innermost", precious="2")
    before = [files(inner), sandbox.git("worktree", "list", "--porcelain", cwd=owner)]
    assert "'deep/inner' in it is a worktree of its own" in refusal(sandbox)
    said = removed(sandbox, "--force", "x")
    kept = next(Path(line.rpartition(": ")[2]) for line in said.splitlines() if "is kept for restore" in line)
    assert (kept / "precious").read_text() == "1"
    assert sandbox.git("status", "--porcelain", cwd=kept) == "?? innermost/\n?? precious"
    assert sandbox.git("status", "--porcelain", cwd=kept / "innermost") == "?? precious"
    assert str(kept) in sandbox.git("worktree", "list", cwd=owner)
    assert "prunable" not in sandbox.git("worktree", "list", "--porcelain", cwd=owner)
    assert not worktree.exists()
    sandbox.chatml("restore", "x")
    assert before == [files(inner), sandbox.git("worktree", "list", "--porcelain", cwd=owner)]
    assert sandbox.git("status", "--porcelain", cwd=inner) == "?? innermost/\n?? precious"


@pytest.mark.parametrize("name", ["a", "z"])
def test_a_worktree_of_a_repository_that_is_inside_too(sandbox: Sandbox, name: str) -> None:
    worktree = make_session(sandbox, "x")
    owner, inner = worktree / "owner", worktree / name
    sandbox.git("clone", "-q", str(sandbox.repo), str(owner))
    sandbox.git("worktree", "add", "-q", "-b", "own", str(inner), cwd=owner)
    write(inner, precious="1")
    before = files(inner)
    said = removed(sandbox, "--force", "x")
    kept = [Path(line.rpartition(": ")[2]) for line in said.splitlines() if "is kept for restore" in line]
    assert [(one / "precious").read_text() for one in kept if one.name == name] == ["1"]
    assert not worktree.exists()
    sandbox.chatml("restore", "x")
    assert files(inner) == before
    assert sandbox.git("status", "--porcelain", cwd=inner) == "?? precious"
    assert "prunable" not in sandbox.git("worktree", "list", "--porcelain", cwd=owner)


def test_a_repository_that_lies_elsewhere_is_refused_even_by_force(sandbox: Sandbox, tmp_path: Path) -> None:
    worktree = make_session(sandbox, "x")
    sandbox.git("init", "-q", "--separate-git-dir", str(tmp_path / "elsewhere"), str(worktree / "inner"))
    for force in ([], ["--force"]):
        said = sandbox.chatml("rm", "x", *force, code=1)
        assert f"the repository of 'inner' in it lies elsewhere: {tmp_path / 'elsewhere'}\n" in said.err
    assert (worktree / "inner" / ".git").exists()


@pytest.mark.parametrize("branch", ["there", "gone"])
def test_a_worktree_whose_folder_of_git_is_gone(sandbox: Sandbox, branch: str) -> None:
    worktree = make_session(sandbox, "x")
    commit(sandbox, worktree, "one", a="1")
    write(worktree, mine="1")
    shutil.rmtree(sandbox.repo / ".git" / "worktrees" / "x")
    if branch == "gone":
        sandbox.git("update-ref", "-d", "refs/heads/chatml/x")
    assert refusal(sandbox).startswith("git's own folder of its worktree is gone ('chatml resume x' makes it anew)")
    removed(sandbox, "--force", "x")
    if branch == "gone":
        assert (worktree / "mine").read_text() == "1"
        return
    assert not worktree.exists()
    sandbox.chatml("restore", "x")
    assert (worktree / "mine").read_text() == "1"
    assert sandbox.git("status", "--porcelain", cwd=worktree) == "?? mine"


def test_a_submodule_with_work_of_its_own(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.git("init", "-q", str(tmp_path / "lib"))
    commit(sandbox, tmp_path / "lib", "lib", code="1")
    allow = ["-c", "protocol.file.allow=always"]
    sandbox.git(*allow, "submodule", "--quiet", "add", str(tmp_path / "lib"), "lib")
    sandbox.git("commit", "-q", "-m", "lib")
    worktree = make_session(sandbox, "x")
    sandbox.git(*allow, "submodule", "--quiet", "update", "--init", cwd=worktree)
    before = sandbox.git("stash", "list", cwd=worktree / "lib")
    assert before == ""
    for spoil in ("file", "stash", "commit"):
        write(worktree / "lib", code=spoil)
        if spoil == "stash":
            sandbox.git("stash", cwd=worktree / "lib")
        elif spoil == "commit":
            sandbox.git("stash", "drop", cwd=worktree / "lib")
            commit(sandbox, worktree / "lib", "work")
        said = sandbox.chatml("rm", "--force", "x", code=1)
        assert said.err.startswith("error: 'x' can't be removed: the submodule 'lib' has work of its own\n"), spoil
    sandbox.git("reset", "-q", "--hard", "origin/HEAD", cwd=worktree / "lib")
    removed(sandbox, "x")
    assert not worktree.exists()
    sandbox.chatml("restore", "x")
    assert sandbox.git("status", "--porcelain", cwd=worktree) == ""


# --- state that is damaged, or not there yet --------------------------------------------------------------------


def test_a_damaged_record(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x")
    make_session(sandbox, "y")
    (sandbox.state("x") / "session.json").write_text('{"schema": 1, "name"')
    said = sandbox.chatml("rm", "x", code=1)
    assert said.err.startswith("error: the record of session 'x' is damaged")
    assert said.err.endswith("'chatml rm --force x' removes the record alone, and keeps it in the trash\n")
    assert sandbox.chatml("rm", "--all", code=1).err.startswith("error: the record of session 'x' is damaged")
    plan = sandbox.chatml("rm", "-n", "--force", "x")
    assert (plan.out, plan.err) == ("would remove x (only its record, which is damaged)\n", "")
    assert sandbox.chatml("rm", "-n", "-q", "--all", "--force").out == "x\n"
    told = removed(sandbox, "--force", "x")
    assert told == "removed x; its record was damaged, so branch and worktree stay as they are\n"
    assert worktree.exists()
    assert sandbox.git("rev-parse", "chatml/x") == sandbox.git("rev-parse", "main")
    assert sandbox.git("show", "refs/chatml/trash/x:session/session.json") == '{"schema": 1, "name"'
    assert "do x" in sandbox.git("show", "refs/chatml/trash/x:session/inbox.jsonl")
    assert sandbox.chatml("restore", "x", code=1).err.startswith("error: 'x' was removed with a damaged record")


def test_a_session_whose_files_were_never_checked_out(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "x", exchange=Exchange(started=False))
    admin = sandbox.repo / ".git" / "worktrees" / "x"
    (admin / "index").unlink()
    (admin / "index.lock").touch()  # of the checkout that was killed
    write(worktree, README_dot_md="half")
    assert refusal(sandbox) == "1 uncommitted file (README.md)"
    (worktree / "README.md").unlink()
    assert removed(sandbox, "x") == "removed x; branch chatml/x deleted\n"
    assert not admin.exists()


def test_only_what_brought_something_that_landed_is_merged(sandbox: Sandbox) -> None:
    for name in ("landed", "open", "untouched", "pulled", "empty", "dirty"):
        make_session(sandbox, name)
    folder = Path(f"{sandbox.repo}.chatml")
    for name in ("landed", "dirty"):
        commit(sandbox, folder / name, name, **{name: "1"})
        sandbox.git("merge", "-q", "--no-ff", "--no-edit", f"chatml/{name}")
    write(folder / "dirty", more="1")
    commit(sandbox, folder / "open", "open", open="1")
    commit(sandbox, folder / "empty", "there", empty="1")
    sandbox.git("revert", "--no-edit", "HEAD", cwd=folder / "empty")
    sandbox.git("merge", "-q", "--ff-only", "main", cwd=folder / "pulled")
    said = sandbox.chatml("rm", "--merged")
    assert said.err == (
        "kept dirty, which has landed: 1 uncommitted file (more)\n"
        "removed landed; branch chatml/landed deleted (landed in main)\n"
    )
    assert sorted(sandbox.chatml("ls", "-q").out.split()) == sorted(["open", "untouched", "pulled", "empty", "dirty"])


def _landed(sandbox: Sandbox, name: str) -> None:
    commit(sandbox, make_session(sandbox, name), name, **{name: "1"})
    sandbox.git("merge", "-q", "--no-ff", "--no-edit", f"chatml/{name}")


def test_one_that_git_can_not_look_at_keeps_no_other_merged_one(sandbox: Sandbox) -> None:
    _landed(sandbox, "bad")
    _landed(sandbox, "good")
    (sandbox.repo / ".git" / "worktrees" / "bad" / "index").write_bytes(b"garbage")
    for args in (["-n"], []):
        said = sandbox.chatml("rm", "--merged", "-q", *args, code=1)
        assert said.out == "good\n"
        assert said.err.startswith("error: kept bad: git status: ")
    assert sandbox.chatml("ls", "-q").out == "bad\n"


def test_merged_in_a_repository_that_was_moved(sandbox: Sandbox, tmp_path: Path) -> None:
    _landed(sandbox, "clean")
    _landed(sandbox, "dirty")
    (tmp_path / "new").mkdir()
    shutil.move(sandbox.repo, tmp_path / "new" / "app")
    shutil.move(f"{sandbox.repo}.chatml", tmp_path / "new" / "app.chatml")
    sandbox.repo = tmp_path / "new" / "app"
    write(tmp_path / "new" / "app.chatml" / "dirty", more="1")
    assert removed(sandbox, "--merged") == (
        "kept dirty, which has landed: 1 uncommitted file (more)\n"
        "removed clean; branch chatml/clean deleted (landed in main)\n"
    )
