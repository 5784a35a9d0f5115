"""A scripted Messages API on loopback: stands in for the model behind the real agent (the language: `script.py`)."""

from __future__ import annotations

import argparse
import json
import re
import select
import signal
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, TypeVar

from chatml.demo.script import DONE, FAULTS, Book, Part, Script, Step, Talk, fill, read_talk, summary

T = TypeVar("T")

#: Tokens of an answer that sets none: fixed, so that a test can compute the cost.
USAGE = {"input_tokens": 1000, "output_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
#: Error types by status, from https://docs.anthropic.com/en/api/errors
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass(frozen=True)
class Request:
    """One request of an agent's main loop; `time` is `time.monotonic()`, `agent` is the id of a subagent."""

    time: float
    session: str
    agent: str | None
    talk: Talk
    body: dict[str, Any] = field(repr=False)

    @property
    def last(self) -> str:
        """The newest user text."""
        return self.talk.last


class ScriptedApi:
    """Serves a script on 127.0.0.1 from construction to `close()`; `delay` is the pace of text, seconds a word.

    Raises ValueError where the script is none, OSError where the port is taken.
    """

    def __init__(self, script: Script, port: int = 0, log: Path | None = None, delay: float = 0) -> None:
        self.book = Book(script)
        self.delay = delay
        self.closed = False
        self.requests: list[Request] = []
        self.auxiliary: Counter[str] = Counter()
        self.holding: Counter[str] = Counter()
        self._released: set[str] = set()
        self._struck: Counter[object] = Counter()
        self._places: dict[str, str] = {}
        self._changed = threading.Condition()
        self._log = log
        self._server = _Server(self, port)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> ScriptedApi:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends every connection and thread; harmless when called twice."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join()

    def release(self, name: str) -> None:
        """Lets every `hold` of that name go on, now and from now on."""
        with self._changed:
            self._released.add(name)
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[], T], timeout: float = 30) -> T:
        """The first true value of the predicate, asked again at each change. Raises TimeoutError after `timeout` s."""
        with self._changed:
            if not (value := self._changed.wait_for(predicate, timeout)):
                seen = [(r.session[:8], r.talk.turn, r.talk.step, r.last[:60]) for r in self.requests]
                raise TimeoutError(f"not reached in {timeout} s; requests: {seen}; holding: {dict(self.holding)}")
            return value

    def record(self, body: dict[str, Any], talk: Talk, session: str, agent: str | None) -> None:
        request = Request(time.monotonic(), session, agent, talk, body)
        with self._changed:
            self.requests.append(request)
            if self._log:
                line = {"time": request.time, "session": session, "agent": agent, **vars(talk)}
                with self._log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
            self._changed.notify_all()

    def count(self, kind: str) -> None:
        with self._changed:
            self.auxiliary[kind] += 1
            self._changed.notify_all()

    def place(self, session: str, cwd: str | None) -> str | None:
        """The agent's directory; remembered, since a compacted conversation states it no more."""
        with self._changed:
            return self._places.setdefault(session, cwd) if cwd else self._places.get(session)

    def strikes(self, part: Part, key: object) -> bool:
        """Whether a fault happens at this request (see `times`)."""
        with self._changed:
            self._struck[key] += 1
            return self._struck[key] <= part.options.get("times", sys.maxsize)

    def hold(self, name: str, client: socket.socket) -> None:
        with self._changed:
            self.holding[name] += 1
            self._changed.notify_all()
        try:
            self.pause(None, client, lambda: name in self._released)
        finally:
            with self._changed:
                self.holding[name] -= 1
                self._changed.notify_all()

    def pause(self, seconds: float | None, client: socket.socket, until: Callable[[], bool] = lambda: False) -> None:
        """Waits; raises ConnectionAbortedError as soon as this server closes or the client has gone."""
        end = time.monotonic() + (sys.maxsize if seconds is None else seconds)
        while (left := end - time.monotonic()) > 0 and not until():
            with self._changed:
                self._changed.wait_for(lambda: self.closed or until(), min(left, 0.2))
            if self.closed or (select.select([client], [], [], 0)[0] and not client.recv(1, socket.MSG_PEEK)):
                raise ConnectionAbortedError


class _Server(ThreadingTCPServer):
    """Knows its open connections, so that none outlives it."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, api: ScriptedApi, port: int) -> None:
        self.api = api
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: standard error belongs to the program around."""

    def do_GET(self) -> None:
        self.server.api.count(self.path)
        self.reply(200 if self.path == "/api/hello" else 404, {})

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        if path.startswith("/release/"):
            self.server.api.release(path.removeprefix("/release/"))
            self.reply(200, {})
        elif path == "/v1/messages/count_tokens":
            self.server.api.count("count_tokens")
            self.reply(200, {"input_tokens": len(data) // 4})
        elif path == "/v1/messages":
            self._messages(json.loads(data))
        else:
            self.fail(404, "not_found_error", f"no {path} here")

    def _messages(self, body: dict[str, Any]) -> None:
        talk = read_talk(body)
        api = self.server.api
        kind, step = _auxiliary(body, talk)
        session, agent = self._session(body), self.headers.get("x-claude-code-agent-id")
        if step is None:
            talk = replace(talk, cwd=api.place(session, talk.cwd))
            api.record(body, talk, session, agent)
            step = api.book.step(talk, subagent=agent is not None)
        else:
            api.count(kind)
        _Answer(self, body, talk, (session, agent, talk.turn, talk.step, talk.last)).play(step)

    def _session(self, body: dict[str, Any]) -> str:
        if header := self.headers.get("x-claude-code-session-id"):
            return header
        with suppress(ValueError, TypeError, KeyError):
            return str(json.loads(body["metadata"]["user_id"])["session_id"])
        return ""

    def reply(self, status: int, data: Any, headers: dict[str, str] | None = None) -> None:
        payload = json.dumps(data).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    def fail(self, status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> None:
        self.reply(status, {"type": "error", "error": {"type": kind, "message": message}}, headers)


class _Answer:
    """Plays one step to one client, as a stream of events or as one message."""

    def __init__(self, handler: _Handler, body: dict[str, Any], talk: Talk, key: tuple[object, ...]) -> None:
        self.handler, self.api, self.talk, self.key = handler, handler.server.api, talk, key
        self.stream = bool(body.get("stream"))
        self.model = body.get("model", "")
        self.content: list[dict[str, Any]] = []
        self.begun = False

    def play(self, step: Step) -> None:
        settings = {part.kind: part.value for part in step if part.kind in ("usage", "stop")}
        usage = {**USAGE, **settings.get("usage", {})}
        self.message = {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**usage, "output_tokens": 1},
        }
        for number, part in enumerate(step):
            if part.kind not in FAULTS:
                self._send(part)
            elif self.api.strikes(part, (*self.key, number)):
                return self._fault(part)
        reason = "tool_use" if any(block["type"] == "tool_use" for block in self.content) else "end_turn"
        return self._finish(settings.get("stop", reason), usage)

    def _send(self, part: Part) -> None:
        client, value = self.handler.connection, fill(part.value, self.talk)
        if part.kind == "say":
            self._block({"type": "text"}, "text", value, part.options.get("delay", self.api.delay))
        elif part.kind == "think":
            self._block({"type": "thinking", "signature": "c2NyaXB0ZWQ="}, "thinking", value, self.api.delay)
        elif part.kind == "tool":
            block = {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex}", "name": part.name}
            self._block(block, "input", value, 0)
        elif part.kind == "pause":
            self.api.pause(value, client)
        elif part.kind == "hold":
            self.api.hold(value, client)
        elif part.kind == "raw":
            self._write(value.encode())

    def _block(self, block: dict[str, Any], key: str, value: Any, delay: float) -> None:
        """One content block; text goes word by word when it has a pace, else in three pieces."""
        index, empty = len(self.content), {} if key == "input" else ""
        self.content.append({**block, key: value})
        self._event("content_block_start", index=index, content_block={**block, key: empty})
        text = json.dumps(value) if key == "input" else value
        size = len(text) // 3 + 1
        for piece in re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text) if delay else re.findall(rf"(?s).{{1,{size}}}", text):
            self._event("content_block_delta", index=index, delta=_delta(key, piece))
            if delay:
                self.api.pause(delay, self.handler.connection)
        if "signature" in block:
            delta = {"type": "signature_delta", "signature": block["signature"]}
            self._event("content_block_delta", index=index, delta=delta)
        self._event("content_block_stop", index=index)

    def _fault(self, part: Part) -> None:
        options = part.options
        if part.kind == "fail" and not self.begun:
            kind = options.get("type", ERROR_TYPES.get(part.value, "api_error"))
            self.handler.fail(part.value, kind, options.get("message", kind), options.get("headers"))
        elif part.kind == "error":
            error = {"type": part.value, "message": options.get("message", part.value)}
            self._event("error", error=error)
            self._end()
        else:
            if part.kind == "hang":
                self.api.pause(None, self.handler.connection)
            self.handler.close_connection = True

    def _finish(self, reason: str, usage: dict[str, Any]) -> None:
        if self.stream:
            self._event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)
            self._event("message_stop")
            self._end()
        else:
            self.handler.reply(200, {**self.message, "content": self.content, "stop_reason": reason, "usage": usage})

    def _event(self, kind: str, **data: Any) -> None:
        if self.stream and not self.begun:
            self._begin()
        self._write(f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode())

    def _begin(self) -> None:
        self.begun = True
        self.handler.send_response(200)
        self.handler.send_header("Content-Type", "text/event-stream")
        self.handler.send_header("Transfer-Encoding", "chunked")
        self.handler.end_headers()
        self._event("message_start", message=self.message)

    def _write(self, data: bytes) -> None:
        if self.stream:
            self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _end(self) -> None:
        if self.stream:
            self.handler.wfile.write(b"0\r\n\r\n")


def _delta(key: str, piece: str) -> dict[str, str]:
    if key == "input":
        return {"type": "input_json_delta", "partial_json": piece}
    return {"type": f"{key}_delta", key: piece}


def _auxiliary(body: dict[str, Any], talk: Talk) -> tuple[str, Step | None]:
    """What the CLI asks beside its main loop, and a harmless answer; no step for the main loop itself."""
    schema = body.get("output_config", {}).get("format", {}).get("schema")
    if schema and not body.get("tools"):
        return "title", (Part("say", json.dumps(dict.fromkeys(schema.get("properties", {}), "Scripted session"))),)
    if body.get("max_tokens") == 1:
        return "probe", (Part("say", "Hi"),)
    if "<summary>" in talk.last and "Respond with TEXT ONLY" in talk.last:
        return "compact", (Part("say", summary(talk)),)
    if not body.get("tools"):
        return "other", DONE
    return "main", None


def main(argv: list[str] | None = None) -> None:
    """`python -m chatml.demo.api`: prints the address, serves until SIGTERM (or the end of standard input)."""
    parser = argparse.ArgumentParser(prog="chatml.demo.api", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path, required=True, help="a JSON file in the language of chatml.demo.script")
    parser.add_argument("--log", type=Path, help="append one JSON line for each request of a main loop")
    parser.add_argument("--delay", type=float, default=0, help="seconds between words of text")
    parser.add_argument("--until-stdin-closes", action="store_true")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ScriptedApi(json.loads(args.script.read_text("utf-8")), args.port, args.log, args.delay) as api:
        print(api.url, flush=True)
        with suppress(KeyboardInterrupt):
            if args.until_stdin_closes:
                sys.stdin.buffer.read()
            else:
                threading.Event().wait()


if __name__ == "__main__":
    main()
