"""What a person has approved for good in this repository: a file of chatml's own, beside the one that people edit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chatml.config import trust
from chatml.config.files import Source, file_text
from chatml.errors import ChatmlError


def approved(path: Path) -> dict[str, Any]:
    """The settings that the file holds (`allow`, a list of rules); none without it. ChatmlError where it is damaged."""
    rules = _read(path).get("allow", [])
    return {"allow": rules} if rules else {}


def trusted(path: Path) -> dict[str, Any]:
    """The texts of committed files that may run, by their digest, oldest first. ChatmlError where it is damaged."""
    texts: dict[str, Any] = _read(path).get("trusted", {})
    return texts


def with_rules(path: Path, rules: Sequence[str]) -> dict[str, Any]:
    """What the file is to hold with these rules in it."""
    data = _read(path)
    return {**data, "allow": list(dict.fromkeys([*data.get("allow", ()), *rules]))}


def with_text(path: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """What the file is to hold with these commands approved."""
    before = _read(path)
    return {**before, "trusted": trust.with_approved(before.get("trusted", {}), data)}


def _read(path: Path) -> dict[str, Any]:
    name = str(path)
    text = file_text(path, Source(name))
    try:
        data: dict[str, Any] = json.loads(text) if text else {}
        whole = all(isinstance(rule, str) for rule in data.get("allow", []))
        if not whole or not all(isinstance(one, dict) for one in data.get("trusted", {}).values()):
            raise TypeError
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise ChatmlError(f"{name}: damaged", f"mend it, or approve anew and delete it: rm {name}") from None
    return data
