"""Sessions and events as text for people: rows of `ls`, the transcript of `attach` and `logs`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from chatml import output
from chatml.model import Changes, Event, Session, Status, parse_time

STATUS_COLORS: Mapping[Status, str] = {
    Status.QUEUED: "white",
    Status.PREPARING: "cyan",
    Status.RUNNING: "blue",
    Status.WAITING: "yellow",
    Status.DONE: "green",
    Status.FAILED: "red",
    Status.STOPPED: "magenta",
    Status.CRASHED: "red",
}

FOLD_LINES = 8
"""Lines of a tool's output that `attach` shows; `logs` has all."""

LEAST_ACTIVITY = 16
"""Columns that `ls` keeps for what a session does, however narrow the terminal."""


def age(since: str) -> str:
    """Time since then in its largest unit: `45s`, `12m`, `3h`, `9d`."""
    seconds = max(0, int((datetime.now(timezone.utc) - parse_time(since)).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def changes(counted: Changes | None) -> str:
    """`3 files +120 -4`, with a star while some of it is uncommitted; empty for none."""
    if counted is None or (not counted.files and not counted.uncommitted):
        return ""
    noun = "file" if counted.files == 1 else "files"
    star = " *" if counted.uncommitted else ""
    return f"{counted.files} {noun} +{counted.insertions} -{counted.deletions}{star}"


def activity(session: Session) -> str:
    """What the session is doing or needs, in one line."""
    if session.request is not None:
        text = f"needs: {session.request.summary}"
    elif session.status is Status.CRASHED:
        text = f"worker died; chatml resume {session.name}"
    elif session.error is not None and session.status is Status.FAILED:
        text = f"{session.error.kind}: {session.error.message}"
    elif session.activity:
        text = session.activity
    elif session.status is Status.STOPPED:
        text = f"chatml resume {session.name}"
    else:
        denied = f"[{session.denied} denied] " if session.denied else ""
        text = denied + (session.result or session.prompt).strip().partition("\n")[0]
    return output.one_line(text)


def pull_request(session: Session) -> str:
    if session.pr is None:
        return ""
    return f"#{session.pr.number}" + ("" if session.pr.state == "open" else f" {session.pr.state}")


def by_need(sessions: Sequence[Session]) -> list[Session]:
    """Those that need a person first, then the active ones, then the rest; newest first within each."""
    rank = {Status.WAITING: 0, Status.FAILED: 1, Status.CRASHED: 1, Status.RUNNING: 2, Status.PREPARING: 2}
    newest = sorted(sessions, key=lambda session: session.created_at, reverse=True)
    return sorted(newest, key=lambda session: rank.get(session.status, 3 if session.status is Status.QUEUED else 4))


def session_table(sessions: Sequence[Session], columns: int | None) -> str:
    """The rows of `ls`, fitted into so many columns; None for a pipe, where nothing is cut."""
    headers = ["NAME", "STATUS", "ACTIVITY", "CHANGES", "COST", "AGE", "PR"]
    rows = [
        [
            session.name,
            session.status.value,
            activity(session),
            changes(session.changes),
            f"${session.cost_usd:.2f}" if session.cost_usd else "",
            age(session.created_at),
            pull_request(session),
        ]
        for session in by_need(sessions)
    ]
    # A column that says nothing takes no room.
    kept = [i for i, _ in enumerate(headers) if i < 3 or any(row[i] for row in rows)]
    headers, rows = [headers[i] for i in kept], [[row[i] for i in kept] for row in rows]
    if columns is not None:
        _fit(headers, rows, columns)
    return output.table([_paint(row) for row in rows], headers)


def _fit(headers: list[str], rows: list[list[str]], columns: int) -> None:
    """Shorten the activity, and where that's not enough the names, until a row fits."""
    widths = [max(output.display_width(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    gaps = 2 * (len(widths) - 1)
    spare = columns - gaps - sum(widths) + widths[2]
    room = min(widths[2], max(LEAST_ACTIVITY, spare))
    name = min(widths[0], max(8, widths[0] + columns - gaps - sum(widths) + widths[2] - room))
    for row in rows:
        row[0], row[2] = output.shorten(row[0], name), output.shorten(row[2], room)


def _paint(row: list[str]) -> list[str]:
    row[1] = output.style(row[1], fg=STATUS_COLORS[Status(row[1])])
    return row


# --- the transcript ---------------------------------------------------------------------------------------------


class Transcript:
    """Renders a session's events one by one; joins streamed pieces with the block that they belong to."""

    def __init__(self, worktree: str, fold: bool) -> None:
        self._prefix = worktree.rstrip("/") + "/"
        self._fold = fold
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
        return output.printable(text)

    def _text(self, text: str) -> str:
        """The finished block: whatever of it was not streamed already."""
        streamed, self._streamed = self._streamed, ""
        if streamed and text.startswith(streamed):
            return output.printable(text[len(streamed) :]) + "\n"
        start = "" if not streamed or streamed.endswith("\n") else "\n"
        if streamed and text.strip() == streamed.strip():  # a program's output, of which the block has no outer blanks
            return start
        return start + output.printable(text) + "\n"

    def _close(self) -> str:
        streamed, self._streamed = self._streamed, ""
        return "" if not streamed or streamed.endswith("\n") else "\n"

    def _lines(self, event: Event) -> Iterator[str]:
        data = event.data
        match event.type:
            case "message":
                yield ""
                for line in str(data.get("text", "")).splitlines():
                    yield output.style("> " + output.printable(line), bold=True)
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
                    yield output.style(f"  └ {mark}", fg=color) + (f" {name}" if self._parallel() else "")
                else:
                    yield from self._folded(text, first=output.style("  └ ", fg=color), dim=True)
            case "request":
                yield output.style(
                    f"? {data.get('kind')}: {output.one_line(str(data.get('summary', '')))}", fg="yellow"
                )
            case "reply":
                yield output.style(
                    f"  {data.get('decision')}: {output.one_line(str(data.get('message') or ''))}", fg="yellow"
                )
            case "setup":
                yield output.style("| " + output.printable(str(data.get("line", ""))), dim=True)
            case "error":
                yield output.style(f"! {data.get('kind')}: {output.one_line(str(data.get('message', '')))}", fg="red")
                if data.get("hint"):
                    yield output.style(f"  {output.one_line(str(data['hint']))}", dim=True)
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
            json.dumps(tool_input, ensure_ascii=False) if tool_input else "",
        )  # fmt: skip
        text = str(subject).removeprefix(self._prefix)
        indent = "    " if data.get("parent") else ""
        head = f"{indent}● {data.get('name')} "
        lines = output.printable(text).splitlines() or [""]
        shown = lines if not self._fold else lines[:1]
        first = shown[0] if not self._fold else output.shorten(shown[0], max(20, output.width() - len(head)))
        yield output.style(f"{indent}● {data.get('name')}", fg="cyan") + f" {first}"
        for line in shown[1:]:
            yield f"{indent}  {line}"

    def _folded(self, text: str, first: str = "  ", **how: Any) -> Iterator[str]:
        lines = output.printable(text).expandtabs(4).splitlines()
        kept = lines[:FOLD_LINES] if self._fold and len(lines) > FOLD_LINES + 1 else lines
        room = output.width() - 4
        for number, line in enumerate(kept):
            cut = output.shorten(line, room) if self._fold else line
            yield (first if number == 0 else "    ") + output.style(cut, **how)
        if len(kept) < len(lines):
            yield output.style(f"    … {len(lines) - len(kept)} more lines ('chatml logs' has all)", dim=True)

    def _turn(self, data: Mapping[str, Any]) -> str:
        what = "interrupted" if data.get("interrupted") else "turn ended"
        seconds = int(data.get("duration_ms") or 0) / 1000
        return output.style(f"── {what} · {seconds:.0f} s · ${float(data.get('cost_usd') or 0):.2f}", dim=True)
