"""Programs as agents: how each is given its task, what is read of what it prints, and real ones."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chatml.agents.claude.agent import find_cli
from chatml.agents.command import told
from chatml.config import Config, load
from chatml.config.programs import PROGRAMS
from chatml.errors import ChatmlError
from chatml.model import Terms
from chatml.scripted.api import ScriptedApi
from chatml.scripted.script import Script
from chatml.state.paths import StatePaths
from tests.support import Sandbox, needs

Serve = Callable[[Script], ScriptedApi]

CONFIG = r"""
agents:
  piped: {command: [sh, -c, 'printf "first:"; cat'], resume: [sh, -c, 'printf "again:"; cat'], prompt: stdin}
  filed: {command: [sh, -c, 'cat "$0"; case "$0" in *.md) ;; *) exit 1;; esac', "{prompt}"], prompt: file}
  priced:
    command:
    - sh
    - -c
    - 'echo note; echo "{\"type\":\"say\",\"text\":\"$A $0\"}"; echo "{\"type\":\"end\",\"usd\":0.25}"'
    - "{prompt}"
    env: {A: "a b"}
    cost: "[?type=='end'].usd | [0]"
    answer: "[?type=='say'].text | [-1]"
  named: {command: [sh, -c, 'echo "$0 $1"', "{session}", "{state}"], prompt: stdin}
"""


def configure(sandbox: Sandbox, text: str = CONFIG) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(text)


def test_a_program_is_given_its_task_on_its_input_or_in_a_file(sandbox: Sandbox) -> None:
    configure(sandbox)
    long = "x" * 300_000  # no argument could hold it
    assert sandbox.chatml("new", "-", "--agent", "piped", "--name", "p", "--wait", stdin=f"{long} end").out.endswith(
        "end\n"
    )
    assert sandbox.chatml("send", "p", "and more", "--wait").out == "again:and more\n"
    made = sandbox.chatml("new", "-", "--agent", "filed", "--name", "f", "--wait", "--json", stdin=f"{long} end").json
    assert made["result"].endswith("end")
    named = sandbox.chatml("new", "hi", "--agent", "named", "--name", "n", "--wait", "--json").json
    assert named["result"] == f"{named['session_id']} {sandbox.state('n')}"


def test_cost_and_answer_are_read_of_what_it_prints(sandbox: Sandbox) -> None:
    configure(sandbox)
    made = sandbox.chatml("new", "do it", "--agent", "priced", "--name", "x", "--wait", "--json").json
    assert (made["result"], made["cost_usd"]) == ("a b do it", 0.25)
    sandbox.chatml("send", "x", "more", "--wait")
    assert sandbox.session("x")["cost_usd"] == 0.5
    assert [row["cost_usd"] for row in sandbox.chatml("cost", "--json").json] == [0.5]
    used = sandbox.chatml("send", "x", "--max-budget-usd", "0.6", "third", "--wait")
    assert used.out == "a b third\n"
    assert "budget" in sandbox.chatml("send", "x", "fourth", "--wait", code=1).err


@pytest.mark.parametrize(
    ("said", "cost", "answer", "found"),
    [
        ('{"a": {"usd": 1.5}, "t": "hi"}', "a.usd", "t", ("hi", 1.5)),
        ('x\n{"usd": 1}\n{"usd": 2}\n', "sum([].usd)", None, ('x\n{"usd": 1}\n{"usd": 2}\n', 3.0)),
        ("no json", "usd", "t", ("no json", 0.0)),
        ('{"usd": "much", "t": 5}', "usd", "t", ('{"usd": "much", "t": 5}', 0.0)),
        ('{"usd": -1, "t": null}', "usd", "t", ('{"usd": -1, "t": null}', 0.0)),
        ('{"usd": true}', "usd", None, ('{"usd": true}', 0.0)),
        ("[" * 100_000, "usd", "t", ("[" * 100_000, 0.0)),
        ('{"usd": 1e999}', "usd", None, ('{"usd": 1e999}', 0.0)),
        ('{"usd": "x"}', "sum(usd)", None, ('{"usd": "x"}', 0.0)),
    ],
)
def test_what_a_program_has_told(said: str, cost: str, answer: str | None, found: tuple[str, float]) -> None:
    assert told(said, Terms(cost_path=cost, answer_path=answer)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agents: {x: {command: [a]}}", "'agents.x.command' needs {prompt} where the task goes"),
        ("agents: {x: {command: [a], prompt: file}}", "'agents.x.command' needs {prompt} where the task goes"),
        ("agents: {x: {command: [a], prompt: pipe}}", "'agents.x.prompt' can't be 'pipe'"),
        ("agents: {x: {command: [a], prompt: stdin, cost: 'a['}}", "'agents.x.cost' is no JMESPath"),
        (
            "agents: {x: {command: [a], prompt: stdin, env: {A-B: c}}}",
            "'agents.x.env.A-B' is not a name for a variable",
        ),
        (
            "agents: {x: {command: ['{promt}'], prompt: stdin}}",
            "'agents.x.command' holds an unknown placeholder {promt}",
        ),
        ("agents: {x: {prompt: stdin}}", "'agents.x' needs a 'command'"),
    ],
)
def test_a_program_that_can_not_be_called_so_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "chatml").mkdir()
    (tmp_path / "chatml" / "config.yaml").write_text(text)
    with pytest.raises(ChatmlError) as caught:
        load(state=StatePaths(tmp_path), top=None, environ={"HOME": str(tmp_path)})
    assert said in caught.value.message


def test_known_programs_need_no_configuration_and_ones_own_go_before_them(tmp_path: Path) -> None:
    assert {*PROGRAMS} == {"aider", "claude-p", "codex", "gemini", "opencode"}
    assert Config().programs == PROGRAMS
    (tmp_path / "chatml").mkdir()
    (tmp_path / "chatml" / "config.yaml").write_text("agents: {codex: {command: [mine, '{prompt}']}}")
    config = load(state=StatePaths(tmp_path), top=None, environ={"HOME": str(tmp_path)})
    assert config.programs["codex"].command == ("mine", "{prompt}")
    assert config.programs["gemini"] == PROGRAMS["gemini"]


def test_one_that_is_not_installed_is_told_of(sandbox: Sandbox) -> None:
    folder = sandbox.home / "bin"
    folder.mkdir()
    for program in ("git", "sh"):
        (folder / program).symlink_to(shutil.which(program) or "")
    sandbox.env["PATH"] = str(folder)
    failed = sandbox.chatml("new", "hi", "--agent", "gemini", "--wait", code=1)
    assert "the agent's program 'gemini' is not in PATH" in failed.err


def works(sandbox: Sandbox, agent: str, answers: tuple[str, str]) -> None:
    """Two turns of one conversation."""
    assert answers[0] in sandbox.chatml("new", "do it", "--agent", agent, "--name", "x", "--wait", timeout=120).out
    assert answers[1] in sandbox.chatml("send", "x", "and more", "--wait", timeout=120).out
    assert sandbox.session("x")["status"] == "done"


@pytest.fixture
def bundled(sandbox: Sandbox) -> None:
    """The Claude Code program that comes with chatml, as one in PATH."""
    folder = sandbox.home / "bin"
    folder.mkdir()
    cli = find_cli()
    assert cli is not None
    (folder / "claude").symlink_to(cli)
    sandbox.env["PATH"] = f"{folder}:{sandbox.env['PATH']}"


@pytest.mark.usefixtures("bundled")
def test_claude_code_stands_behind_the_same_door(sandbox: Sandbox, serve: Serve) -> None:
    write = {"Write": {"file_path": "{cwd}/made.txt", "content": "made\n"}}
    api = serve({"*": {"turns": [[write, "First."], ["Second: {prompt}"]]}})
    works(sandbox, "claude-p", ("First.", "Second: and more"))
    session = sandbox.session("x")
    assert (Path(session["worktree"]) / "made.txt").read_text() == "made\n"
    assert session["cost_usd"] > 0
    assert {one.session for one in api.requests} == {session["session_id"]}, "one conversation"


class Completions(BaseHTTPRequestHandler):
    """A scripted Chat Completions API: what it says is known by the last message."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        last = str(asked["messages"][-1]["content"])
        text = "made.txt\n```\nmade\n```\n" if "do it" in last else "Fine."
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
        parts = [
            {
                **chunk,
                "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}],
            },
            {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if asked.get("stream") else "application/json")
        self.end_headers()
        if not asked.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            self.wfile.write(json.dumps({**chunk, "object": "chat.completion", "choices": [choice]}).encode())
            return
        for part in parts:
            self.wfile.write(f"data: {json.dumps(part)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Nothing is to be told."""


@pytest.mark.long
@needs("aider")
def test_aider_works(sandbox: Sandbox) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Completions) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}/v1"
        sandbox.env |= {"AIDER_MODEL": "openai/scripted", "OPENAI_API_BASE": base, "OPENAI_API_KEY": "x"}
        works(sandbox, "aider", ("made.txt", "Fine."))
        server.shutdown()
    worktree = Path(sandbox.session("x")["worktree"])
    assert (worktree / "made.txt").read_text() == "made\n"
    assert sandbox.session("x")["changes"]["commits"] == 1, "aider commits by itself"


@pytest.mark.long
@needs("opencode")
def test_opencode_works(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": {"turns": [["First."], ["Second."]]}})
    (sandbox.home / ".config" / "opencode").mkdir(parents=True)
    options = f'{{"baseURL": "{api.url}/v1", "apiKey": "x"}}'
    provider = f'{{"anthropic": {{"options": {options}}}}}'
    text = f'{{"model": "anthropic/claude-haiku-4-5", "autoupdate": false, "provider": {provider}}}'
    (sandbox.home / ".config" / "opencode" / "opencode.json").write_text(text)
    works(sandbox, "opencode", ("First.", "Second."))
