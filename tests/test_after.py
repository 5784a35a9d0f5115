"""`after`: a session begins once others are done, from what they have brought; never stuck, never too early."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatml.state.store import SessionStore, Store
from chatml.worker.succession import settle
from tests.faults import all_gone, fifo, has_reader, kill, logged, worker
from tests.support import Sandbox, wait_until
from tests.test_halfmade import WRAPPER, wrap, wrapped
from tests.worktree import sealed

__all__ = ["sealed", "wrapped"]

CONFIG = r"""
agent: sh
agents: {sh: {command: [sh, -c, "eval \"${0##*\n\n}\"", "{prompt}"]}}
"""
"""The agent runs the last paragraph of what it is told: before that stands what others are at."""


@pytest.fixture
def shell(sandbox: Sandbox, tmp_path: Path) -> Sandbox:
    """A sandbox whose agent runs its task as a shell command; `read < $PIPES/NAME` in it waits for the test."""
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    pipes = tmp_path / "pipes"
    pipes.mkdir()
    sandbox.env["PIPES"] = str(pipes)
    return sandbox


def pipe(sandbox: Sandbox, name: str) -> Path:
    return fifo(Path(sandbox.env["PIPES"]) / name)


def let_go(sandbox: Sandbox, name: str) -> None:
    wait_until(lambda: has_reader(Path(sandbox.env["PIPES"]) / name), f"{name} at its pipe")


def work(name: str, text: str = "x") -> str:
    """A task that commits a file."""
    return f"echo {text} > {name}; git add {name}; git commit -qm {name}"


def activity(sandbox: Sandbox, name: str) -> str:
    return str(sandbox.session(name)["activity"])


def test_it_begins_when_the_others_are_done_from_what_they_have_committed(shell: Sandbox) -> None:
    pipe(shell, "a"), pipe(shell, "b")
    shell.chatml("new", f"read line < $PIPES/a; {work('a')}", "--name", "a", "-q")
    shell.chatml("new", f"read line < $PIPES/b; {work('b')}; touch left", "--name", "b", "-q")
    made = shell.chatml("new", f"ls; {work('c')}; echo d > d", "--name", "c", "--after", "a", "--after", "b")
    assert made.err == "queued: after a, b\n"
    let_go(shell, "a")
    shell.until("a", "done")
    assert "c     queued   after b" in shell.chatml("ls").out
    assert shell.session("c")["after"] == ["a", "b"]
    shown = shell.chatml("show", "c").out
    assert "queue: after b\n" in shown
    assert "after: a, b\n" in shown
    let_go(shell, "b")
    assert shell.chatml("wait", "c").out == "c: done\n"
    done = shell.session("c")
    assert done["result"] == "README.md\na\nb"
    assert done["base"] == {"ref": "main", "commit": shell.git("rev-parse", "chatml/c^")}
    assert [file["path"] for file in shell.chatml("diff", "c", "--json").json["files"]] == ["c", "d"]
    assert done["changes"]["commits"] == 1
    said = [event["line"] for event in logged(shell, "c", "setup")]
    assert said == ["it starts from chatml/a and chatml/b", "what is not committed in b doesn't come along"]
    # Nothing of its own is lost with it, and what it has from the others is theirs.
    shell.git("commit", "-q", "--allow-empty", "-m", "on")
    assert "1 commit on chatml/c that is nowhere else" in shell.chatml("rm", "c", code=1).err


@pytest.mark.long
def test_one_alone_is_started_from_as_it_is(shell: Sandbox) -> None:
    shell.chatml("new", work("a"), "--name", "a", "--wait", "-q")
    shell.chatml("new", work("b"), "--name", "b", "--after", "a", "--wait", "-q")
    assert shell.git("rev-parse", "chatml/b^") == shell.git("rev-parse", "chatml/a")
    shell.chatml("new", "true", "--name", "c", "--after", "b", "--after", "a", "--wait", "-q")
    assert shell.git("rev-parse", "chatml/c") == shell.git("rev-parse", "chatml/b")
    shell.chatml("rm", "c")  # it has nothing of its own
    # The last one to hold what another has made keeps it.
    shell.chatml("rm", "a", "--force")
    shell.git("reset", "-q", "--hard")
    assert "2 commits on chatml/b" in shell.chatml("rm", "b", code=1).err


def test_a_conflict_fails_it_with_the_files_and_nothing_is_lost(shell: Sandbox) -> None:
    for name in ("a", "b"):
        shell.chatml("new", work("same file", name).replace("same file", "same"), "--name", name, "-q", "--wait")
    shell.chatml("new", "cat same", "--name", "c", "--after", "a", "--after", "b", "--wait", "-q", code=1)
    error = shell.session("c")["error"]
    assert error["kind"] == "worktree"
    assert error["message"] == "chatml/b conflicts with chatml/a in same"
    shell.git("-C", str(shell.repo.with_name("app.chatml") / "b"), "reset", "-q", "--hard", "main")
    shell.chatml("resume", "c", "-q")
    assert shell.until("c", "done")["result"] == "a"


@pytest.mark.long
def test_what_hangs_on_a_failure_says_so_and_starts_when_told_to(shell: Sandbox) -> None:
    pipe(shell, "gate")
    shell.chatml("new", "exit 1", "--name", "bad", "--wait", "-q", code=1)
    shell.chatml("new", "echo went on", "--name", "next", "--after", "bad", "-q")
    shell.chatml("new", "true", "--name", "last", "--after", "next", "-q")
    shell.chatml("new", "read line < $PIPES/gate; true", "--name", "slow", "-q")
    shell.chatml("new", "true", "--name", "free", "--after", "slow", "-q")
    assert activity(shell, "next") == "waits for bad, which failed"
    assert activity(shell, "last") == "waits for next, which waits for bad, which failed"
    assert activity(shell, "free") == "after slow"
    waited = shell.chatml("wait", "next", code=3)
    assert (waited.out, waited.err.splitlines()[0]) == ("next: queued\n", "error: next waits for bad, which failed")
    assert "chatml resume next" in waited.err
    shell.chatml("stop", "slow", "-q")
    assert activity(shell, "free") == "waits for slow, which was stopped"
    shell.chatml("rm", "slow", "-q", "--force")
    assert activity(shell, "free") == "waits for slow, which was removed"
    shell.chatml("new", "true", "--name", "slow", "--wait", "-q")
    assert activity(shell, "free") == "waits for slow, which was removed"  # of the same name, and another one
    shell.chatml("send", "free", "true", "-q")
    assert shell.until("free", "done", "failed")["status"] == "done"
    assert [event["line"] for event in logged(shell, "free", "setup")] == ["without slow, which was removed"]
    shell.chatml("resume", "next", "-q")
    assert shell.chatml("wait", "last").out == "last: done\n"  # by itself, now that `next` is done
    assert shell.session("next")["result"] == "went on"


@pytest.mark.long
def test_with_places_the_order_is_kept_and_who_waits_for_others_holds_up_nobody(shell: Sandbox) -> None:
    shell.env["CHATML_MAX_PARALLEL"] = "1"
    for name in ("a", "c"):
        pipe(shell, name)
    shell.chatml("new", "read line < $PIPES/a; true", "--name", "a", "-q")
    shell.chatml("new", "true", "--name", "b", "--after", "a", "-q")
    shell.chatml("new", "read line < $PIPES/c; true", "--name", "c", "-q")
    shell.chatml("new", "true", "--name", "d", "--after", "c", "-q")
    found = {one["name"]: (one["queue_place"], one["activity"]) for one in shell.chatml("ls", "--json").json}
    assert (found["b"], found["c"]) == ((None, "after a"), (1, None))
    shell.chatml("stop", "b", "-q")
    assert shell.session("b")["status"] == "stopped"
    shell.chatml("rm", "b", "-q")
    let_go(shell, "a")
    let_go(shell, "c")
    assert shell.chatml("wait", "d").out == "d: done\n"


def test_a_wrong_name_or_an_existing_branch_is_refused_before_anything_is_made(shell: Sandbox) -> None:
    shell.chatml("new", "true", "--name", "first", "--wait", "-q")
    assert "no session named 'frist'; did you mean 'first'" in shell.chatml("new", "x", "--after", "frist", code=1).err
    shell.git("branch", "mine")
    assert (
        "--after goes without --branch" in shell.chatml("new", "x", "--after", "first", "--branch", "mine", code=2).err
    )
    assert shell.chatml("ls", "-q").out == "first\n"
    assert shell.git("branch", "--list", "chatml/*", "--format=%(refname:short)") == "chatml/first"


def test_nobody_killed_leaves_it_stuck(shell: Sandbox) -> None:
    """The worker that would have started it is killed at its end; whoever looks next does."""
    pipe(shell, "a")
    shell.chatml("new", "read line < $PIPES/a; true", "--name", "a", "-q")
    shell.chatml("new", "echo here", "--name", "b", "--after", "a", "-q")
    wait_until(lambda: shell.session("a")["status"] == "running", "a at work")
    kill(worker(shell, "a"))
    wait_until(lambda: activity(shell, "b") == "waits for a, which crashed", "b to know", lambda: activity(shell, "b"))
    path = shell.state("a") / "session.json"
    path.write_text(path.read_text().replace('"status":"running"', '"status":"done"'))
    shell.chatml("ls", "-q")
    assert shell.until("b", "done")["result"] == "here"


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("committed", [False, True])
def test_a_kill_between_the_base_and_the_branch_is_made_good(shell: Sandbox, committed: bool) -> None:
    """The record has the new base, and the branch is not there yet; maybe a person has committed to it."""
    shell.chatml("new", work("a"), "--name", "a", "--wait", "-q")
    shell.chatml("new", "exit 1", "--name", "bad", "--wait", "-q", code=1)
    shell.chatml("new", "ls; git log --format=%s", "--name", "c", "--after", "a", "--after", "bad", "-q")
    files = SessionStore(shell.state("c"))
    settle(files.read(), Store(shell.repo / ".git"), lambda how: files.write(how(files.read())))
    assert shell.git("rev-parse", "chatml/c") == shell.git("rev-parse", "main")
    if committed:
        mine = shell.git("commit-tree", "-p", "main", "-m", "mine", "main^{tree}")
        shell.git("update-ref", "refs/heads/chatml/c", mine)
    shell.chatml("resume", "c", "-q")
    done = shell.until("c", "done", "failed")
    assert done["result"] == ("README.md\nmine\nfirst" if committed else "README.md\na\na\nfirst")
    assert done["base"]["commit"] == shell.git("rev-parse", "chatml/a")
    told = [event["line"] for event in logged(shell, "c", "setup")]
    assert any("had commits already" in line for line in told) is committed


@pytest.mark.long
@pytest.mark.parametrize("when", ["DIE_BEFORE", "DIE_AFTER"])
def test_a_worker_that_is_killed_at_any_git_command_leaves_what_can_be_gone_on_with(
    shell: Sandbox, wrapped: Path, when: str
) -> None:
    for name in ("a", "b"):
        shell.chatml("new", work(name), "--name", name, "--wait", "-q")
    shell.chatml("new", "exit 1", "--name", "bad", "--wait", "-q", code=1)
    wrap(wrapped, WRAPPER)
    tips, whole = set(), False
    for number in range(1, 40):
        name = f"c{number}"
        shell.chatml("new", f"ls; {work('c')}", "--name", name, "-q", "--after", "a", "--after", "b", "--after", "bad")
        (wrapped / "count").unlink(missing_ok=True)
        shell.chatml("resume", name, "-q", code=None, env={when: str(number)})
        all_gone(shell)
        whole = shell.session(name)["status"] == "done"
        if not whole:
            shell.chatml("resume", name, "-q")
        done = shell.until(name, "done", "failed", "crashed")
        assert (done["status"], done["result"]) == ("done", "README.md\na\nb"), done
        assert done["base"]["commit"] == shell.git("rev-parse", f"chatml/{name}^")
        tips.add(done["base"]["commit"])
        if whole:
            break
    assert whole, "so many git commands it doesn't need"
    assert len(tips) == number  # one base each: only the name in the merge's message tells them apart
