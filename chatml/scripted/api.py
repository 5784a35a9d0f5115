"""A scripted Messages API on loopback: stands in for the model behind the real agent (the language: `script.py`)."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, TypeVar

from chatml.scripted.answer import Holding, Playing, send
from chatml.scripted.script import DONE, Book, Part, Script, Step, Talk, read_talk, summary

T = TypeVar("T")


@dataclass(frozen=True)
class Received:
    """One request of an agent's main loop; `time` is `time.monotonic()`, `agent` the id of a subagent."""

    time: float
    session: str
    agent: str | None
    talk: Talk
    body: dict[str, Any] = field(repr=False)

    @property
    def last(self) -> str:
        """What the user said since the answer before."""
        return self.talk.last


class ScriptedApi:
    """Serves a script on 127.0.0.1 from construction to `close()`; `delay` is the pace of text, in seconds a word.

    `requests` are those of main loops, `auxiliary` counts the others by kind, `holding` the answers now at each hold.
    Raises ValueError where the script is none, OSError where the port is taken.
    """

    def __init__(self, script: Script, port: int = 0, log: Path | None = None, delay: float = 0) -> None:
        self.book = Book(script)
        self.gate = Holding(delay)
        self.requests: list[Received] = []
        self.auxiliary: Counter[str] = Counter()
        self.holding = self.gate.holding
        self._places: dict[str, str] = {}
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
        with self.gate.changed:
            self.gate.closed = True
            self.gate.changed.notify_all()
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join()

    def release(self, *names: str) -> None:
        """Lets every `hold` of these names go on, now and from now on."""
        with self.gate.changed:
            self.gate.released.update(names)
            self.gate.changed.notify_all()

    def wait_for(self, predicate: Callable[[], T], timeout: float = 30) -> T:
        """The first true value of the predicate, asked again at each change. Raises TimeoutError after `timeout` s."""
        with self.gate.changed:
            if not (value := self.gate.changed.wait_for(predicate, timeout)):
                seen = [(r.session[:8], r.talk.turn, r.talk.step, r.last[:60]) for r in self.requests]
                raise TimeoutError(f"not reached in {timeout} s; requests: {seen}; holding: {dict(self.holding)}")
            return value

    def record(self, request: Received) -> Received:
        """Notes a request; its directory is remembered, since a compacted conversation states it no more."""
        with self.gate.changed:
            cwd = request.talk.cwd or self._places.get(request.session)
            request = replace(request, talk=replace(request.talk, cwd=cwd))
            if cwd:
                self._places[request.session] = cwd
            self.requests.append(request)
            self._write_log(request)
            self.gate.changed.notify_all()
        return request

    def count(self, kind: str) -> None:
        with self.gate.changed:
            self.auxiliary[kind] += 1
            self.gate.changed.notify_all()

    def _write_log(self, request: Received) -> None:
        if self._log:
            line = {"time": request.time, "session": request.session, "agent": request.agent, **vars(request.talk)}
            with self._log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")


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
        """A client that goes away is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: standard error belongs to the program around."""

    def do_GET(self) -> None:
        self.server.api.count(self.path)
        send(self, 200 if self.path == "/api/hello" else 404, {})

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        if path.startswith("/release/"):
            self.server.api.release(path.removeprefix("/release/"))
            send(self, 200, {})
        elif path == "/v1/messages/count_tokens":
            self.server.api.count("count_tokens")
            send(self, 200, {"input_tokens": len(data) // 4})
        elif path == "/v1/messages":
            self._messages(json.loads(data))
        else:
            self.server.api.count(path)
            send(self, 404, {"type": "error", "error": {"type": "not_found_error", "message": f"no {path} here"}})

    def _messages(self, body: dict[str, Any]) -> None:
        api, talk = self.server.api, read_talk(body)
        kind, step = _auxiliary(body, talk)
        session, agent = self._session(body), self.headers.get("x-claude-code-agent-id")
        if step is None:
            talk = api.record(Received(time.monotonic(), session, agent, talk, body)).talk
            step = api.book.step(talk, subagent=agent is not None)
        else:
            api.count(kind)
        Playing(self, api.gate, body, talk).play(step, (session, agent, id(step)))

    def _session(self, body: dict[str, Any]) -> str:
        if header := self.headers.get("x-claude-code-session-id"):
            return header
        with suppress(ValueError, TypeError, KeyError):
            return str(json.loads(body["metadata"]["user_id"])["session_id"])
        return ""


def _auxiliary(body: dict[str, Any], talk: Talk) -> tuple[str, Step | None]:
    """What the CLI asks beside its main loop, and a harmless answer; no step for the main loop itself."""
    schema = body.get("output_config", {}).get("format", {}).get("schema")
    if schema and not body.get("tools"):
        return "title", (Part("say", json.dumps(dict.fromkeys(schema.get("properties", {}), "Scripted session"))),)
    if body.get("max_tokens") == 1:
        return "probe", (Part("say", "Hi"),)
    if talk.compacting:
        return "compact", (Part("say", summary(talk)),)
    if not body.get("tools"):
        return "other", DONE
    return "main", None


def main(argv: list[str] | None = None) -> None:
    """`python -m chatml.scripted.api`: prints the address, serves until SIGTERM (or the end of standard input)."""
    parser = argparse.ArgumentParser(prog="chatml.scripted.api", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    what = "a JSON file in the language of chatml.scripted.script"
    parser.add_argument("--script", type=Path, required=True, help=what)
    parser.add_argument("--log", type=Path, help="append one JSON line for each request of a main loop")
    parser.add_argument("--delay", type=float, default=0, help="seconds between words of text")
    parser.add_argument("--until-stdin-closes", action="store_true")
    args = parser.parse_args(argv)
    try:
        api = ScriptedApi(json.loads(args.script.read_text("utf-8")), args.port, args.log, args.delay)
    except (OSError, ValueError) as err:
        parser.error(str(err))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with api, suppress(KeyboardInterrupt):
        print(api.url, flush=True)
        if args.until_stdin_closes:
            sys.stdin.buffer.read()
        else:
            threading.Event().wait()


if __name__ == "__main__":
    main()
