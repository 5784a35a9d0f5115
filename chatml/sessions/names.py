"""Names of sessions: made from a prompt, numbered, and checked."""

from __future__ import annotations

import unicodedata

from chatml.errors import UsageError

MAX_NAME = 40


def slug(prompt: str) -> str:
    """A name made from a prompt, in any language: valid as a folder and as the last part of a ref."""
    text = unicodedata.normalize("NFC", prompt.strip().lower())
    name = ""
    for word in "".join(c if _in_word(c) else " " for c in text).split():
        longer = f"{name}-{word}" if name else word[:MAX_NAME]
        if len(longer) > MAX_NAME:
            break
        name = longer
    return unicodedata.normalize("NFC", name) or "session"


def _in_word(char: str) -> bool:
    """Letters, digits, and the marks without which many scripts can't be written."""
    return unicodedata.category(char)[0] in "LNM"


def check_name(name: str) -> str:
    """`name` as a session's name. UsageError where it could not be a folder and a ref everywhere."""
    good = (
        0 < len(name) <= MAX_NAME
        and all(char in "_.-" or _in_word(char) for char in name)
        and name[0] not in ".-"
        and not name.endswith((".", ".lock"))
        and ".." not in name
        and name == unicodedata.normalize("NFC", name)
    )
    if not good:
        raise UsageError(
            f"not a valid name: {name!r}",
            f"letters, digits, '-', '_' and '.', not first; at most {MAX_NAME} characters",
        )
    return name


def numbered(stem: str, number: int) -> str:
    """The stem for the first, and with its number for each other one."""
    return stem if number == 1 else with_number(stem, number)


def with_number(stem: str, number: int) -> str:
    """The stem with a number, cut where it would be too long for a name."""
    end = f"-{number}"
    return stem[: MAX_NAME - len(end)].rstrip("-") + end
