"""A task for each row of a table (CSV) or of a file of JSON lines: a text in which `{field}` stands for its value."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from chatml.errors import ChatmlError, UsageError
from chatml.tasks.row import TaskList, TaskRow
from chatml.text import counted, nearest

FIELD_LIMIT = 1 << 24
"""Bytes of one field of a table; the module's own limit, 128 KiB, is less than a message may have."""

Record = tuple[int, Mapping[str, str]]
"""The line on which a row begins, and its values."""


class _RowError(Exception):
    def __init__(self, line: int, complaint: str, hint: str | None = None) -> None:
        self.line, self.complaint, self.hint = line, complaint, hint


def read_table(text: str, name: str, prompt: str, task_name: str | None = None) -> TaskList:
    """A task for each row, by the texts of its prompt and its name; the suffix of `name` says of what kind it is."""
    rows: list[TaskRow] = []
    problems: list[ChatmlError] = []
    count = 0
    try:
        for count, found in enumerate(_records(text, name), 1):
            if isinstance(found, _RowError):
                problems.append(UsageError(f"{name}:{found.line}: task {count}: {found.complaint}", found.hint))
                continue
            line, values = found
            place = f"{name}:{line}"
            try:
                named = filled(task_name, values) if task_name is not None else None
                rows.append(TaskRow(filled(prompt, values), place, count, name=named))
            except UsageError as error:
                problems.append(UsageError(f"{place}: task {count}: {error.message}", error.hint))
    except _RowError as error:
        problems.append(UsageError(f"{name}:{error.line}: task {count + 1}: {error.complaint}", error.hint))
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


def _records(text: str, name: str) -> Iterator[Record | _RowError]:
    """Each row, or what is wrong with it; _RowError where none can be read any more."""
    suffix = name.lower().rpartition(".")[2]
    if suffix == "csv":
        return _csv(text)
    if suffix in ("jsonl", "ndjson"):
        return _json_lines(text)
    raise UsageError(f"not a table: {name}", "--each reads .csv, with the names of the fields on top, and .jsonl")


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
