"""Writes what a person allows for good into their own settings of this repository."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from chatml.config.files import Source, file_text
from chatml.config.rules import with_allowed
from chatml.project import Project
from chatml.state import store


def allow_for_all(project: Project, rules: Sequence[str]) -> None:
    """Add rules to `allow` in `.git/chatml/config.yaml`, for all sessions that are started from now on.

    ChatmlError, and nothing changed, where the file can't be edited safely.
    """
    name = str(project.store.config)
    with project.store.lock():
        path = Path(os.path.realpath(project.store.config))  # a link stays one
        before = file_text(path, Source(name))
        after = with_allowed(before, rules, name)
        if after != before:
            store.write_file(path, after.encode())
