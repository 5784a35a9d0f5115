"""The disk that worktrees take up: blocks as the file system counts them, what several share once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

BLOCK = 512
"""Bytes of what `st_blocks` counts (stat(2))."""


def sizes(folders: Mapping[str, Path], seen: set[tuple[int, int]] | None = None) -> dict[str, int | None]:
    """Bytes of each folder, by the given keys; a file with several links counts with the first that has it.

    `seen` are such files of earlier calls, and those of this one are added. None where something in it can't be
    looked at. What a file system shares beneath (reflinks) counts for each.
    """
    seen = set() if seen is None else seen
    return {key: _size(folder, seen) for key, folder in folders.items()}


def total(found: Iterable[int | None]) -> int | None:
    """The sum; None where one is not known."""
    known = [*found]
    return None if None in known else sum(number for number in known if number is not None)


def _size(folder: Path, seen: set[tuple[int, int]]) -> int | None:
    amount = 0
    try:
        waiting = [os.fspath(folder)]
        amount += os.lstat(folder).st_blocks * BLOCK
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    about = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(about.st_mode):
                        waiting.append(entry.path)
                    elif about.st_nlink > 1:
                        if (about.st_dev, about.st_ino) in seen:
                            continue
                        seen.add((about.st_dev, about.st_ino))
                    amount += about.st_blocks * BLOCK
    except FileNotFoundError:
        return amount if folder.exists() else None
    except OSError:
        return None
    return amount
