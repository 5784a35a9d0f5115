"""What `doctor` looks at: each check returns findings and changes nothing.

The checks of a repository get its sessions handed in, because they stand beside `sessions`, not above it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Level(str, Enum):
    """How much a finding matters; the names are a contract with other people's scripts."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Diagnosis:
    """What one check saw, in one line, and what to do about it."""

    check: str
    level: Level
    message: str
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "level": self.level.value}


def ok(check: str, message: str, hint: str | None = None) -> Diagnosis:
    return Diagnosis(check, Level.OK, message, hint)


def warning(check: str, message: str, hint: str | None = None) -> Diagnosis:
    return Diagnosis(check, Level.WARNING, message, hint)


def problem(check: str, message: str, hint: str | None = None) -> Diagnosis:
    return Diagnosis(check, Level.PROBLEM, message, hint)


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 session`, `3 sessions`, `no session`."""
    return f"{number} {plural or noun + 's'}" if number > 1 else f"{number or 'no'} {noun}"
