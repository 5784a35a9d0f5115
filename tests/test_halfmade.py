"""`new` that is killed or fails between any two of its steps: undone whole, or a session that can be gone on with."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import Serve, all_gone, arrived, delivered_once, fifo
from tests.support import Sandbox

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


def _wrap(folder: Path, text: str) -> None:
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


def test_a_new_that_is_killed_at_any_git_command_leaves_nothing_or_a_session(
    sandbox: Sandbox, serve: Serve, wrapped: Path
) -> None:
    api = serve({"*": ["Fine."]})
    _wrap(wrapped, WRAPPER)
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


def test_a_session_in_the_making_is_alive_to_all_others(sandbox: Sandbox, serve: Serve, wrapped: Path) -> None:
    api = serve({"*": ["Fine."]})
    pipe = fifo(wrapped / "pipe")
    stand_still = "echo >> {folder}/pipe.at; cat {folder}/pipe"
    _wrap(wrapped, f'#!/bin/sh\ncase "$*" in *"worktree add"*) {stand_still};; esac\n{{git}} "$@"\n')
    making = sandbox.start("new", "first-message", "--name", "task")
    arrived(pipe)
    assert sandbox.session("task")["status"] == "preparing"
    assert sandbox.chatml("resume", "task").err == "task has nothing to go on with: send it a message\n"
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
    if subprocess.run(["chattr", "+i", place], capture_output=True, check=False).returncode:
        pytest.skip("needs a file system and a user that can make a folder immutable (chattr +i)")
    yield
    subprocess.run(["chattr", "-i", place], check=True)


def _git_fails(sandbox: Sandbox) -> Iterator[None]:
    """The worktree is there, and then git fails after all."""
    folder = sandbox.home / "bin"
    folder.mkdir()
    before, sandbox.env["PATH"] = sandbox.env["PATH"], f"{folder}:{sandbox.env['PATH']}"
    fail = 'case "$*" in *"worktree add"*) echo "fatal: too bad" >&2; exit 1;; esac'
    _wrap(folder, f'#!/bin/sh\n{{git}} "$@" || exit\n{fail}\n')
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
