"""The table of settings, and what the value of each may be.

A reader takes plain data and returns it typed, or raises BadValueError with a complaint that follows the key's name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from chatml.config import living
from chatml.config.files import BadValueError, Other, number, shown
from chatml.config.living import has_git
from chatml.config.programs import read_agent
from chatml.config.readers import (
    check_known,
    list_of,
    map_of,
    read_amount,
    read_argument,
    read_command,
    read_commands,
    read_count,
    read_duration,
    read_number,
    read_text,
    read_word,
    within,
)
from chatml.config.roles import BUILT_IN, Role, check_pattern, check_scope

PERMISSION_MODES = ("default", "acceptEdits", "plan", "bypassPermissions", "dontAsk", "auto")
"""The Agent SDK's own names (`PermissionMode` in claude_agent_sdk.types)."""

TEAM_MODES = ("default", "plan", "dontAsk", "acceptEdits")
"""Those that a committed file may choose: in all of them a command that no rule allows is asked about, or denied."""


SANDBOX_MODES = ("auto", "required", "off")
"""Shell commands of the agent in a sandbox: where that is possible, or not at all without, or never."""

ANSWERS = ("wait", "deny", "fail")
"""What becomes of a request: it waits for a person, is denied, or fails the session."""

ADDED = frozenset({"deny", "ask", "allow"})
"""Keys to which each layer adds: no later one takes away what an earlier one denies."""

RESTRICTING = frozenset({"sandbox", "check"})
"""Keys that a committed file can't set back to their default with `null`: it may only restrict."""


def _notify(value: Any) -> str:
    """A command, or the one word that YAML takes for a truth value."""
    return "off" if isinstance(value, Other) and value.text.lower() == "off" else read_command(value)


def _ref_prefix(value: Any) -> str:
    """The rules of git-check-ref-format(1), for a branch that begins with this."""
    branch = ("" if value == "" else read_argument(value)) + "x"
    if re.search(r"[ ~^:?*\\[]|\.\.|@\{|//|^/|(^|/)\.|\.lock/", branch):
        raise BadValueError(f"can't begin a branch name: {shown(value)}", hint="such as 'chatml/'")
    return branch[:-1]


def _worktrees(value: Any) -> str:
    text = read_argument(value)
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


def _model(value: Any) -> str:
    if " " in (text := read_argument(value)):
        raise BadValueError("may hold no space")
    return text


def _permission_mode(value: Any) -> str:
    check_known(mode := read_text(value), PERMISSION_MODES, f"can't be {shown(value)}")
    return mode


def _team_mode(mode: str) -> None:
    if mode not in TEAM_MODES:
        hint = "each person chooses that, in .git/chatml/config.yaml or with --permission-mode"
        raise BadValueError(f"in a committed file can't be '{mode}'", hint=hint)


def _rule(value: Any) -> str:
    """A permission rule of Claude Code; whether the tool and its content make sense, only that can tell."""
    text = read_text(value)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_*-]*(\(.+\))?", text):
        raise BadValueError(f"must be a rule such as Bash(npm test:*), not {shown(text)}")
    return text


def _no_team_rule(rules: tuple[str, ...]) -> None:
    if rules:
        hint = "a committed file can only restrict: 'ask' and 'deny'; allow it in .git/chatml/config.yaml"
        raise BadValueError("can't be set in a committed file", hint=hint)


def _limit(value: Any) -> int:
    """A number of sessions that an agent may start, or of levels of them; 0 for none."""
    return 0 if value == 0 and isinstance(value, int) and not isinstance(value, bool) else read_count(value)


def _no_team_limit(limit: int) -> None:
    hint = "each person chooses that, in .git/chatml/config.yaml"
    raise BadValueError(f"can't be set to {limit} in a committed file", hint=hint)


def _sandbox(value: Any) -> str:
    # YAML 1.1 takes a plain `off` for a truth value; here it is what it looks like.
    text = value.text if isinstance(value, Other) else value
    check_known(mode := read_text(text), SANDBOX_MODES, f"can't be {shown(value)}")
    return mode


def _team_sandbox(mode: str) -> None:
    if mode != "required":
        raise BadValueError(
            f"in a committed file can't be '{mode}'", hint="only 'required'; the rest each person chooses"
        )


def _on_request(value: Any) -> str:
    check_known(word := read_text(value), ANSWERS, f"can't be {shown(value)}")
    return word


def _agent_name(value: Any) -> str:
    if (name := read_word(value)) == "claude":
        raise BadValueError("is built in and can't be replaced", hint="choose another name")
    return name


def _tool(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text := read_text(value)):
        raise BadValueError(f"must be the name of a tool, such as Read, not {shown(text)}")
    return text


def scope(value: Any) -> tuple[str, ...]:
    """The patterns of a scope; none let everything in."""
    return check_scope(found) if (found := list_of(lambda one: check_pattern(read_command(one)))(value)) else ()


ROLE_PARTS: Mapping[str, Callable[[Any], Any]] = {
    "instruction": read_command,
    "permission_mode": _permission_mode,
    "tools": list_of(_tool),
    "scope": scope,
    "model": _model,
}


def _role(value: Any) -> Role:
    def part(name: Any) -> str:
        check_known(text := read_text(name), ROLE_PARTS)
        return text

    parts = map_of(part, lambda item: item)(value)
    return Role(**{name: within(name, ROLE_PARTS[name], item) for name, item in parts.items() if item is not None})


def _roles(value: Any) -> dict[str, Role]:
    return {name: replace(role, name=name) for name, role in map_of(read_word, _role)(value).items()}


def _team_roles(roles: Mapping[str, Role]) -> None:
    for name, role in roles.items():
        if name in BUILT_IN:
            raise BadValueError("in a committed file can't replace what is built in", name, hint="choose another name")
        if role.permission_mode is not None:
            within(name, partial(within, "permission_mode", _team_mode), role.permission_mode)


def _no_further_rule(value: Any) -> None:
    pass


class Key(NamedTuple):
    """How to read a setting: from plain data, from a variable's text, and what else a committed file must keep to."""

    read: Callable[[Any], Any]
    parse: Callable[[str], Any] | None = str
    team: Callable[[Any], None] = _no_further_rule
    help: str | None = None
    """What the option of `new` says that sets it; None where it has none."""
    words: tuple[str, ...] | None = None
    """What it may be, where that is one of a few words; else the option shows `metavar`."""
    metavar: str | None = None


KEYS: Mapping[str, Key] = {
    "base": Key(read_argument),
    "branch_prefix": Key(_ref_prefix),
    "worktrees": Key(_worktrees, team=_beside),
    "agent": Key(read_word, help="Which agent does the task."),
    "model": Key(_model, help="Model that the agent uses."),
    "permission_mode": Key(
        _permission_mode, team=_team_mode, help="What the agent may do without asking.", words=PERMISSION_MODES
    ),
    "deny": Key(list_of(_rule), str.splitlines),
    "ask": Key(list_of(_rule), str.splitlines),
    "allow": Key(list_of(_rule), str.splitlines, team=_no_team_rule),
    "sandbox": Key(
        _sandbox,
        team=_team_sandbox,
        help="Shell commands in a sandbox: where possible (default), not without one, or never.",
        words=SANDBOX_MODES,
    ),
    "max_parallel": Key(read_count, number),
    "max_depth": Key(_limit, number, team=_no_team_limit),
    "max_children": Key(_limit, number, team=_no_team_limit),
    "max_turns": Key(read_count, number, help="Stop after N model turns of the whole session.", metavar="N"),
    "max_budget_usd": Key(read_amount, number, help="Stop once the session has cost this much.", metavar="USD"),
    "on_request": Key(
        _on_request,
        help="When the agent needs a person: wait for one (default), deny it, or fail.",
        words=ANSWERS,
    ),
    "check": Key(read_command, help="Done only once this command passes in the worktree.", metavar="CMD"),
    "checks": Key(read_commands, str.splitlines),
    "retries": Key(read_number, number, help="Have the agent mend what the check finds N times.", metavar="N"),
    "check_timeout": Key(read_duration, number),
    "runner": Key(read_word),
    "notify": Key(_notify),
    "copy": Key(list_of(living.copied), str.splitlines),
    "link": Key(list_of(living.linked), str.splitlines),
    "env_files": Key(living.env_files, None),
    "ports": Key(living.ports, str.splitlines),
    "port_range": Key(living.port_range),
    "setup": Key(living.setup, str.splitlines),
    "max_setups": Key(read_count, number),
    "run": Key(living.services),
    "teardown": Key(living.commands, str.splitlines),
    "agents": Key(map_of(_agent_name, read_agent), None),
    "roles": Key(_roles, None, team=_team_roles),
}
"""Every setting, by its name in a file."""
