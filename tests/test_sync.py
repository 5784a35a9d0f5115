"""`chatml sync`: a session comes up to its base with all that it holds, or stays as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from chatml.model import Request, Status, now
from tests.github import GitHub
from tests.made import commit, make_session, state, write
from tests.support import Sandbox
from tests.test_halfmade import wrap, wrapped
from tests.test_merge import hook, killed, shown, tip

__all__ = ["wrapped"]


def clean(sandbox: Sandbox) -> None:
    """No lock of git's, and nothing that was only needed in between."""
    git_dir = sandbox.repo / ".git"
    found = [path.name for path in git_dir.rglob("*.lock") if "chatml" not in path.relative_to(git_dir).parts]
    assert not found + [path.name for path in git_dir.rglob("index.*")]
    assert not {"moving.json", "merging"} & set(os.listdir(git_dir / "chatml"))


@pytest.fixture
def worktree(sandbox: Sandbox) -> Path:
    """The session `x`, with two commits, on a base that has moved on."""
    sandbox.commit("before", a="1\n2\n3\n4\n5\n6\n7\n8\n9\n", old="old\n")
    top = make_session(sandbox, "x")
    commit(sandbox, top, "Change the end\n\nFor a reason.", a="1\n2\n3\n4\n5\n6\n7\n8\nnine\n")
    commit(sandbox, top, "Add one", one="1\n", sub__two="2\n")
    sandbox.commit("meanwhile", a="one\n2\n3\n4\n5\n6\n7\n8\n9\n", other="o\n")
    return top


def names(sandbox: Sandbox, *refs: str) -> list[str]:
    return sandbox.git("diff", "--name-only", *refs).split()


def test_its_commits_are_made_anew_on_the_base(sandbox: Sandbox, worktree: Path) -> None:
    sandbox.git("commit", "-q", "--amend", "--no-edit", "--author=Ada <ada@example.org>", cwd=worktree)
    told = sandbox.chatml("sync", "x")
    assert told.out == f"synced x: 2 commits onto main {tip(sandbox)[:7]}\n"
    assert sandbox.git("log", "--format=%s", "main..chatml/x").splitlines() == ["Add one", "Change the end"]
    assert shown(sandbox, "%an <%ae>", "chatml/x") == "Ada <ada@example.org>"
    assert shown(sandbox, "%b", "chatml/x~1") == "For a reason."
    assert tip(sandbox, "chatml/x~2") == tip(sandbox)
    assert (worktree / "a").read_text() == "one\n2\n3\n4\n5\n6\n7\n8\nnine\n"
    assert sandbox.git("status", "--porcelain", "--branch", cwd=worktree) == "## chatml/x"
    assert sandbox.session("x")["base"] == {"ref": "main", "commit": tip(sandbox)}
    assert names(sandbox, sandbox.session("x")["base"]["commit"], "chatml/x") == ["a", "one", "sub/two"]
    assert sandbox.chatml("sync", "x").out == "x is up to date\n"
    assert sandbox.chatml("sync", "x", "-q").out == ""
    clean(sandbox)


def test_the_base_is_merged_into_it(sandbox: Sandbox, worktree: Path) -> None:
    before = tip(sandbox, "chatml/x")
    told = sandbox.chatml("sync", "--merge", "x")
    assert told.out == f"synced x: merged main {tip(sandbox)[:7]}\n"
    assert shown(sandbox, "%P", "chatml/x") == f"{before} {tip(sandbox)}"
    assert shown(sandbox, "%s", "chatml/x") == "Merge branch 'main' into chatml/x"
    assert (worktree / "a").read_text() == "one\n2\n3\n4\n5\n6\n7\n8\nnine\n"
    assert sandbox.session("x")["base"]["commit"] == tip(sandbox)
    assert sandbox.session("x")["changes"]["files"] == 3


@pytest.mark.parametrize("way", ["--rebase", "--merge"])
def test_what_is_not_committed_comes_along(sandbox: Sandbox, worktree: Path, way: str) -> None:
    (sandbox.repo / ".git" / "info" / "exclude").write_text("ignored\n")
    write(worktree, a="1\n2\n3\n4\nfive\n6\n7\n8\nnine\n", untracked__deep="u\n", ignored="i\n", staged="s\n")
    sandbox.git("add", "staged", "a", cwd=worktree)
    write(worktree, staged="s\nmore\n")
    (worktree / "old").unlink()
    before = sandbox.git("status", "--porcelain", "-uall", cwd=worktree)
    told = sandbox.chatml("sync", way, "x")
    assert told.out.endswith(f"main {tip(sandbox)[:7]} with its uncommitted work\n")
    assert sandbox.git("status", "--porcelain", "-uall", cwd=worktree) == before
    assert (worktree / "a").read_text() == "one\n2\n3\n4\nfive\n6\n7\n8\nnine\n"
    assert sandbox.git("show", ":staged", cwd=worktree) == "s"
    assert [(worktree / name).read_text() for name in ("staged", "untracked/deep", "ignored", "other")] == [
        "s\nmore\n", "u\n", "i\n", "o\n"
    ]  # fmt: skip
    assert sandbox.git("stash", "list") == ""
    clean(sandbox)


def _conflicting(sandbox: Sandbox, top: Path, where: str) -> str:
    """Make a conflict with the base; returns its file."""
    if where == "committed":
        commit(sandbox, top, "mine", a="mine\n")
    elif where in ("uncommitted", "staged"):
        write(top, a="mine\n")
    if where == "staged":
        sandbox.git("add", "a", cwd=top)
        write(top, a="1\n2\n3\n4\n5\n6\n7\n8\nnine\n")
    if where in ("untracked", "ignored"):
        write(top, other="mine\n", untracked="u\n")
        (sandbox.repo / ".git" / "info" / "exclude").write_text("other\n" if where == "ignored" else "")
        return "other"
    return "a"


@pytest.mark.parametrize(
    "where", ["committed", *(pytest.param(one, marks=pytest.mark.long) for one in ("uncommitted", "untracked")),
              "staged", "ignored"],
)  # fmt: skip
def test_a_conflict_leaves_all_as_it_was(sandbox: Sandbox, worktree: Path, where: str) -> None:
    file = _conflicting(sandbox, worktree, where)
    before = state(sandbox, "x", worktree)
    refused = sandbox.chatml("sync", "x", code=1)
    whose = "it conflicts" if where == "committed" else "its uncommitted work conflicts"
    assert refused.err.startswith(f"error: 'x' is left as it was: {whose} with main {tip(sandbox)[:7]} in {file}\n")
    if where == "committed":
        (told,) = sandbox.chatml("sync", "--merge", "x", "--json", code=1).json
        assert (told["outcome"], told["files"], told["onto"]) == ("failed", [file], tip(sandbox))
    assert state(sandbox, "x", worktree) == before
    clean(sandbox)


def test_all_at_rest(sandbox: Sandbox, worktree: Path) -> None:
    commit(sandbox, make_session(sandbox, "y"), "y", y="y\n")
    make_session(sandbox, "z", base="main~1", tools=("Read",))
    commit(sandbox, make_session(sandbox, "w", base="chatml/x"), "w", w="w\n")
    done = sandbox.chatml("sync", "--all", "--json").json
    assert {one["name"]: one["outcome"] for one in done} == {"x": "synced", "y": "up to date", "w": "synced"}
    assert sandbox.git("log", "--format=%s", "chatml/x..chatml/w") == "w"
    assert worktree.is_dir()


def test_what_is_written_meanwhile_comes_along(sandbox: Sandbox, worktree: Path, wrapped: Path) -> None:
    done = wrapped / "done"
    late = f"[ -e {done} ] || {{{{ touch {done}; echo late > {worktree}/late; }}}}"
    wrap(wrapped, f'#!/bin/sh\ncase "$*" in *write-tree*--stdin*) {late};; esac\nexec {{git}} "$@"\n')
    assert sandbox.chatml("sync", "x").out.endswith("\n")
    assert done.exists()
    assert (worktree / "late").read_text() == "late\n"
    assert sandbox.git("status", "--porcelain", cwd=worktree) == "?? late"
    assert (worktree / "other").exists()


@pytest.mark.parametrize("command", ["send", pytest.param("resume", marks=pytest.mark.long)])
def test_an_agent_goes_on_in_a_worktree_that_is_whole(sandbox: Sandbox, wrapped: Path, command: str) -> None:
    """Killed amid the files, as another git would be: who starts the agent puts all back first."""
    status = Status.STOPPED if command == "resume" else Status.DONE
    top = make_session(
        sandbox, "x", agent="quick", command=("sh", "-c", "git add -A; git commit -q -m agent"), status=status
    )
    commit(sandbox, top, "mine", mine="m\n")
    sandbox.commit("meanwhile", other="o\n", README_dot_md="changed\n")
    write(top, untracked="u\n")
    killed(sandbox, wrapped, "read-tree -m", verb="sync")
    assert (top / "other").exists()
    sandbox.chatml(command, "x", *(["hello"] if command == "send" else []))
    sandbox.until("x", "done")
    assert sandbox.git("log", "--format=%s", "--name-only", "-1", cwd=top).split() == ["agent", "untracked"]
    clean(sandbox)


def test_a_commit_that_can_not_be_made_changes_nothing(sandbox: Sandbox, worktree: Path) -> None:
    hook(sandbox, "commit-msg", "echo no such merges; exit 1")
    refuses(sandbox, "the commit-msg hook refused it: no such merges", "change what it complains about", "--merge")
    sandbox.git("config", "commit.gpgSign", "true")
    sandbox.git("config", "gpg.program", "/bin/false")
    before = state(sandbox, "x", worktree)
    refuses(sandbox, "no commit could be made, so nothing was changed", "")
    assert state(sandbox, "x", worktree) == before


# --- where it can't be done ---------------------------------------------------------------------------------------


def refuses(sandbox: Sandbox, error: str, hint: str, *args: str) -> None:
    said = sandbox.chatml("sync", "x", *args, code=1)
    assert said.out == ""
    assert error in said.err
    assert hint in said.err
    clean(sandbox)


@pytest.mark.parametrize("status", [Status.WAITING, Status.RUNNING])
def test_one_at_work_is_left_alone(sandbox: Sandbox, status: Status) -> None:
    asked = Request("1", "permission", "Bash: ls", {}, now())
    top = make_session(sandbox, "x", status=status, requests=(asked,) if status is Status.WAITING else ())
    sandbox.commit("meanwhile", other="o\n")
    before = state(sandbox, "x", top)
    if status is Status.WAITING:
        refuses(sandbox, "'x' is at work (waiting)", "chatml wait x")
    else:
        refuses(sandbox, "'x' has crashed", "chatml stop x")
    assert state(sandbox, "x", top) == before
    assert sandbox.chatml("sync", "--all", code=None).out == ""


def test_a_branch_of_a_person_is_merged_into_and_never_rewritten(sandbox: Sandbox) -> None:
    sandbox.git("branch", "theirs")
    top = make_session(sandbox, "x", branch="theirs")
    commit(sandbox, top, "work", a="1\n")
    sandbox.commit("meanwhile", other="o\n")
    assert sandbox.chatml("sync", "--all").out == ""
    refuses(sandbox, "'x' works on theirs, which was there before it", "chatml sync --merge x")
    assert sandbox.chatml("sync", "--merge", "x").out == f"synced x: merged main {tip(sandbox)[:7]}\n"
    assert (top / "other").read_text() == "o\n"


def test_a_worktree_in_another_state(sandbox: Sandbox, worktree: Path) -> None:
    sandbox.git("checkout", "-q", "-b", "elsewhere", cwd=worktree)
    refuses(sandbox, "the worktree of 'x' is on elsewhere, not on chatml/x", f"git -C {worktree} switch chatml/x")
    sandbox.git("checkout", "-q", "chatml/x", cwd=worktree)
    commit(sandbox, worktree, "mine", a="mine\n")
    sandbox.git("merge", "-q", "main", cwd=worktree, check=False)
    refuses(sandbox, "a merge is in progress in the worktree of 'x'", "end it first")
    sandbox.git("merge", "--abort", cwd=worktree)
    sandbox.git("worktree", "remove", "--force", str(worktree))
    refuses(sandbox, f"the worktree is gone: {worktree}", "chatml resume x")
    assert sandbox.chatml("sync", "--all").out == ""


def test_a_base_that_is_gone_or_rewritten(sandbox: Sandbox) -> None:
    sandbox.git("branch", "topic")
    sandbox.git("checkout", "-q", "topic")
    sandbox.commit("to be amended", topic="1\n")
    top = make_session(sandbox, "x", base="topic")
    commit(sandbox, top, "work", a="1\n")
    sandbox.commit("amended", topic="2\n")
    sandbox.git("reset", "-q", "--soft", "HEAD~2")
    sandbox.git("commit", "-q", "-m", "amended")
    assert sandbox.chatml("sync", "x").out == f"synced x: 1 commit onto topic {tip(sandbox, 'topic')[:7]}\n"
    assert (top / "topic").read_text() == "2\n"
    assert sandbox.git("log", "--format=%s", "topic..chatml/x") == "work"
    sandbox.git("checkout", "-q", "main")
    sandbox.git("branch", "-D", "topic")
    refuses(sandbox, "what 'x' started from is no branch any more: topic", f"git -C {top} merge BRANCH")


def test_one_that_has_landed_goes_on_from_there(sandbox: Sandbox, worktree: Path) -> None:
    sandbox.chatml("merge", "x")
    commit(sandbox, worktree, "more", more="m\n")
    sandbox.commit("later", a="quite another\n")
    assert sandbox.chatml("sync", "x").out == f"synced x: 1 commit onto main {tip(sandbox)[:7]}\n"
    assert sandbox.git("log", "--format=%s", "main..chatml/x") == "more"
    sandbox.chatml("merge", "x")
    sandbox.commit("later still", a="a third\n")
    assert sandbox.chatml("sync", "x").out == f"synced x: 0 commits onto main {tip(sandbox)[:7]}\n"
    assert sandbox.session("x")["landed"] is True
    assert sandbox.chatml("rm", "--merged", "-n", "-q").out == "x\n"


@pytest.mark.parametrize(
    ("landed", "way"),
    [(False, "--rebase"), (True, "--merge"),
     *(pytest.param(*one, marks=pytest.mark.long) for one in ((True, "--rebase"), (False, "--merge")))],
)  # fmt: skip
def test_one_that_comes_after_another(sandbox: Sandbox, worktree: Path, landed: bool, way: str) -> None:
    """What the other has brought is below its own commits, as long as the base has not got that."""
    top = make_session(sandbox, "y", base="chatml/x", after=("x",))
    record = sandbox.state("y") / "session.json"
    record.write_text(record.read_text().replace('"ref":"chatml/x"', '"ref":"main"'))
    commit(sandbox, top, "on top", top="t\n")
    if landed:
        sandbox.chatml("merge", "x")
    done = sandbox.chatml("sync", way, "y").out
    said = "1 commit onto" if way == "--rebase" else "merged"
    assert done == f"synced y: {said} main {tip(sandbox)[:7]}\n"
    assert (top / "a").read_text() == "one\n2\n3\n4\n5\n6\n7\n8\nnine\n"
    assert sandbox.chatml("diff", "y", "--name-only").out == "top\n"
    assert sandbox.chatml("sync", way, "y").out == "y is up to date\n"
    assert worktree.is_dir()


def test_a_pull_request_gets_the_commits_made_anew(sandbox: Sandbox, worktree: Path) -> None:
    origin = sandbox.repo.parent / "octo.git"
    sandbox.git("clone", "-q", "--bare", str(sandbox.repo), str(origin))
    sandbox.git("remote", "add", "origin", "http://github.localhost/octo/app.git")
    sandbox.git("config", f"url.{origin}.pushInsteadOf", "http://github.localhost/octo/app.git")
    served = GitHub({"octo/app": origin})
    sandbox.env.update(served.env)
    try:
        sandbox.chatml("pr", "x")
        sandbox.chatml("sync", "x")
        sandbox.chatml("pr", "x")
        assert served.tip("octo/app", "chatml/x") == tip(sandbox, "chatml/x")
        sandbox.git("commit", "-q", "--amend", "-m", "by hand", cwd=worktree)
        assert "--force-with-lease" in sandbox.chatml("pr", "x", code=1).err
    finally:
        served.close()


# --- conflicts for the agent --------------------------------------------------------------------------------------

RESOLVES = (
    "if git rev-parse -q --verify MERGE_HEAD; then git checkout -q --ours a; git add a; git commit -q --no-edit; fi"
)


def test_its_agent_gets_the_conflict_as_a_merge(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.commit("before", a="1\n")
    gate = tmp_path / "gate"
    command = ("sh", "-c", f"until [ -e {gate} ]; do sleep 0.05; done; {RESOLVES}")
    top = make_session(sandbox, "x", agent="quick", command=command)
    commit(sandbox, top, "mine", a="mine\n")
    sandbox.commit("theirs", a="theirs\n", other="o\n")
    write(top, untracked="u\n")
    refuses(sandbox, "'x' has uncommitted work", "chatml send x 'Commit your work'", "--resolve")
    (top / "untracked").unlink()
    told = sandbox.chatml("sync", "x", "--resolve", code=1)
    assert told.out == "gave x the conflict with main: a\n"
    assert "<<<<<<<" in (top / "a").read_text()
    assert sandbox.git("rev-parse", "MERGE_HEAD", cwd=top) == tip(sandbox)
    assert "- a\n" in sandbox.written("x")["terms"]["prompt"] + "".join(
        one["text"] for one in map(json.loads, (sandbox.state("x") / "inbox.jsonl").read_text().splitlines())
    )
    assert "sync: its agent is to resolve the conflicts with main" in sandbox.chatml("show", "x").out
    gate.touch()
    sandbox.until("x", "done")
    assert f"sync: merged main {tip(sandbox)[:7]}\n" in sandbox.chatml("show", "x").out
    assert sandbox.chatml("sync", "x").out == "x is up to date\n"
    assert "sync:" not in sandbox.chatml("show", "x").out
    assert sandbox.session("x")["base"]["commit"] == tip(sandbox)
    assert (top / "a").read_text() == "mine\n"


def test_an_agent_that_was_not_told_is_told_again(sandbox: Sandbox) -> None:
    sandbox.commit("before", a="1\n")
    top = make_session(sandbox, "x", agent="quick", command=("sh", "-c", "true"))
    commit(sandbox, top, "mine", a="mine\n")
    sandbox.commit("theirs", a="theirs\n")
    for _ in range(2):
        (told,) = sandbox.chatml("sync", "x", "--resolve", "--json", code=1).json
        assert (told["outcome"], told["files"]) == ("resolving", ["a"])
        sandbox.until("x", "done")
    refuses(sandbox, "a merge is in progress in the worktree of 'x'", "its agent is to resolve the conflicts")


def test_a_message_that_can_not_be_sent_takes_the_merge_back(sandbox: Sandbox) -> None:
    sandbox.commit("before", a="1\n")
    top = make_session(sandbox, "x", agent="quick", command=("sh", "-c", "true"))
    commit(sandbox, top, "mine", a="mine\n")
    sandbox.commit("theirs", a="theirs\n")
    before = state(sandbox, "x", top)
    inbox = sandbox.state("x") / "inbox.jsonl"
    kept = inbox.read_bytes()
    inbox.unlink()
    inbox.mkdir()
    sandbox.chatml("sync", "x", "--resolve", code=1)
    inbox.rmdir()
    inbox.write_bytes(kept)
    after = state(sandbox, "x", top)
    assert (after["files"], after["status"], after["index"]) == (before["files"], before["status"], before["index"])
    assert not (sandbox.repo / ".git" / "worktrees" / "x" / "MERGE_HEAD").exists()
    assert sandbox.written("x").get("checkout", {}).get("resolving") is None
