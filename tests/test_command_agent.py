"""A program as an agent: turns, resume, failure, interrupt."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chatml.agents.base import AgentError, Setting, Taken
from chatml.agents.briefing import GO_ON
from chatml.agents.command import CommandAgent
from chatml.model.entry import Message
from chatml.state.store import Store
from tests.faults import kill, logged, worker
from tests.made import make_session
from tests.support import Sandbox, wait_until

TOO_LONG = 140_000
"""Bytes: Linux gives a program at most 128 KiB in one argument."""

CONFIG = """\
agents:
  echo:
    command: [sh, -c, 'echo "first: $0"; echo work > made.txt', "{prompt}"]
    resume: [sh, -c, 'echo "again: $0"', "{prompt}"]
  failing: {command: [sh, -c, 'printf "%s" "$0"; exit 3', "{prompt}"]}
  broken: {command: [sh, -c, 'echo "no licence" >&2; exit 3', "{prompt}"]}
  sleeper: {command: [sh, -c, 'echo begun; exec sleep 600', "{prompt}"]}
  gated:
    command:
    - sh
    - -c
    - 'test -e go || slow=1; printf "%s" "$0" >> heard; test -z "$slow" || sleep 600; echo fine'
    - "{prompt}"
  halting:
    command:
    - sh
    - -c
    - 'printf "f\\303"; until test -e go; do sleep 0.05; done; printf "\\274r \\342\\202"'
    - "{prompt}"
  missing: {command: [no-such-program, "{prompt}"]}
"""


def configure(sandbox: Sandbox) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)


def test_turns_of_a_program(sandbox: Sandbox) -> None:
    configure(sandbox)
    assert sandbox.chatml("new", "write it; $(touch /tmp/never)", "--agent", "echo", "--name", "x", "--wait").out == (
        "first: write it; $(touch /tmp/never)\n"
    )
    assert sandbox.session("x")["changes"]["files"] == 1
    assert sandbox.chatml("send", "x", "and more", "--wait").out == "again: and more\n"
    session = sandbox.session("x")
    assert (session["status"], session["turns"], session["agent"]) == ("done", 2, "echo")
    shown = sandbox.chatml("show", "x").out
    assert "\nturns: 2\n" in shown
    assert "cost" not in shown, "it told none"


def test_a_program_that_fails_or_is_missing(sandbox: Sandbox) -> None:
    configure(sandbox)
    sandbox.chatml("new", "try", "--agent", "broken", "--wait", code=1)
    assert sandbox.session("try")["error"]["message"] == "broken exited with code 3: no licence"
    sandbox.chatml("new", "absent", "--agent", "missing", "--wait", code=1)
    assert sandbox.session("absent")["error"]["kind"] == "agent"
    unknown = sandbox.chatml("new", "hm", "--agent", "ehco", code=2)
    assert unknown.err.startswith("error: no agent named 'ehco'\nhint: known: claude, echo")


def test_a_message_interrupts_and_stop_ends_a_program(sandbox: Sandbox) -> None:
    configure(sandbox)
    sandbox.chatml("new", "dream", "--agent", "sleeper", "-q")
    wait_until(lambda: "begun" in sandbox.chatml("logs", "dream").out, "the program to begin")
    sandbox.chatml("send", "dream", "wake up", "--interrupt")
    wait_until(lambda: sandbox.chatml("logs", "dream").out.count("begun") == 2, "the second turn")
    assert "interrupted" in sandbox.chatml("logs", "dream").out
    sandbox.chatml("stop", "dream")
    assert sandbox.session("dream")["status"] == "stopped"


@pytest.mark.long
@pytest.mark.parametrize("how", ["stop", "kill", "send --interrupt"])
def test_a_program_without_memory_hears_its_task_again_once_it_was_interrupted(sandbox: Sandbox, how: str) -> None:
    configure(sandbox)
    sandbox.chatml("new", "build the bridge", "--agent", "gated", "--name", "x", "-q")
    worktree = Path(sandbox.chatml("path", "x").out.strip())
    heard = worktree / "heard"
    wait_until(lambda: heard.exists() and heard.read_text() == "build the bridge", "the task to be heard")
    heard.unlink()
    (worktree / "go").touch()
    if how == "send --interrupt":
        sandbox.chatml("send", "x", "of stone", "--interrupt", "--wait")
    else:
        sandbox.chatml("stop", "x") if how == "stop" else kill(worker(sandbox, "x"))
        sandbox.until("x", "stopped", "crashed")
        sandbox.chatml("resume", "x")
        sandbox.chatml("wait", "x")
    told = heard.read_text()
    assert told.count("build the bridge") == 1
    assert told.endswith("of stone" if how == "send --interrupt" else GO_ON)
    heard.unlink()
    sandbox.chatml("send", "x", "paint it", "--wait")
    assert heard.read_text() == "paint it", "what was answered is not said again"


@pytest.mark.parametrize("why", ["no worktree", "too long"])
def test_a_message_that_no_program_could_be_started_for_is_not_taken(
    sandbox: Sandbox, tmp_path: Path, why: str
) -> None:
    """It stays in the inbox, for a resume."""
    make_session(sandbox, "x", agent="echo", command=("true", "{prompt}"))
    session = Store(sandbox.repo / ".git").session("x").read()
    worktree, text = (tmp_path / "gone", "hello") if why == "no worktree" else (tmp_path, "x" * TOO_LONG)
    agent = CommandAgent(session, Setting(worktree, tmp_path, ""))
    said: list[object] = []

    async def listen() -> None:
        await agent.send(Message(text, "1"))
        async for one in agent.signals():
            said.append(one)

    with pytest.raises(AgentError) as caught:
        asyncio.run(asyncio.wait_for(listen(), 30))
    assert not any(isinstance(one, Taken) for one in said)
    assert caught.value.failure.kind == "agent"
    assert ("into a file" if why == "too long" else "chatml resume") in str(caught.value.failure.hint)


def test_a_message_that_is_too_long_for_an_argument_is_refused(sandbox: Sandbox) -> None:
    configure(sandbox)
    refused = sandbox.chatml("new", "-", "--agent", "echo", "--name", "x", stdin="é" * (TOO_LONG // 2), code=2)
    assert refused.err.splitlines() == [
        "error: the message has 140,000 bytes; a program can be given 131,071 in one argument",
        "hint: put it into a file and name that file",
    ]
    assert sandbox.chatml("ls", "-q").out == ""
    sandbox.chatml("new", "first", "--agent", "echo", "--name", "x", "--wait")
    assert "in one argument" in sandbox.chatml("send", "x", "-", stdin="y" * TOO_LONG, code=2).err
    assert sandbox.chatml("send", "x", "shorter", "--wait").out == "again: shorter\n", "nothing stands in the way"


def test_messages_that_are_too_long_together_are_named(sandbox: Sandbox) -> None:
    configure(sandbox)
    sandbox.chatml("new", "-", "--agent", "failing", "--name", "x", "--wait", stdin="a" * (TOO_LONG // 2), code=1)
    sandbox.chatml("send", "x", "-", "--wait", stdin="b" * (TOO_LONG // 2), code=1)
    heard = logged(sandbox, "x", "text")[-1]["text"]
    assert "'chatml logs x'" in heard
    assert heard.endswith("b" * (TOO_LONG // 2))


def test_a_character_that_comes_in_two_pieces_is_one(sandbox: Sandbox) -> None:
    configure(sandbox)
    sandbox.chatml("new", "speak", "--agent", "halting", "--name", "x", "-q")
    wait_until(lambda: bool(logged(sandbox, "x", "delta")), "the first piece")
    (Path(sandbox.chatml("path", "x").out.strip()) / "go").touch()
    assert sandbox.until("x", "done")["result"] == "für \N{REPLACEMENT CHARACTER}", "only what never ended is replaced"
    assert "".join(event["text"] for event in logged(sandbox, "x", "delta")) == "für \N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("said", ["one\\ntwo\\n", "\\n  one\\n\\ntwo", "one two"], ids=["lines", "blanks", "open line"])
def test_what_a_program_says_is_shown_once(sandbox: Sandbox, said: str) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"agents: {{says: {{command: [printf, '%.0s{said}', '{{prompt}}']}}}}\n")
    sandbox.chatml("new", "speak", "--agent", "says", "--name", "x", "--wait")
    for command in ("logs", "attach"):
        out = sandbox.chatml(command, "x").out
        assert (out.count("one"), out.count("two")) == (1, 1), out
        assert "two\n── turn ended" in out, "the answer ends its line, and leaves none empty"
