"""What became of one session in a command that names several: data, for people and scripts alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from chatml.errors import ChatmlError
from chatml.record import record

FAILED = "failed"
"""The outcome of what could not be done."""


@record(frozen=True)
class Outcome:
    """What became of a session."""

    name: str
    word: str
    """`outcome` in JSON, a contract with other people's scripts: `sent`, `stopped`, `at rest`, …, or `failed`."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else scripts are told, by its key: always the same keys for the same command, but for a failure."""
    failure: ChatmlError | None = None
    """Why it could not be done."""

    def to_json(self) -> dict[str, Any]:
        error = {"message": self.failure.message, "hint": self.failure.hint} if self.failure else None
        return {"name": self.name, "outcome": self.word, "error": error, **self.details}
