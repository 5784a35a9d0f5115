"""What a person has approved for good in this repository: a file of chatml's own, beside the one that people edit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatml.config.files import Source, file_text
from chatml.errors import ChatmlError


def approved(path: Path) -> dict[str, Any]:
    """The settings that the file holds (`allow`, a list of rules); none without it. ChatmlError where it is damaged."""
    name = str(path)
    text = file_text(path, Source(name))
    try:
        data = json.loads(text) if text else {}
        rules = data.get("allow", [])
        if not all(isinstance(rule, str) for rule in rules):
            raise TypeError
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise ChatmlError(f"{name}: damaged", f"mend it, or approve anew and delete it: rm {name}") from None
    return {"allow": rules} if rules else {}


def with_rules(path: Path, rules: Sequence[str]) -> dict[str, Any]:
    """What the file is to hold with these rules in it."""
    return {"allow": list(dict.fromkeys([*approved(path).get("allow", ()), *rules]))}
