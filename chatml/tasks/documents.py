"""Tasks in YAML or JSON: a list of them, or `tasks` with defaults beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from chatml.config.files import BadValueError, Other, Source, Spot, brief, shown
from chatml.config.keys import KEYS
from chatml.config.readers import check_known, list_of, read_argument, read_command, read_text, read_word, within
from chatml.errors import ChatmlError, UsageError
from chatml.tasks.row import TaskError, TaskList, TaskRow


def _one_or_more(read: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    return lambda value: list_of(read)([value] if isinstance(value, str) else value)


def _read_truth(value: Any) -> bool:
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if not isinstance(value, Other) or value.text.lower() not in words:
        hint = "leave the quotes out" if isinstance(value, str) else None
        raise BadValueError(f"must be true or false, not {shown(value)}", hint=hint)
    return words[value.text.lower()]


def _read_issue(value: Any) -> str:
    """A number too: it needs no quotes."""
    return str(value) if isinstance(value, int) and value > 0 else read_text(value)


SHARED: Mapping[str, Callable[[Any], Any]] = {
    "base": read_argument,
    "role": read_word,
    "scope": _one_or_more(read_command),
    "after": _one_or_more(read_text),
    "issue": _read_issue,
    "with_changes": _read_truth,
    "fetch": _read_truth,
}
"""What can be said of one task, or of all of them; beside each setting that is an option of `new`."""

PLACES: Mapping[str, Callable[[Any], Any]] = {"repo": read_text}
"""What can be said of one task, or of all of them, and is no option of `new`: `-C` is."""

OWN: Mapping[str, Callable[[Any], Any]] = {
    "prompt": read_command,
    "name": read_text,
    "branch": read_argument,
}
"""What is said of one task alone."""

OPTIONS = {name: key.read for name, key in KEYS.items() if key.help is not None}


def read_document(data: Any, source: Source) -> TaskList:
    """The tasks of a file's plain data; `source` has its lines."""
    defaults: dict[str, Any] = {}
    spot: Spot = ()
    problems: list[ChatmlError] = []
    if isinstance(data, dict) and "tasks" in data:
        spot = ("tasks",)
        for name, value in data.items():
            if name != "tasks":
                _keep(
                    defaults,
                    name,
                    value,
                    {**SHARED, **PLACES, **OPTIONS},
                    partial(_wrong, source, (), 0, None, problems),
                )
        data = data["tasks"]
    if not isinstance(data, list):
        hint = "a list of tasks, or 'tasks:' with one below it, and defaults beside it"
        return TaskList(problems=(*problems, UsageError(f"{source.place(spot)}: holds no list of tasks", hint)))
    rows: list[TaskRow] = []
    broken: list[str] = []
    for number, item in enumerate(data, 1):
        row = _row(item, number, (*spot, number - 1), defaults, source, problems)
        if row is not None:
            rows.append(row)
        elif isinstance(item, dict):
            broken += [one for one in (item.get("name"), item.get("prompt")) if isinstance(one, str)]
    if not data:
        problems.append(UsageError(f"{source.place(spot)}: holds no task"))
    return TaskList(tuple(rows), tuple(problems), broken=tuple(broken))


def _row(
    item: Any, number: int, spot: Spot, defaults: Mapping[str, Any], source: Source, problems: list[ChatmlError]
) -> TaskRow | None:
    """The task that stands there; None where it can't be understood, which is then among the problems."""
    if isinstance(item, str):
        item = {"prompt": item}
    label = f"task {number}"
    if not isinstance(item, dict):
        complaint = f"must be text, or a mapping with a 'prompt', not {shown(item)}"
        message = f"{source.place(spot)}: {label} {complaint}"
        problems.append(TaskError(message, order=(source.lines.get(spot, 0), number)))
        return None
    name = item.get("name") or item.get("prompt") or item.get("issue")
    label = f"{label} ({brief(str(name))})" if isinstance(name, (str, int)) else label
    wrong = partial(_wrong, source, spot, number, label, problems)
    before = len(problems)
    values: dict[str, Any] = {}
    for key, value in item.items():
        _keep(values, key, value, {**OWN, **SHARED, **PLACES, **OPTIONS}, wrong)
    if item.get("prompt") is None and item.get("issue") is None and "issue" not in defaults:
        wrong(BadValueError("is missing: what shall the agent do?", "prompt"))
    if len(problems) > before:
        return None
    values = {**defaults, **values}
    settings = {key: values.pop(key) for key in OPTIONS if key in values}
    own = frozenset(settings.keys() & {key for key, value in item.items() if value is not None})
    place = source.place(spot)
    return TaskRow(**{"prompt": "", **values}, place=place, number=number, settings=settings, own=own)


def _keep(
    values: dict[str, Any],
    name: str,
    value: Any,
    readers: Mapping[str, Callable[[Any], Any]],
    wrong: Callable[[BadValueError], None],
) -> None:
    """Add the value to those that were read, or say what is wrong with it; null says nothing."""
    try:
        within(name, lambda _: check_known(name, readers), value)
        if value is not None:
            read = within(name, readers[name], value)
            values[name] = value if name in OPTIONS else read  # settings are typed where all of a session's are
    except BadValueError as error:
        wrong(error)


def _wrong(
    source: Source, spot: Spot, number: int, label: str | None, problems: list[ChatmlError], error: BadValueError
) -> None:
    exact = (*spot, *error.spot[:1])
    exact = exact if exact in source.lines else spot
    key = ".".join(str(part) for part in error.spot if isinstance(part, str))
    message = f"{source.place(exact)}: {label + ': ' if label else ''}'{brief(key)}' {error.complaint}"
    problems.append(TaskError(message, error.hint, (source.lines.get(exact, 0), number)))
