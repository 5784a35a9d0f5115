"""A configuration file as plain data, with the line of everything in it; the only user of PyYAML."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chatml.errors import ChatmlError

if TYPE_CHECKING:
    import yaml

LIMIT = 1 << 16
"""Bytes of a configuration file: many times what anybody writes, and still read at once."""

Spot = tuple["str | int", ...]
"""The keys and indexes that lead to a value."""


class BadValueError(Exception):
    """What is wrong with a value, to be said after its key; `spot` leads to it inside of that value."""

    def __init__(self, complaint: str, *spot: str | int, hint: str | None = None) -> None:
        self.complaint, self.spot, self.hint = complaint, spot, hint


class NotTextError(ChatmlError):
    """A file that is no text in UTF-8."""


class Other(NamedTuple):
    """A scalar that no setting takes, as it is written: a truth value, a date, a tag."""

    text: str


@dataclass(frozen=True)
class Source:
    """A file or variable: what messages call it, and the line on which each thing stands in it."""

    name: str
    committed: bool = False
    lines: dict[Spot, int] = field(default_factory=dict)

    def place(self, spot: Spot) -> str:
        """`file:line` of what stands at `spot`, or just the variable."""
        return f"{self.name}:{self.lines[spot]}" if spot in self.lines else self.name

    def error(self, wrong: BadValueError, *spot: str | int) -> ChatmlError:
        """The complaint about the value at `spot`, with its place and key."""
        spot += wrong.spot
        name = brief(".".join(part for part in spot if isinstance(part, str)))
        return ChatmlError(f"{self.place(spot)}: '{name}' {wrong.complaint}", hint=wrong.hint)


def brief(text: str) -> str:
    """Text as a message can hold it: on one line, and not long."""
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"


def shown(value: Any) -> str:
    """A value as a message calls it."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    if isinstance(value, (str, Other)):
        return f"'{brief(value if isinstance(value, str) else value.text)}'"
    return "null" if value is None else f"the number {brief(str(value))}"


def file_data(path: Path, source: Source) -> dict[str, Any]:
    """What the file holds as plain data, its lines noted in `source`; nothing where there is no file."""
    return text_data(file_text(path, source), source)


def file_text(path: Path, source: Source) -> str:
    """The file's text, without a byte order mark; empty where there is no file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ChatmlError(f"{source.name}: not a regular file", hint="move it away")
        with path.open("rb") as file:
            raw = file.read(LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ChatmlError(
            f"{source.name}: could not be read: {reason}", hint="check its owner and permissions"
        ) from error
    if len(raw) > LIMIT:
        raise ChatmlError(f"{source.name}: too large for a configuration file (over {LIMIT >> 10} KiB)")
    return decoded(raw, source)


def decoded(raw: bytes, source: Source) -> str:
    """The text of a file, without a byte order mark. NotTextError where it is none."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise NotTextError(f"{source.name}:{line}: not UTF-8 text", hint="save the file as UTF-8") from error


def text_data(text: str, source: Source) -> dict[str, Any]:
    """What the text of a file holds as plain data, its lines noted in `source`."""
    if not text:
        return {}  # without loading YAML for it
    data = yaml_data(text, source)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ChatmlError(f"{source.place(())}: must hold 'key: value' lines, not {shown(data)}")
    return data


def json_data(text: str, source: Source) -> Any:
    """What a JSON text holds as plain data, its lines noted in `source` where YAML can tell them."""
    import json

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ChatmlError(f"{source.name}: '{brief(twice)}' is set twice", hint="keep one of them")
        return found

    try:
        data = _without_truth(json.loads(text, parse_constant=Other, object_pairs_hook=once))
    except json.JSONDecodeError as error:
        raise ChatmlError(f"{source.name}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from error
    except RecursionError as error:
        raise ChatmlError(f"{source.name}: nested too deeply") from error
    with suppress(ChatmlError):  # JSON is YAML but for tabs, which stand in no text of it, and rare characters
        yaml_data(text.replace("\t", " "), source)
    return data


def _without_truth(value: Any) -> Any:
    """JSON's data as YAML's is: what no setting takes is an `Other`."""
    if isinstance(value, dict):
        return {key: _without_truth(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_truth(item) for item in value]
    return Other("true" if value else "false") if isinstance(value, bool) else value


def yaml_data(text: str, source: Source) -> Any:
    """What a YAML text holds as plain data, its lines noted in `source`."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return None if node is None else _plain(node, (), source, set())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source.name}:{mark.line + 1}:{mark.column + 1}" if mark else source.name
        raise ChatmlError(f"{place}: not valid YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise ChatmlError(f"{source.name}:{line}:{column}: not valid YAML: {error.reason}") from error
    except RecursionError as error:
        raise ChatmlError(f"{source.name}: nested too deeply") from error


def _plain(node: yaml.Node, spot: Spot, source: Source, seen: set[yaml.Node]) -> Any:
    """A YAML node as plain data. Aliases are refused: they can make a small file huge, or endless."""
    import yaml

    source.lines.setdefault(spot, node.start_mark.line + 1)
    if node in seen:
        place = source.place(spot)
        raise ChatmlError(f"{place}: aliases (*) are not supported", hint="write the value out")
    seen.add(node)
    # A tag can contradict the form that it stands before (`!!map [a]`): both must be right.
    kind = (type(node), node.tag.removeprefix("tag:yaml.org,2002:"))
    if kind == (yaml.SequenceNode, "seq"):
        return [_plain(item, (*spot, index), source, seen) for index, item in enumerate(node.value)]
    if kind == (yaml.MappingNode, "map"):
        return _plain_mapping(node, spot, source, seen)
    if not isinstance(node, yaml.ScalarNode):
        return Other(node.tag)
    if kind[1] in ("int", "float"):
        value = number(node.value)
        return Other(value) if isinstance(value, str) else value
    return {"str": node.value, "null": None}.get(kind[1], Other(node.value))


def _plain_mapping(node: yaml.Node, spot: Spot, source: Source, seen: set[yaml.Node]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in node.value:
        # As written, whatever YAML takes it for: `on` and `1` are names here.
        name = key.value if isinstance(key.value, str) else "?"
        inner = (*spot, name)
        if name in data:
            first, source.lines[inner] = source.lines[inner], key.start_mark.line + 1
            raise source.error(BadValueError(f"is set twice, first on line {first}", hint="keep one of them"), *inner)
        source.lines[inner] = key.start_mark.line + 1
        data[name] = _plain(value, inner, source, seen)
    return data


def number(text: str) -> int | float | str:
    """The number that is written there, or the text itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def yaml_text(data: Mapping[str, Any]) -> str:
    """Plain data as a person would write it in YAML, each text whole on its line."""
    import yaml

    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1 << 20)
