"""What the Agent SDK reports, as an agent's signals; every error of the API as what it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import claude_agent_sdk as sdk

from chatml.agents.base import (
    Answered,
    Denied,
    Idle,
    Signal,
    Spent,
    Started,
    Taken,
    Trouble,
    TurnEnd,
    summarize,
    used_up,
)
from chatml.errors import Kind
from chatml.model import Failure, Session, Tokens
from chatml.model.event import Delta, Text, Thinking, ToolCall, ToolResult

HINTS = {
    Kind.AUTH: "set ANTHROPIC_API_KEY, or log in by running 'claude' once; then 'chatml resume {name}'",
    Kind.RATE_LIMIT: "wait for the limit to reset, then 'chatml resume {name}'",
    Kind.OVERLOADED: "the service is overloaded: try again in a while with 'chatml resume {name}'",
    Kind.NETWORK: "check the network and ANTHROPIC_BASE_URL, then 'chatml resume {name}'",
    Kind.AGENT: "see 'chatml logs {name}'; go on with 'chatml send {name} …'",
}


class Translator:
    """Turns the SDK's messages into signals; remembers what only a later message explains."""

    def __init__(self, session: Session, carried: float | None = None) -> None:
        """`carried` is the cost that the CLI goes on counting from, where it tells.

        Less than we know of means that it was killed before it wrote its count down: what the turn had cost by then
        is counted with the next one. More, that it went on for a moment after a worker that was.
        """
        self._session = session
        known = session.exchange.reported_usd
        self._total = known if carried is None else min(carried - session.exchange.running_usd, known)
        self._answer: str | None = None
        self._api_error: tuple[str, str] | None = None
        self._resets_at: int | None = None

    def __call__(self, message: sdk.Message) -> Iterator[Signal]:
        match message:
            case sdk.StreamEvent():
                yield from _delta(message)
            case sdk.AssistantMessage():
                yield from self._assistant(message)
            case sdk.UserMessage():
                yield from _user(message)
            case sdk.ResultMessage():
                yield self._turn_end(message)
            case sdk.RateLimitEvent():
                self._resets_at = message.rate_limit_info.resets_at
            case sdk.SystemMessage():
                yield from self._system(message)
            case _:
                pass

    def _assistant(self, message: sdk.AssistantMessage) -> Iterator[Signal]:
        if message.error:
            text = " ".join(block.text for block in message.content if isinstance(block, sdk.TextBlock))
            self._api_error = (str(message.error), text)
            return  # it is told once, by the end of the turn
        if message.parent_tool_use_id is None and message.message_id != self._answer:
            self._answer = message.message_id  # each of its blocks comes as a message
            yield Answered()
        for block in message.content:
            match block:
                case sdk.TextBlock() if block.text.strip() and message.parent_tool_use_id is None:
                    yield Text(block.text)
                case sdk.ThinkingBlock() if block.thinking.strip() and message.parent_tool_use_id is None:
                    yield Thinking(block.thinking)
                case sdk.ToolUseBlock():
                    yield ToolCall(block.id, block.name, block.input, message.parent_tool_use_id)
                case _:
                    pass

    def _system(self, message: sdk.SystemMessage) -> Iterator[Signal]:
        data = message.data
        match message.subtype:
            case "init":
                yield Started(str(data.get("session_id")), data.get("model"))
            case "status" if data.get("user_message_uuids"):
                yield Taken(tuple(map(str, data["user_message_uuids"])))  # it asks the model with these now
            case "session_state_changed" if data.get("state") == "idle":
                yield Idle()
            case "api_retry":
                failure = self._classify(str(data.get("error")), data.get("error_status"), "")
                yield Trouble(
                    failure,
                    int(data.get("attempt") or 0),
                    int(data.get("max_retries") or 0),
                    int(data.get("retry_delay_ms") or 0),
                )
            case "permission_denied":
                tool = str(data.get("tool_name") or "a tool")
                yield Denied(tool, summarize(tool, data.get("tool_input") or {}, self._session.worktree))
            case _:
                pass

    def spent(self, total: float) -> Spent:
        """What the turn under way has cost, where the conversation has cost so much."""
        return Spent(max(0.0, total - self._total))

    def _turn_end(self, message: sdk.ResultMessage) -> TurnEnd:
        total = message.total_cost_usd or 0.0
        # The CLI counts per conversation, also over resumes; a smaller number means that it began a new one.
        cost = total - self._total if total >= self._total else total
        self._total = total
        failure = self._failure(message)
        self._api_error = None
        interrupted = str(message.terminal_reason or "").startswith("aborted")
        return TurnEnd(
            result=None if failure or interrupted else message.result,
            cost_usd=cost,
            total_cost_usd=total,
            tokens=_tokens(message.usage or {}),
            duration_ms=message.duration_ms,
            taken=tuple(message.user_message_uuids or ()),
            failure=None if interrupted else failure,
            interrupted=interrupted,
        )

    def _failure(self, message: sdk.ResultMessage) -> Failure | None:
        if not message.is_error and message.subtype == "success":
            return None
        if message.subtype == "error_max_budget_usd":
            return used_up(self._session, Kind.BUDGET)
        if message.subtype == "error_max_turns":
            return used_up(self._session, Kind.MAX_TURNS)
        code, text = self._api_error or ("unknown", message.result or " ".join(message.errors or ()) or message.subtype)
        return self._classify(code, message.api_error_status, text or message.result or "")

    def _classify(self, code: str, status: Any, text: str) -> Failure:
        """An API error by its code and HTTP status (table in Claude Code's behaviour, measured with 2.1.329)."""
        said = " ".join(text.split()) or code.replace("_", " ")
        if code == "authentication_failed" or status in (401, 403):
            return self._fail(Kind.AUTH, said)
        if code == "rate_limit" or status == 429:
            return self._fail(Kind.RATE_LIMIT, said + self._reset())
        if code == "overloaded" or status == 529 or (isinstance(status, int) and status >= 500):
            return self._fail(Kind.OVERLOADED, said)
        if code == "server_error" and status is None:
            kind = Kind.OVERLOADED if "overloaded" in said.lower() else Kind.NETWORK
            return self._fail(kind, said)
        return self._fail(Kind.AGENT, said)

    def _reset(self) -> str:
        if self._resets_at is None:
            return ""
        return f" (resets at {datetime.fromtimestamp(self._resets_at).strftime('%Y-%m-%d %H:%M')})"

    def _fail(self, kind: Kind, message: str) -> Failure:
        hint = HINTS[kind].format(name=self._session.name)
        return Failure(kind.value, message, hint)


def _delta(message: sdk.StreamEvent) -> Iterator[Signal]:
    event = message.event
    if message.parent_tool_use_id is None and event.get("type") == "content_block_delta":
        delta = event.get("delta", {})
        if delta.get("type") == "text_delta" and delta.get("text"):
            yield Delta(delta["text"])


def _user(message: sdk.UserMessage) -> Iterator[Signal]:
    blocks = message.content if isinstance(message.content, list) else []
    results = [block for block in blocks if isinstance(block, sdk.ToolResultBlock)]
    for block in results:
        yield ToolResult(block.tool_use_id, not block.is_error, _plain(block.content), message.parent_tool_use_id)
    if message.uuid and not results and message.parent_tool_use_id is None:
        yield Taken((message.uuid,))


def _plain(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or f"[{part.get('type', 'data')}]") for part in content)
    return content or ""


def _tokens(usage: dict[str, Any]) -> Tokens:
    return Tokens(
        int(usage.get("input_tokens") or 0),
        int(usage.get("output_tokens") or 0),
        int(usage.get("cache_read_input_tokens") or 0),
        int(usage.get("cache_creation_input_tokens") or 0),
    )
