"""The containers of a session's compose project, found by the label that Compose gives them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from chatml import proc
from chatml.config.detecting import COMPOSE_FILES
from chatml.model import Session
from chatml.workspace.values import compose_project

TIMEOUT = 60.0
"""Seconds that docker may take to list or remove something."""


def may_have_any(session: Session) -> bool:
    """Whether the session can have containers at all: without, docker is not asked."""
    given = session.furnishing
    commands = [*(step.command for step in given.setup), *(one.command for one in given.services), *given.teardown]
    by_command = any(re.search(r"\bdocker\b|\bpodman\b|\bcompose\b", command) for command in commands)
    return by_command or any(Path(session.worktree, name).is_file() for name in COMPOSE_FILES)


def removed(session: Session, env: Mapping[str, str]) -> Iterator[str]:
    """Remove what is left of the project; yields a sentence for each thing that stays, volumes above all."""
    if not may_have_any(session) or shutil.which("docker") is None:
        return
    label = f"label=com.docker.compose.project={compose_project(session)}"
    listed = (("container", ("ps", "-aq")), ("network", ("network", "ls", "-q")), ("volume", ("volume", "ls", "-q")))
    for kind, words in listed:
        found = _docker(env, *words, "--filter", label)
        ids = found.text.split() if found is not None and not found.code else []
        if found is not None and found.code:
            yield f"docker could not be asked for its {kind}s: {(found.errors.strip().splitlines() or ['?'])[-1]}"
        elif ids and kind == "volume":
            yield f"volumes are left: {' '.join(ids)}; remove them with: docker volume rm {' '.join(ids)}"
        elif ids:
            remove = ("rm", "-f") if kind == "container" else ("network", "rm")
            done = _docker(env, *remove, *ids)
            if done is None or done.code:
                yield f"{kind}s are left: {' '.join(ids)}"


def _docker(env: Mapping[str, str], *words: str) -> proc.Result | None:
    try:
        return proc.run(["docker", *words], env=env, timeout=TIMEOUT)
    except (OSError, TimeoutError):
        return None
