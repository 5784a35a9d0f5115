"""`new` that is killed or fails between any two of its steps: undone whole, or a session that can be gone on with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from chatml.model import Session
from chatml.state.store import SessionStore, Store
from chatml.workspace import checkout
from tests.faults import Serve, all_gone, arrived, delivered_once, fifo
from tests.made import make_session
from tests.support import TIMEOUT, Sandbox, marked_processes
from tests.worktree import sealed

__all__ = ["sealed"]

WRAPPER = """#!/bin/sh
count=$(cat {folder}/count 2>/dev/null || echo 0)
count=$((count + 1))
echo $count > {folder}/count
if [ $count = "$DIE_BEFORE" ]; then kill -9 $PPID; exit 1; fi
{git} "$@"
code=$?
if [ $count = "$DIE_AFTER" ]; then kill -9 $PPID; fi
exit $code
"""
"""A git that counts its calls, and kills the one who calls it."""

ATTEMPTS = [(when, number) for number in range(1, 12) for when in ("DIE_BEFORE", "DIE_AFTER")]


@pytest.fixture
def wrapped(sandbox: Sandbox, tmp_path: Path) -> Path:
    """A folder in front of PATH for a `git` of the test's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    sandbox.env["PATH"] = f"{folder}:{sandbox.env['PATH']}"
    return folder


def wrap(folder: Path, text: str) -> None:
    real = shutil.which("git")
    assert real is not None
    (folder / "git").write_text(text.format(folder=folder, git=real))
    (folder / "git").chmod(0o700)


def _traces(sandbox: Sandbox, name: str) -> list[str]:
    """What there is of a session, beside its record."""
    there = sandbox.git("branch", "--list", f"chatml/{name}", "--format=%(refname:short)").split()
    there += [line for line in sandbox.git("worktree", "list", "--porcelain").splitlines() if line.endswith(f"/{name}")]
    folder = sandbox.repo.with_name("app.chatml") / name
    return there + ([str(folder)] if folder.exists() else [])


@pytest.mark.long
def test_a_new_that_is_killed_at_any_git_command_leaves_nothing_or_a_session(
    sandbox: Sandbox, serve: Serve, wrapped: Path
) -> None:
    api = serve({"*": ["Fine."]})
    wrap(wrapped, WRAPPER)
    half_made, killed = [], 0
    for when, number in ATTEMPTS:
        (wrapped / "count").unlink(missing_ok=True)
        name = f"{when[4:].lower()}-{number}"
        args = ("new", f"task-{name}", "--name", name, "-q")
        code = sandbox.chatml(*args, code=None, env={when: str(number)}).code
        if code == 0:
            break
        assert code == -9
        killed += 1
        if name in sandbox.chatml("ls", "-q").out.split():
            assert sandbox.session(name)["status"] == "crashed"
            half_made.append(name)
        else:
            assert _traces(sandbox, name) == []
    assert killed >= 6, "the wrapper was not called as often as expected"
    assert half_made
    sandbox.chatml("new", "task-last", "--name", "last", "-q")
    folders = {path.name for path in sandbox.state("last").parent.iterdir()}
    assert {name for name in folders if name.startswith(".new-")} == set(), "what a killed maker left is still there"
    sandbox.chatml("resume", "--all", "-q")
    sandbox.chatml("wait", "-q", *half_made)
    for name in half_made:
        delivered_once(sandbox, api, name, f"task-{name}")


def _kill_all(sandbox: Sandbox, *killed: str) -> None:
    """End all that runs as a power cut does: nobody sees another one end."""
    stopped: dict[int, str] = {}
    while started := {pid: words for pid, words in marked_processes(sandbox.home).items() if pid not in stopped}:
        for pid in started:  # one that was about to start another may have done so meanwhile
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        stopped |= started
    for word in killed:
        assert any(word in words for words in stopped.values()), stopped
    # Children first: one that is stopped while its parent ends is woken by the kernel, with SIGHUP, and clears up.
    for pid in sorted(stopped, reverse=True):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    all_gone(sandbox)


@pytest.mark.parametrize("stage", ["prepared", "committed", "symbolic-ref"])
def test_a_git_that_is_killed_amid_making_a_worktree_can_be_resumed(
    sandbox: Sandbox, serve: Serve, tmp_path: Path, stage: str
) -> None:
    """It stands still where it has locked the branch, has just made it, or has half registered the worktree."""
    api = serve({"*": ["Fine."]})
    pipe = fifo(sandbox.home / "pipe")
    stand_still = f"[ $1 != {stage} ] || [ ! -p {pipe} ] || {{ echo >>{pipe}.at; cat {pipe}; }}\n"
    hook = sandbox.repo / ".git" / "hooks" / "reference-transaction"
    hook.write_text(f"#!/bin/sh\n{stand_still}")
    hook.chmod(0o700)
    (tmp_path / "exec").mkdir()
    wrap(
        tmp_path / "exec",
        f'#!/bin/sh\nunset GIT_EXEC_PATH\n{stand_still.replace("{", "{{").replace("}", "}}")}{{git}} "$@"\n',
    )
    sandbox.env["GIT_EXEC_PATH"] = str(tmp_path / "exec")  # from where git starts itself
    making = sandbox.start("new", "first-message", "--name", "task")
    arrived(pipe)
    _kill_all(sandbox, "worktree add", "chatml new")
    making.communicate(timeout=TIMEOUT)
    pipe.unlink()
    del sandbox.env["GIT_EXEC_PATH"]
    assert sandbox.session("task")["status"] == "crashed"
    sandbox.chatml("resume", "task", "-q")
    if stage == "prepared":  # whether some git still holds the branch is for a person to say
        sandbox.chatml("wait", "task", "-q", code=1)
        error = sandbox.session("task")["error"]
        assert error["kind"] == "worktree"
        lock = sandbox.repo / ".git" / "refs" / "heads" / "chatml" / "task.lock"
        assert error["message"] == f"git worktree: {lock} exists: another git holds it, or was killed"
        subprocess.run(error["hint"].partition(": ")[2], shell=True, check=True, timeout=TIMEOUT)
        sandbox.chatml("resume", "task", "-q")
    sandbox.chatml("wait", "task", "-q")
    delivered_once(sandbox, api, "task", "first-message")
    worktree = Path(sandbox.session("task")["worktree"])
    assert (worktree / "README.md").read_text() == "sample\n"
    assert sandbox.git("status", "--porcelain", "--branch", cwd=worktree) == "## chatml/task"
    assert len(list((sandbox.repo / ".git").glob("worktrees/*"))) == 1


def _prepare_until(session: Session, store: SessionStore, last: int = -1) -> bool:
    """Prepare the session's worktree in a process that is killed before its line number `last`; whether it was."""
    parts = (checkout.prepare, checkout.fill, checkout._clear_up, checkout.give_all, checkout._give)
    steps = {part.__code__ for part in parts}
    pid = os.fork()
    if pid == 0:
        lines = 0

        def each(frame: FrameType, event: str, _: object) -> Any:
            nonlocal lines
            if frame.f_code not in steps:
                return None
            lines += event == "line"
            if lines == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return each

        def record(**changes: Any) -> None:
            store.update(lambda now: now.with_checkout(**changes))

        sys.settrace(each)
        checkout.prepare(session, store.folder.parents[2], record, lambda: False)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == signal.SIGKILL


@pytest.mark.long
def test_a_preparation_that_is_killed_at_any_line_is_gone_on_with(sandbox: Sandbox, sealed: None) -> None:
    """At each line, a person edits what is there by then."""
    del sealed
    sandbox.commit("more", a="a", folder__b="b", folder__c="c")
    worktree = make_session(sandbox, "task")
    store = Store(sandbox.repo / ".git").session("task")
    edited = set()
    for last in count(1):
        shutil.rmtree(worktree)
        if not _prepare_until(store.read(), store, last):
            break
        mine = [worktree / name for name in ("a", "folder/b") if (worktree / name).exists()]
        for path in mine:
            path.write_text("mine")
        edited.add(len(mine))
        assert not _prepare_until(store.read(), store)
        assert store.read().checkout.populated
        assert not store.read().checkout.hook_due
        wanted = [f"M {path.relative_to(worktree)}" for path in mine]
        assert sandbox.git("status", "--porcelain", cwd=worktree) == "\n".join(wanted).replace("\nM", "\n M"), last
        assert [path.read_text() for path in mine] == ["mine"] * len(mine)
        assert {path.name for path in worktree.iterdir()} == {".git", "README.md", "a", "folder"}
    assert last > 40
    assert edited == {0, 1, 2}


def test_a_session_in_the_making_is_alive_to_all_others(sandbox: Sandbox, serve: Serve, wrapped: Path) -> None:
    api = serve({"*": ["Fine."]})
    pipe = fifo(wrapped / "pipe")
    stand_still = "echo >> {folder}/pipe.at; cat {folder}/pipe"
    wrap(wrapped, f'#!/bin/sh\ncase "$*" in *"worktree add"*) {stand_still};; esac\n{{git}} "$@"\n')
    making = sandbox.start("new", "first-message", "--name", "task")
    arrived(pipe)
    assert sandbox.session("task")["status"] == "preparing"
    assert sandbox.chatml("resume", "task").err == "task is at work already\n"
    sandbox.chatml("send", "task", "second-message")
    pipe.write_text("go on\n")
    _, err = making.communicate(timeout=60)
    assert making.returncode == 0, err
    sandbox.until("task", "done")
    delivered_once(sandbox, api, "task", "first-message", "second-message")


def _all_there_is(sandbox: Sandbox) -> tuple[object, ...]:
    return sandbox.git("for-each-ref"), sandbox.git("worktree", "list"), sorted(sandbox.repo.parent.iterdir())


def _file_in_the_way(sandbox: Sandbox) -> Iterator[None]:
    place = sandbox.repo.with_name("app.chatml")
    place.write_text("a file")
    yield
    assert place.read_text() == "a file"


def _taken_prefix(sandbox: Sandbox) -> Iterator[None]:
    sandbox.git("branch", "chatml")
    yield


def _unwritable(sandbox: Sandbox) -> Iterator[None]:
    place = sandbox.repo.with_name("app.chatml")
    place.mkdir()
    if subprocess.run(["chattr", "+i", place], capture_output=True, check=False, timeout=TIMEOUT).returncode:
        pytest.skip("needs a file system and a user that can make a folder immutable (chattr +i)")
    yield
    subprocess.run(["chattr", "-i", place], check=True, timeout=TIMEOUT)


def _git_fails(sandbox: Sandbox) -> Iterator[None]:
    """The worktree is there, and then git fails after all."""
    folder = sandbox.home / "bin"
    folder.mkdir()
    before, sandbox.env["PATH"] = sandbox.env["PATH"], f"{folder}:{sandbox.env['PATH']}"
    fail = 'case "$*" in *"worktree add"*) echo "fatal: too bad" >&2; exit 1;; esac'
    wrap(folder, f'#!/bin/sh\n{{git}} "$@" || exit\n{fail}\n')
    yield
    sandbox.env["PATH"] = before


@pytest.mark.parametrize("trouble", [_file_in_the_way, _taken_prefix, _unwritable, _git_fails])
def test_an_error_in_the_middle_undoes_everything(sandbox: Sandbox, trouble) -> None:  # type: ignore[no-untyped-def]
    sandbox.chatml("ls")
    steps = trouble(sandbox)
    next(steps)
    before = _all_there_is(sandbox)
    failed = sandbox.chatml("new", "first", "--name", "task", code=1)
    assert failed.err.startswith("error: ")
    assert "\nhint: " in failed.err
    assert failed.err.count("\n") == 2, failed.err
    next(steps, None)
    assert _all_there_is(sandbox) == before
    assert sandbox.chatml("ls", "-q").out == ""
    assert list((sandbox.repo / ".git" / "chatml" / "sessions").iterdir()) == []
    all_gone(sandbox)
    assert list((sandbox.repo / ".git").glob("worktrees/*")) == []
