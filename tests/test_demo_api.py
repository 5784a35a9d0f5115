"""The scripted Messages API: its language over plain HTTP, then behind the real SDK and the CLI that it bundles."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    ProcessError,
    ResultMessage,
    SystemMessage,
    TextBlock,
)

from chatml.scripted.api import ScriptedApi
from chatml.scripted.script import Book, Script

Start = Callable[..., ScriptedApi]
Messages = list[dict[str, Any]]
LS = {"Bash": {"command": "ls"}}


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers; all are closed at the end, and leave no thread."""
    threads = set(threading.enumerate())
    servers: list[ScriptedApi] = []

    def start(script: Script, **options: Any) -> ScriptedApi:
        servers.append(ScriptedApi(script, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
    left = [thread.name for thread in threading.enumerate() if thread not in threads]
    assert not [name for name in left if "process_request" in name or "serve_forever" in name]


class Reply:
    """A response as the CLI reads it."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers = response.status, response.headers
        self.raw = response.read().decode()
        response.close()

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = [line.removeprefix("data: ") for line in self.raw.split("\n") if line.startswith('data: {"')]
        return [json.loads(line) for line in lines]

    @property
    def text(self) -> str:
        return "".join(event["delta"].get("text", "") for event in self.events if "delta" in event)

    @property
    def tools(self) -> list[tuple[str, Any]]:
        """The calls, put together from their pieces."""
        names = {e["index"]: e["content_block"].get("name") for e in self.events if e["type"] == "content_block_start"}
        pieces = [e for e in self.events if e["type"] == "content_block_delta"]
        inputs = {i: "".join(e["delta"].get("partial_json", "") for e in pieces if e["index"] == i) for i in names}
        return [(name, json.loads(inputs[index])) for index, name in names.items() if name]


def post(api: ScriptedApi, path: str, body: Any, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(api.url.removeprefix("http://"), timeout=30)
    connection.request("POST", path, json.dumps(body), {"Connection": "close", **(headers or {})})
    return connection.getresponse()


def open_stream(
    api: ScriptedApi, messages: Messages | str, session: str = "s", agent: str = "", **more: Any
) -> http.client.HTTPResponse:
    """One request of a main loop, its answer not yet read."""
    messages = [user(messages)] if isinstance(messages, str) else messages
    body = {"model": "m", "stream": True, "tools": [{"name": "Bash"}], "max_tokens": 99, "messages": messages, **more}
    headers = {"x-claude-code-session-id": session, **({"x-claude-code-agent-id": agent} if agent else {})}
    return post(api, "/v1/messages?beta=true", body, headers)


def ask(api: ScriptedApi, messages: Messages | str, session: str = "s", **more: Any) -> Reply:
    return Reply(open_stream(api, messages, session, **more))


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def called(name: str = "t1") -> Messages:
    """A tool call and its result."""
    call = {"type": "tool_use", "id": name, "name": "Bash", "input": {}}
    result = {"type": "tool_result", "tool_use_id": name, "content": "ok"}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]


def note(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def sent(text: str) -> str:
    """A message in mid-run, as the CLI passes it on."""
    return f"The user sent a new message while you were working:\n{text}\n\nThis is how Claude Code surfaces messages"


ENVIRONMENT = note("# Environment\nYou are here: \n - Primary working directory: /repo/a b\n - Platform: linux")
FILLER = said("No response requested.")


def test_an_answer_streams_its_parts_in_order(start: Start) -> None:
    texts = ["Look at\nthis.  ", {"pause": 0.01}, "More."]
    step = [*texts, {"think": "hm"}, LS, {"Read": {"file_path": "{cwd}/x"}}, {"usage": {"output_tokens": 7}}]
    api = start({"*": [step]}, delay=0.001)
    reply = ask(api, [user("hi"), ENVIRONMENT])
    blocks = [event["content_block"]["type"] for event in reply.events if event["type"] == "content_block_start"]
    assert blocks == ["text", "thinking", "tool_use", "tool_use"]
    deltas = [event["delta"] for event in reply.events if event["type"] == "content_block_delta"]
    assert [delta["text"] for delta in deltas if "text" in delta] == ["Look", " at", "\nthis.  ", "More."]
    assert reply.tools == [("Bash", {"command": "ls"}), ("Read", {"file_path": "/repo/a b/x"})]
    *_, end, stop = reply.events
    assert end["delta"]["stop_reason"] == "tool_use"
    assert end["usage"]["output_tokens"] == 7
    assert stop == {"type": "message_stop"}
    assert ask(api, "hi").events[0]["message"]["id"] != reply.events[0]["message"]["id"]


def test_an_answer_without_a_stream_is_one_message(start: Start) -> None:
    api = start({"*": [["a", "b", {"think": "hm"}, LS, {"stop": "refusal"}, {"headers": {"x-limit": "5"}}]]})
    reply = ask(api, "hi", stream=False)
    message = json.loads(reply.raw)
    assert [block["type"] for block in message["content"]] == ["text", "thinking", "tool_use"]
    assert message["content"][0]["text"] == "ab"
    assert message["stop_reason"] == "refusal"
    assert reply.headers["x-limit"] == "5"


def test_the_first_prompt_chooses_the_conversation(start: Start) -> None:
    api = start({"*": ["other"], "rate": ["rates"], "zoo": ["animals"]})
    assert ask(api, "add rate limits").text == "rates"
    assert ask(api, "hello").text == "other"
    assert ask(api, [user("hello"), said("other"), user("rate")]).text == "Done."
    assert ask(api, [user("<system-reminder>rate</system-reminder>", "zoo")]).text == "animals"
    assert ask(api, "see the zoo", agent="a1").text == "animals"
    assert ask(api, "hello", agent="a1").text == "Done.", "a subagent must not follow its parent's script"


@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        pytest.param([user("go"), *called()], "1b", id="next step"),
        pytest.param([user("go"), *called(), *called("t2")], "1c", id="third step"),
        pytest.param([user("go"), *called(), *called("t2"), *called("t3")], "Done.", id="steps ran out"),
        pytest.param([user("go"), *called(), said("1b"), user("more")], "2a", id="next turn"),
        pytest.param([user("go"), said("x"), user("y"), said("z"), user("w")], "Done.", id="turns ran out"),
        pytest.param(
            [user("go"), *called(), user("[Request interrupted by user]\n"), user("no")], "2a", id="interrupt"
        ),
        pytest.param([user("go\n", "[Request interrupted by user]\n", "no")], "2a", id="interrupt before any answer"),
        pytest.param([user("go"), FILLER, user("on")], "2a", id="killed before the first answer"),
        pytest.param([user("go"), *called(), FILLER, user("on")], "2a", id="killed in a tool"),
        pytest.param([user("go"), *called(), user("again")], "1b", id="turn failed with an API error"),
        pytest.param([user("go"), said("par"), *called()], "1b", id="what a retry leaves is no step"),
        pytest.param([user("go"), said("1"), user("Stop hook feedback:\nx")], "1b", id="hook goes on with the turn"),
        pytest.param([user("go"), said("1"), user("Output token limit hit. Go")], "1b", id="max_tokens goes on"),
        pytest.param([user("go"), *called(), note(sent("also x"))], "1b", id="mid-run message without a rule"),
        pytest.param([user("go"), *called(), note(sent("ping"))], "pong", id="mid-run message with a rule"),
        pytest.param([user("go"), *called(), note(sent("ping") + "\n\n" + sent("b"))], "pong", id="two at once"),
        pytest.param([user("go"), *called(), note(sent("ping")), *called("2")], "pong again", id="rule's next step"),
        pytest.param([user("go"), said("x"), user("ping\nand")], "pong", id="rule in a later turn"),
        pytest.param([user("go"), said("x"), user("ping"), said("pong"), user("z")], "Done.", id="rule is over"),
    ],
)
def test_the_step_follows_from_the_conversation(start: Start, messages: Messages, answer: str) -> None:
    script = {"*": {"turns": [[LS, "1b", "1c"], ["2a", "2b"]], "on": {"ping": ["pong", "pong again"]}}}
    assert ask(start(script), messages).text == answer


def test_a_compacted_conversation_goes_on_where_it_was(start: Start) -> None:
    api = start({"go": {"turns": [["1"], [LS, "2b"], ["3 {cwd}"]]}})
    history = [ENVIRONMENT, user("go"), said("1"), user("second"), *called(), said("2b")]
    ask(api, history[:-1])
    text = ask(api, [*history, user("CRITICAL: Respond with TEXT ONLY. … <summary> …")]).text
    assert api.auxiliary["compact"] == 1
    summary = user(f"This session is being continued.\nSummary:\n{text.removeprefix('<summary>')}\nGo on.")
    assert ask(api, [summary, user("third")]).text == "3 /repo/a b"
    assert ask(api, [summary, *called(), said("2b"), user("third")]).text == "3 /repo/a b", "with a tail repeated"


def test_requests_are_recorded_with_what_was_said(start: Start) -> None:
    api = start({"*": ["ok"]})
    messages = [user("go\n"), *called(), ENVIRONMENT, note(sent("one\n\ntwo")), *called("t2")]
    ask(api, messages, session="abc")
    (request,) = api.requests
    assert request.session == "abc"
    assert request.talk.texts == ("go", "one\n\ntwo")
    assert request.last == "one\n\ntwo"
    assert request.talk.cwd == "/repo/a b"
    assert request.body["messages"] == messages
    assert api.wait_for(lambda: [r.session for r in api.requests]) == ["abc"]
    with pytest.raises(TimeoutError, match="one"):
        api.wait_for(lambda: len(api.requests) > 1, 0.01)


def test_auxiliary_requests_are_told_apart(start: Start) -> None:
    api = start({"*": [{"fail": 400}]})
    schema = {"format": {"type": "json_schema", "schema": {"properties": {"title": {"type": "string"}}}}}
    assert json.loads(ask(api, "hi", tools=[], output_config=schema).text) == {"title": "Scripted session"}
    assert ask(api, "Hi", max_tokens=1).text == "Hi"
    assert "input_tokens" in json.loads(Reply(post(api, "/v1/messages/count_tokens", {})).raw)
    assert Reply(post(api, "/v1/nonsense", {})).status == 404
    connection = http.client.HTTPConnection(api.url.removeprefix("http://"), timeout=30)
    for method, body in (("HEAD", b""), ("GET", b"{}")):
        connection.request(method, "/api/hello")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, body)
    connection.close()
    assert not api.requests
    assert api.auxiliary.keys() == {"title", "probe", "count_tokens", "/v1/nonsense", "/api/hello"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "authentication_error"), (429, "rate_limit_error"), (500, "api_error"), (529, "overloaded_error")],
)
def test_http_errors(start: Start, status: int, kind: str) -> None:
    headers = {"retry-after": "3", "anthropic-ratelimit-requests-remaining": 0}
    reply = ask(start({"*": [{"fail": status, "message": "no, {prompt}", "headers": headers}]}), "sir")
    assert reply.status == status
    assert reply.headers["retry-after"] == "3"
    assert reply.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert json.loads(reply.raw)["error"] == {"type": kind, "message": "no, sir"}


def test_faults_with_times_strike_each_session_so_often_and_then_stop(start: Start) -> None:
    api = start({"*": [[{"fail": 502, "body": "bad gateway", "times": 2}, {"drop": True, "times": 1}, "fine"]]})
    for session in ("a", "b"):
        replies = [ask(api, "x", session) for _ in range(2)]
        assert [(reply.status, reply.raw) for reply in replies] == [(502, "bad gateway")] * 2
        with pytest.raises(http.client.RemoteDisconnected):
            ask(api, "x", session)
        assert [ask(api, "x", session).text for _ in range(2)] == ["fine", "fine"]


def test_a_stream_can_break_in_the_midst_of_a_text(start: Start) -> None:
    response = open_stream(start({"*": [["Half a ", {"drop": True}]]}), "x")
    with pytest.raises(http.client.IncompleteRead) as broken:
        response.read()
    assert b"content_block_delta" in broken.value.partial
    assert b"content_block_stop" not in broken.value.partial


def test_error_events_and_bad_lines(start: Start) -> None:
    api = start({"bad": [["a", {"raw": "data: {nonsense\n\n"}, "b"]], "*": [["a", {"error": "overloaded_error"}]]})
    assert ask(api, "x").events[-1]["error"]["type"] == "overloaded_error"
    assert ask(api, "x", stream=False).status == 529, "the CLI asks again so, and must learn the same"
    reply = ask(api, "bad")
    assert "data: {nonsense\n\n" in reply.raw
    assert reply.text == "ab"


def test_fifty_answers_are_held_at_once_until_released(start: Start) -> None:
    api = start({"*": [["a", {"hold": "h"}, "b"]]})
    streams = [open_stream(api, f"x{n}", session=str(n)) for n in range(50)]
    api.wait_for(lambda: api.holding["h"] == 50)
    api.release("h")
    assert [Reply(stream).text for stream in streams] == ["ab"] * 50
    api.wait_for(lambda: api.holding["h"] == 0)


def test_clients_that_go_away_leave_nothing(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    api = start({"hold": [["a", {"hold": "h"}, "b" * 10_000_000]], "*": [["a", {"hang": True}]]})
    for _ in range(3):
        response = open_stream(api, "hold")
        api.wait_for(lambda: api.holding["h"])
        response.close()
        api.wait_for(lambda: not api.holding["h"])
    unread = open_stream(api, "hold")
    open_stream(api, "x").close()
    hanging = open_stream(api, "x")
    api.release("h")
    api.close()
    with pytest.raises(http.client.IncompleteRead):
        hanging.read()
    unread.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("script", "where"),
    [
        ({"(": ["x"]}, "regular expression"),
        ({"a": "x"}, "'a': a turn is a list"),
        ({"a": {"turn": []}}, "'turn'"),
        ({"a": {"turns": [["x"], [{"sya": "x"}]]}}, "'a' turn 2 step 1: not understood"),
        ({"a": [{"say": 5}]}, "step 1"),
        ({"a": ["x", {"pause": 1, "times": 2}]}, "step 2"),
        ({"a": [{"Bash": "ls"}]}, "tool call"),
        ({"a": {"on": {"x": [[[]]]}}}, "on 'x' step 1"),
    ],
)
def test_a_mistake_in_a_script_is_named(script: Script, where: str) -> None:
    with pytest.raises(ValueError, match=re.escape(where)):
        Book(script)


def run_server(folder: Path, script: str, *options: str) -> subprocess.Popen[str]:
    (folder / "script.json").write_text(script)
    argv = [sys.executable, "-m", "chatml.scripted.api", "--script", str(folder / "script.json"), *options]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("ending", ["stdin", "terminate"])
def test_as_a_program(tmp_path: Path, ending: str) -> None:
    log = tmp_path / "log"
    with run_server(tmp_path, '{"*": [[{"hold": "h"}, "hi"]]}', "--log", str(log), "--until-stdin-closes") as server:
        assert server.stdin
        assert server.stdout
        connection = http.client.HTTPConnection(server.stdout.readline().strip().removeprefix("http://"), timeout=30)
        connection.request("POST", "/release/h")
        assert connection.getresponse().read() == b"{}"
        body = {"model": "m", "stream": True, "tools": [{}], "messages": [user("hello")]}
        connection.request("POST", "/v1/messages", json.dumps(body))
        assert Reply(connection.getresponse()).text == "hi"
        if ending == "stdin":
            server.stdin.close()
        else:
            server.terminate()
        assert server.wait(30) == 0
        connection.close()
    line = json.loads(log.read_text())
    assert (line["last"], line["turn"], line["step"]) == ("hello", 0, 0)


def test_a_bad_script_ends_the_program_with_its_mistake(tmp_path: Path) -> None:
    with run_server(tmp_path, '{"*": [{"sya": "x"}]}') as server:
        _, err = server.communicate(timeout=30)
    assert server.returncode == 2
    assert "step 1: not understood" in err
    assert "Traceback" not in err


class Agent:
    """The real SDK with its CLI, in a folder of its own, sealed from the person's settings."""

    def __init__(self, api: ScriptedApi, folder: Path) -> None:
        self.repo, self.claude = folder / "my repo", folder / "claude"
        self.repo.mkdir(parents=True, exist_ok=True)
        inherited = [key for key in os.environ if key.startswith(("CLAUDE", "ANTHROPIC", "AI_AGENT"))]
        self.env = dict.fromkeys(inherited, "") | {
            "ANTHROPIC_BASE_URL": api.url,
            "ANTHROPIC_API_KEY": "test",
            "CLAUDE_CONFIG_DIR": str(self.claude),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "HOME": str(folder),
            "TMPDIR": str(folder),
        }

    @asynccontextmanager
    async def client(self, retries: int = 1, resume: str | None = None) -> AsyncIterator[ClaudeSDKClient]:
        options = ClaudeAgentOptions(
            cwd=self.repo,
            env={**self.env, "CLAUDE_CODE_MAX_RETRIES": str(retries)},
            system_prompt={"type": "preset", "preset": "claude_code"},
            setting_sources=[],
            permission_mode="acceptEdits",
            resume=resume,
        )
        async with ClaudeSDKClient(options) as client:
            yield client

    async def noted(self, prompt: str) -> None:
        """Waits until the transcript has the prompt: the CLI asks the API before it writes."""
        for _ in range(1000):
            if any(f'"{prompt}"' in path.read_text() for path in self.claude.glob("projects/*/*.jsonl")):
                return
            await asyncio.sleep(0.02)
        raise TimeoutError(f"no transcript of {prompt!r}")


async def answer(client: ClaudeSDKClient) -> list[Message]:
    return [message async for message in client.receive_response()]


async def turn(client: ClaudeSDKClient, prompt: str) -> list[Message]:
    await client.query(prompt)
    return await answer(client)


def outcome(messages: list[Message]) -> ResultMessage:
    assert isinstance(messages[-1], ResultMessage)
    return messages[-1]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


async def reached(api: ScriptedApi, predicate: Callable[[], object]) -> None:
    await asyncio.to_thread(api.wait_for, predicate)


def test_cli_runs_tools_turns_retries_and_compacts(start: Start, tmp_path: Path) -> None:
    write = {"Write": {"file_path": "{cwd}/limit.py", "content": "# {prompt}\n"}}
    first_turn = [["Let me see.", {"think": "hm"}, LS, write], "Written."]
    broken = ["Half", {"drop": True, "times": 1}, " done."]
    api = start({"limit": {"turns": [first_turn, [broken], ["Third."]]}})
    agent = Agent(api, tmp_path)

    async def drive() -> None:
        async with agent.client() as client:
            first = await turn(client, "add a limit")
            blocks = [block for message in first if isinstance(message, AssistantMessage) for block in message.content]
            assert [b.text for b in blocks if isinstance(b, TextBlock)] == ["Let me see.", "Written."]
            assert (agent.repo / "limit.py").read_text() == "# add a limit\n"
            second = await turn(client, "now more")
            assert outcome(second).result == "Half done."
            assert [m.subtype for m in second if isinstance(m, SystemMessage)].count("api_retry") == 1
            await turn(client, "/compact")
            third = await turn(client, "and then")
            assert outcome(third).result == "Third."
            costs = [outcome(messages).total_cost_usd or 0 for messages in (first, second, third)]
            assert 0 < costs[0] < costs[1] < costs[2]

    run(drive())
    assert {request.talk.cwd for request in api.requests} == {str(agent.repo)}
    assert api.auxiliary["compact"] == 1


def test_cli_hears_messages_in_mid_run_and_interrupts(start: Start, tmp_path: Path) -> None:
    turns = [[["First", {"hold": "first"}, LS], "No message came."], [["Sl", {"hold": "never"}]], ["Third."]]
    api = start({"work": {"turns": turns, "on": {"ping": ["Pong: {prompt}"]}}})

    async def drive() -> None:
        async with Agent(api, tmp_path).client() as client:
            await client.query("work")
            await reached(api, lambda: api.holding["first"])
            await client.query("ping")
            await client.get_context_usage()  # goes through the same pipe: once answered, the message has been read
            api.release("first")
            assert outcome(await answer(client)).result == "Pong: ping"
            await client.query("second")
            await reached(api, lambda: api.holding["never"])
            await client.interrupt()
            assert outcome(await answer(client)).terminal_reason == "aborted_streaming"
            await reached(api, lambda: not api.holding["never"])
            assert outcome(await turn(client, "third")).result == "Third."

    run(drive())


def test_cli_sees_http_errors_as_what_they_are(start: Start, tmp_path: Path) -> None:
    late = {"retry-after": "3600"}
    api = start({"*": [[{"fail": 401, "times": 1}, {"fail": 429, "headers": late, "times": 1}, "Fine."]]})

    async def drive() -> None:
        async with Agent(api, tmp_path).client(retries=0) as client:
            assert [outcome(await turn(client, prompt)).api_error_status for prompt in "ab"] == [401, 429]
            assert outcome(await turn(client, "c")).result == "Fine."

    run(drive())


def test_cli_sessions_in_parallel_and_after_a_kill(start: Start, tmp_path: Path) -> None:
    alpha_turns = [["A", {"hold": "never"}]], ["Alpha goes on."]
    api = start({"alpha": {"turns": alpha_turns}, "beta": [["B", {"hold": "beta"}, "eta"]]})
    alpha, beta = Agent(api, tmp_path / "a"), Agent(api, tmp_path / "b")

    async def killed() -> None:
        async with alpha.client() as client:
            await client.query("alpha")
            await reached(api, lambda: api.holding["never"] and api.holding["beta"])
            await alpha.noted("alpha")
            os.kill((await client.get_server_info() or {})["pid"], signal.SIGKILL)
            with suppress(ProcessError):
                await answer(client)
        await reached(api, lambda: not api.holding["never"])
        (session,) = {request.session for request in api.requests if request.last == "alpha"}
        async with alpha.client(resume=session) as client:
            assert outcome(await turn(client, "on")).result == "Alpha goes on."

    async def untouched() -> None:
        async with beta.client() as client:
            assert outcome(await turn(client, "beta")).result == "Beta"

    async def drive() -> None:
        other = asyncio.create_task(untouched())
        await killed()
        assert not other.done()
        api.release("beta")
        await other

    run(drive())
    assert {request.talk.cwd for request in api.requests} == {str(alpha.repo), str(beta.repo)}
