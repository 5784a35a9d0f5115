"""JSON data as one of our dataclasses: every field of the type that it is annotated with, or an error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
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
    values = {}
    for name, kinds, read in _shape(cls):  # type: ignore[arg-type]
        if name not in data:
            continue
        value = data[name]
        if type(value) in kinds:
            values[name] = value
        elif read is not None:
            values[name] = read(value, name)
        else:
            raise TypeError(f"{name} is of the wrong type")
        if value.__class__ in (int, float) and not -BEYOND < value < BEYOND:
            raise ValueError(f"{name} is no sensible number")
    try:
        return cls(**values)
    except TypeError:
        raise ValueError(f"{where} is not complete") from None


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
            read = partial(_items, get_args(kind)[0])
        else:
            plain |= {int, float} if origin is float else {origin}
    return frozenset(plain), read


def _member(kind: type[Enum], value: Any, name: str) -> Enum:
    if type(value) is not str:
        raise TypeError(f"{name} is no text")
    return kind(value)


def _items(kind: type[Any], value: Any, name: str) -> tuple[Any, ...]:
    if type(value) is not list:
        raise TypeError(f"{name} is no list")
    if is_dataclass(kind):
        return tuple(build(kind, one, name) for one in value)
    if not all(type(one) is str for one in value):
        raise TypeError(f"{name} is no list of texts")
    return tuple(value)
