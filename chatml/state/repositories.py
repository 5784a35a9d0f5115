"""The repositories of this user that have, or had, sessions: an index in the user's state folder."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.state.locks import lock
from chatml.state.paths import UserPaths
from chatml.state.store import write_json


def known() -> dict[Path, Path]:
    """Their common git directories, each with the folder that stands for it. ChatmlError where the file is damaged."""
    return _read(UserPaths().repositories)


def note(common_dir: Path, home: Path) -> None:
    """Keep a repository in mind; nothing is written where it is known already. OSError, ChatmlError."""
    paths = UserPaths()
    if _read(paths.repositories).get(common_dir) == home:
        return
    paths.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock(paths.repositories_lock):
        _write(paths, {**_read(paths.repositories), common_dir: home})


def without_gone() -> dict[Path, Path]:
    """Those that are known, once those were dropped that surely are no more."""
    found = known()
    gone = [common_dir for common_dir in found if _is_gone(common_dir)]
    if gone:
        paths = UserPaths()
        with suppress(OSError), lock(paths.repositories_lock):
            found = {path: home for path, home in _read(paths.repositories).items() if not _is_gone(path)}
            _write(paths, found)
    return {path: home for path, home in found.items() if path not in gone}


def _is_gone(common_dir: Path) -> bool:
    """Whether it was deleted or moved: not so where its disk may just not be mounted, or can't be looked at."""
    place = common_dir.parent if common_dir.name == ".git" else common_dir
    try:
        if os.path.lexists(common_dir):
            return False
        # An empty folder may be where a disk is mounted.
        return any((place if place.exists() else place.parent).iterdir())
    except OSError:
        return False


def _read(path: Path) -> dict[Path, Path]:
    try:
        data = json.loads(path.read_text("utf-8", "surrogatepass"))
        return {Path(common_dir): Path(home) for common_dir, home in data.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise ChatmlError(
            f"{path}: damaged", f"remove it: rm {path}; a repository comes back with its next 'chatml new'"
        ) from None


def _write(paths: UserPaths, found: dict[Path, Path]) -> None:
    write_json(paths.repositories, {str(common_dir): str(home) for common_dir, home in sorted(found.items())})
