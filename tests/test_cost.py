"""`chatml cost`: sums by session, day and model that are those of the logs."""

from __future__ import annotations

import json

from tests.faults import ANSWER_USD, Serve
from tests.support import Sandbox


def turn(sandbox: Sandbox, name: str, time: str, usd: float, model: str | None) -> None:
    """One more turn in the log, as if of that time."""
    tokens = {"input": 10, "output": 2, "cache_read": 5, "cache_creation": 0}
    event = {"seq": 99, "time": time, "type": "turn", "result": "x", "cost_usd": usd, "tokens": tokens, "model": model}
    with (sandbox.state(name) / "events.jsonl").open("a") as log:
        log.write(json.dumps({**event, "duration_ms": 1, "interrupted": False}, separators=(",", ":")) + "\n")


def test_cost_by_session_day_and_model(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": ["One."]})
    for name in ("a", "b"):
        sandbox.chatml("new", f"do {name}", "--name", name, "--wait")
    turn(sandbox, "a", "2025-12-31T23:30:00.000Z", 1.0, "large")
    turn(sandbox, "b", "2026-01-01T00:30:00.000Z", 0.5, None)
    own = sandbox.session("a")["model"]

    def cost(*args: str, **env: str) -> list[tuple[object, ...]]:
        rows = sandbox.chatml("cost", "--json", *args, env=env).json
        return [(next(iter(row.values())), row["turns"], round(row["cost_usd"], 6)) for row in rows]

    assert cost() == [("a", 2, 1 + ANSWER_USD), ("b", 2, 0.5 + ANSWER_USD)]
    assert cost("b") == [("b", 2, 0.5 + ANSWER_USD)]
    assert cost("--by", "model") == [("large", 1, 1.0), (own, 3, 0.5 + 2 * ANSWER_USD)]
    assert [row[0] for row in cost("--by", "day")][:2] == ["2025-12-31", "2026-01-01"]
    assert cost("--by", "day", TZ="Asia/Tokyo")[0] == ("2026-01-01", 2, 1.5)
    lines = sandbox.chatml("cost").out.splitlines()
    assert lines[0].split() == ["SESSION", "TURNS", "COST", "TOKENS", "IN", "OUT"]
    assert lines[1].split() == ["a", "2", "$1.01", "1,015", "102"]
    assert lines[3].split() == ["total", "4", "$1.51", "2,030", "204"]
    assert max(map(len, lines)) < 80


def test_what_nobody_tells_costs_no_sum(sandbox: Sandbox) -> None:
    (sandbox.repo / ".git" / "chatml").mkdir()
    (sandbox.repo / ".git" / "chatml" / "config.yaml").write_text(
        "agent: sh\nagents: {sh: {command: [echo, '{prompt}']}}\n"
    )
    sandbox.chatml("new", "do it", "--name", "t", "--wait", "-q")
    assert sandbox.chatml("cost").out.splitlines()[1].split() == ["t", "1", "\N{EN DASH}", "0", "0"]
    assert sandbox.chatml("cost", "--json").json[0]["cost_usd"] == 0.0
    logged = sandbox.chatml("logs", "t").out
    assert "── turn ended · " in logged
    assert "$" not in logged


def test_cost_without_sessions_and_with_names_that_are_none(sandbox: Sandbox) -> None:
    assert sandbox.chatml("cost").out == ""
    assert sandbox.chatml("cost", "--json").json == []
    assert sandbox.chatml("cost", "nobody", code=1).err.startswith("error: no session named 'nobody'")
    assert "invalid value for '--by'" in sandbox.chatml("cost", "--by", "moon", code=2).err
