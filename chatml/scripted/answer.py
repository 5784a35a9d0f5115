"""One answer of the scripted model on the wire: the parts of a step as a stream of events, or as one message."""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from chatml.scripted.script import FAULTS, Part, Step, Talk, fill

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


class Holding:
    """What answers wait for and count, shared by all connections of a server."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.changed = threading.Condition()
        self.closed = False
        self.holding: Counter[str] = Counter()
        self.released: set[str] = set()
        self._struck: Counter[object] = Counter()

    def strikes(self, part: Part, place: object) -> bool:
        """Whether a fault happens at this request (see `times`)."""
        with self.changed:
            self._struck[place] += 1
            return self._struck[place] <= int(part.options.get("times", sys.maxsize))

    def hold(self, name: str, client: socket.socket) -> None:
        self._count(name, 1)
        try:
            self.pause(None, client, lambda: name in self.released)
        finally:
            self._count(name, -1)

    def pause(self, seconds: float | None, client: socket.socket, until: Callable[[], bool] = lambda: False) -> None:
        """Waits; raises ConnectionAbortedError as soon as the server closes or the client has gone."""
        end = time.monotonic() + (sys.maxsize if seconds is None else seconds)
        while (left := end - time.monotonic()) > 0 and not until():
            with self.changed:
                self.changed.wait_for(lambda: self.closed or until(), min(left, 0.2))
            if self.closed or (select.select([client], [], [], 0)[0] and not client.recv(1, socket.MSG_PEEK)):
                raise ConnectionAbortedError

    def _count(self, name: str, change: int) -> None:
        with self.changed:
            self.holding[name] += change
            self.changed.notify_all()


class Playing:
    """Plays one step to one client; `place` names the step in its conversation, for faults that strike N times."""

    def __init__(self, http: BaseHTTPRequestHandler, gate: Holding, body: dict[str, Any], talk: Talk) -> None:
        self.http, self.gate, self.talk = http, gate, talk
        self.stream = bool(body.get("stream"))
        self.model = body.get("model", "")
        self.content: list[dict[str, Any]] = []
        self.begun = self.open = False
        self.settings: dict[str, Any] = {}

    def play(self, step: Step, place: tuple[object, ...]) -> None:
        self.settings = {part.kind: part.value for part in step if part.kind in ("usage", "stop", "headers")}
        for number, part in enumerate(step):
            if part.kind not in FAULTS:
                self._send(part)
            elif self.gate.strikes(part, (*place, number)):
                self._fault(part)
                return
        self._finish()

    def _send(self, part: Part) -> None:
        value, client = fill(part.value, self.talk), self.http.connection
        if part.kind in ("say", "think"):
            self._text("text" if part.kind == "say" else "thinking", value, part.options.get("delay", self.gate.delay))
        elif part.kind == "tool":
            self._start({"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex}", "name": part.name}, "input", {})
            self._pieces("input_json_delta", "partial_json", json.dumps(value))
            self.content[-1]["input"] = value
        elif part.kind == "pause":
            self.gate.pause(value, client)
        elif part.kind == "hold":
            self.gate.hold(value, client)
        elif part.kind == "raw":
            self._write(value.encode())

    def _text(self, kind: str, text: str, delay: float) -> None:
        if not (self.open and self.content[-1]["type"] == kind):
            self._start({"type": kind}, kind, "")
        self._pieces(f"{kind}_delta", kind, text, delay)
        self.content[-1][kind] += text

    def _pieces(self, kind: str, key: str, text: str, delay: float = 0) -> None:
        """Word by word when there is a pace, else in a few pieces."""
        pattern = r"\s*\S+(?:\s+$)?|\s+" if delay else rf"(?s).{{1,{len(text) // 3 + 1}}}"
        for piece in re.findall(pattern, text):
            self._event("content_block_delta", index=len(self.content) - 1, delta={"type": kind, key: piece})
            if delay:
                self.gate.pause(delay, self.http.connection)

    def _start(self, block: dict[str, Any], key: str, empty: Any) -> None:
        self._stop()
        self.content.append({**block, key: empty})
        self.open = True
        self._event("content_block_start", index=len(self.content) - 1, content_block={**block, key: empty})

    def _stop(self) -> None:
        if not self.open:
            return
        self.open, index = False, len(self.content) - 1
        if self.content[-1]["type"] == "thinking":
            self.content[-1]["signature"] = "c2NyaXB0ZWQ="
            delta = {"type": "signature_delta", "signature": self.content[-1]["signature"]}
            self._event("content_block_delta", index=index, delta=delta)
        self._event("content_block_stop", index=index)

    def _fault(self, part: Part) -> None:
        options, kind = part.options, part.value
        if part.kind == "fail" and not self.begun:
            kind = options.get("type", ERROR_TYPES.get(part.value, "api_error"))
            body = options.get("body", _error(kind, options))
            send(self.http, part.value, fill(body, self.talk), options.get("headers"))
        elif part.kind == "error" and self.stream:
            self._event("error", error=_error(kind, options)["error"])
            self._end()
        elif part.kind == "error":
            # The CLI asks again without a stream after an error event: there it is a status.
            status = next((status for status, name in ERROR_TYPES.items() if name == kind), 500)
            send(self.http, status, _error(kind, options))
        else:
            if part.kind == "hang":
                self.gate.pause(None, self.http.connection)
            self.http.close_connection = True

    def _finish(self) -> None:
        self._stop()
        calls = any(block["type"] == "tool_use" for block in self.content)
        reason = self.settings.get("stop", "tool_use" if calls else "end_turn")
        if self.stream:
            self._event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=self._usage())
            self._event("message_stop")
            self._end()
        else:
            send(self.http, 200, self._message(self.content, reason, self._usage()), self.settings.get("headers"))

    def _usage(self) -> dict[str, Any]:
        return {**USAGE, **self.settings.get("usage", {})}

    def _message(self, content: list[dict[str, Any]], reason: str | None, usage: dict[str, Any]) -> dict[str, Any]:
        """The id is new each time: the CLI takes answers with the same id for one."""
        head = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant", "model": self.model}
        return {**head, "content": content, "stop_reason": reason, "stop_sequence": None, "usage": usage}

    def _event(self, kind: str, **data: Any) -> None:
        self._write(f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode())

    def _write(self, data: bytes) -> None:
        if not self.stream:
            return
        if not self.begun:
            self._begin()
        self.http.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _begin(self) -> None:
        self.begun = True
        head = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked", **self.settings.get("headers", {})}
        _head(self.http, 200, head)
        self._event("message_start", message=self._message([], None, {**self._usage(), "output_tokens": 1}))

    def _end(self) -> None:
        if self.stream:
            self.http.wfile.write(b"0\r\n\r\n")


def _error(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": options.get("message", kind)}}


def send(http: BaseHTTPRequestHandler, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    """A whole response: JSON, or a text as it is."""
    payload = (body if isinstance(body, str) else json.dumps(body)).encode()
    kind = "text/plain" if isinstance(body, str) else "application/json"
    _head(http, status, {"Content-Type": kind, "Content-Length": str(len(payload)), **(headers or {})})
    if http.command != "HEAD":
        http.wfile.write(payload)


def _head(http: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    http.send_response(status)
    for key, value in headers.items():
        http.send_header(key, str(value))
    http.end_headers()
