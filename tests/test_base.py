"""What a new session starts from: what is uncommitted here, what was fetched; and what `new` says about its base."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from chatml.errors import ChatmlError
from chatml.repo import Repository, upstream
from tests.faults import all_gone
from tests.support import Sandbox
from tests.test_after import shell
from tests.test_halfmade import WRAPPER, wrap, wrapped

__all__ = ["shell", "wrapped"]


def change_all(sandbox: Sandbox) -> None:
    """Every kind of change that a checkout can have."""
    sandbox.commit("more", staged="1\n", unstaged="1\n", both="1\n", gone="1\n", mode="1\n", _dot_gitignore="*.ign\n")
    for name in ("staged", "unstaged", "both"):
        (sandbox.repo / name).write_text("2\n")
    sandbox.git("add", "staged", "both")
    (sandbox.repo / "both").write_text("3\n")
    (sandbox.repo / "gone").unlink()
    (sandbox.repo / "mode").chmod(0o755)
    (sandbox.repo / "link").symlink_to("nowhere")
    (sandbox.repo / "new dir").mkdir()
    (sandbox.repo / "new dir" / "new\nline").write_text("4\n")
    (sandbox.repo / "secret.ign").write_text("5\n")


STATUS = "M both\0 D gone\0 M mode\0 M staged\0 M unstaged\0?? link\0?? new dir/\0"
"""As git has it, stripped."""


def state(sandbox: Sandbox) -> tuple[bytes, str, str, str]:
    """What must stay untouched in a checkout."""
    index = (sandbox.repo / ".git" / "index").read_bytes()
    return (
        index,
        sandbox.git("stash", "list"),
        sandbox.git("for-each-ref", "refs/stash", "refs/chatml"),
        sandbox.git("diff"),
    )


def test_with_changes_takes_all_that_is_uncommitted_along_and_leaves_it_here(shell: Sandbox) -> None:
    change_all(shell)
    before = state(shell)
    made = shell.chatml("new", "true", "--name", "c", "--with-changes", "--wait")
    assert "come along" not in made.err
    assert state(shell) == before
    worktree = shell.repo.with_name("app.chatml") / "c"
    assert shell.git("status", "--porcelain", "-z", cwd=worktree) == STATUS
    assert (worktree / "both").read_text() == "3\n"
    assert (worktree / "mode").stat().st_mode & stat.S_IXUSR
    assert os.readlink(worktree / "link") == "nowhere"
    assert (worktree / "new dir" / "new\nline").read_text() == "4\n"
    assert not (worktree / "secret.ign").exists()
    assert shell.session("c")["base"] == {"ref": "main", "commit": shell.git("rev-parse", "main")}
    assert len(shell.chatml("diff", "c", "--json").json["files"]) == 7
    assert "the uncommitted changes here don't come along; --with-changes" in shell.chatml("new", "true").err


@pytest.mark.long
def test_with_changes_survives_removal_before_it_began(shell: Sandbox) -> None:
    """What waits for a place has no files yet: git's garbage collection must not take them, nor `rm`."""
    shell.env["CHATML_MAX_PARALLEL"] = "1"
    shell.chatml("new", "sleep 60", "--name", "first", "-q")
    (shell.repo / "README.md").write_text("mine\n")
    shell.chatml("new", "cat README.md", "--name", "c", "--with-changes", "-q")
    shell.git("checkout", "-q", "README.md")
    shell.git("gc", "-q", "--prune=now")
    shell.chatml("rm", "c", "-q", "--force")
    assert "carried" not in shell.git("for-each-ref")
    shell.git("gc", "-q", "--prune=now")
    shell.chatml("restore", "c", "-q")
    shell.chatml("stop", "first", "-q")
    shell.chatml("resume", "c", "-q")
    assert shell.until("c", "done")["result"] == "mine"


def test_with_changes_is_refused_where_it_can_not_be_meant(shell: Sandbox) -> None:
    shell.git("checkout", "-qb", "other")
    shell.commit("theirs", **{"README.md": "theirs\n"})
    shell.git("checkout", "-q", "main")
    shell.commit("ours", **{"README.md": "ours\n"})
    assert "goes with none of" in shell.chatml("new", "x", "--with-changes", "--base", "other", code=2).err
    shell.git("merge", "other", check=False)
    assert "conflicts here that are not resolved" in shell.chatml("new", "x", "--with-changes", code=1).err
    shell.git("merge", "--abort")
    inner = shell.repo / "inner"
    shell.git("init", "-q", str(inner))
    shell.git("commit", "-q", "--allow-empty", "-m", "inner", cwd=inner)
    made = shell.chatml("new", "true", "--name", "c", "--with-changes")
    assert "left out: the files of 'inner', a repository of its own" in made.err


@pytest.mark.long
@pytest.mark.parametrize("when", ["DIE_BEFORE", "DIE_AFTER"])
def test_with_changes_whatever_is_killed_they_are_all_there_or_no_session_is(
    shell: Sandbox, wrapped: Path, when: str
) -> None:
    change_all(shell)
    before = state(shell)
    wrap(wrapped, WRAPPER)
    # The agent may be killed, too, and is then told of it: whatever it is told, it does nothing.
    agent = 'agent: idle\nagents: {idle: {command: ["true", "{prompt}"]}}\n'
    (shell.home / ".config" / "chatml" / "config.yaml").write_text(agent)
    whole = False
    for number in range(1, 60):
        name = f"c{number}"
        (wrapped / "count").unlink(missing_ok=True)
        shell.chatml("new", "true", "--name", name, "-q", "--with-changes", code=None, env={when: str(number)})
        all_gone(shell)
        if not shell.state(name).exists():
            continue
        whole = shell.session(name)["status"] == "done"
        if not whole:
            shell.chatml("resume", name, "-q")
        end = shell.until(name, "done", "failed", "crashed")
        assert end["status"] == "done", end["error"]
        assert shell.git("status", "--porcelain", "-z", cwd=shell.repo.with_name("app.chatml") / name) == STATUS
        if whole:
            break
    assert whole, "so many git commands it doesn't need"
    assert state(shell) == before


@pytest.fixture
def remote(shell: Sandbox, tmp_path: Path) -> Sandbox:
    """A remote that has two commits more than `main` here; nobody has fetched them yet."""
    there = tmp_path / "there.git"
    shell.git("clone", "-q", "--bare", str(shell.repo), str(there))
    shell.git("remote", "add", "origin", str(there))
    shell.git("fetch", "-q", "origin")
    shell.git("branch", "-q", "--set-upstream-to=origin/main")
    other = tmp_path / "other"
    shell.git("clone", "-q", str(there), str(other))
    for number in (1, 2):
        shell.git("commit", "-q", "--allow-empty", "-m", f"theirs {number}", cwd=other)
    shell.git("push", "-q", cwd=other)
    return shell


def test_how_far_the_base_is_behind_is_said_and_fetch_gets_it(remote: Sandbox) -> None:
    here = remote.git("rev-parse", "main")
    assert "behind" not in remote.chatml("new", "true", "--name", "a").err  # nobody knows it yet
    made = remote.chatml("new", "true", "--name", "b", "--fetch")
    assert made.err.splitlines()[0] == "'main' is 2 commits behind 'origin/main': it starts from there"
    assert remote.session("b")["base"] == {"ref": "main", "commit": remote.git("rev-parse", "origin/main")}
    assert remote.git("rev-parse", "main") == here
    said = "base 'main' is 2 commits behind 'origin/main' (as last fetched); --fetch gets it"
    assert said in remote.chatml("new", "true", "--name", "c").err
    assert remote.session("c")["base"]["commit"] == here
    assert remote.chatml("new", "true", "--name", "d", "-q").err == ""
    remote.chatml("wait", "b")
    assert remote.chatml("diff", "b").err == ""


def test_fetch_never_starts_from_something_else(remote: Sandbox) -> None:
    remote.git("checkout", "-qb", "alone")
    assert "'alone' has no upstream to fetch" in remote.chatml("new", "x", "--fetch", code=1).err
    assert "'main~0' is no branch" in remote.chatml("new", "x", "--fetch", "--base", "main~0", code=1).err
    assert "could not fetch" in remote.chatml("new", "x", "--fetch", "--base", "origin/nothing", code=1).err
    remote.chatml("new", "true", "--name", "a", "--fetch", "--base", "origin/main", "-q")
    assert remote.git("log", "-1", "--format=%s", "chatml/a") == "theirs 2"
    remote.git("checkout", "-q", "main")
    remote.git("commit", "-q", "--allow-empty", "-m", "mine")
    refused = remote.chatml("new", "x", "--fetch", code=1).err
    assert "'main' and 'origin/main' have diverged: 1 commit here, 2 there" in refused
    assert "--base origin/main" in refused
    remote.git("remote", "set-url", "origin", str(remote.home / "nowhere"))
    assert "could not fetch main of origin" in remote.chatml("new", "x", "--fetch", code=1).err
    assert remote.chatml("ls", "-q").out == "a\n"


def test_fetch_has_a_limit(remote: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.git("remote", "set-url", "origin", "somebody@localhost:x.git")
    remote.git("config", "core.sshCommand", "sleep 600 #")
    monkeypatch.setattr(upstream, "LIMIT", 0.3)
    with pytest.raises(ChatmlError, match=r"could not fetch main of origin: it took longer than"):
        upstream.fetch(Repository.discover(remote.repo), "origin", "refs/heads/main", "refs/remotes/origin/main")


def test_a_base_without_an_upstream_costs_no_git_command(
    remote: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository.discover(remote.repo)
    assert upstream.upstream_of(repository, "main") is not None
    remote.git("branch", "--unset-upstream")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert shutil.which("git") is None
    assert upstream.upstream_of(repository, "main") is None
