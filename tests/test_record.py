"""A session's record: what each room has noted comes back, and what was only seen is never written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chatml.model import (
    PUBLIC_KEYS,
    Base,
    Checkout,
    Exchange,
    Family,
    Predecessor,
    Process,
    Queueing,
    RemovedChild,
    Seen,
    Session,
    Status,
    Terms,
    now,
)
from chatml.state.store import SessionStore, Store
from tests.support import Sandbox

NOTES: dict[str, Any] = {
    "exchange": Exchange(True, 0.5, agent_turns=3, running_usd=0.25, denied=2),
    "checkout": Checkout("1" * 40, "2" * 40, owns_branch=False, scope_start="3" * 40, populated=True, hook_due=True),
    "queueing": Queueing(now(), (Predecessor("a", "id of a"), Predecessor("b", "id of b")), released=True),
    "family": Family("boss", "id of boss", 2, (RemovedChild("id of kid", 0.25),)),
}


@pytest.fixture
def store(sandbox: Sandbox) -> SessionStore:
    """Of a session of which no room has noted anything."""
    session = Session(
        name="t", status=Status.DONE, terms=Terms(prompt="task"), branch="t", base=Base("main", "0" * 40),
        worktree="/nowhere", session_id=None, created_at=now(), updated_at=now(), id="id of t",
    )  # fmt: skip
    states = Store(sandbox.repo / ".git")
    with states.stage() as staged:
        staged.write(session)
        claimed = states.claim(staged, "t")
    claimed.worker_lock.release()
    return claimed


@pytest.mark.parametrize("room", NOTES)
def test_what_a_room_has_noted_comes_back(sandbox: Sandbox, store: SessionStore, room: str) -> None:
    noted = replace(store.read(), **{room: NOTES[room]})
    assert room not in sandbox.written("t"), "what is so by default goes without saying"
    store.write(noted)
    assert room in sandbox.written("t")
    assert store.read() == noted


def test_what_was_only_seen_is_never_written(sandbox: Sandbox, store: SessionStore) -> None:
    before = sandbox.written("t")
    found = Seen(2, stuck=True, processes=(Process(1, "init"),), not_counted="gone", not_counted_hint="look")
    store.write(replace(store.read(), seen=found))
    assert sandbox.written("t") == before
    assert store.read().seen == Seen()


def test_scripts_see_the_notes_where_they_always_were(store: SessionStore) -> None:
    seen = Seen(2, processes=(Process(1, "init"),))
    public = replace(store.read(), **NOTES, seen=seen).public()
    assert tuple(public) == PUBLIC_KEYS
    assert (public["agent_turns"], public["denied"], public["cost_usd"]) == (3, 2, 0.25)
    assert (public["parent"], public["queue_place"]) == ("boss", 2)
    assert public["processes"] == [{"pid": 1, "command": "init"}]


@pytest.mark.parametrize("mark", [b'"parent_id":"', b'"id":"id of t"', b'"status":"done"'])
def test_a_record_is_found_by_its_marks(sandbox: Sandbox, store: SessionStore, mark: bytes) -> None:
    states = Store(sandbox.repo / ".git")
    alike = replace(store.read(), terms=Terms(prompt='"parent_id":"'))
    store.write(alike)
    assert [*states.having(b'"parent_id":"')] == [], "it only speaks of one"
    with_parent = replace(alike, **NOTES)
    store.write(with_parent)
    assert [*states.having(mark)] == [with_parent]
