"""JSON data as one of our dataclasses: every field of the type that it is annotated with, or an error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, lru_cache, partial
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

BEYOND = 2**53
"""No count or amount of ours gets here, and no reader of JSON keeps numbers exact beyond (RFC 8259, section 6)."""

T = TypeVar("T")
Reader = Callable[[Any, str], Any]


def build(cls: type[T], data: Any, where: str) -> T:
    """The dataclass from its JSON; keys that it doesn't know are left out. TypeError or ValueError, naming the key."""
    if type(data) is not dict:
        raise TypeError(f"{where} is no object")
    unknown, readers, numbers = _plan(cls, tuple(data), tuple(map(type, data.values())))  # type: ignore[arg-type]
    values = {**data}
    for name in unknown:
        del values[name]
    for name, read in readers:
        values[name] = read(values[name], name)
    for name in numbers:
        if not -BEYOND < values[name] < BEYOND:
            raise ValueError(f"{name} is no sensible number")
    try:
        return cls(**values)
    except TypeError:
        raise ValueError(f"{where} is not complete") from None


@lru_cache(256)
def _plan(
    cls: type[Any], keys: tuple[str, ...], types: tuple[type, ...]
) -> tuple[tuple[str, ...], tuple[tuple[str, Reader], ...], tuple[str, ...]]:
    """For data with these keys of these types: those that are not known, those to be read on, and the numbers.

    Records of one repository look alike: a thousand are checked key by key a few times only.
    """
    given = dict(zip(keys, types, strict=True))
    readers = []
    shape = _shape(cls)  # type: ignore[arg-type]
    for name, kinds, read in shape:
        if name not in given or given[name] in kinds:
            continue
        if read is None:
            raise TypeError(f"{name} is of the wrong type")
        readers.append((name, read))
    known = {name for name, _, _ in shape}
    numbers = (name for name, kind in given.items() if name in known and kind in (int, float))
    return tuple(name for name in keys if name not in known), tuple(readers), tuple(numbers)


@cache
def _shape(cls: type[Any]) -> tuple[tuple[str, frozenset[type], Reader | None], ...]:
    """Each field with the JSON types that it takes as they are, and how to read it from another one."""
    return tuple((one.name, *_kinds(_hint(cls.__module__, str(one.type)))) for one in fields(cls))


@cache
def _hint(module: str, annotation: str) -> Any:
    """The type that a field is annotated with; `typing.get_type_hints` would compile each field's anew."""
    return eval(annotation, vars(sys.modules[module]))


def _kinds(hint: Any) -> tuple[frozenset[type], Reader | None]:
    plain: set[type] = set()
    read: Reader | None = None
    for kind in get_args(hint) if isinstance(hint, UnionType) else (hint,):
        origin: type[Any] = get_origin(kind) or kind
        if is_dataclass(origin):
            read = partial(build, origin)
        elif issubclass(origin, Enum):
            read = partial(_member, origin)
        elif origin is tuple:
            read = partial(_objects, get_args(kind)[0]) if is_dataclass(get_args(kind)[0]) else _texts
        else:
            plain |= {int, float} if origin is float else {origin}
    return frozenset(plain), read


def _member(kind: type[Enum], value: Any, name: str) -> Enum:
    if type(value) is not str:
        raise TypeError(f"{name} is no text")
    return kind(value)


def _objects(kind: type[Any], value: Any, name: str) -> tuple[Any, ...]:
    return tuple([build(kind, one, name) for one in _list(value, name)])


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if value and set(map(type, _list(value, name))) != {str}:
        raise TypeError(f"{name} is no list of texts")
    return tuple(_list(value, name))


def _list(value: Any, name: str) -> list[Any]:
    if type(value) is not list:
        raise TypeError(f"{name} is no list")
    return value
