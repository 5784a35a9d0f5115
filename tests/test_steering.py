"""What a person can do while an agent works: send, interrupt, stop; messages that wait for a turn, or go back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatml.model.entry import Message, Unsend
from chatml.scripted.api import ScriptedApi
from chatml.sessions import control
from chatml.state import inbox
from chatml.state.log import read
from chatml.state.store import Store
from chatml.worker.mail import Mail
from tests.faults import Serve, all_gone, delivered_once, kill, logged, worker
from tests.made import make_session
from tests.support import Sandbox, wait_until
from tests.terminal import terminal

HELD = [["Begun.", {"hold": "here"}, {"Bash": {"command": "ls"}}], "First done."]
ECHO: dict[str, Any] = {"turns": [HELD, *[["You said: {prompt}"]] * 3]}


def begin(sandbox: Sandbox, serve: Serve, script: dict[str, Any] = ECHO) -> ScriptedApi:
    """A session in the middle of its first turn, which goes on when `here` is released."""
    api = serve({"*": script})
    sandbox.chatml("new", "first-message", "-q", "--name", "t")
    api.wait_for(lambda: api.holding["here"])
    return api


def said(sandbox: Sandbox) -> list[str]:
    """The messages that the agent has read, and the results of its turns, in their order."""
    found = logged(sandbox, "t", "message", "turn")
    return [event["text"] if event["type"] == "message" else f"= {event['result']}" for event in found]


def unsent(sandbox: Sandbox) -> list[tuple[str, str, str]]:
    found = sandbox.chatml("unsend", "t", "--json").json
    assert all(set(one) == {"id", "state", "text", "time"} for one in found)
    return [(one["id"], one["state"], one["text"]) for one in found]


def configure(sandbox: Sandbox, text: str) -> None:
    config = sandbox.repo / ".git" / "chatml" / "config.yaml"
    config.parent.mkdir()
    config.write_text(text)


def test_send_interrupt_and_stop_are_three_things(sandbox: Sandbox, serve: Serve) -> None:
    on = {
        "joins": [["Heard it.", {"hold": "there"}]],
        "instead": ["Another."],
        "once more": [["On it.", {"hold": "again"}]],
        "were interrupted": ["Back."],
    }
    api = begin(sandbox, serve, {"turns": [HELD], "on": on})
    pid = worker(sandbox, "t")
    sandbox.chatml("send", "t", "it joins the turn")
    api.release("here")
    api.wait_for(lambda: api.holding["there"])
    assert said(sandbox) == ["first-message", "it joins the turn"], "one turn"

    sandbox.chatml("send", "t", "--interrupt", "do this instead")
    sandbox.chatml("wait", "t")
    first = ["first-message", "it joins the turn", "= None", "do this instead", "= Another."]
    assert said(sandbox) == first, "the turn was ended, and the next one begun"

    sandbox.chatml("send", "t", "once more")
    api.wait_for(lambda: api.holding["again"])
    assert worker(sandbox, "t") != pid
    sandbox.chatml("stop", "t")
    all_gone(sandbox)
    assert sandbox.session("t")["status"] == "stopped"
    assert sandbox.git("status", "--porcelain") == ""
    sandbox.chatml("resume", "t")
    assert sandbox.until("t", "done")["result"] == "Back."


def test_queued_messages_wait_for_the_end_of_the_turn_and_each_has_its_own(sandbox: Sandbox, serve: Serve) -> None:
    api = begin(sandbox, serve)
    assert sandbox.chatml("send", "t", "--queue", "queued-one").err == "queued for t\n"
    sandbox.chatml("send", "t", "--queue", "queued-two")
    sandbox.chatml("send", "t", "joins-now")
    wait_until(lambda: unsent(sandbox)[-1][1] == "handed", "the message to reach the agent")
    assert unsent(sandbox) == [
        ("2", "queued", "queued-one"),
        ("3", "queued", "queued-two"),
        ("4", "handed", "joins-now"),
    ]
    rows = sandbox.chatml("unsend", "t").out.splitlines()
    assert rows[0].split() == ["ID", "STATE", "AGE", "MESSAGE"]
    assert rows[1].startswith("2   queued ")
    assert rows[3].startswith("4   the agent has it ")
    assert sandbox.chatml("unsend", "t", "-q").out == "2\n3\n"
    assert "queued: 3. queued-two\n" in sandbox.chatml("show", "t").out
    api.release("here")
    sandbox.chatml("wait", "t")
    answers = ["= You said: queued-one", "queued-two", "= You said: queued-two"]
    assert said(sandbox) == ["first-message", "joins-now", "= First done.", "queued-one", *answers]
    assert unsent(sandbox) == []
    assert sandbox.chatml("unsend", "t").err == "the agent of t has read everything\n"


def test_a_queued_message_at_rest_is_as_a_plain_one(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": {"turns": [["One."], ["You said: {prompt}"]]}})
    sandbox.chatml("new", "first-message", "-q", "--name", "t", "--wait")
    both = sandbox.chatml("send", "t", "--queue", "--interrupt", "x", code=2)
    assert both.err.startswith("error: --interrupt goes without --queue\nhint: ")
    assert said(sandbox)[-1] == "= One."
    assert sandbox.chatml("send", "t", "--queue", "next", "--wait").out == "You said: next\n"


def test_an_interrupt_goes_before_what_is_queued(sandbox: Sandbox, serve: Serve) -> None:
    begin(sandbox, serve)
    sandbox.chatml("send", "t", "--queue", "for-later")
    sandbox.chatml("send", "t", "--interrupt", "at-once")
    sandbox.chatml("wait", "t")
    assert said(sandbox) == [
        "first-message", "= None", "at-once", "= You said: at-once", "for-later", "= You said: for-later"
    ]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("point", ["while it waits", "in its turn"])
def test_a_queued_message_outlives_its_worker(sandbox: Sandbox, serve: Serve, point: str) -> None:
    """What was interrupted goes on first; nothing is lost, and nothing said twice."""
    later = [["Later ", {"hold": "there"}, "done."]]
    on = {"were interrupted": ["Went on."], "queued-message": later}
    api = begin(sandbox, serve, {"turns": [HELD], "on": on})
    sandbox.chatml("send", "t", "--queue", "queued-message")
    if point == "in its turn":
        api.release("here")
        api.wait_for(lambda: api.holding["there"])
        wait_until(lambda: "queued-message" in said(sandbox), "the message to be written down")
    kill(worker(sandbox, "t"))
    sandbox.until("t", "crashed")
    all_gone(sandbox)
    assert unsent(sandbox) == ([("2", "queued", "queued-message")] if point == "while it waits" else [])
    api.release("here", "there")
    sandbox.chatml("resume", "t")
    sandbox.chatml("wait", "t")
    delivered_once(sandbox, api, "t", "first-message", "queued-message")
    assert sandbox.session("t")["result"] == ("Later done." if point == "while it waits" else "Went on.")


def test_what_is_queued_stays_where_the_turn_fails(sandbox: Sandbox, serve: Serve) -> None:
    """The next one would most likely fail as well, and all of the queue be used up for nothing."""
    held = [HELD[0], {"fail": 400, "message": "no"}]
    api = begin(sandbox, serve, {"turns": [held], "on": {"queued-message": ["Heard."], "interrupted": ["Back."]}})
    sandbox.chatml("send", "t", "--queue", "queued-message")
    api.release("here")
    sandbox.until("t", "failed")
    assert unsent(sandbox) == [("2", "queued", "queued-message")]
    sandbox.chatml("resume", "t")
    assert sandbox.until("t", "done")["result"] == "Heard."
    assert said(sandbox)[-3:] == ["= Back.", "queued-message", "= Heard."]


def test_unsend_takes_back_what_the_agent_does_not_have(sandbox: Sandbox, serve: Serve) -> None:
    api = begin(sandbox, serve)
    for text in ("two", "three", "four", "five"):
        sandbox.chatml("send", "t", "--queue", text)
    sandbox.chatml("send", "t", "six")
    wait_until(lambda: unsent(sandbox)[-1][1] == "handed", "the message to reach the agent")
    inside = sandbox.repo.with_name("app.chatml") / "t"
    assert sandbox.chatml("unsend", "2", cwd=inside).err == "took back 2: two\n"
    assert sandbox.chatml("unsend", "t", "4", "-q").out == "4\n"
    for number, why in (
        ("6", "the agent has message 6 already"),
        ("1", "the agent has message 1 already"),
        ("2", "message 2 was taken back already"),
        ("9", "'t' has no message 9"),
    ):
        refused = sandbox.chatml("unsend", "t", "3", number, code=1)
        assert refused.err.startswith(f"error: {why}\nhint: "), refused
    assert [one[0] for one in unsent(sandbox)] == ["3", "5", "6"], "an error changes nothing"
    assert sandbox.chatml("unsend", "t", "--all", "3", code=2).err.startswith("error: --all takes no ID\n")
    assert [one["text"] for one in sandbox.chatml("unsend", "t", "--all", "--json").json] == ["three", "five"]
    assert sandbox.chatml("unsend", "t", "--all").err == "t has nothing to take back\n"
    api.release("here")
    sandbox.chatml("wait", "t")
    assert said(sandbox) == ["first-message", "six", "= First done."]
    assert "did you mean 't'" in sandbox.chatml("unsend", "tt", code=1).err


def test_the_task_itself_is_not_taken_back(sandbox: Sandbox) -> None:
    configure(sandbox, "agents: {missing: {command: [no-such-program, '{prompt}']}}\n")
    sandbox.chatml("new", "first-message", "-q", "--name", "t", "--agent", "missing", "--wait", code=1)
    sandbox.chatml("send", "t", "second-message", "--wait", code=1)
    assert unsent(sandbox) == [("2", "unread", "second-message")]
    assert sandbox.chatml("unsend", "t", "1", code=1).err == (
        "error: message 1 is the session's task\nhint: 'chatml stop t' ends it, 'chatml rm t' removes it\n"
    )
    sandbox.chatml("unsend", "t", "2")
    assert unsent(sandbox) == []


def test_a_message_is_taken_back_or_handed_over_never_both(sandbox: Sandbox) -> None:
    """It is taken back when the worker has come for it, and just before that takes the lock."""
    make_session(sandbox, "t")
    store = Store(sandbox.repo / ".git").session("t")
    for text in ("two", "three"):
        inbox.post(store, Message(text))
    mail = Mail(store, read(store.events))
    mail.receive()
    ready = mail.ready(idle=True)
    sandbox.chatml("unsend", "t", "3")
    assert mail.hand_over(ready) == [], "who holds no worker lock is a worker no more"
    assert store.worker_lock.take()
    mail = Mail(store, read(store.events))
    mail.receive()
    assert [message.text for message in mail.hand_over(ready)] == ["two"]
    assert mail.ready(idle=True) == []
    store.worker_lock.release()


def test_a_session_woken_for_nothing_is_what_it_was(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message to a stopped session is taken back before its worker comes to read it."""
    configure(sandbox, "agents: {slow: {command: [sh, -c, 'touch begun; sleep 600', '{prompt}']}}\n")
    sandbox.chatml("new", "first-message", "-q", "--name", "t", "--agent", "slow")
    wait_until(lambda: bool(logged(sandbox, "t", "message")), "the turn to begin")
    sandbox.chatml("stop", "t")
    for key, value in sandbox.env.items():
        monkeypatch.setenv(key, value)
    store = Store(sandbox.repo / ".git").session("t")
    with store.lock():
        message = Message("never mind")
        inbox.post(store, message)
        inbox.post(store, Unsend((message.id,)))
        control.start_worker(store, store.read())
    all_gone(sandbox)
    assert sandbox.session("t")["status"] == "stopped"
    assert said(sandbox) == ["first-message", "= None"]


def test_a_message_to_a_program_can_be_taken_back_until_its_turn_begins(sandbox: Sandbox) -> None:
    command = "[sh, -c, 'until test -e go; do sleep 0.05; done; echo \"heard: $0\"', '{prompt}']"
    configure(sandbox, f"agents: {{slow: {{command: {command}}}}}\n")
    worktree = sandbox.chatml("new", "first-message", "--name", "t", "--agent", "slow", "--json").json["worktree"]
    wait_until(lambda: bool(logged(sandbox, "t", "message")), "the turn to begin")
    for text in ("second-message", "third-message"):
        sandbox.chatml("send", "t", text)
    assert unsent(sandbox) == [("2", "unread", "second-message"), ("3", "unread", "third-message")]
    sandbox.chatml("unsend", "t", "2")
    (Path(worktree) / "go").touch()
    sandbox.chatml("wait", "t")
    assert [text for text in said(sandbox) if not text.startswith("=")] == ["first-message", "third-message"]


@pytest.mark.long
def test_resume_leaves_a_session_that_waits_for_an_answer(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[{"Bash": {"command": "touch asked.txt"}}], "Made it."]})
    sandbox.chatml("new", "first-message", "-q", "--name", "t", "--permission-mode", "default")
    sandbox.chatml("wait", "t", code=3)
    told = (
        "error: 't' waits for your answer: Bash: touch asked.txt\n"
        "hint: see 'chatml show t'; then approve, deny or answer it\n"
    )
    assert sandbox.chatml("resume", "t", code=1).err == told
    kill(worker(sandbox, "t"))
    all_gone(sandbox)
    assert sandbox.chatml("resume", "t", code=1).err == told
    assert sandbox.chatml("resume", "--all").err == ""
    session = sandbox.session("t")
    assert (session["status"], session["pid"]) == ("waiting", None)
    sandbox.chatml("deny", "t")
    sandbox.chatml("wait", "t")


def test_wait_returns_3_at_once_though_others_work_on(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"ask": [[{"Bash": {"command": "touch asked.txt"}}], "Made it."], "*": [["…", {"hold": "here"}]]})
    sandbox.chatml("new", "work", "-q", "--name", "works")
    sandbox.chatml("new", "ask", "-q", "--name", "asks", "--permission-mode", "default")
    api.wait_for(lambda: api.holding["here"])
    for names in (["works", "asks"], ["asks", "works"], []):
        assert sandbox.chatml("wait", *names, code=3).out == "asks: waiting\n"
    assert sandbox.session("works")["status"] == "running"


def test_attach_shows_what_is_queued(sandbox: Sandbox, serve: Serve) -> None:
    api = begin(sandbox, serve)
    sandbox.chatml("send", "t", "--queue", "before you came")
    with terminal(sandbox) as window:
        window.type("chatml attach t")
        window.expect("(queued as 2: before you came)")
        sandbox.chatml("send", "t", "--queue", "while you look")
        window.expect("(queued as 3: while you look)")
        window.type("typed here")
        window.expect("(sent: typed here)")
        api.release("here")
        screen = window.expect("> typed here", "You said: while you look", "t is done")
        assert screen.count("queued as") == 2
        assert max(map(len, screen.splitlines())) <= 80
