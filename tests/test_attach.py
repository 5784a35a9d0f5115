"""Looking into a session: live in a terminal, and as a plain stream elsewhere."""

from __future__ import annotations

import json

import pytest

from chatml.scripted.script import Script
from chatml.text import printable
from tests.faults import Serve, logged
from tests.support import Sandbox, wait_until
from tests.terminal import terminal

TALK: Script = {
    "*": {
        "turns": [
            [
                ["I look first.", {"Bash": {"command": "seq 1 40"}}],
                ["The answer begins", {"hold": "middle"}, " and ends here."],
            ],
            ["You said: {prompt}"],
        ]
    }
}


def test_a_person_looks_in_types_and_leaves(sandbox: Sandbox, serve: Serve) -> None:
    api = serve(TALK)
    sandbox.chatml("new", "count things", "-q")
    with terminal(sandbox) as window:
        window.type("chatml attach count-things")
        screen = window.expect("The answer begins")
        assert "> count things" in screen
        assert "● Bash seq 1 40" in screen
        assert "… 32 more lines ('chatml logs' has all)" in screen
        assert max(map(len, screen.splitlines())) <= 80
        assert "\x1b[" in window.colours()

        window.type("half a thought", enter=False)
        window.expect("> half a thought")
        api.release("middle")
        # What streams in goes above the line that is being typed, and does not disturb it.
        window.expect("and ends here.", "turn ended")
        wait_until(lambda: window.screen().endswith("> half a thought"), "the typed line below", window.screen)
        window.press("C-u")
        window.type("thänks, 世界!")
        window.expect("You said: thänks, 世界!", "count-things is done; type a message to go on")
        sandbox.until("count-things", "done")
        window.press("C-c")
        window.expect("detached; count-things is done")
        window.type("echo left with $?")
        window.expect("left with 0")
        window.type("stty -a | tr ' ' '\\n' | grep -xE 'icanon|echo|isig' | tr '\\n' ' '")
        window.expect("isig icanon echo")
    assert "thänks, 世界!" in [event["text"] for event in sandbox.events("count-things") if event["type"] == "message"]


LANGUAGES = {
    "joined emoji": "👩\u200d💻 👍🏽 ❤\ufe0f",
    "Persian": "می\u200cروم",
    "Japanese": "一\u3000二",
    "French": "Vraiment\u00a0\u202f?",
    "marks of direction": "a\u200eb\u200fc",
    "soft hyphen": "Donau\u00addampf",
    "a private sign": "\ue0a0",
}


@pytest.mark.long
def test_every_language_comes_through_as_it_was_written(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": {"turns": [["You said: {prompt}"]] * (1 + len(LANGUAGES))}})
    sandbox.chatml("new", "begin", "--name", "t", "--wait")
    for text in LANGUAGES.values():
        assert sandbox.chatml("send", "t", text, "--wait").out == f"You said: {text}\n"
    log, row = sandbox.chatml("logs", "t").out, sandbox.chatml("ls", "t").out
    for text in LANGUAGES.values():
        assert f"> {text}\n" in log
    assert text in row


def test_every_language_can_be_typed(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": {"turns": [["You said: {prompt}"]] * 2}})
    sandbox.chatml("new", "begin", "--name", "t", "--wait")
    text = " ".join(LANGUAGES.values())
    with terminal(sandbox) as window:
        window.type("chatml attach t")
        window.expect("t is done; type a message")
        window.type(text)
        wait_until(lambda: len(logged(sandbox, "t", "message")) == 2, "the message", window.screen)
        sandbox.until("t", "done")
        window.press("C-c")
    assert logged(sandbox, "t", "message")[-1]["text"] == text


def test_what_a_terminal_would_act_on_is_made_harmless() -> None:
    for code in (0x07, 0x1B, 0x7F, 0x9B, 0xD800, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)):
        shown = printable(f"a{chr(code)}b")
        assert chr(code) not in shown, hex(code)
        assert len(shown) > 2, "it is seen that something was there"


def test_leaving_and_closing_the_terminal_stop_nothing(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": [["Begun.", {"hold": "on"}, " Finished."]]})
    with terminal(sandbox) as window:
        window.type("chatml new --attach --name t 'work on'")
        window.expect("Begun.")
        window.press("C-c")
        window.expect("detached; t is running and goes on")
        window.type("chatml attach t")
        window.expect("detached", "Begun.")
        window.type("a long line that is never sent", enter=False)
    assert sandbox.session("t")["status"] == "running"
    api.release("on")
    assert sandbox.until("t", "done")["result"] == "Begun. Finished."


def test_a_plain_stream_ends_with_the_turn(sandbox: Sandbox, serve: Serve) -> None:
    api = serve(TALK)
    sandbox.chatml("new", "count things", "-q")
    api.wait_for(lambda: api.holding["middle"])
    follower = sandbox.start("attach", "count-things")
    as_json = sandbox.start("attach", "count-things", "--json")
    first = json.loads(as_json.stdout.readline())
    assert first["seq"] == 1
    api.release("middle")
    out, err = follower.communicate(timeout=30)
    assert (follower.returncode, err) == (0, "")
    assert "\x1b" not in out
    assert "The answer begins and ends here.\n" in out
    rest, _ = as_json.communicate(timeout=30)
    events = [json.loads(line) for line in rest.splitlines()]
    assert "".join(event["text"] for event in events if event["type"] == "delta").endswith("and ends here.")
    assert events[-1] == {**events[-1], "type": "status", "status": "done"}
    assert "\n    40\n" in sandbox.chatml("logs", "count-things").out


def test_streamed_text_reaches_the_log_while_the_answer_is_still_open(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": [["The first half", {"hold": "on"}, ", the second."]]})
    sandbox.chatml("new", "talk", "-q")
    api.wait_for(lambda: api.holding["on"])
    wait_until(lambda: "The first half" in sandbox.chatml("logs", "talk").out, "the open answer in the log")
    assert sandbox.session("talk")["status"] == "running"


def test_ls_on_a_terminal(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"hold": [["Think.", {"hold": "on"}, " Yes."]], "*": ["Fine.\nSecond line."]})
    sandbox.chatml("new", "a task with a very long description that can't fit into its row", "-q", "--wait")
    sandbox.chatml("new", "hold this", "-q")
    api.wait_for(lambda: api.holding["on"])
    with terminal(sandbox) as window:
        window.type("chatml ls")
        screen = window.expect("hold-this", "running", "Fine.")
        rows = [row for row in screen.splitlines() if row != "$"]
        assert rows[1].split()[:2] == ["NAME", "STATUS"]
        assert rows[2].startswith("hold-this")
        assert len(rows) == 4, "a row is one line, and so is the header"
        window.type("clear; chatml ls --watch")
        window.expect("NAME", "running")
        api.release("on")
        window.expect("Think. Yes.", "done")
        wait_until(lambda: "running" not in window.screen(), "all to be done", window.screen)
        window.press("C-c")
        window.expect("$")
