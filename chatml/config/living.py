"""The settings that make a worktree habitable: how each is read, and what they must have of each other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatml.config.files import BadValueError, shown
from chatml.config.readers import (
    check_known,
    list_of,
    map_of,
    read_argument,
    read_command,
    read_duration,
    read_variable,
    read_word,
    within,
)
from chatml.model.provision import (
    PLACEHOLDERS,
    EnvSetting,
    Furnishing,
    Service,
    SetupStep,
    unknown_placeholder,
    variable,
)

KEYS = ("copy", "link", "env_files", "ports", "setup", "max_setups", "run", "teardown")
"""The settings that are a session's `Furnishing`."""

PLAIN = "web"
"""What a service is called that is given as a command alone."""


def has_git(parts: Iterable[str]) -> bool:
    """Whether a path with these parts leads into a `.git`, also where case is not told apart."""
    return any(part.casefold() == ".git" for part in parts)


def inner_path(value: Any) -> str:
    """A path inside of any checkout."""
    text = read_argument(value)
    parts = text.split("/")
    if text[0] in "/~:" or "\\" in text or text[1:2] == ":" or ".." in parts or has_git(parts) or not Path(text).parts:
        raise BadValueError(f"must be a path inside of the checkout, not {shown(text)}")
    return text


def copied(value: Any) -> str:
    """A pattern of gitignore(5) for files of the main checkout."""
    text = read_argument(value)
    parts = text.removeprefix("!").split("/")
    if text == "!" or text.startswith("#"):
        raise BadValueError(f"holds no pattern: {shown(text)}", hint="such as '.env' or 'config/*.local.yaml'")
    abroad = text[0] in "~:" or text[1:2] == ":" or ".." in parts or (len(parts) > 2 and os.path.lexists(text))
    if abroad or has_git(parts) or re.search(r"\\(?![#! ])", text) or not Path(text.removeprefix("!")).parts[:1]:
        raise BadValueError(f"must be a path inside of the checkout, not {shown(text)}")
    return text


def linked(value: Any) -> str:
    """A path of the main checkout that several worktrees share."""
    return os.path.normpath(inner_path(value))


def env_files(value: Any) -> tuple[EnvSetting, ...]:
    """The variables of all files."""
    files = map_of(inner_path, map_of(read_variable, _env_value))(value)
    return tuple(EnvSetting(file, name, text) for file, values in files.items() for name, text in values.items())


def _env_value(value: Any) -> str:
    return "" if value == "" else read_command(value)


def ports(value: Any) -> tuple[str, ...]:
    """The names of the ports, each once."""
    names: tuple[str, ...] = list_of(_port)(value)
    variables: dict[str, int] = {}
    for index, name in enumerate(names):
        if variable_of(name) == "CHATML_PORT_RANGE":
            raise BadValueError(f"can't be called so: {variable_of(name)} is a setting", index)
        if (first := variables.setdefault(variable_of(name), index)) != index:
            raise BadValueError(f"is the same as '{names[first]}': both are {variable_of(name)}", index)
    return names


def _port(value: Any) -> str:
    if isinstance(value, (int, float)):
        raise BadValueError(
            "must be a name, not a number: each session has a port of its own", hint="ports: [web], and {port:web}"
        )
    return read_word(value)


def variable_of(name: str) -> str:
    """The variable that a port of that name stands in."""
    return variable(f"port:{name}")


def port_range(value: Any) -> tuple[int, int]:
    """The first and the last port that sessions may have."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*", value) if isinstance(value, str) else None
    if found is None or not 1024 <= int(found[1]) <= int(found[2]) <= 65535:
        raise BadValueError(f"must be two ports from 1024 to 65535, not {shown(value)}", hint="such as 4100-4999")
    return int(found[1]), int(found[2])


def setup(value: Any) -> tuple[SetupStep, ...]:
    """The steps in their order: a command, or one with its `timeout` and `if_changed`."""
    steps: tuple[SetupStep, ...] = list_of(_step)(value)
    return steps


def _step(value: Any) -> SetupStep:
    if not isinstance(value, dict):
        return SetupStep(read_command(value))
    readers = {"command": read_command, "timeout": read_duration, "if_changed": _watched}
    return SetupStep(**_parts(value, readers, needed="command"))


def _watched(value: Any) -> tuple[str, ...]:
    found: tuple[str, ...] = list_of(inner_path)([value] if isinstance(value, str) else value)
    return found


def services(value: Any) -> tuple[Service, ...]:
    """The services by their names; one that is a command alone is called `web`."""
    if not isinstance(value, dict):
        return (Service(PLAIN, read_command(value)),)
    found: dict[str, Service] = map_of(read_word, _service)(value)
    return tuple(replace(service, name=name) for name, service in found.items())


def _service(value: Any) -> Service:
    if not isinstance(value, dict):
        return Service("", read_command(value))
    return Service("", **_parts(value, {"command": read_command, "port": _port}, needed="command"))


def _parts(value: dict[str, Any], readers: Mapping[str, Any], needed: str) -> dict[str, Any]:
    for name in value:
        within(name, lambda text: check_known(text, readers), name)
    if needed not in value:
        raise BadValueError(f"needs a '{needed}'")
    return {name: within(name, readers[name], item) for name, item in value.items() if item is not None}


def commands(value: Any) -> tuple[str, ...]:
    """Commands of the shell, in their order."""
    found: tuple[str, ...] = list_of(read_command)(value)
    return found


def furnishing(values: Mapping[str, Any]) -> Furnishing:
    """What a worktree is given, by the settings that were read."""
    known: tuple[str, ...] = values.get("ports", ())
    run = tuple(
        replace(one, port=one.port or (one.name if one.name in known else None)) for one in values.get("run", ())
    )
    plain = {
        name: values[name] for name in ("copy", "link", "ports", "setup", "max_setups", "teardown") if name in values
    }
    return Furnishing(**plain, env=values.get("env_files", ()), services=run)


def mistakes(values: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str, str | None]]:
    """What settings ask of each other in vain: where (the key first), what is wrong, and what to do about it."""
    known: tuple[str, ...] = values.get("ports", ())
    for one in values.get("env_files", ()):
        if (unknown := unknown_placeholder(one.value, known, shell=False)) is not None:
            yield ("env_files", one.file, one.name), f"holds an unknown placeholder {unknown}", _known(unknown, known)
    for key, spot, command in _commands(values):
        if (unknown := unknown_placeholder(command, known, shell=True)) is not None:
            yield (key, *spot), f"holds an unknown placeholder {unknown}", _known(unknown, known)
    for one in values.get("run", ()):
        if one.port is not None and one.port not in known:
            yield ("run", one.name, "port"), f"names no port: '{one.port}'", _known("{port}", known)


def _commands(values: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str | int, ...], str]]:
    for place, step in enumerate(values.get("setup", ())):
        yield "setup", (place,), step.command
    for service in values.get("run", ()):
        yield "run", (service.name,), service.command
    for place, command in enumerate(values.get("teardown", ())):
        yield "teardown", (place,), command


def _known(placeholder: str, ports: tuple[str, ...]) -> str:
    """What to do about a placeholder that nothing can be put for."""
    word, _, detail = placeholder[1:-1].partition(":")
    if word == "port":
        return f"ports: {', '.join(ports)}" if ports else "name the ports that a session needs: ports: [web]"
    if detail or word in PLACEHOLDERS:
        return "only a port has a name of its own, as in {port:web}"
    import difflib

    near = difflib.get_close_matches(word, PLACEHOLDERS, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(PLACEHOLDERS)}"
