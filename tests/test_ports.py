"""Ports: each session has its own block, whatever repositories claim at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path

import pytest

from chatml.errors import ChatmlError
from chatml.model import Session
from chatml.state.store import Store
from chatml.workspace import ports
from tests.made import make_session
from tests.support import Sandbox

RANGE = (21000, 21499)


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def sessions(sandbox: Sandbox, *names: str) -> list[Session]:
    for name in names:
        make_session(sandbox, name)
    store = Store(sandbox.repo / ".git")
    return [store.session(name).read() for name in names]


def claim(sandbox: Sandbox, session: Session, *names: str, within: tuple[int, int] = RANGE) -> list[int]:
    return [one.number for one in ports.claim(session, sandbox.repo / ".git", names, within)]


def test_a_session_keeps_its_block_and_nobody_else_gets_it(sandbox: Sandbox) -> None:
    one, two = sessions(sandbox, "one", "two")
    first = claim(sandbox, one, "web", "db")
    assert first[1] == first[0] + 1
    assert claim(sandbox, one, "web", "db") == first
    second = claim(sandbox, two, "web", "db")
    assert not {*first} & {*second}
    ports.release(one.id)
    assert claim(sandbox, sessions(sandbox, "three")[0], "web", "db") == first
    assert claim(sandbox, two, "db", "web", "api")[:2] == [second[1], second[0]], "a new one leaves those as they are"


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")]
)
def test_a_port_that_something_listens_on_is_not_claimed(sandbox: Sandbox, family: int, address: str) -> None:
    (one,) = sessions(sandbox, "one")
    with socket.socket(family) as server:
        server.bind((address, 0))
        server.listen()
        taken = server.getsockname()[1]
        if taken > 65000:
            pytest.skip("no room above that port")
        assert taken not in claim(sandbox, one, "a", "b", within=(taken, taken + 20))


def test_claims_go_where_a_session_surely_is_no_more(sandbox: Sandbox, tmp_path: Path) -> None:
    one, two = sessions(sandbox, "one", "two")
    narrow = (RANGE[0], RANGE[0] + 1)
    assert claim(sandbox, one, "a", "b", within=narrow) == [*narrow]
    with pytest.raises(ChatmlError, match="no 1 ports in a row are free"):
        claim(sandbox, two, "a", within=narrow)
    folder = sandbox.state("one")
    folder.rename(tmp_path / "away")  # as an rm does that was killed before it gave them back
    assert claim(sandbox, two, "a", within=narrow) == [narrow[0]]


def test_a_repository_that_is_not_there_keeps_its_ports_until_they_are_needed(
    sandbox: Sandbox, state_home: Path
) -> None:
    (one,) = sessions(sandbox, "one")
    file = state_home / "chatml" / "ports.json"
    file.parent.mkdir(parents=True)
    elsewhere = {"id": "x", "session": "s", "repository": "/not/mounted/.git", "port": "web"}
    file.write_text(json.dumps({str(RANGE[0]): elsewhere}))
    assert claim(sandbox, one, "a") == [RANGE[0] + 1]
    assert json.loads(file.read_text())[str(RANGE[0])] == elsewhere
    two = sessions(sandbox, "two")[0]
    assert claim(sandbox, two, "a", within=(RANGE[0], RANGE[0] + 1)) == [RANGE[0]]


def test_a_damaged_file_of_claims_is_an_error_that_names_it(sandbox: Sandbox, state_home: Path) -> None:
    (one,) = sessions(sandbox, "one")
    file = state_home / "chatml" / "ports.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    with pytest.raises(ChatmlError, match="damaged"):
        claim(sandbox, one, "a")
    assert file.read_text() == "{"


def _claims(repository: str, records: list[str], found: multiprocessing.Queue[list[list[int]]]) -> None:
    store = Store(Path(repository) / ".git")
    mine = []
    for name in records:
        session = store.session(name).read()
        mine.append([one.number for one in ports.claim(session, store.root.parent, ("web", "db"), (21000, 23999))])
    found.put(mine)


def test_two_repositories_claim_at_once_a_hundred_times_each(sandbox: Sandbox, tmp_path: Path) -> None:
    """Sessions that are only records: to register four hundred worktrees would take minutes."""
    names = [f"s{number}" for number in range(100)]
    make_session(sandbox, "first")
    record = json.loads((sandbox.state("first") / "session.json").read_text())
    homes = [sandbox.repo, tmp_path / "other"]
    for home in homes:
        for name in names:
            folder = home / ".git" / "chatml" / "sessions" / name
            folder.mkdir(parents=True)
            text = json.dumps({**record, "name": name, "id": f"{home.name}-{name}"}, separators=(",", ":"))
            (folder / "session.json").write_text(text)
    context = multiprocessing.get_context("fork")
    found: multiprocessing.Queue[list[list[int]]] = context.Queue()
    running = [context.Process(target=_claims, args=(str(home), names, found)) for home in homes]
    for process in running:
        process.start()
    blocks = [block for _ in running for block in found.get(timeout=100)]
    for process in running:
        process.join(timeout=30)
    numbers = [number for block in blocks for number in block]
    assert len(blocks) == 200
    assert len({*numbers}) == 400
    assert all(second == first + 1 for first, second in blocks)


def test_new_claims_and_rm_gives_back_and_restore_claims_anew(sandbox: Sandbox) -> None:
    sandbox.env["XDG_STATE_HOME"] = os.environ["XDG_STATE_HOME"]
    settings = sandbox.repo / ".git" / "chatml" / "config.yaml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(
        "agents: {echo: {command: [sh, -c, 'echo $CHATML_PORT_DB', '{prompt}']}}\nagent: echo\nports: [web, db]\n"
    )
    made = sandbox.chatml("new", "hi", "--name", "x", "--wait", "--json").json
    assert made["ports"] == {"web": made["port"], "db": made["port"] + 1}
    assert made["result"] == str(made["ports"]["db"])
    file = Path(sandbox.env["XDG_STATE_HOME"]) / "chatml" / "ports.json"
    assert [int(number) for number in json.loads(file.read_text())] == [*made["ports"].values()]
    sandbox.chatml("rm", "x", "-q")
    assert json.loads(file.read_text()) == {}
    other = sandbox.chatml("new", "hi", "--name", "y", "--wait", "--json").json
    assert other["ports"] == made["ports"]
    sandbox.chatml("restore", "x")
    assert {*sandbox.session("x")["ports"].values()}.isdisjoint(other["ports"].values())
    sandbox.chatml("rm", "y", "-q")
    sandbox.env["CHATML_PORT_RANGE"] = f"{made['port']}-{made['port'] + 2}"
    refused = sandbox.chatml("new", "hi", "--name", "z", "-n", "2", code=1)
    assert "no 2 ports in a row are free" in refused.err
    assert len(sandbox.git("worktree", "list").splitlines()) == 1 + len(sandbox.chatml("ls", "-q").out.split())
