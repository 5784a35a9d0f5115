"""What an agent needs a person for: it shows, it waits, and it is answered from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chatml.model import Reply
from chatml.model.entry import Answer
from chatml.state.inbox import post
from chatml.state.store import SessionStore
from tests.faults import Serve, agents, kill, logged, worker
from tests.support import Sandbox, thinned, wait_until
from tests.terminal import terminal

TOUCH = {"Bash": {"command": "touch asked.txt"}}


def question(text: str, *labels: str, several: bool = False) -> dict[str, Any]:
    options = [{"label": label, "description": f"about {label}"} for label in labels]
    return {"question": text, "header": "Choice", "options": options, "multiSelect": several}


def ask(*questions: dict[str, Any]) -> dict[str, Any]:
    return {"AskUserQuestion": {"questions": list(questions)}}


DATABASE = ask(question("Which database?", "Postgres", "SQLite"))


def begin(sandbox: Sandbox, *options: str) -> dict[str, Any]:
    """A session named t, once it needs a person."""
    sandbox.chatml("new", "do it", "-q", "--name", "t", "--permission-mode", "default", *options)
    return needing(sandbox)


def needing(sandbox: Sandbox) -> dict[str, Any]:
    sandbox.chatml("wait", "t", code=3)
    session = sandbox.session("t")
    assert session["status"] == "waiting"
    return session


def asked_file(sandbox: Sandbox) -> Path:
    return Path(sandbox.session("t")["worktree"]) / "asked.txt"


def outputs(sandbox: Sandbox) -> list[str]:
    """What the agent's calls came back with."""
    return [event["output"] for event in sandbox.events("t") if event["type"] == "tool_result"]


def test_a_permission_shows_and_its_approval_lets_the_call_run(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[TOUCH], "Made it."]})
    request = begin(sandbox)["request"]
    assert (request["kind"], request["summary"]) == ("permission", "Bash: touch asked.txt")
    assert request["detail"]["input"]["command"] == "touch asked.txt"
    sandbox.chatml("new", "other", "-q", "--name", "later", "--on-request", "deny", "--wait")
    row = sandbox.chatml("ls").out.splitlines()[1]
    assert row.split()[:6] == ["t", "waiting", "may", "it?", "Bash:", "touch"]
    assert not asked_file(sandbox).exists()
    assert sandbox.chatml("approve", "t").err == "t: approved Bash: touch asked.txt\n"
    assert sandbox.chatml("wait", "t").code == 0
    assert sandbox.session("t")["request"] is None
    assert asked_file(sandbox).exists()
    (reply,) = [event for event in sandbox.events("t") if event["type"] == "reply"]
    assert (reply["id"], reply["decision"]) == (request["id"], "approve")
    again = sandbox.chatml("approve", "t", code=1)
    assert again.err == "error: 't' asks nothing right now\nhint: it is done: see 'chatml ls t'\n"


def test_a_denial_reaches_the_agent_with_its_reason(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[TOUCH], "I leave it."]})
    begin(sandbox)
    sandbox.chatml("deny", "t", "-m", "use the existing file")
    sandbox.chatml("wait", "t")
    assert outputs(sandbox) == ["use the existing file"]
    assert not asked_file(sandbox).exists()


@pytest.mark.parametrize(
    ("given", "answer"),
    [("2", "SQLite"), ("postgres", "Postgres"), ("whatever is there", "whatever is there")],
)
def test_a_question_is_answered_by_number_label_or_in_words(
    sandbox: Sandbox, serve: Serve, given: str, answer: str
) -> None:
    serve({"*": [[DATABASE], "Thanks."]})
    assert begin(sandbox)["request"]["summary"] == "Which database?"
    assert "asks: Which database?" in sandbox.chatml("ls").out
    assert sandbox.chatml("answer", "t", given).err == f"t: answered Which database?: {answer}\n"
    sandbox.chatml("wait", "t")
    assert answer in outputs(sandbox)[0]


def test_several_questions_and_several_options(sandbox: Sandbox, serve: Serve) -> None:
    both = ask(question("Which database?", "Postgres", "SQLite"), question("Tests?", "Unit", "Load", several=True))
    serve({"*": [[both], "Thanks."]})
    begin(sandbox)
    few = sandbox.chatml("answer", "t", "1", code=2)
    assert few.err.startswith("error: 2 answers are needed, not 1: 1. Which database?; 2. Tests?\nhint: ")
    beyond = sandbox.chatml("answer", "t", "3", "1", code=2)
    assert beyond.err.startswith("error: there is no option 3: Which database?\n")
    assert sandbox.session("t")["status"] == "waiting"
    sandbox.chatml("answer", "t", "1", "2,unit")
    sandbox.chatml("wait", "t")
    assert "Postgres" in outputs(sandbox)[0]
    assert "Load, Unit" in outputs(sandbox)[0]


def test_the_wrong_kind_of_reply_changes_nothing(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[DATABASE], [TOUCH], "Thanks."]})
    begin(sandbox)
    assert "chatml answer" in sandbox.chatml("approve", "t", code=1).err
    assert "option" not in sandbox.chatml("answer", "t", "  ", code=2).err
    sandbox.chatml("deny", "t", "-m", "", code=2)
    sandbox.chatml("approve", "t", "--id", "7", code=1)
    assert needing(sandbox)["request"]["kind"] == "question"
    sandbox.chatml("deny", "t", "-m", "decide yourself")
    assert needing(sandbox)["request"]["kind"] == "permission"
    assert "chatml approve" in sandbox.chatml("answer", "t", "1", code=1).err
    sandbox.chatml("approve", "t")
    sandbox.chatml("wait", "t")
    assert outputs(sandbox)[0] == "decide yourself"


@pytest.mark.long
def test_always_holds_for_the_session_also_after_a_restart(sandbox: Sandbox, serve: Serve) -> None:
    other = {"Bash": {"command": "touch other.txt"}}
    serve({"*": {"turns": [[[TOUCH], [TOUCH], "Done."], [[TOUCH], [other], "Done again."]]}})
    rules = begin(sandbox)["request"]["detail"]["rules"]
    assert rules
    said = sandbox.chatml("approve", "t", "--always").err
    assert rules[0] in said
    sandbox.chatml("wait", "t")
    assert len([event for event in sandbox.events("t") if event["type"] == "request"]) == 1
    assert rules[0] in sandbox.chatml("show", "t").out
    sandbox.chatml("send", "t", "once more")
    sandbox.chatml("wait", "t", code=None)
    asked = [event["summary"] for event in sandbox.events("t") if event["type"] == "request"]
    assert asked[1:] in ([], ["Bash: touch other.txt"])


def test_edit_changes_the_call_before_it_runs(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[TOUCH], "Made it."]})
    begin(sandbox)
    assert "nothing was approved" in sandbox.chatml("approve", "t", "--edit", env={"EDITOR": "true"}, code=2).err
    sandbox.chatml("approve", "t", "--edit", env={"EDITOR": "sed -i s/asked/edited/"})
    sandbox.chatml("wait", "t")
    assert not asked_file(sandbox).exists()
    assert asked_file(sandbox).with_name("edited.txt").exists()


def test_of_two_answers_the_first_counts_and_the_second_is_told(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[TOUCH], "Made it."]})
    begin(sandbox)
    both = [sandbox.start("approve", "t"), sandbox.start("deny", "t", "-m", "no")]
    said = [process.communicate(timeout=30)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    (told,) = [text for text in said if text.startswith("error:")]
    assert "answered already" in told or "asks nothing" in told
    sandbox.chatml("wait", "t")
    assert asked_file(sandbox).exists() == (both[0].returncode == 0)


def test_several_requests_at_once_are_told_apart_by_their_id(sandbox: Sandbox, serve: Serve) -> None:
    fetch = [{"WebFetch": {"url": f"http://127.0.0.1:9/{n}", "prompt": "read"}} for n in (1, 2)]
    serve({"*": [fetch, "Read."]})
    sandbox.chatml("new", "do it", "-q", "--name", "t")
    wait_until(lambda: len(sandbox.session("t")["requests"]) == 2, "both requests")
    first, second = (request["id"] for request in sandbox.session("t")["requests"])
    assert "(and 1 more)" in sandbox.chatml("ls").out
    unclear = sandbox.chatml("approve", "t", code=1)
    assert unclear.err.startswith("error: 't' asks 2 things at once\nhint: name one with --id: ")
    sandbox.chatml("deny", "t", "--id", second, "-m", "not this one")
    assert needing(sandbox)["request"]["id"] == first
    sandbox.chatml("deny", "t", "-m", "nor that")
    sandbox.chatml("wait", "t")
    assert set(outputs(sandbox)) == {"nor that", "not this one"}


def test_approve_all_shows_what_it_approves(sandbox: Sandbox, serve: Serve) -> None:
    serve({"ask": [[DATABASE], "Thanks."], "*": [[TOUCH], "Made it."]})
    for name, prompt in (("a", "do it"), ("b", "do it"), ("c", "ask")):
        sandbox.chatml("new", prompt, "-q", "--name", name, "--permission-mode", "default")
    for name in "abc":
        sandbox.chatml("wait", name, code=3)
    said = sandbox.chatml("approve", "--all").err
    assert "a Bash: touch asked.txt\n" in said
    assert "b Bash: touch asked.txt\n" in said
    assert "(1 question is left: see 'chatml ls')" in said
    sandbox.chatml("wait", "a")
    sandbox.chatml("wait", "b")
    assert sandbox.session("c")["status"] == "waiting"


@pytest.mark.parametrize("decision", thinned(["approve", "deny", "answer"], 3))
def test_a_request_outlives_its_worker(sandbox: Sandbox, serve: Serve, decision: str) -> None:
    """The answer brings the worker back, and the agent is told; what was approved is not asked again."""
    step = DATABASE if decision == "answer" else TOUCH
    api = serve({"*": {"turns": [[[step], "Went on."]], "on": {"Your turn broke off": [[TOUCH], "Went on."]}}})
    request = begin(sandbox)["request"]
    kill(worker(sandbox, "t"))
    wait_until(lambda: not agents(sandbox), "the agent to end with its worker")
    left = sandbox.session("t")
    assert (left["status"], left["pid"], left["request"]) == ("waiting", None, request)
    extra = {"approve": [], "deny": ["-m", "use another"], "answer": ["2"]}[decision]
    sandbox.chatml(decision, "t", *extra)
    if decision == "answer":
        assert needing(sandbox)["request"]["id"] != request["id"]  # that call is another one
        sandbox.chatml("approve", "t")
    assert sandbox.until("t", "done")["result"] == "Went on."
    assert asked_file(sandbox).exists() == (decision != "deny")
    told = "\n".join(api.requests[-1].talk.texts)
    assert {"approve": "approved", "deny": "denied: use another", "answer": "SQLite"}[decision] in told
    decisions = [event["decision"] for event in sandbox.events("t") if event["type"] == "reply"]
    assert decisions[0] == decision


@pytest.mark.long
def test_a_reply_that_was_handed_over_is_not_granted_twice(sandbox: Sandbox, serve: Serve) -> None:
    hold = {"Bash": {"command": "touch asked.txt; cat pipe"}}
    serve({"*": {"turns": [[[hold], "Done."]], "on": {"interrupted": [[hold], "Done."]}}})
    begin(sandbox)
    sandbox.chatml("approve", "t")
    wait_until(lambda: bool(logged(sandbox, "t", "reply")), "the reply")
    kill(worker(sandbox, "t"))
    sandbox.until("t", "crashed")
    sandbox.chatml("resume", "t")
    assert needing(sandbox)["request"]["summary"].startswith("Bash: touch asked.txt")


def test_interrupt_and_stop_withdraw_what_was_asked(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": {"turns": [[[TOUCH], "Done."]], "on": {"leave it": ["Left."], "You were interrupted": ["Back."]}}})
    begin(sandbox)
    sandbox.chatml("send", "t", "--interrupt", "leave it")
    assert sandbox.until("t", "done")["result"] == "Left."
    assert [event["decision"] for event in sandbox.events("t") if event["type"] == "reply"] == ["withdrawn"]
    sandbox.chatml("approve", "t", code=1)


@pytest.mark.long
def test_stop_ends_a_waiting_session_and_resume_asks_again(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": {"turns": [[[TOUCH], "Done."]], "on": {"You were interrupted": [[TOUCH], "Back."]}}})
    begin(sandbox)
    sandbox.chatml("stop", "t")
    stopped = sandbox.session("t")
    assert (stopped["status"], stopped["request"]) == ("stopped", None)
    assert "asks nothing" in sandbox.chatml("approve", "t", code=1).err
    sandbox.chatml("resume", "t")
    needing(sandbox)
    sandbox.chatml("approve", "t")
    assert sandbox.until("t", "done")["result"] == "Back."


def test_requests_are_answered_in_place(sandbox: Sandbox, serve: Serve) -> None:
    steps = [[TOUCH], [DATABASE], [{"Bash": {"command": "touch second.txt"}}], "All done."]
    serve({"*": steps})
    sandbox.chatml("new", "do it", "-q", "--name", "t", "--permission-mode", "default")
    with terminal(sandbox) as window:
        window.type("chatml attach t")
        window.expect("? may it? Bash: touch asked.txt", "y yes", "n [REASON] no")
        window.type("y")
        window.expect("approved", "? asks: Which database?", "1  Postgres  about Postgres", "type the number")
        window.type("2")
        window.expect("answered: SQLite", "? may it? Bash: touch second.txt")
        window.type("n not now")
        screen = window.expect("denied: not now", "All done.", "t is done")
        assert max(map(len, screen.splitlines())) <= 80
    assert asked_file(sandbox).exists()


@pytest.mark.long
def test_nobody_is_there_by_order(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[TOUCH], "Without."]})
    needs = sandbox.chatml("new", "a", "--permission-mode", "default", "--wait", "--json", code=3)
    assert needs.json["request"]["summary"] == "Bash: touch asked.txt"
    told = sandbox.chatml("new", "b", "--permission-mode", "default", "--wait", code=3)
    assert "error: b needs you: may it? Bash: touch asked.txt\nhint: see 'chatml show b'\n" in told.err
    denied = sandbox.chatml("new", "c", "--permission-mode", "default", "--wait", "--on-request", "deny", "--json")
    assert (denied.json["result"], denied.json["denied"]) == ("Without.", 1)
    failed = sandbox.chatml(
        "new", "d", "--permission-mode", "default", "--wait", "--on-request", "fail", "--json", code=1
    )
    assert failed.json["status"] == "failed"
    assert failed.json["error"]["message"] == "it needs a person: Bash: touch asked.txt"
    assert not (Path(failed.json["worktree"]) / "asked.txt").exists()


def test_a_request_with_a_line_break_stays_one_line(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[{"Bash": {"command": "touch asked.txt\nrm -rf ~/x"}}], "Done."]})
    begin(sandbox)
    rows = sandbox.chatml("ls").out.splitlines()
    assert len(rows) == 2
    assert "rm -rf ~/x" in sandbox.chatml("show", "t").out
    assert json.loads(sandbox.chatml("show", "t", "--json").out)["request"]["detail"]["tool"] == "Bash"


def test_what_another_terminal_answers_shows_at_once(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": [[TOUCH], ["Made it.", {"hold": "on"}]]})
    begin(sandbox)
    with terminal(sandbox) as window:
        window.type("chatml attach t")
        window.expect("y yes")
        sandbox.chatml("approve", "t")
        window.expect("approved", "Made it.")
        window.type("y")  # too late: a message now, and no second answer
        window.expect("(sent: y)")
        api.release("on")
        sandbox.until("t", "done")
    assert [event["decision"] for event in sandbox.events("t") if event["type"] == "reply"] == ["approve"]


def test_a_message_to_a_waiting_session_leaves_the_request_open(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": {"turns": [[[TOUCH], "Made it."]], "on": {"be quick": ["As you say."]}}})
    begin(sandbox)
    sandbox.chatml("send", "t", "be quick")
    assert needing(sandbox)["request"]["summary"] == "Bash: touch asked.txt"
    sandbox.chatml("approve", "t")
    sandbox.until("t", "done")
    assert asked_file(sandbox).exists()
    said = [event["text"] for event in sandbox.events("t") if event["type"] == "message"]
    assert said == ["do it", "be quick"]


@pytest.mark.long
def test_an_answer_that_was_killed_before_it_woke_the_worker_is_not_lost(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": {"turns": [[[TOUCH], "Went on."]], "on": {"Your turn broke off": [[TOUCH], "Went on."]}}})
    request = begin(sandbox)["request"]
    kill(worker(sandbox, "t"))
    wait_until(lambda: not agents(sandbox), "the agent to end with its worker")
    post(SessionStore(sandbox.state("t")), Answer(Reply(request["id"], "approve")))
    left = sandbox.session("t")
    assert (left["status"], left["request"]) == ("crashed", None)
    sandbox.chatml("approve", "t", code=1)
    sandbox.chatml("resume", "t")
    sandbox.until("t", "done")
    assert asked_file(sandbox).exists()
    assert [event["decision"] for event in sandbox.events("t") if event["type"] == "reply"] == ["approve"]
