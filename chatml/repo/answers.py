"""What a git command that was run with `check=False` has answered, so that "could not look" is never taken for "no"."""

from __future__ import annotations

import re

from chatml.errors import GitError
from chatml.proc import Result

OFFLINE = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
"""Environment in which a partial clone fetches no object that is missing: git fails instead.

The first is for git from 2.44 on; the second (git(1)) forbids older ones every way to a remote.
"""


def answer(asked: Result) -> str | None:
    """What git said; None for its plain "no": exit code 1, and no word of trouble. GitError where it could not look."""
    if asked.code == 0:
        return asked.text.rstrip("\n")
    if asked.code != 1 or re.search(rb"^(?:warning|error|fatal): ", asked.stderr, re.MULTILINE):
        raise failed(asked)
    return None


def holds(asked: Result) -> bool:
    """Whether git said yes (exit code 0) or no (1), whatever it remarked. GitError for anything else."""
    if asked.code not in (0, 1):
        raise failed(asked)
    return asked.code == 0


def failed(asked: Result) -> GitError:
    """The failure of a command, with all that it said."""
    return GitError(list(asked.argv), asked.code, asked.text, asked.errors)
