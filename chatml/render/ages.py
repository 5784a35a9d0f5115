"""How long ago something was."""

from __future__ import annotations

from datetime import datetime, timezone

from chatml.model import parse_time


def age(since: str) -> str:
    """Time since then in its largest unit: `45s`, `12m`, `3h`, `9d`."""
    seconds = max(0, int((datetime.now(timezone.utc) - parse_time(since)).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
