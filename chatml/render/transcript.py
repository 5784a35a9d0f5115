"""A session's log as text: what `attach` and `logs` show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from chatml.model import Request, Tokens
from chatml.model.event import (
    CheckBegun,
    CheckEnded,
    Delta,
    Event,
    MessageTaken,
    Mishap,
    Replied,
    Requested,
    SetUp,
    Text,
    Thinking,
    ToldOfOthers,
    ToolCall,
    ToolResult,
    Turn,
)
from chatml.render.requests import decision, request
from chatml.text import beginning, one_line, paint, printable, shorten

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

    def __call__(self, event: Event) -> str:
        """What to print for this event, with its line ends; empty for nothing."""
        if isinstance(event.what, Delta):
            return self._delta(event.what.text)
        if isinstance(event.what, Text):
            return self._text(event.what.text)
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
        match event.what:
            case MessageTaken() as message:
                yield from _message(message)
            case ToldOfOthers(lines):
                yield ""
                for line in lines:
                    yield paint("> " + printable(line), dim=True)
            case Thinking(text):
                yield from self._folded(text, dim=True, italic=True)
            case ToolCall() as call:
                yield from self._tool(call)
            case ToolResult(ok=ok, output=text):
                mark, color = ("ok", "green") if ok else ("failed", "red")
                if text.strip("\n"):
                    yield from self._folded(text.strip("\n"), first=paint("  └ ", fg=color), dim=True)
                else:
                    yield paint(f"  └ {mark}", fg=color)
            case Requested() as one:
                yield from request(Request(one.id, one.kind, one.summary, one.detail or {}, event.time))
            case Replied() as reply:
                yield paint(f"  {decision(reply)}", fg="yellow")
            case SetUp(line):
                yield paint("| " + printable(line), dim=True)
            case CheckBegun(command):
                yield from self._check(command)
            case CheckEnded(said, text, ok):
                yield paint(f"  └ {said}", fg="green" if ok else "yellow" if ok is None else "red")
                if text:
                    yield from self._folded(text, first="    ", at_end=True, dim=True)
            case Mishap() as mishap:
                yield paint(f"! {mishap.kind}: {one_line(mishap.message)}", fg="red")
                if mishap.hint:
                    yield paint(f"  {one_line(mishap.hint)}", dim=True)
            case Turn() as turn:
                what = "interrupted" if turn.interrupted else "turn ended"
                told = turn.cost_usd or turn.tokens != Tokens()  # a program tells none
                cost = f" · ${turn.cost_usd:.2f}" if told else ""
                yield paint(f"── {what} · {turn.duration_ms / 1000:.0f} s{cost}", dim=True)

    def _tool(self, call: ToolCall) -> Iterator[str]:
        given = call.input
        subject = next(
            (given[key] for key in ("file_path", "notebook_path", "command", "pattern", "url", "description")
             if isinstance(given.get(key), str)),
            json.dumps(given, ensure_ascii=False) if given and call.name not in ASKING else "",
        )  # fmt: skip
        text = str(subject).removeprefix(self._prefix)
        indent = "    " if call.parent else ""
        head = f"{indent}● {call.name}"
        lines = printable(text).splitlines() or [""]
        shown = lines[:1] if self._columns else lines
        first = shorten(shown[0], max(20, self._columns() - len(head) - 1)) if self._columns else shown[0]
        yield paint(head, fg="cyan") + f" {first}"
        for line in shown[1:]:
            yield f"{indent}  {line}"

    def _check(self, command: str) -> Iterator[str]:
        head = paint("● check", fg="cyan")
        if self._columns:
            yield f"{head} {shorten(beginning(command), max(20, self._columns() - len('● check') - 1))}"
            return
        first, *more = printable(command).splitlines() or [""]
        yield f"{head} {first}"
        yield from (f"  {line}" for line in more)

    def _folded(self, text: str, first: str = "  ", at_end: bool = False, **how: Any) -> Iterator[str]:
        """The first lines of a text, or `at_end` its last ones, on a terminal; all of them elsewhere."""
        lines = printable(text).expandtabs(4).splitlines()
        kept = lines
        if self._columns and len(lines) > FOLD_LINES + 1:
            kept = lines[-FOLD_LINES:] if at_end else lines[:FOLD_LINES]
        left_out = paint(f"    … {len(lines) - len(kept)} more lines ('chatml logs' has all)", dim=True)
        if len(kept) < len(lines) and at_end:
            yield left_out
        for number, line in enumerate(kept):
            cut = shorten(line, self._columns() - 4) if self._columns else line
            yield (first if number == 0 else "    ") + paint(cut, **how)
        if len(kept) < len(lines) and not at_end:
            yield left_out


def _message(message: MessageTaken) -> Iterator[str]:
    yield ""
    if message.auto:
        yield paint("> (sent by chatml itself)", dim=True)
    for line in message.text.splitlines():
        yield paint("> " + printable(line), bold=True)
    yield ""
