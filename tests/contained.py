"""What the tests of the sandbox share: whether there is one, sessions in it, and what lies outside of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatml import containment
from tests.made import REMEMBERED
from tests.support import Sandbox

_LACK = containment.lack()
needs_sandbox = pytest.mark.skipif(_LACK is not None, reason=f"no sandbox here: {_LACK.reason if _LACK else ''}")
"""Skips a test, and says why, where the machine can't contain commands."""


def path_without(folder: Path, *programs: str) -> str:
    """A PATH on which all programs of this machine are but these."""
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        if not Path(place).is_dir():
            continue
        for program in Path(place).iterdir():
            link = folder / program.name
            link.unlink(missing_ok=True)
            if program.name not in programs:
                link.symlink_to(program)
    return str(folder)


def outside(sandbox: Sandbox, name: str) -> dict[str, str | bytes]:
    """All that a session's commands must leave alone: each file beyond its worktree and its part of the repository.

    Empty files and folders don't count: Claude Code leaves some in the git directory, to keep names from being taken.
    """
    root = sandbox.repo.parent
    git = sandbox.repo / ".git"
    own = (
        Path(f"{sandbox.repo}.chatml", name),
        git / "objects",
        git / "worktrees" / name,
        git / "chatml" / "sessions" / name,
        git / "refs" / "heads" / "chatml" / name,
        git / "logs" / "refs" / "heads" / "chatml" / name,
        *(git / "chatml" / name for name in REMEMBERED),
        # Which repositories have sessions, and whose each port is: noted by `new`.
        sandbox.home / ".local" / "state" / "chatml",
        # Claude Code's own, and what it writes itself once it has a sandbox.
        sandbox.home / ".claude",
        sandbox.home / ".npm",
        sandbox.home / ".config" / "git" / "ignore",
    )
    found: dict[str, str | bytes] = {}
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = [each for each in folders if here / each not in own]
        for path in (here / each for each in (*files, *folders)):
            if path.is_symlink():
                found[str(path.relative_to(root))] = os.readlink(path)
            elif path.is_file() and path not in own and path.stat().st_size:
                found[str(path.relative_to(root))] = path.read_bytes()
    return found
