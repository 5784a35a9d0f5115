"""What sessions' pull requests have come to: as last seen, at once; the forge is asked by a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from chatml.errors import ChatmlError
from chatml.model import Session, stamp
from chatml.project import Project
from chatml.record import altered

if TYPE_CHECKING:
    from chatml.state.pulls import PullsSeen
    from chatml.state.store import Store

ASKS = "chatml.landing.refresh"
"""The module that asks the forge."""


def with_pulls(project: Project, found: Sequence[Session]) -> list[Session]:
    """The sessions, their pull requests as last seen by anybody; never waits for the forge.

    Where that is more than a minute old for one that is open, the forge is asked again, beside this process.
    """
    if all(one.pr is None for one in found):
        return list(found)
    from chatml.state import pulls  # here alone: most repositories have none

    seen = pulls.read(project.store)
    known = {pull.url: pull for pull in seen.pulls}
    told = []
    for one in found:
        newer = known.get(one.pr.url) if one.pr is not None else None
        told.append(altered(one, pr=newer) if one.pr and newer and (newer.at or "") > (one.pr.at or "") else one)
    moment = time.time()
    fresh = stamp(moment - pulls.EVERY)
    old = any(one.pr and one.pr.open and not fresh < (one.pr.at or "") <= stamp(moment) for one in told)
    if old and seen.may_ask(moment):
        with suppress(OSError, ChatmlError):  # a disk that takes nothing: what was seen is shown all the same
            _ask(project.store, moment)
    return told


def _ask(store: Store, moment: float) -> None:
    """Start the process that asks the forge, unless one is at it, or has been since."""
    from chatml import environment, proc
    from chatml.state import pulls
    from chatml.state.locks import WorkerLock

    if environment.MARKER in os.environ:
        return  # an agent, which may have no network: its failures are not to be a person's
    lock = WorkerLock(store.pulls_lock)
    if not lock.take():
        return
    try:
        seen: PullsSeen = pulls.read(store)
        if not seen.may_ask(moment):
            return
        pulls.write(store, replace(seen, asked=moment))
        command = [*proc.python(), "-m", ASKS, str(store.root.parent), str(lock.fd)]
        env, keep = environment.session_env(), (lock.fd,) if lock.fd is not None else ()
        # In a folder of ours: Python must not pick up modules from a repository's own.
        proc.spawn_detached(command, cwd=store.root, env=env, output=Path(os.devnull), keep=keep)
    finally:
        lock.release()
