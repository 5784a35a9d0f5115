"""The commands of a committed file: run only once this person has approved their exact text in this repository."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chatml.config.files import Other

COMMANDS = ("setup", "run", "teardown", "check", "checks", "notify", "agents")
"""The keys that hold commands."""

VARIABLE = "CHATML_TRUST"
"""The environment variable that approves a text by its digest, for CI."""

KEPT = 50
"""Approved texts that are remembered, the newest: a branch may have another one than the next."""


@dataclass(frozen=True)
class CommittedCommands:
    """What a committed file would run."""

    file: str
    data: Mapping[str, Any] = field(default_factory=dict)
    """Its keys that hold commands, as plain data."""
    approved: bool = False
    by_variable: bool = False
    """It was approved by the environment alone."""
    before: Mapping[str, Any] | None = None
    """The text that was approved last, where this one is not; None without one."""

    @property
    def for_good(self) -> bool:
        """Whether it was approved in this repository, and not by the environment alone."""
        return self.approved and not self.by_variable

    @property
    def digest(self) -> str:
        """What the exact text is known by."""
        return digest(self.data)


def commands(data: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a file that hold commands, as JSON data."""
    return {name: _plain(data[name]) for name in COMMANDS if data.get(name) is not None}


def digest(data: Mapping[str, Any]) -> str:
    """`sha256:…` of all that runs, whatever stands around it in the file."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def looked_up(file: str, found: Mapping[str, Any], known: Mapping[str, Any], variable: str) -> CommittedCommands | None:
    """Whether the commands of a committed file are approved: among the `known` texts, or by the variable.

    None where it has none.
    """
    if not found:
        return None
    mine = digest(found)
    if mine in known:
        return CommittedCommands(file, found, approved=True)
    if mine in variable.split():
        return CommittedCommands(file, found, approved=True, by_variable=True)
    return CommittedCommands(file, found, before=[*known.values()][-1] if known else None)


def with_approved(known: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The approved texts with this one as the newest of them."""
    mine = digest(data)
    others = {name: text for name, text in known.items() if name != mine}
    return dict([*others.items(), (mine, dict(data))][-KEPT:])


def _plain(value: Any) -> Any:
    """As JSON can hold it: a truth value, a date, a tag is the text that was written."""
    if isinstance(value, Other):
        return value.text
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
