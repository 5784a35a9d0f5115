"""A task for each row of a table (CSV) or of a file of JSON lines: a text in which `{field}` stands for its value."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from chatml.errors import ChatmlError, UsageError
from chatml.tasks.row import TaskError, TaskList, TaskRow
from chatml.text import counted, nearest

FIELD_LIMIT = 1 << 24
"""Bytes of one field of a table; the module's own limit, 128 KiB, is less than a message may have."""

Record = tuple[int, Mapping[str, str]]
"""The line on which a row begins, and its values."""


class _RowError(Exception):
    def __init__(self, line: int, complaint: str, hint: str | None = None) -> None:
        self.line, self.complaint, self.hint = line, complaint, hint


def kind_of(path: str, given: str | None = None) -> str:
    """`csv` or `jsonl`: as the path's suffix says, or as what was given without one begins. UsageError for others."""
    if given is not None:
        return "jsonl" if given.lstrip().startswith("{") else "csv"
    suffix = path.lower().rpartition(".")[2]
    if suffix in ("csv", "jsonl"):
        return suffix
    if suffix == "ndjson":
        return "jsonl"
    raise UsageError(f"not a table: {path}", "--each reads .csv, with the names of the fields on top, and .jsonl")


def read_table(text: str, name: str, kind: str, prompt: str, task_name: str | None = None) -> TaskList:
    """A task for each row, by the texts of its prompt and its name; `kind` is `csv` or `jsonl`."""
    rows: list[TaskRow] = []
    problems: list[ChatmlError] = []
    count = 0
    try:
        for count, found in enumerate(_csv(text) if kind == "csv" else _json_lines(text), 1):
            if isinstance(found, _RowError):
                place = f"{name}:{found.line}"
                problems.append(TaskError(f"{place}: task {count}: {found.complaint}", found.hint, (found.line, count)))
                continue
            line, values = found
            place = f"{name}:{line}"
            try:
                named = filled(task_name, values) if task_name is not None else None
                rows.append(TaskRow(filled(prompt, values), place, count, name=named))
            except UsageError as error:
                problems.append(TaskError(f"{place}: task {count}: {error.message}", error.hint, (line, count)))
    except _RowError as error:
        message = f"{name}:{error.line}: task {count + 1}: {error.complaint}"
        problems.append(TaskError(message, error.hint, (error.line, count + 1)))
    if not count and not problems:
        problems.append(UsageError(f"{name}: holds no row"))
    return TaskList(tuple(rows), tuple(problems))


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text, each `{field}` replaced by its value, `{{` and `}}` by a brace. UsageError for any other `{`."""

    def value(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        field = found[1].strip() if found[1] is not None else None
        if field is None:
            raise UsageError("the text has a '{' that nothing closes", "a brace of its own is written '{{'")
        if field not in values:
            known = ", ".join(values)
            raise UsageError(
                f"no field named '{field}'{nearest(field, values)}", f"known: {known}; a brace of its own is '{{{{'"
            )
        return values[field]

    return re.sub(r"\{\{|\}\}|\{([^{}]*)\}|\{", value, text)


def _json_lines(text: str) -> Iterator[Record | _RowError]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield _RowError(number, f"not valid JSON: {getattr(error, 'msg', error)}")
            continue
        if isinstance(data, dict):
            yield number, {key: _as_text(value) for key, value in data.items()}
        else:
            yield _RowError(number, 'must be an object, such as {"file": "a.py"}')


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _csv(text: str) -> Iterator[Record | _RowError]:
    """RFC 4180, with a header; rows without anything are skipped."""
    before = csv.field_size_limit(FIELD_LIMIT)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            if names is None:
                names = _header(cells)
            elif cells:
                if len(cells) == len(names):
                    yield line, dict(zip(names, cells, strict=True))
                else:
                    yield _RowError(line, f"has {counted(len(cells), 'field')}, and the header has {len(names)}")
            line = reader.line_num + 1
    except csv.Error as error:
        raise _RowError(line, f"not valid CSV: {error}") from error
    finally:
        csv.field_size_limit(before)


def _header(cells: list[str]) -> list[str] | None:
    names = [cell.strip() for cell in cells]
    if twice := sorted({one for one in names if names.count(one) > 1}):
        raise _RowError(1, f"the header names '{twice[0]}' twice")
    return names or None
