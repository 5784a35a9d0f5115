"""Damaged state files: never a traceback, nothing overwritten, and every other session goes on as if nothing was."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatml import cli
from chatml.state.store import Store
from tests.faults import Serve, delivered_once
from tests.made import make_session
from tests.support import Sandbox

SEEDS = range(60)
NUMBERS = (True, -1, 2**70, 1e308, float("nan"), float("inf"))
ODD_VALUES: tuple[Any, ...] = (None, *NUMBERS, "", "x", "\0", "\ud800", [], {}, [[1]], {"a": 1})


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def _json_damage(rng: random.Random, line: bytes) -> bytes:
    """A JSON object with one thing wrong, at any depth."""
    data: dict[str, Any] = json.loads(line)
    place: Any = data
    while True:
        key = rng.choice(sorted(place))
        if isinstance(place[key], dict) and place[key] and rng.random() < 0.5:
            place = place[key]
            continue
        break
    how = rng.randrange(4)
    if how == 0:
        del place[key]
    elif how == 1:
        place[key] = "NESTED"
    else:
        place[key] = rng.choice(ODD_VALUES)
    text = json.dumps(data).replace('"NESTED"', _nested(100_000))
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _raw_damage(rng: random.Random, content: bytes) -> bytes:
    how = rng.randrange(6)
    at = rng.randrange(len(content))
    if how == 0:
        return content[:at]
    if how == 1:
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    if how == 2:
        return b"\0" * len(content)
    if how == 3:
        return rng.randbytes(200)
    if how == 4:
        return _nested(100_000).encode()
    return rng.choice([b"", b"\n", b"null", b"[]", b"17\n", b'"x"', b"{}", b'{"schema":99}', b"\xff\xfe", b"1" * 5000])


def damaged(rng: random.Random, content: bytes) -> bytes:
    """A file of JSON lines with one line damaged, or the whole."""
    if rng.random() < 0.4:
        return _raw_damage(rng, content)
    lines = content.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    return b"".join([*lines[:at], _json_damage(rng, lines[at]), *lines[at + 1 :]])


@pytest.fixture
def run(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """chatml in this process, for hundreds of calls: the same code up to the exit."""
    for key, value in sandbox.env.items():
        monkeypatch.setenv(key, value)

    def one(*args: str) -> tuple[int, str, str]:
        code = cli.run(["-C", str(sandbox.repo), *args])
        said = capsys.readouterr()
        return code, said.out, said.err

    return one


@pytest.fixture
def two(sandbox: Sandbox, serve: Serve) -> Path:
    """Two sessions at rest, `good` and `victim`; the state folder of the second."""
    serve({"*": [["I look.", {"Bash": {"command": "ls"}}], "Fine."]})
    sandbox.chatml("new", "first-message", "--name", "victim", "--wait")
    sandbox.chatml("new", "good-message", "--name", "good", "--wait")
    return sandbox.state("victim")


def _is_clear(code: int, err: str, what: object) -> None:
    assert code in (0, 1), f"{what}: {code} {err}"
    if code:
        assert (err.count("error: "), err.count("hint: "), err.count("\n")) == (1, 1, 2), f"{what}: {err}"


@pytest.mark.long
def test_a_damaged_record_or_log_is_told_and_left_alone(two: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    calls = [("ls",), ("ls", "--json"), ("ls", "victim"), ("logs", "victim"), ("logs", "--json", "victim"),
             ("path", "victim"), ("wait", "--timeout", "0", "victim"), ("stop", "victim")]  # fmt: skip
    for name in ("session.json", "events.jsonl"):
        file = two / name
        whole = file.read_bytes()
        refused = 0
        for seed in SEEDS:
            content = damaged(random.Random(seed), whole)
            file.write_bytes(content)
            for call in calls:
                code, out, err = run(*call)
                _is_clear(code, err, (name, seed, call, content[:300]))
                refused += code
                if call[0] == "ls" and "victim" not in call:
                    assert "good" in out, (name, seed, call)
                if "--json" in call:
                    assert json.loads(out if call[0] == "ls" else f"[{','.join(out.splitlines())}]") is not None
            # A record that can still be understood may be brought up to date.
            assert file.read_bytes() == content or run("ls", "victim")[0] == 0, (name, seed)
        assert (refused > len(SEEDS)) == (name == "session.json")
        file.write_bytes(whole)
    assert run("ls", "-q")[:2] == (0, "good\nvictim\n")


def test_what_stands_in_the_place_of_a_file(two: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    for name in ("session.json", "events.jsonl", "inbox.jsonl", "session.lock", "worker.lock"):
        file = two / name
        aside = file.rename(two / "aside")
        file.mkdir()
        (file / "kept").touch()
        for call in (("ls",), ("logs", "victim"), ("stop", "victim"), ("send", "victim", "hello")):
            code, out, err = run(*call)
            _is_clear(code, err, (name, call))
            assert call != ("ls",) or "good" in out
        if name == "events.jsonl":  # only the worker needs that one
            assert run("wait", "victim")[0] == 1
            failure = json.loads(run("ls", "victim", "--json")[1])[0]["error"]
            assert failure["kind"] == "internal"
            assert failure["message"].startswith("is a directory: ")
        else:
            assert code == 1, f"sent in spite of {name}"
        assert (file / "kept").exists()
        shutil.rmtree(file)
        aside.rename(file)
    root = two.parents[1]
    for name, call in (("sessions", ("ls",)), ("repo.lock", ("new", "x")), ("config.yaml", ("new", "x"))):
        place = root / name
        (root / "aside").unlink(missing_ok=True)
        there = place.exists()
        if there:
            place.rename(root / "aside")
        place.touch() if name == "sessions" else place.mkdir()
        code, _, err = run(*call)
        _is_clear(code, err, name)
        assert code == 1, name
        place.unlink() if name == "sessions" else place.rmdir()
        if there:
            (root / "aside").rename(place)
    code, out, _ = run("ls", "-q")
    assert (code, sorted(out.split())) == (0, ["good", "victim"])


def test_a_session_goes_on_with_a_damaged_log_inbox_and_locks(sandbox: Sandbox, two: Path, serve: Serve) -> None:
    del serve
    with (two / "events.jsonl").open("ab") as log:
        log.write(b'{"seq": 99999, "time": "x", "type": "te')  # torn by a crash
    with (two / "inbox.jsonl").open("ab") as inbox:
        inbox.write(_nested(100_000).encode() + b'\n{"id": 5, "type": "message"}\n{"id": "torn", "ty')
    (two / "session.lock").write_bytes(b"\xff\0garbage")
    (two / "worker.lock").write_bytes(b"\xff\0garbage")
    sandbox.chatml("send", "victim", "second-message", "--wait")
    texts = [event["text"] for event in sandbox.events("victim") if event["type"] == "message"]
    assert texts == ["first-message", "second-message"]
    numbers = [event["seq"] for event in sandbox.events("victim")]
    assert numbers == sorted(set(numbers))


def test_a_lock_file_that_was_deleted_does_not_make_two_agents(sandbox: Sandbox, serve: Serve) -> None:
    """The lock of a living worker can be removed by hand; the next worker ends the one that nobody sees any more."""
    api = serve({"*": [["All ", {"hold": "here"}, "right."]]})
    sandbox.chatml("new", "first-message", "--name", "task")
    api.wait_for(lambda: api.holding["here"])
    (sandbox.state("task") / "worker.lock").unlink()
    assert sandbox.session("task")["status"] == "crashed"
    api.release("here")
    sandbox.chatml("send", "task", "second-message", "--wait")
    delivered_once(sandbox, api, "task", "first-message", "second-message")


@pytest.mark.parametrize("name", ["session.json", "worker.lock"])
def test_what_cannot_be_read_is_told_and_left_alone(
    two: Path, run: Callable[..., tuple[int, str, str]], name: str
) -> None:
    """As what is another user's; here a link that leads to itself, which nobody can read."""
    record = two / "session.json"
    before = record.read_text()
    record.write_text(before.replace('"status":"done"', '"status":"running"'))
    file = two / name
    aside = file.rename(two / "aside")
    file.symlink_to(file.name)
    for call in (("ls",), ("ls", "--json"), ("stop", "victim"), ("rm", "--force", "victim")):
        code, out, err = run(*call)
        _is_clear(code, err, call)
        assert code == 1, call
        assert call[0] != "ls" or ("good" in out and "can't be read: too many levels of symbolic links" in err)
    assert file.is_symlink(), "it was removed"
    aside.replace(file)
    record.write_text(before)
    assert run("ls", "-q")[:2] == (0, "good\nvictim\n")


def test_a_disk_that_ignores_case_leads_to_no_session_by_another_name(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_session(sandbox, "task")
    store = Store(sandbox.repo / ".git")
    store.named("task")
    with os.scandir(store.sessions) as listed:
        entries = list(listed)
    (store.sessions / "TASK").symlink_to("task")
    monkeypatch.setattr(os, "scandir", lambda _: contextlib.nullcontext(entries))
    store.named("task")
    with pytest.raises(FileNotFoundError):
        store.named("TASK")
