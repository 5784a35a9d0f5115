"""A program as an agent: turns, resume, failure, interrupt."""

from __future__ import annotations

from tests.support import Sandbox, wait_until

CONFIG = """\
agents:
  echo:
    command: [sh, -c, 'echo "first: $0"; echo work > made.txt', "{prompt}"]
    resume: [sh, -c, 'echo "again: $0"', "{prompt}"]
  broken: {command: [sh, -c, 'echo "no licence" >&2; exit 3', "{prompt}"]}
  sleeper: {command: [sh, -c, 'echo begun; exec sleep 600', "{prompt}"]}
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
    wait_until(lambda: sandbox.chatml("logs", "dream").out.count("begun") >= 3, "the second turn")
    assert "interrupted" in sandbox.chatml("logs", "dream").out
    sandbox.chatml("stop", "dream")
    assert sandbox.session("dream")["status"] == "stopped"
