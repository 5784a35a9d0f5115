"""The table of settings, and what the value of each may be.

A reader takes plain data and returns it typed, or raises BadValueError with a complaint that follows the key's name.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from chatml.config.files import BadValueError, Other, number, shown
from chatml.config.roles import BUILT_IN, Role, check_pattern, check_scope

PERMISSION_MODES = ("default", "acceptEdits", "plan", "bypassPermissions", "dontAsk", "auto")
"""The Agent SDK's own names (`PermissionMode` in claude_agent_sdk.types)."""

TEAM_MODES = ("default", "plan", "dontAsk", "acceptEdits")
"""Those that a committed file may choose: in all of them a command that no rule allows is asked about, or denied."""


@dataclass(frozen=True)
class AgentCommand:
    """An agent that is a program: its arguments for the first turn, and for going on with a conversation."""

    command: tuple[str, ...]
    resume: tuple[str, ...] | None = None


def check_known(word: str, words: Iterable[str], complaint: str = "is not a known key") -> None:
    """BadValueError with the complaint, and the nearest word that is known, for a word that isn't."""
    words = list(words)
    if word not in words:
        import difflib

        near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
        raise BadValueError(complaint, hint=f"did you mean '{near[0]}'?" if near else f"known: {', '.join(words)}")


def _within(part: str | int, read: Callable[[Any], Any], value: Any) -> Any:
    """Read what stands at `part` of a list or mapping."""
    try:
        return read(value)
    except BadValueError as wrong:
        raise BadValueError(wrong.complaint, part, *wrong.spot, hint=wrong.hint) from None


def _command(value: Any) -> str:
    if not isinstance(value, str):
        hint = None if isinstance(value, (list, dict)) or value is None else "put it in quotes"
        raise BadValueError(f"must be text, not {shown(value)}", hint=hint)
    if not value.strip():
        raise BadValueError("is empty")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", value):
        raise BadValueError("holds control characters, or is not valid Unicode")
    return value


def _notify(value: Any) -> str:
    """A command, or the one word that YAML takes for a truth value."""
    return "off" if isinstance(value, Other) and value.text.lower() == "off" else _command(value)


def _text(value: Any) -> str:
    if "\n" in (text := _command(value)) or "\t" in text:
        raise BadValueError("must be one line, without tabs")
    return text


def _argument(value: Any) -> str:
    """Text that reaches git or an agent as an argument of its own, and must not be taken for an option there."""
    if (text := _text(value)).startswith("-"):
        raise BadValueError("may not begin with '-'")
    return text


def _ref_prefix(value: Any) -> str:
    """The rules of git-check-ref-format(1), for a branch that begins with this."""
    branch = ("" if value == "" else _argument(value)) + "x"
    if re.search(r"[ ~^:?*\\[]|\.\.|@\{|//|^/|(^|/)\.|\.lock/", branch):
        raise BadValueError(f"can't begin a branch name: {shown(value)}", hint="such as 'chatml/'")
    return branch[:-1]


def _worktrees(value: Any) -> str:
    text = _argument(value)
    if re.search("[{}]", text.replace("{repo}", "")):
        raise BadValueError("may hold no other placeholder than {repo}")
    if text[0] == "~" and text[1:2] != "/":
        raise BadValueError("may begin with '~' only as '~/'")
    if has_git(Path(text).parts):
        raise BadValueError("is inside .git", hint="use a folder beside the checkout: ../{repo}.chatml")
    return text


def _beside(text: str) -> None:
    """In the checkout or beside it, and nowhere else on the machine."""
    parts = Path(os.path.normpath(text)).parts
    if text.startswith("~") or os.path.isabs(text) or parts[:2] == ("..", "..") or parts in ((), ("..",)):
        complaint = f"in a committed file may not lead elsewhere: {shown(text)}"
        raise BadValueError(complaint, hint="use a folder beside the checkout: ../{repo}.chatml")


def has_git(parts: Iterable[str]) -> bool:
    """Whether a path with these parts leads into a `.git`, also where case is not told apart."""
    return any(part.casefold() == ".git" for part in parts)


def _inner_path(value: Any) -> str:
    """A path inside of any checkout."""
    text = _argument(value)
    parts = text.split("/")
    if text[0] in "/~:" or "\\" in text or text[1:2] == ":" or ".." in parts or has_git(parts) or not Path(text).parts:
        raise BadValueError(f"must be a path inside of the checkout, not {shown(text)}")
    return text


def _word(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text := _text(value)):
        raise BadValueError(f"must be a name of letters, digits, '.', '_' and '-', not {shown(text)}")
    return text


def _model(value: Any) -> str:
    if " " in (text := _argument(value)):
        raise BadValueError("may hold no space")
    return text


def _permission_mode(value: Any) -> str:
    check_known(mode := _text(value), PERMISSION_MODES, f"can't be {shown(value)}")
    return mode


def _team_mode(mode: str) -> None:
    if mode not in TEAM_MODES:
        hint = "each person chooses that, in .git/chatml/config.yaml or with --permission-mode"
        raise BadValueError(f"in a committed file can't be '{mode}'", hint=hint)


def _count(value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise BadValueError(f"must be a whole number above 0, not {shown(value)}")
    return value


def _amount(value: Any) -> float:
    if not isinstance(value, (int, float)) or not 0 < value <= sys.float_info.max:
        raise BadValueError(f"must be a number above 0, not {shown(value)}")
    return float(value)


def _list_of(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read_list(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            hint = "put [ ] around it" if isinstance(value, str) else None
            raise BadValueError(f"must be a list, not {shown(value)}", hint=hint)
        return tuple(_within(index, read, item) for index, item in enumerate(value))

    return read_list


def _map_of(read_key: Callable[[Any], str], read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    def read_map(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadValueError(f"must be a mapping, not {shown(value)}")
        return {_within(key, read_key, key): _within(key, read, item) for key, item in value.items()}

    return read_map


def _variable(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text := _text(value)):
        raise BadValueError("is not a name for a variable")
    return text


def _with(*placeholders: str) -> Callable[[Any], str]:
    """Text with placeholders. Not for shell commands: braces have their own meaning there (`awk '{print}'`)."""

    def read(value: Any) -> str:
        for name in re.findall(r"(?<!\$)\{([A-Za-z_]+)\}", text := _command(value)):
            check_known(name, placeholders, f"holds an unknown placeholder {{{name}}}")
        return text

    return read


def _agent_name(value: Any) -> str:
    if (name := _word(value)) == "claude":
        raise BadValueError("is built in and can't be replaced", hint="choose another name")
    return name


def _agent_part(value: Any) -> str:
    check_known(part := _text(value), ("command", "resume"))
    return part


def _agent(value: Any) -> AgentCommand:
    parts = _map_of(_agent_part, _list_of(_with("prompt")))(value)
    if "command" not in parts:
        raise BadValueError("needs a 'command'")
    for name, arguments in parts.items():
        if not any("{prompt}" in argument for argument in arguments):
            raise BadValueError("needs {prompt} where the task goes", name)
    return AgentCommand(**parts)


def _tool(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text := _text(value)):
        raise BadValueError(f"must be the name of a tool, such as Read, not {shown(text)}")
    return text


def scope(value: Any) -> tuple[str, ...]:
    """The patterns of a scope; none let everything in."""
    return check_scope(found) if (found := _list_of(lambda one: check_pattern(_command(one)))(value)) else ()


ROLE_PARTS: Mapping[str, Callable[[Any], Any]] = {
    "instruction": _command,
    "permission_mode": _permission_mode,
    "tools": _list_of(_tool),
    "scope": scope,
    "model": _model,
}


def _role(value: Any) -> Role:
    def part(name: Any) -> str:
        check_known(text := _text(name), ROLE_PARTS)
        return text

    parts = _map_of(part, lambda item: item)(value)
    return Role(**{name: _within(name, ROLE_PARTS[name], item) for name, item in parts.items() if item is not None})


def _roles(value: Any) -> dict[str, Role]:
    return {name: replace(role, name=name) for name, role in _map_of(_word, _role)(value).items()}


def _team_roles(roles: Mapping[str, Role]) -> None:
    for name, role in roles.items():
        if name in BUILT_IN:
            raise BadValueError("in a committed file can't replace what is built in", name, hint="choose another name")
        if role.permission_mode is not None:
            _within(name, partial(_within, "permission_mode", _team_mode), role.permission_mode)


def _no_further_rule(value: Any) -> None:
    pass


class Key(NamedTuple):
    """How to read a setting: from plain data, from a variable's text, and what else a committed file must keep to."""

    read: Callable[[Any], Any]
    parse: Callable[[str], Any] | None = str
    team: Callable[[Any], None] = _no_further_rule


KEYS: Mapping[str, Key] = {
    "base": Key(_argument),
    "branch_prefix": Key(_ref_prefix),
    "worktrees": Key(_worktrees, team=_beside),
    "agent": Key(_word),
    "model": Key(_model),
    "permission_mode": Key(_permission_mode, team=_team_mode),
    "max_parallel": Key(_count, number),
    "max_turns": Key(_count, number),
    "max_budget_usd": Key(_amount, number),
    "notify": Key(_notify),
    "copy": Key(_list_of(_inner_path), str.splitlines),
    "env_files": Key(_map_of(_inner_path, _map_of(_variable, _with("name", "port"))), None),
    "setup": Key(_list_of(_command), str.splitlines),
    "teardown": Key(_list_of(_command), str.splitlines),
    "run": Key(_command),
    "agents": Key(_map_of(_agent_name, _agent), None),
    "roles": Key(_roles, None, team=_team_roles),
}
"""Every setting, by its name in a file."""
