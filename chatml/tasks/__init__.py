"""Lists of tasks, as people and programs write them, as rows: one for each session to be. Nothing is looked up here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chatml.config.files import NotTextError, Source, decoded, json_data, yaml_data
from chatml.errors import ChatmlError, UsageError
from chatml.tasks.row import BadTasksError, TaskList, TaskRow

__all__ = ["LIMIT", "STDIN", "BadTasksError", "TaskList", "TaskRow", "copies", "read_each", "read_file", "unreadable"]

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


def read_each(path: str, prompt: str, task_name: str | None, given: bytes | None = None) -> TaskList:
    """A task for each row of a table; `given` is what was read already, of `-`.

    BadTasksError where it can't be read at all.
    """
    from chatml.tasks.tables import kind_of, read_table

    try:
        text = _text(path, given)
        name = path if given is None else STDIN
        return read_table(text, name, kind_of(path, text if given is not None else None), prompt, task_name)
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
            raise UsageError(f"{name}: too large for a list of tasks (over {LIMIT >> 20} MiB)", "split it up")
        return decoded(given, Source(name))
    except NotTextError as error:
        hint = error.hint if name == path else "give it as UTF-8, such as through: iconv -f LATIN1 -t UTF-8"
        raise BadTasksError((UsageError(error.message, hint),)) from error
    except OSError as error:
        raise BadTasksError((unreadable(name, error),)) from error
    except ChatmlError as error:
        raise BadTasksError((error,)) from error


def unreadable(name: str, error: OSError) -> ChatmlError:
    """Why a list of tasks could not be read, and what to do about it."""
    hints: dict[type[OSError], str] = {
        FileNotFoundError: "name a file that is there, or '-' for standard input",
        NotADirectoryError: "name a file that is there, or '-' for standard input",
        IsADirectoryError: "name a file that is in it",
        PermissionError: "make it readable, or give it on standard input, as '-'",
    }
    hint = hints.get(type(error), "try another copy of it, or give it on standard input, as '-'")
    return UsageError(f"{name}: could not be read: {(error.strerror or str(error)).lower()}", hint)
