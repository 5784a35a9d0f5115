"""What an agent leaves running after its turn: shown, kept until a person ends it, and swept only after a crash."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.faults import Serve, all_gone, fifo, has_reader, kill, worker
from tests.support import Sandbox, wait_until


@pytest.fixture
def server(sandbox: Sandbox) -> Path:
    """An agent `builder`, which starts a server once: it reads a pipe for ever, and holds the agent's output open."""
    pipe = fifo(sandbox.home / "pipe")
    start = f"test -e started || {{ touch started; tail -f {shlex.quote(str(pipe))} & }}; echo built"
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    wait = f"cat {shlex.quote(str(fifo(sandbox.home / 'gate')))}"
    agents = {"builder": start, "halting": f"{start.replace('tail', 'setsid tail')}; {wait}"}
    rows = [f"  {name}: {{command: [sh, -c, '{script}', '{{prompt}}']}}\n" for name, script in agents.items()]
    (folder / "config.yaml").write_text("agents:\n" + "".join(rows) + "agent: builder\n")
    return pipe


def runs(pipe: Path) -> bool:
    """Whether the server still stands there."""
    wanted = f"tail\0-f\0{pipe}\0".encode()
    return any(_bytes(entry / "cmdline") == wanted for entry in Path("/proc").glob("[0-9]*"))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def left(sandbox: Sandbox, name: str = "t") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sandbox.session(name)["processes"]
    return found


def test_what_runs_on_is_shown_and_lives_until_stop(sandbox: Sandbox, server: Path) -> None:
    sandbox.chatml("new", "build it", "--name", "t", "--wait")
    (one,) = left(sandbox)
    assert one["command"] == f"tail -f {server}"
    assert sandbox.chatml("ls").out.splitlines()[1].split()[:5] == ["t", "done", "[1", "still", "running]"]
    shown = sandbox.chatml("show", "t").out
    assert f"still running: {one['pid']} tail -f {server}\n" in shown
    assert sandbox.chatml("show", "t", "--json").json["processes"] == [one]

    assert sandbox.chatml("send", "t", "once more", "--wait").out == "built\n"
    assert left(sandbox) == [one], "the next message has ended it"
    assert sandbox.chatml("stop", "t").err == "stopped t\n"
    assert not runs(server)
    assert left(sandbox) == []
    assert sandbox.session("t")["status"] == "done"
    assert sandbox.chatml("stop", "t").err == "t is at rest already\n"


@pytest.mark.parametrize("how", [["stop", "--all"], ["rm", "t", "--force"]], ids=["stop --all", "rm"])
def test_other_ways_to_end_it(sandbox: Sandbox, server: Path, how: list[str]) -> None:
    sandbox.chatml("new", "build it", "--name", "t", "--wait")
    assert runs(server)
    sandbox.chatml(*how)
    assert not runs(server)
    all_gone(sandbox)


def test_what_has_ended_by_itself_is_shown_no_more(sandbox: Sandbox, server: Path) -> None:
    sandbox.chatml("new", "build it", "--name", "t", "--wait")
    (one,) = left(sandbox)
    kill(one["pid"])
    wait_until(lambda: not runs(server), "the server's end")
    assert left(sandbox) == []
    assert "still running" not in sandbox.chatml("ls").out + sandbox.chatml("show", "t").out


def test_after_a_crash_it_is_shown_and_swept_by_the_next_message(sandbox: Sandbox, server: Path) -> None:
    sandbox.chatml("new", "build it", "--name", "t", "--agent", "halting")
    wait_until(lambda: runs(server), "the server")
    assert sandbox.session("t")["processes"] is None, "the agent is at work"
    kill(worker(sandbox, "t"))
    sandbox.until("t", "crashed")
    assert f"tail -f {server}" in [one["command"] for one in left(sandbox)]
    sandbox.chatml("send", "t", "go on")
    wait_until(lambda: not runs(server), "the sweep")
    sandbox.chatml("stop", "t")


def test_ls_looks_at_no_process_where_nothing_was_left(sandbox: Sandbox, server: Path) -> None:
    del server
    sandbox.chatml("new", "build it", "--name", "t", "--wait")
    sandbox.chatml("stop", "t")
    code = "import sys; sys.addaudithook(lambda event, args: event == 'open' and print(args[0], file=sys.stderr))"
    (sandbox.home / "sitecustomize.py").write_text(code)
    traced = sandbox.chatml("ls", env={"PYTHONPATH": os.pathsep.join([str(sandbox.home), sandbox.env["PYTHONPATH"]])})
    assert "session.json" in traced.err
    assert not [line for line in traced.err.splitlines() if line.endswith("/environ")]


def test_what_claude_leaves_running_survives_its_next_turn(sandbox: Sandbox, serve: Serve) -> None:
    pipe = fifo(sandbox.home / "pipe")
    start = {"Bash": {"command": f"tail -f {pipe} > /dev/null 2>&1 &"}}
    serve({"*": {"turns": [[[start], "Serving."], ["Again."]]}})
    sandbox.chatml("new", "serve it", "--name", "t", "--permission-mode", "bypassPermissions", "--wait")
    assert [one["command"] for one in left(sandbox)] == [f"tail -f {pipe}"]
    sandbox.chatml("send", "t", "again", "--wait")
    assert [one["command"] for one in left(sandbox)] == [f"tail -f {pipe}"]
    sandbox.chatml("stop", "t")
    assert not runs(pipe)
    assert not has_reader(pipe)


def test_show_prints_the_whole_last_answer(sandbox: Sandbox) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    say = 'printf "%s\\n" "First line." "" "- a point" "- another"'
    (folder / "config.yaml").write_text(
        f"agents: {{talker: {{command: [sh, -c, '{say}', '{{prompt}}']}}}}\nagent: talker\n"
    )
    sandbox.chatml("new", "talk", "--name", "t", "--wait")
    assert sandbox.chatml("show", "t").out.endswith("\n\nFirst line.\n\n- a point\n- another\n")
