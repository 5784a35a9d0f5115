"""Lists of tasks, as people and programs write them, as rows: one for each session to be. Nothing is looked up here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chatml.config.files import Source, decoded, json_data, yaml_data
from chatml.errors import ChatmlError, UsageError, of_machine
from chatml.tasks.row import BadTasksError, TaskList, TaskRow

__all__ = ["LIMIT", "BadTasksError", "TaskList", "TaskRow", "copies", "read_each", "read_file"]

LIMIT = 1 << 24
"""Bytes of a file of tasks: more than thousands of them have."""

STDIN = "standard input"


def read_file(path: str, given: bytes | None = None) -> TaskList:
    """The tasks of a file: by its suffix YAML, JSON, or else a list. `given` is what was read already, of `-`.

    BadTasksError where it can't be read at all.
    """
    name = path if given is None else STDIN
    text = _text(path, given)
    suffix = Path(path).suffix.lower()
    source = Source(name)
    try:
        if suffix in (".yaml", ".yml", ".json"):
            from chatml.tasks.documents import read_document  # here alone, as below: a list needs none of it

            read = json_data if suffix == ".json" else yaml_data
            return read_document(read(text, source), source)
    except ChatmlError as error:
        raise BadTasksError((error,)) from error
    from chatml.tasks.lists import read_list

    return read_list(text, name)


def read_each(path: str, prompt: str, task_name: str | None) -> TaskList:
    """A task for each row of a table. BadTasksError where that can't be read at all."""
    from chatml.tasks.tables import read_table

    try:
        return read_table(_text(path, None), path, prompt, task_name)
    except ChatmlError as error:
        raise error if isinstance(error, BadTasksError) else BadTasksError((error,)) from error


def copies(prompt: str, names: Iterable[str]) -> TaskList:
    """The same task under each of these names."""
    return TaskList(tuple(TaskRow(prompt, "-n", number, name=name) for number, name in enumerate(names, 1)))


def _text(path: str, given: bytes | None) -> str:
    """What is written there, without a byte order mark; also in a pipe. BadTasksError."""
    name = path if given is None else STDIN
    try:
        if given is None:
            with open(path, "rb") as file:
                given = file.read(LIMIT + 1)
        if len(given) > LIMIT:
            raise UsageError(f"{name}: too large for a list of tasks (over {LIMIT >> 20} MiB)")
        return decoded(given, Source(name))
    except OSError as error:
        raise BadTasksError((of_machine(error),)) from error
    except ChatmlError as error:
        raise BadTasksError((error,)) from error
