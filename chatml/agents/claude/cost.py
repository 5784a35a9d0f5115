"""What a turn costs while it is under way: asked of the CLI itself, the only one that knows its prices.

The SDK has no method for the question that the CLI answers (`get_session_cost`, Claude Code 2.1.329). Where it is not
answered, the cost grows at the end of each turn, when the SDK tells it; that one is exact, and counts in the end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

TIMEOUT = 10.0
"""Seconds to wait for an answer that takes some milliseconds."""


def amount(text: str) -> float | None:
    """US dollars in the CLI's summary, at least: it is rounded there. None where it says nothing of the kind."""
    found = re.search(r"cost:\s+\$([\d,]+)(?:\.(\d+))?", text)
    if found is None:
        return None
    whole, part = found[1].replace(",", ""), found[2] or ""
    return max(0.0, float(f"{whole}.{part}") - float(f"5e-{len(part) + 1}"))


class Meter:
    """Asks one question at a time, beside the reader, and tells the answer if the turn is still the same."""

    def __init__(self, client: Any, tell: Callable[[float], None]) -> None:
        self._ask: Callable[..., Awaitable[dict[str, Any]]] | None = getattr(
            getattr(client, "_query", None), "_send_control_request", None
        )
        self._tell = tell
        self._asking: asyncio.Task[None] | None = None
        self._turn = 0

    def look(self) -> None:
        """The model has answered: the cost has grown."""
        if self._ask is not None and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._look(self._ask, self._turn))

    def turn_ended(self) -> None:
        """What was asked before is no longer of interest."""
        self._turn += 1

    def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _look(self, ask: Callable[..., Awaitable[dict[str, Any]]], turn: int) -> None:
        try:
            answer = await ask({"subtype": "get_session_cost"}, timeout=TIMEOUT)
            spent = amount(str(answer.get("text")))
        except Exception:  # noqa: BLE001 - whatever becomes of this question, the turn goes on
            self._ask = None
            return
        if spent is not None and turn == self._turn:
            self._tell(spent)
