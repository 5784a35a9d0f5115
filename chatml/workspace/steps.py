"""Which steps of the setup a worktree is still to go through."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from chatml.model import PassedStep, Session, SetupStep


def due(session: Session) -> list[SetupStep]:
    """The steps that have not passed yet, or that look at something which is another thing now."""
    passed = session.furnished.passed
    return [step for step in session.furnishing.setup if PassedStep(step.command, seen(session, step)) not in passed]


def seen(session: Session, step: SetupStep) -> str | None:
    """A digest of the files that the step looks at, also of which of them are not there."""
    if not step.if_changed:
        return None
    digest = hashlib.sha256()
    for name in step.if_changed:
        digest.update(b"\0" + os.fsencode(name) + b"\0")
        with contextlib.suppress(OSError), Path(session.worktree, name).open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
            digest.update(b"\1")
    return digest.hexdigest()
