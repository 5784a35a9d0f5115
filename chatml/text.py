"""Text for people and terminals: made harmless, measured in columns, shortened, painted; nothing here prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_UNSAFE = "[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
"""Controls, separators of lines, what turns the direction of text around, and surrogates. Nothing else: other invisible
characters are part of how a language is written, such as the joiners of Persian and of emoji. Compiled at its first
use, which takes longer than to load all of this."""


def is_safe(char: str) -> bool:
    """Whether a terminal can be given this character as it is: no control, no line end, no tab."""
    return not re.match(_UNSAFE, char)


def printable(text: str) -> str:
    """`text` without characters that would move the cursor or recolour the terminal; lines stay lines."""
    return re.sub(_UNSAFE, lambda found: found[0] if found[0] in "\n\t" else _visible(found[0]), text)


def one_line(text: str) -> str:
    """`text` as a single printable line."""
    return re.sub("[ \t\n]+", " ", printable(text)).strip(" ")


def beginning(text: str) -> str:
    """The first line of `text` that has a word, with an ellipsis where there are others: a script by its beginning."""
    lines = [line for line in map(one_line, text.splitlines()) if any(map(str.isalnum, line))]
    return one_line(text) if not lines else lines[0] + (" …" if len(lines) > 1 else "")


def _visible(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return "^" + chr(code + 0x40)
    return f"\\x{code:02x}" if code < 0x100 else "\N{REPLACEMENT CHARACTER}"


def encodable(text: str) -> str:
    """`text` as UTF-8 can carry it: a lone surrogate (of a file name that is no text) becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def counted(number: int, noun: str) -> str:
    """So and so many of what the noun names, one or more."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Words as a person lists them: `a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), *words[-1:]])


def shorten(text: str, columns: int) -> str:
    """`text` in at most `columns` terminal columns, with an ellipsis where it was cut."""
    if display_width(text) <= columns:
        return text
    kept = ""
    for char in text:
        if display_width(kept + char) > columns - 1:
            break
        kept += char
    return kept.rstrip() + "…" if columns > 0 else ""


INVISIBLE = ("Mn", "Me", "Cf")
"""Categories of Unicode that take no room of their own: marks on another character, and joiners."""


def display_width(text: str) -> int:
    """How many terminal columns `text` takes (East Asian wide characters take two, invisible ones none)."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.category(char) in INVISIBLE else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, painted or not, one below the other, two spaces apart, without trailing spaces."""
    sizes = [[display_width(plain(cell)) for cell in row] for row in rows]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    return "\n".join(
        "".join(cell + " " * (width - size + 2) for cell, size, width in zip(row, taken, widths, strict=True)).rstrip()
        for row, taken in zip(rows, sizes, strict=True)
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known word that `word` most looks like, or nothing."""
    import difflib  # here alone: it takes longer to load than the rest of `ls`

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""


COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
"""In the order of their numbers (ECMA-48, SGR 30 to 37)."""

_PAINT = "\x1b\\[[0-9;]*m"


def paint(
    text: str,
    fg: str | None = None,
    *,
    bold: bool = False,
    dim: bool = False,
    italic: bool = False,
    reset: bool = True,
) -> str:
    """`text` in colours, always: who prints it takes them off again with `plain` where none are wanted."""
    codes = [str(30 + COLORS.index(fg))] if fg else []
    codes += [code for code, wanted in (("1", bold), ("2", dim), ("3", italic)) if wanted]
    return "".join(f"\x1b[{code}m" for code in codes) + text + ("\x1b[0m" if reset else "")


def plain(text: str) -> str:
    """`text` without what `paint` has added."""
    return text if "\x1b" not in text else re.sub(_PAINT, "", text)
