"""Commands on several sessions: what is wrong with one is told, the rest is still done, the worst code returned."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from chatml.cli import COMMANDS
from chatml.model import Request, Status, now
from chatml.state.store import SessionStore, Store
from tests import forked
from tests.faults import Serve
from tests.made import commit, make_session
from tests.support import TIMEOUT, Sandbox
from tests.worktree import pseudo_terminal

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


def _asking(sandbox: Sandbox, name: str, kind: str, **detail: Any) -> SessionStore:
    """A session that waits for a person; its worker's lock is held by the test, which takes no answer."""
    make_session(sandbox, name, status=Status.WAITING, requests=(Request("1", kind, "may it?", detail, now()),))
    return Store(sandbox.repo / ".git").session(name)


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


@pytest.mark.long
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
    with pseudo_terminal(sandbox, "ls", "-w", "nobody", "first", env={"NO_COLOR": "1"}) as (process, read):
        shown = read("error: no session named 'nobody'")
        assert shown.index("first") < shown.index("error: ")
        _end(first)
        assert "hint: " not in read("done")
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130


QUESTION = {"question": "Which?", "options": [{"label": "Red"}, {"label": "Blue"}]}
GONE = {"message": "no session named 'nobody'", "hint": "see 'chatml ls'"}

OUTCOMES: list[tuple[str, int, list[dict[str, Any]]]] = [
    (
        "send busy nobody hello",
        1,
        [
            {"name": "busy", "outcome": "sent", "error": None, "id": "2", "session": None, "queue_place": None},
            {"name": "nobody", "outcome": "failed", "error": GONE},
        ],
    ),
    (
        "stop dead idle",
        0,
        [{"name": "dead", "outcome": "stopped", "error": None}, {"name": "idle", "outcome": "at rest", "error": None}],
    ),
    (
        "resume busy idle",
        0,
        [
            {"name": "busy", "outcome": "at work", "error": None, "queue_place": None},
            {"name": "idle", "outcome": "nothing to do", "error": None, "queue_place": None},
        ],
    ),
    (
        "approve asks --always",
        0,
        [
            {"name": "asks", "outcome": "approved", "error": None}
            | {"request": "1", "rules": ["Bash(ls:*)"], "answers": None}
        ],
    ),
    (
        "deny begs -m no",
        0,
        [{"name": "begs", "outcome": "denied", "error": None, "request": "1", "rules": [], "answers": None}],
    ),
    (
        "answer wonders 2",
        0,
        [
            {"name": "wonders", "outcome": "answered", "error": None}
            | {"request": "1", "rules": [], "answers": {"Which?": "Blue"}}
        ],
    ),
    ("rm idle --dry-run", 0, [{"name": "idle", "outcome": "would remove", "error": None, "branch": "chatml/idle"}]),
    (
        "rm idle nobody",
        1,
        [
            {"name": "idle", "outcome": "removed", "error": None, "left_out": [], "kept_aside": [], "not_deleted": None}
            | {
                "left_alone": None,
                "branch": {
                    "name": "chatml/idle",
                    "became": "deleted",
                    "why": None,
                    "landed_in": None,
                    "also_on": None,
                    "unknown": None,
                },
            },
            {"name": "nobody", "outcome": "failed", "error": GONE},
        ],
    ),
    ("restore", 0, [{"name": "idle"}]),
    (
        "restore idle",
        0,
        [{"name": "idle", "outcome": "restored", "error": None, "branch": "chatml/idle", "remark": None}],
    ),
    ("rm --merged --dry-run", 1, [{"name": "broken", "outcome": "failed"}]),
]
"""What each verb tells scripts; an object may have more keys than are given here only where a value is not the same
in each run (paths and times)."""

VARYING = {"worktree", "removed_at"}


def test_each_verb_tells_scripts_what_became_of_each_session(sandbox: Sandbox, at_work: AtWork) -> None:
    at_work("busy")
    make_session(sandbox, "idle")
    make_session(sandbox, "dead", status=Status.RUNNING)
    asking = [
        _asking(sandbox, "asks", "permission", rules=["Bash(ls:*)"]),
        _asking(sandbox, "begs", "permission"),
        _asking(sandbox, "wonders", "question", input={"questions": [QUESTION]}),
    ]
    make_session(sandbox, "broken")
    _damage(sandbox, "broken")
    with ExitStack() as stack:
        for store in asking:
            assert store.worker_lock.take()
            stack.callback(store.worker_lock.release)
        for line, code, expected in OUTCOMES:
            told = sandbox.chatml(*line.split(), "--json", code=code).json
            assert len(told) == len(expected), (line, told)
            for one, wanted in zip(told, expected, strict=True):
                assert {**one, **wanted} == one, line
                assert one.get("removed_at", "Z").endswith("Z"), "as all times of ours"
                if wanted.get("outcome") != "failed":
                    assert set(one) - set(wanted) <= VARYING, line


def test_every_command_that_answers_does_so_for_scripts_too() -> None:
    """All but the demo, which is a show."""
    for name in COMMANDS:
        command = import_module(f"chatml.commands.{name}").command
        assert name == "demo" or any(parameter.name == "as_json" for parameter in command.params), name


AGENT = (
    "agent: sh\nagents: {sh: {command: [sh, -c, '[ \"$0\" = once ] && exit 1; echo \"You said: $0\"', '{prompt}']}}\n"
)
"""A program that fails at its first task, and answers each other message."""


def test_what_came_of_working_on_is_told_to_scripts(sandbox: Sandbox) -> None:
    config = sandbox.repo / ".git" / "chatml" / "config.yaml"
    config.parent.mkdir()
    config.write_text(AGENT)
    sandbox.chatml("new", "once", "--name", "a", "--wait", "-q", code=1)
    (resumed,) = sandbox.chatml("resume", "a", "--json").json
    assert (resumed["name"], resumed["outcome"]) == ("a", "resumed")
    sandbox.chatml("wait", "a")
    (sent,) = sandbox.chatml("send", "a", "hello", "--wait", "--json").json
    assert (sent["outcome"], sent["session"]["status"]) == ("sent", "done")
    assert sent["session"]["result"] == "You said: hello"
    path = sandbox.chatml("path", "a", "--json").json
    assert path["worktree"] == sandbox.session("a")["worktree"] == sandbox.chatml("path", "a").out.rstrip("\n")


def test_what_has_landed_and_is_kept_is_told_to_scripts(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "a")
    commit(sandbox, worktree, "work", file="one\n")
    sandbox.git("merge", "-q", "--ff-only", "chatml/a")
    (worktree / "later").write_text("two\n")
    (kept,) = sandbox.chatml("rm", "--merged", "--json").json
    assert (kept["name"], kept["outcome"]) == ("a", "kept")
    assert "uncommitted file (later)" in str(kept["why"])
    assert worktree.is_dir()
