"""A session's log as text: what `attach` and `logs` show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chatml.model import Event, Request
from chatml.render.requests import decision, request
from chatml.text import one_line, paint, printable, shorten

ASKING = ("AskUserQuestion", "ExitPlanMode")
"""Tools whose input is shown by the request that follows."""

FOLD_LINES = 8
"""Lines of a tool's output that `attach` shows; `logs` has all."""


class Transcript:
    """Renders a session's events one by one, painted; joins streamed pieces with the block that they belong to."""

    def __init__(self, worktree: str, columns: Callable[[], int] | None = None) -> None:
        """With `columns`, for a terminal of so many: long output is folded, long lines are cut. Without, all of it."""
        self._prefix = worktree.rstrip("/") + "/"
        self._columns = columns
        self._streamed = ""
        self._calls: dict[str, str] = {}

    def __call__(self, event: Event) -> str:
        """What to print for this event, with its line ends; empty for nothing."""
        data = event.data
        if event.type == "delta":
            return self._delta(str(data.get("text", "")))
        if event.type == "text":
            return self._text(str(data.get("text", "")))
        lines = "".join(line + "\n" for line in self._lines(event))
        return self._close() + lines if lines else ""

    def _delta(self, text: str) -> str:
        self._streamed += text
        return printable(text)

    def _text(self, text: str) -> str:
        """The finished block: whatever of it was not streamed already."""
        streamed, self._streamed = self._streamed, ""
        if streamed and text.startswith(streamed):
            return printable(text[len(streamed) :]) + "\n"
        start = "" if not streamed or streamed.endswith("\n") else "\n"
        if streamed and text.strip() == streamed.strip():  # a program's output, of which the block has no outer blanks
            return start
        return start + printable(text) + "\n"

    def _close(self) -> str:
        streamed, self._streamed = self._streamed, ""
        return "" if not streamed or streamed.endswith("\n") else "\n"

    def _lines(self, event: Event) -> Iterator[str]:
        data = event.data
        match event.type:
            case "message":
                yield ""
                if data.get("auto"):
                    yield paint("> (sent by chatml itself)", dim=True)
                for line in str(data.get("text", "")).splitlines():
                    yield paint("> " + printable(line), bold=True)
                yield ""
            case "thinking":
                yield from self._folded(str(data.get("text", "")), dim=True, italic=True)
            case "tool":
                yield from self._tool(data)
            case "tool_result":
                mark, color = ("ok", "green") if data.get("ok") else ("failed", "red")
                name = self._calls.get(str(data.get("id")), "")
                text = str(data.get("output", "")).strip("\n")
                if not text:
                    yield paint(f"  └ {mark}", fg=color) + (f" {name}" if self._parallel() else "")
                else:
                    yield from self._folded(text, first=paint("  └ ", fg=color), dim=True)
            case "request":
                detail = data.get("detail")
                yield from request(
                    Request(
                        str(data.get("id")),
                        str(data.get("kind")),
                        str(data.get("summary", "")),
                        detail if isinstance(detail, dict) else {},
                        event.time,
                    )
                )
            case "reply":
                yield paint(f"  {decision(data)}", fg="yellow")
            case "setup":
                yield paint("| " + printable(str(data.get("line", ""))), dim=True)
            case "error":
                yield paint(f"! {data.get('kind')}: {one_line(str(data.get('message', '')))}", fg="red")
                if data.get("hint"):
                    yield paint(f"  {one_line(str(data['hint']))}", dim=True)
            case "turn":
                yield self._turn(data)
            case _:
                return

    def _parallel(self) -> bool:
        return len(self._calls) > 1

    def _tool(self, data: Mapping[str, Any]) -> Iterator[str]:
        tool_input: Mapping[str, Any] = data.get("input") or {}
        subject = next(
            (tool_input[key] for key in ("file_path", "notebook_path", "command", "pattern", "url", "description")
             if isinstance(tool_input.get(key), str)),
            json.dumps(tool_input, ensure_ascii=False) if tool_input and data.get("name") not in ASKING else "",
        )  # fmt: skip
        text = str(subject).removeprefix(self._prefix)
        indent = "    " if data.get("parent") else ""
        head = f"{indent}● {data.get('name')} "
        lines = printable(text).splitlines() or [""]
        shown = lines[:1] if self._columns else lines
        first = shorten(shown[0], max(20, self._columns() - len(head))) if self._columns else shown[0]
        yield paint(f"{indent}● {data.get('name')}", fg="cyan") + f" {first}"
        for line in shown[1:]:
            yield f"{indent}  {line}"

    def _folded(self, text: str, first: str = "  ", **how: Any) -> Iterator[str]:
        lines = printable(text).expandtabs(4).splitlines()
        kept = lines[:FOLD_LINES] if self._columns and len(lines) > FOLD_LINES + 1 else lines
        for number, line in enumerate(kept):
            cut = shorten(line, self._columns() - 4) if self._columns else line
            yield (first if number == 0 else "    ") + paint(cut, **how)
        if len(kept) < len(lines):
            yield paint(f"    … {len(lines) - len(kept)} more lines ('chatml logs' has all)", dim=True)

    def _turn(self, data: Mapping[str, Any]) -> str:
        what = "interrupted" if data.get("interrupted") else "turn ended"
        seconds = int(data.get("duration_ms") or 0) / 1000
        return paint(f"── {what} · {seconds:.0f} s · ${float(data.get('cost_usd') or 0):.2f}", dim=True)
