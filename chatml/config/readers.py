"""Readers of plain values: each returns its value typed, or raises BadValueError with a complaint about it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

from chatml.config.files import BadValueError, shown


def check_known(word: str, words: Iterable[str], complaint: str = "is not a known key") -> None:
    """BadValueError with the complaint, and the nearest word that is known, for a word that isn't."""
    words = list(words)
    if word not in words:
        import difflib

        near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
        raise BadValueError(complaint, hint=f"did you mean '{near[0]}'?" if near else f"known: {', '.join(words)}")


def within(part: str | int, read: Callable[[Any], Any], value: Any) -> Any:
    """Read what stands at `part` of a list or mapping."""
    try:
        return read(value)
    except BadValueError as wrong:
        raise BadValueError(wrong.complaint, part, *wrong.spot, hint=wrong.hint) from None


def read_command(value: Any) -> str:
    if not isinstance(value, str):
        hint = None if isinstance(value, (list, dict)) or value is None else "put it in quotes"
        raise BadValueError(f"must be text, not {shown(value)}", hint=hint)
    if not value.strip():
        raise BadValueError("is empty")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", value):
        raise BadValueError("holds control characters, or is not valid Unicode")
    return value


def read_text(value: Any) -> str:
    if "\n" in (text := read_command(value)) or "\t" in text:
        raise BadValueError("must be one line, without tabs")
    return text


def read_argument(value: Any) -> str:
    """Text that reaches git or an agent as an argument of its own, and must not be taken for an option there."""
    if (text := read_text(value)).startswith("-"):
        raise BadValueError("may not begin with '-'")
    return text


def read_word(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text := read_text(value)):
        raise BadValueError(f"must be a name of letters, digits, '.', '_' and '-', not {shown(text)}")
    return text


def read_count(value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise BadValueError(f"must be a whole number above 0, not {shown(value)}")
    return value


def read_number(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise BadValueError(f"must be a whole number, 0 or more, not {shown(value)}")
    return value


SECONDS = {"s": 1, "m": 60, "h": 3600}
"""What a unit of time stands for."""


def read_duration(value: Any) -> float:
    """A time in seconds: a number of them, or one with its unit."""
    if isinstance(value, str) and (told := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", value.strip())):
        value = float(told[1]) * SECONDS[told[2]]
    if not isinstance(value, (int, float)) or not 0 < value <= sys.float_info.max:
        raise BadValueError(f"must be a time above 0, not {shown(value)}", hint="in seconds, or as in 90s, 30m, 1h")
    return float(value)


def read_commands(value: Any) -> str | None:
    """One command, or several that run in their order until one fails, each on its own: as one text for a shell."""
    commands = (read_command(value),) if isinstance(value, str) else list_of(read_command)(value)
    if len(commands) <= 1:
        return commands[0] if commands else None
    return " && ".join(f"(\n{command}\n)" for command in commands)  # a comment in one ends with its line


def read_amount(value: Any) -> float:
    if not isinstance(value, (int, float)) or not 0 < value <= sys.float_info.max:
        raise BadValueError(f"must be a number above 0, not {shown(value)}")
    return float(value)


def list_of(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read_list(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            hint = "put [ ] around it" if isinstance(value, str) else None
            raise BadValueError(f"must be a list, not {shown(value)}", hint=hint)
        return tuple(within(index, read, item) for index, item in enumerate(value))

    return read_list


def map_of(read_key: Callable[[Any], str], read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    def read_map(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadValueError(f"must be a mapping, not {shown(value)}")
        return {within(key, read_key, key): within(key, read, item) for key, item in value.items()}

    return read_map


def read_variable(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text := read_text(value)):
        raise BadValueError("is not a name for a variable")
    return text


def having(*placeholders: str) -> Callable[[Any], str]:
    """Text with placeholders. Not for shell commands: braces have their own meaning there (`awk '{print}'`)."""

    def read(value: Any) -> str:
        for name in re.findall(r"(?<!\$)\{([A-Za-z_]+)\}", text := read_command(value)):
            check_known(name, placeholders, f"holds an unknown placeholder {{{name}}}")
        return text

    return read
