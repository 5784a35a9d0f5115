"""Sets variables in a `.env` file, and leaves every other byte of it as it is.

The grammar is python-dotenv's, which Compose, Node and Ruby share in the main: `export`, comments, values in single
or double quotes that may go over several lines; a line that is none of it is passed over.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from chatml.errors import ChatmlError, Kind
from chatml.record import record
from chatml.state.store import write_file


@record(frozen=True)
class Binding:
    """A piece of the file: a variable, where its value stands and what that is; or something else."""

    start: int
    end: int
    name: str | None = None
    value: str | None = None
    """None for a name alone, and for what is no variable."""
    at: tuple[int, int] = (0, 0)
    """From where to where the value is written, with its quotes."""
    understood: bool = True


_ANY_SPACE = re.compile(r"\s*")
_SPACE = re.compile(r"[^\S\r\n]*")
_EXPORT = re.compile(r"(?:export[^\S\r\n]+)?")
_QUOTED_NAME = re.compile(r"'([^']+)'")
_NAME = re.compile(r"([^=\#\s]+)")
_SINGLE = re.compile(r"'((?:\\.|[^'\\])*)'", re.DOTALL)
_DOUBLE = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_BARE = re.compile(r"[^\r\n]*")
_END = re.compile(r"(?:[^\S\r\n]*#[^\r\n]*)?[^\S\r\n]*(?:\r\n|\n|\r|\Z)")
_REST = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)?")
_COMMENT = re.compile(r"\s+#.*")

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
"""What needs no quotes for any reader."""


def bindings(text: str) -> list[Binding]:
    """The whole file, piece by piece, as python-dotenv's parser goes through it."""
    found = []
    place = 0
    while place < len(text):
        one = _binding(text, place)
        found.append(one)
        place = one.end
    return found


def _binding(text: str, start: int) -> Binding:
    place = _past(_EXPORT, text, _past(_ANY_SPACE, text, start))
    if place == len(text):
        return Binding(start, place)
    name = None
    if text[place] != "#":
        found = (_QUOTED_NAME if text[place] == "'" else _NAME).match(text, place)
        if found is None:
            return _not_understood(text, start, place)
        name, place = found[1], found.end()
    value, at = None, (place, place)
    equals = _past(_SPACE, text, place)
    if text[equals : equals + 1] == "=":
        first = _past(_SPACE, text, equals + 1)
        comment = first > equals + 1 and text[first : first + 1] == "#"
        if comment:
            first = equals + 1
        said = ("", first) if comment else _value(text, first)
        if said is None:
            return _not_understood(text, start, first)
        value, place = said
        at = (first, place)
    else:
        place = equals
    end = _END.match(text, place)
    return Binding(start, end.end(), name, value, at) if end else _not_understood(text, start, place)


def _not_understood(text: str, start: int, place: int) -> Binding:
    """To the end of the line that it was found on, which is not always the first one."""
    return Binding(start, max(_past(_REST, text, place), start + 1), understood=False)


def _value(text: str, start: int) -> tuple[str, int] | None:
    """What is written there, and where it ends; None for a quote that is never closed."""
    quote = text[start : start + 1]
    if quote in ("'", '"') and quote:
        found = (_SINGLE if quote == "'" else _DOUBLE).match(text, start)
        if found is None:
            return None
        return _unescaped(found[1], r"\\[\\']" if quote == "'" else r"\\[\\'\"abfnrtv]"), found.end()
    end = _past(_BARE, text, start)
    return _COMMENT.sub("", text[start:end]).rstrip(), end


def _unescaped(text: str, escapes: str) -> str:
    return re.sub(escapes, lambda found: codecs.decode(found[0], "unicode-escape"), text)


def _past(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    assert found is not None  # each of these matches nothing, too
    return found.end()


def with_values(content: bytes, values: Mapping[str, str]) -> bytes:
    """The file with these variables set; each stays where it is, and one that is missing comes at the end.

    Where something in the file is not understood, it comes at the top: what is broken may reach to the end. ValueError
    where no way to write it keeps all else as it is.
    """
    text = content.decode("utf-8", "surrogateescape")
    before = bindings(text)
    wanted = {**_read(before), **values}
    broken = sum(not one.understood for one in before)
    for quote in (quoted, in_double_quotes, in_single_quotes, str):
        changed = _edited(text, before, values, quote)
        after = bindings(changed)
        if _read(after) == wanted and sum(not one.understood for one in after) == broken:
            return changed.encode("utf-8", "surrogateescape")
    raise ValueError("no way to write it keeps all else as it is")


def _read(found: list[Binding]) -> dict[str, str | None]:
    return {one.name: one.value for one in found if one.name is not None}


def _edited(text: str, before: list[Binding], values: Mapping[str, str], quote: Callable[[str], str]) -> str:
    pieces: list[str] = []
    last = _read(before)
    missing = {name: value for name, value in values.items() if last.get(name) is None}
    for one in before:
        if one.name is not None and one.name in values and one.value is not None:
            start, end = one.at
            new = _replaced(text[start:end], one.value, values[one.name], quote)
            pieces += [text[one.start : start], new, text[end : one.end]]
        else:
            pieces.append(text[one.start : one.end])
    changed = "".join(pieces)
    newline = "\r\n" if "\r\n" in text and not re.search(r"(?<!\r)\n", text) else "\n"
    lines = newline.join(f"{name}={quote(value)}" for name, value in missing.items())
    if not missing:
        return changed
    if not all(one.understood for one in before):
        return lines + newline + changed
    ended = not changed or changed.endswith(("\n", "\r"))
    return changed + ("" if ended else newline) + lines + (newline if ended else "")


def quoted(value: str) -> str:
    """The value as every reader takes it for that text: in quotes where it needs some."""
    if _PLAIN.fullmatch(value):
        return value
    return in_double_quotes(value) if re.search(r"['\\\r\n]", value) else f"'{value}'"


def in_single_quotes(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def in_double_quotes(value: str) -> str:
    for char, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        value = value.replace(char, escape)
    return f'"{value}"'


def _replaced(written: str, old: str, new: str, quote: Callable[[str], str]) -> str:
    """The new value in place of the one that is written there; as it was where that says the same."""
    if old == new and (written[:1] in ("'", '"') or _PLAIN.fullmatch(old)):
        return written
    if written[:1] in ("'", '"'):
        return quote(new)
    comment = f" {written}" if written.startswith("#") else written[len(old) :]
    return (quote(new) or ("''" if comment.strip() else "")) + comment


def set_in(worktree: Path, name: str, values: Mapping[str, str]) -> bool:
    """Set variables in a file of the worktree, made where it is missing; whether anything was changed.

    Replaced whole, with the mode that it had. ChatmlError where a link leads out of the worktree, or it is no file.
    """
    top = Path(os.path.realpath(worktree))
    target = Path(os.path.realpath(top / name))
    inside = target.is_relative_to(top) and ".git" not in target.relative_to(top).parts
    if not inside or target == top:
        raise ChatmlError(
            f"{name} leads out of the worktree, to {target}",
            "remove that link, or take it from 'env_files'",
            Kind.SETUP,
        )
    try:
        about = target.stat()
        if not stat.S_ISREG(about.st_mode):
            raise ChatmlError(f"{name} in the worktree is no file", "take it from 'env_files'", Kind.SETUP)
        content, mode = target.read_bytes(), stat.S_IMODE(about.st_mode)
    except FileNotFoundError:
        content, mode = b"", 0o644
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        new = with_values(content, values)
    except ValueError as error:
        raise ChatmlError(
            f"{name}: can't be set in it: {error}",
            "mend the quotes in that file, or take it from 'env_files'",
            Kind.SETUP,
        ) from None
    if new == content and target.exists():
        return False
    write_file(target, new)
    target.chmod(mode)
    return True
