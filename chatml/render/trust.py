"""The commands of a committed file as a person reads them before approving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chatml.config import CommittedCommands
from chatml.config.files import yaml_text
from chatml.text import paint, printable


def page(found: CommittedCommands) -> Iterator[str]:
    """All that would run, or how it differs from what was approved before; at the end what it is known by."""
    if found.approved or found.before is None:
        yield from _lines(found.data)
    else:
        import difflib

        before, now = [*_lines(found.before)], [*_lines(found.data)]
        for line in [*difflib.unified_diff(before, now, "approved", found.file, lineterm="", n=len(before + now))]:
            color = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
            yield paint(line, fg=color) if color else line
    yield paint(found.digest, dim=True)


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    """As it could stand in the file, and harmless to a terminal."""
    yield from printable(yaml_text(data)).splitlines()
