"""Budget and turns hold over a whole session, whatever process counts, and can be raised."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import ANSWER_USD, Serve, agents, all_gone, cost_is_true, delivered_once, kill, logged, worker
from tests.made import make_session
from tests.support import Sandbox, wait_until

CALL = {"Bash": {"command": "ls"}}


def held(name: str, *parts: Any) -> list[Any]:
    return [{"hold": name}, *parts]


def asked(api: Any) -> int:
    """How often the model has been asked."""
    return len(api.requests)


@pytest.mark.long
def test_turns_count_over_messages_and_processes(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": {"turns": [[CALL, "One."], ["Two."], [CALL, CALL, "Three."]]}})
    sandbox.chatml("new", "first", "--name", "t", "--wait", "--max-turns", "4")
    sandbox.chatml("send", "t", "second", "--wait")
    assert sandbox.session("t")["agent_turns"] == 3
    failed = sandbox.chatml("send", "t", "third", "--wait", code=1)
    assert failed.err.splitlines()[1:] == [
        "error: t failed: the limit of 4 model turns is reached",
        'hint: chatml send t --max-turns +10 "go on"',
    ]
    session = sandbox.session("t")
    assert (session["status"], session["error"]["kind"]) == ("failed", "max_turns")
    assert (asked(api), session["agent_turns"], session["turns"]) == (4, 4, 3)
    more = sandbox.chatml("send", "t", "--max-turns", "+10", "go on", "--wait")
    assert more.err.splitlines()[0] == "t may use 14 model turns in all, 4 of them taken"
    session = sandbox.session("t")
    assert (session["status"], session["error"], session["max_turns"]) == ("done", None, 14)
    delivered_once(sandbox, api, "t", "first", "second", "third", "go on")


def test_the_budget_counts_over_processes_and_what_is_sent_beyond_it_waits(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": {"turns": [[CALL, "One."], [CALL, "Two."], ["Three."]]}})
    budget = str(3.5 * ANSWER_USD)
    sandbox.chatml("new", "first", "--name", "t", "--wait", "--max-budget-usd", budget)
    failed = sandbox.chatml("send", "t", "second", "--wait", code=1)
    assert "t failed: the budget of $0.021 is used up" in failed.err
    assert (asked(api), sandbox.session("t")["cost_usd"]) == (4, pytest.approx(4 * ANSWER_USD))
    later = sandbox.chatml("send", "t", "third", "--wait", code=1)
    assert 'hint: chatml send t --max-budget-usd +2 "go on"' in later.err
    assert asked(api) == 4
    assert "third" not in [event["text"] for event in logged(sandbox, "t", "message")]
    low = sandbox.chatml("send", "t", "--max-budget-usd", "0.01", "lost?", code=2)
    assert low.err.startswith("error: 't' has cost $0.02 already\nhint: say how much more")
    assert sandbox.session("t")["max_budget_usd"] == 3.5 * ANSWER_USD
    assert sandbox.chatml("resume", "t", "--max-budget-usd", "+2").err.splitlines() == [
        "t may use $2.02 in all, $0.02 of it spent",
        "resumed t",
    ]
    sandbox.chatml("wait", "t")
    delivered_once(sandbox, api, "t", "first", "second", "third")
    cost_is_true(sandbox, api, "t")


@pytest.mark.parametrize(
    ("option", "value"),
    [(option, value) for option in ("--max-turns", "--max-budget-usd") for value in ("0", "-1", "++2", "x", "+", "nan")]
    + [("--max-turns", "1.5"), ("--max-turns", "+inf"), ("--max-budget-usd", "inf")],
)
def test_a_bad_limit_sends_nothing(sandbox: Sandbox, option: str, value: str) -> None:
    make_session(sandbox, "t")
    before = sandbox.session("t")
    for command in (("send", "t", "more"), ("resume", "t")):
        bad = sandbox.chatml(*command, option, value, code=2)
        assert bad.err.startswith(f"error: invalid value for '{option}': "), bad.err
        assert "hint: " in bad.err
    assert sandbox.session("t") == before


@pytest.mark.long
def test_a_limit_that_is_raised_while_the_agent_works_lets_it_go_on(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": {"turns": [[held("here", CALL), CALL, "One."], ["Two."]], "on": {"interrupted": [CALL, "Two."]}}})
    sandbox.chatml("new", "first", "--name", "t", "-q", "--max-turns", "2")
    api.wait_for(lambda: api.holding["here"])
    assert sandbox.chatml("resume", "t", "--max-turns", "9").err.splitlines() == [
        "t may use 9 model turns in all, 0 of them taken",
        "t is at work already",
    ]
    api.release("here")
    sandbox.chatml("wait", "t")
    session = sandbox.session("t")
    assert (session["status"], session["result"], session["error"]) == ("done", "Two.", None)


def test_a_message_that_begins_a_turn_of_the_same_process_gets_no_turns_of_its_own(
    sandbox: Sandbox, serve: Serve
) -> None:
    """The agent itself counts anew with each message."""
    api = serve({"*": {"turns": [[CALL, CALL, held("here", "One.")], [CALL, CALL, CALL, CALL, CALL, "Two."]]}})
    sandbox.chatml("new", "first", "--name", "t", "-q", "--max-turns", "4")
    api.wait_for(lambda: api.holding["here"])
    sandbox.chatml("send", "t", "second")
    api.release("here")
    sandbox.chatml("wait", "t", code=1)
    session = sandbox.session("t")
    assert session["error"]["kind"] == "max_turns"
    assert asked(api) <= 6  # the one that is too many, and one more may be under way by then
    cost_is_true(sandbox, api, "t")
    assert logged(sandbox, "t", "error")[-1]["kind"] == "max_turns"


def test_the_cost_grows_within_a_turn_and_is_exact_in_the_end(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": [CALL, CALL, held("here", "One.")]})
    sandbox.chatml("new", "first", "--name", "t", "-q")
    api.wait_for(lambda: api.holding["here"])
    wait_until(
        lambda: abs(sandbox.session("t")["cost_usd"] - 2 * ANSWER_USD) <= 0.0001,
        "the cost of two answers",
        lambda: sandbox.session("t")["cost_usd"],
    )
    assert "$0.01" in sandbox.chatml("ls").out
    api.release("here")
    sandbox.chatml("wait", "t")
    assert sandbox.session("t")["cost_usd"] == pytest.approx(3 * ANSWER_USD)
    assert logged(sandbox, "t", "turn")[0]["model"] == sandbox.session("t")["model"]


@pytest.mark.long
@pytest.mark.parametrize("victim", ["worker", "agent"])
def test_what_a_killed_turn_has_cost_counts_against_the_budget(sandbox: Sandbox, serve: Serve, victim: str) -> None:
    """Also where the agent itself was killed, and has forgotten it."""
    api = serve({"*": {"turns": [[CALL, CALL, held("here", "One.")], ["Two."]]}})
    sandbox.chatml("new", "first", "--name", "t", "-q", "--max-budget-usd", str(3.5 * ANSWER_USD))
    api.wait_for(lambda: api.holding["here"])
    spent = 2 * ANSWER_USD
    wait_until(lambda: sandbox.session("t")["cost_usd"] >= spent - 0.0001, "the cost of two answers")
    for pid in agents(sandbox) if victim == "agent" else [worker(sandbox, "t")]:
        kill(pid)
    all_gone(sandbox)
    api.release("here")
    sandbox.until("t", "crashed", "failed")
    assert sandbox.session("t")["cost_usd"] == pytest.approx(spent, abs=0.0001)
    assert float(sandbox.chatml("cost", "--json").json[0]["cost_usd"]) == pytest.approx(spent, abs=0.0001)
    sandbox.chatml("resume", "t", "-q")
    sandbox.chatml("wait", "t", code=None)
    sandbox.chatml("send", "t", "second", "--wait", code=None)
    session = sandbox.session("t")
    assert (session["status"], session["error"]["kind"]) == ("failed", "budget")
    assert session["cost_usd"] == pytest.approx(4 * ANSWER_USD, abs=0.0001)
    assert session["cost_usd"] == pytest.approx(sum(event["cost_usd"] for event in logged(sandbox, "t", "turn")))


@pytest.mark.long
def test_turns_of_a_killed_worker_count(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": {"turns": [[CALL, CALL, held("here", CALL), "One."], [CALL, CALL, "Two."]]}})
    sandbox.chatml("new", "first", "--name", "t", "-q", "--max-turns", "3")
    api.wait_for(lambda: api.holding["here"])
    kill(worker(sandbox, "t"))
    all_gone(sandbox)
    api.release("here")
    assert sandbox.session("t")["agent_turns"] == 2
    sandbox.chatml("resume", "t", "-q")
    sandbox.chatml("wait", "t", code=1)
    assert sandbox.session("t")["error"]["kind"] == "max_turns"
    assert sandbox.session("t")["agent_turns"] == 3
