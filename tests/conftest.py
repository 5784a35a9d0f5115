"""Fixtures: a sealed sandbox with a repository, and the scripted API that the real agent talks to."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatml.scripted.api import ScriptedApi
from chatml.scripted.script import Script
from tests.support import Sandbox, init_repository, marked_processes, sealed_env, wait_until

GITCONFIG = """\
[user]
    name = Ada
    email = ada@example.com
[init]
    defaultBranch = main
[commit]
    gpgSign = false
"""


def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are cores: most of a test is waiting, for a process to start or a request to come."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest alone comes first, so that the rest runs beside it: the types of the whole package."""
    items.sort(key=lambda item: item.path.stem != "test_quality")


@pytest.fixture(scope="session", autouse=True)
def _default_signals() -> None:
    """Every child begins with the signals of a person's shell, also where a script runs the tests in its background.

    What is ignored there would be ignored in every child too, for ever; a handler of ours goes with the next `exec`.
    """
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


@pytest.fixture(scope="session", autouse=True)
def _temporary_files() -> Iterator[None]:
    """A folder for the temporary files of all programs under test: some are killed before they can remove theirs.

    Short, because Claude Code puts sockets into it, whose paths may have 107 bytes at most (sun_path of unix(7)).
    """
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="ct-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder
        yield
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A home and a repository of their own; fails the test that leaves a process behind."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(GITCONFIG)
    env = sealed_env(home)
    repo = tmp_path / "app"
    init_repository(repo, env)
    yield Sandbox(home, repo, env)
    left = _end_leftovers(home)
    assert not left, f"the test left processes behind: {left}"


def _end_leftovers(home: Path) -> dict[int, str]:
    """What still runs under this home once sessions had a moment to end, after ending it."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not marked_processes(home), "all processes to end")
    left = marked_processes(home)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


@pytest.fixture
def serve(sandbox: Sandbox) -> Iterator[Callable[[Script], ScriptedApi]]:
    """Serves a script as the model of this sandbox; at the end, every session is stopped first."""
    with contextlib.ExitStack() as stack:

        def start(script: Script) -> ScriptedApi:
            api = stack.enter_context(ScriptedApi(script))
            sandbox.env["ANTHROPIC_BASE_URL"] = api.url
            return api

        yield start
        sandbox.chatml("stop", "--all", "-q", code=None)
