"""Which paths of a worktree a session may change: patterns as in a .gitignore, matched by git itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from chatml.repo import git
from chatml.repo.answers import holds


def outside(scope: Sequence[str], paths: Iterable[str]) -> list[str]:
    """Those of the paths, relative to the worktree's top, that the scope does not let in, in their order.

    The last pattern that matches decides, also for all that lies below a folder: unlike in a .gitignore, a pattern
    with '!' takes a file out again whose folder an earlier one let in.
    """
    paths = list(paths)
    inside: set[str] = set()
    # An empty repository of its own: in the session's, its .gitignore and the person's excludes would count too.
    with tempfile.TemporaryDirectory(prefix="chatml-", ignore_cleanup_errors=True) as folder:
        git("init", "--quiet", "--template=", at=Path(folder))
        for lets_in, patterns in _runs(scope):
            matched = _matched(Path(folder), patterns, paths)
            inside = inside | matched if lets_in else inside - matched
    return [path for path in paths if path not in inside]


def _runs(scope: Sequence[str]) -> Iterator[tuple[bool, list[str]]]:
    """The patterns without their '!', in runs of those that let in and those that take out."""
    for taking, patterns in groupby(scope, lambda pattern: pattern.startswith("!")):
        yield not taking, [pattern.removeprefix("!") for pattern in patterns]


def _matched(folder: Path, patterns: Iterable[str], paths: Iterable[str]) -> set[str]:
    rules = folder / ".git" / "scope"
    rules.write_text("".join(f"{pattern}\n" for pattern in patterns), encoding="utf-8", newline="\n")
    # With './' before it, no path is taken for a pathspec with magic.
    stdin = "".join(f"./{path}\0" for path in paths).encode("utf-8", "surrogateescape")
    command = ("-c", f"core.excludesFile={rules}", "check-ignore", "--no-index", "--stdin", "-z")
    result = git(*command, at=folder, stdin=stdin, check=False)
    found = result.text.split("\0") if holds(result) else []
    return {path.removeprefix("./") for path in found if path}


NAMED = 50
"""Paths that a message names at most."""


def named(paths: Sequence[str]) -> str:
    """The paths in a message, the first ones where there are many."""
    more = f", and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more
