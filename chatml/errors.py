"""What can go wrong, as types: the command line maps each to a message and an exit code."""

from __future__ import annotations

import errno
import re
from enum import Enum


class Kind(str, Enum):
    """`error.kind` of the JSON contract: why a session failed."""

    AUTH = "auth"
    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    NETWORK = "network"
    BUDGET = "budget"
    MAX_TURNS = "max_turns"
    SCOPE = "scope"
    SETUP = "setup"
    CHECK = "check"
    WORKTREE = "worktree"
    AGENT = "agent"
    INTERNAL = "internal"


class ChatmlError(Exception):
    """An expected failure: one clear line, what to do about it, and the exit code it ends with."""

    exit_code = 1

    def __init__(
        self, message: str, hint: str | None = None, kind: Kind | None = None, output: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.kind = kind
        self.output = output
        """The last lines of a program that is behind it, harmless to a terminal."""


class UsageError(ChatmlError):
    """The command was called in a way that it doesn't offer."""

    exit_code = 2


class NotARepositoryError(ChatmlError):
    """The command was called outside of any repository."""


SHOWN = 3
"""Lines of git's that a message has: the one that says why is seldom the last."""


def reason(stderr: str) -> str:
    """Why git failed, in its own words and one line: without its advice, and the middle where it said much."""
    lines: list[str] = []
    for line in stderr.splitlines():
        if line[:1].isspace() and lines:
            lines[-1] = f"{lines[-1]} {line.strip()}".rstrip()
        elif line and not line.startswith(("hint:", "warning:")):
            lines.append(line.removeprefix("fatal: ").removeprefix("error: ").strip())
    lines = list(dict.fromkeys(lines)) or stderr.split("\n")[:1]
    return "; ".join(lines if len(lines) <= SHOWN else [lines[0], "…", *lines[1 - SHOWN :]])


def words(error: BaseException) -> list[str]:
    """All that git said, line by line, where a failure of git is behind this error."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, GitError):
        cause = cause.__cause__
    return [] if cause is None else (cause.stdout + cause.stderr).splitlines()


class GitError(ChatmlError):
    """A git command failed; keeps what ran and what it said."""

    def __init__(self, argv: list[str], code: int, stdout: str, stderr: str) -> None:
        said = reason(stderr) or f"exit code {code}"
        verb = next((arg for arg in argv[1:] if not arg.startswith("-") and not set(arg) & set("/=")), "git")
        hint = None
        if lock := re.search(r"Unable to create '(.+\.lock)': File exists", stderr):
            import shlex

            said = f"{lock[1]} exists: another git holds it, or was killed"
            hint = f"if no git is at work there any more, remove it: rm {shlex.quote(lock[1])}"
        super().__init__(f"git {verb}: {said}", hint)
        self.argv = argv
        self.code = code
        self.stdout = stdout
        self.stderr = stderr


def of_machine(error: OSError) -> ChatmlError:
    """An error that the operating system reported, as what it means to a person."""
    hints = {
        errno.ENOSPC: "the disk is full: free some space and try again; nothing was lost",
        errno.EDQUOT: "the disk quota is used up: free some space and try again; nothing was lost",
        errno.EFBIG: "a file grew over the limit that is set for it (ulimit -f)",
        errno.EROFS: "the file system is read-only",
        errno.EACCES: "check the owner and permissions of that path",
        errno.EPERM: "check the owner and permissions of that path",
        errno.EMFILE: "too many open files: raise the limit (ulimit -n)",
        errno.EISDIR: "a folder stands in the place of a file: move it away",
        errno.ENOTDIR: "a file stands in the place of a folder: move it away",
        errno.ENAMETOOLONG: "choose something shorter",
    }
    where = f": {error.filename}" if error.filename else ""
    hint = hints.get(error.errno or 0, "see 'chatml doctor'")
    return ChatmlError(f"{(error.strerror or str(error)).lower()}{where}", hint)
