"""Commands on several sessions: what is wrong with one is told, the rest is still done, the worst code returned."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from chatml.model import Status
from chatml.state.store import SessionStore, Store
from tests import forked
from tests.faults import Serve
from tests.made import make_session
from tests.support import TIMEOUT, Sandbox
from tests.worktree import terminal

AtWork = Callable[[str], SessionStore]


@pytest.fixture
def at_work(sandbox: Sandbox) -> Iterator[AtWork]:
    """Makes a session that is at work for as long as the test wants: it holds the lock that a worker would."""
    with ExitStack() as stack:

        def make(name: str) -> SessionStore:
            make_session(sandbox, name, status=Status.RUNNING)
            store = Store(sandbox.repo / ".git").session(name)
            assert store.worker_lock.take()
            stack.callback(store.worker_lock.release)
            return store

        yield make


def _end(store: SessionStore) -> None:
    store.update(lambda session: replace(session, status=Status.DONE))


def _remove(store: SessionStore) -> None:
    """As `rm` does it: in one step."""
    store.folder.rename(store.folder.with_name(".done-x"))


def _damage(sandbox: Sandbox, name: str) -> None:
    (sandbox.state(name) / "session.json").write_text("{")


def _told(process: forked.Child) -> str:
    """The next line of what it tells, while it goes on."""
    return process.stderr.readline().decode()


def test_wait_goes_on_for_the_others(sandbox: Sandbox, at_work: AtWork) -> None:
    first, second = at_work("first"), at_work("second")
    make_session(sandbox, "broken")
    _damage(sandbox, "broken")
    process = sandbox.start("wait", "first", "second", "broken", "nobody")
    assert _told(process).startswith("error: the record of session 'broken' is damaged")
    assert _told(process).startswith("hint: ")
    assert _told(process).startswith("error: no session named 'nobody'")
    assert _told(process).startswith("hint: ")
    _remove(second)
    assert _told(process).startswith("error: no session named 'second'")
    _end(first)
    out, _ = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out) == (1, "first: done\n")


def test_wait_for_all_goes_on_where_a_record_is_damaged(sandbox: Sandbox, at_work: AtWork) -> None:
    first = at_work("first")
    make_session(sandbox, "broken")
    _damage(sandbox, "broken")
    late = sandbox.chatml("wait", "--timeout", "0", code=124)
    assert late.err.startswith("error: the record of session 'broken' is damaged")
    assert late.err.endswith("error: still at work after 0 s: first\n")
    never = sandbox.chatml("wait", "first", "--timeout", "nan", code=2)
    assert never.err.startswith("error: invalid value for '--timeout': 'nan' is no time in seconds")
    process = sandbox.start("wait", "--json")
    assert _told(process).startswith("error: the record of session 'broken' is damaged")
    _end(first)
    out, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert '"name": "first"' in out


def test_send_and_wait_goes_on_for_the_others(sandbox: Sandbox, at_work: AtWork) -> None:
    first, second = at_work("first"), at_work("second")
    process = sandbox.start("send", "second", "first", "hello", "--wait")
    assert _told(process) == "sent to second, first\n"
    _remove(second)
    assert _told(process).startswith("error: no session named 'second'")
    _end(first)
    out, _ = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out) == (1, "It is done.\n")


def test_stop_and_resume_of_all_tell_a_damaged_record(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": [["…", {"hold": "here"}, "Done."]]})
    sandbox.chatml("new", "first", "-q")
    api.wait_for(lambda: api.holding["here"])
    make_session(sandbox, "broken")
    _damage(sandbox, "broken")
    for command, done in (("stop", "stopped"), ("resume", "resumed")):
        said = sandbox.chatml(command, "--all", code=1).err.splitlines()
        assert said[0].startswith("error: the record of session 'broken' is damaged")
        assert said[1].startswith("hint: ")
        assert said[2:] == [f"{done} first"]
    api.release("here")
    sandbox.chatml("wait", "first")


@pytest.mark.parametrize("command", ["stop", "resume", "send", "rm", "wait", "restore", "ls"])
def test_what_the_machine_refuses_for_one_is_done_for_the_others(sandbox: Sandbox, command: str) -> None:
    """A name that no file system takes is an error of the machine, not one of ours."""
    make_session(sandbox, "first")
    if command == "restore":
        sandbox.chatml("rm", "first")
    said = sandbox.chatml(command, "x" * 300, "first", *(["hello"] if command == "send" else []), code=None)
    assert said.code == 1, said
    assert said.err.startswith("error: ")
    assert "first" in said.out + said.err, said
    sandbox.chatml("wait", "first", code=None)


def test_a_watched_list_shows_what_is_wrong_below_it(sandbox: Sandbox, at_work: AtWork) -> None:
    first = at_work("first")
    with terminal(sandbox, "ls", "-w", "nobody", "first", env={"NO_COLOR": "1"}) as (process, read):
        shown = read("error: no session named 'nobody'")
        assert shown.index("first") < shown.index("error: ")
        _end(first)
        assert "hint: " not in read("done")
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130
