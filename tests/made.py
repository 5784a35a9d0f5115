"""Sessions at rest that no agent has worked in: made as `new` and its worker leave them, in a fraction of the time."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatml import events
from chatml.model import Base, Session, Status, now
from chatml.store import Store
from tests.support import Sandbox


def make_session(sandbox: Sandbox, name: str, base: str = "main", branch: str | None = None, **changes: Any) -> Path:
    """A session that has answered once; returns its worktree. `branch` is an existing one for it to work on."""
    own = branch or f"chatml/{name}"
    worktree = Path(f"{sandbox.repo}.chatml") / name
    commit = sandbox.git("rev-parse", f"{base}^{{commit}}")
    start = [branch] if branch else ["--no-track", "-b", own, commit]
    sandbox.git("worktree", "add", "--quiet", str(worktree), *start[-1:], *start[:-1])
    session = Session(
        name=name,
        status=Status.DONE,
        prompt=f"do {name}",
        branch=own,
        base=Base(base, commit),
        worktree=str(worktree),
        agent="claude",
        model="some-model",
        permission_mode="acceptEdits",
        session_id=str(uuid.uuid4()),
        created_at=now(),
        updated_at=now(),
        turns=1,
        cost_usd=0.25,
        result="It is done.",
        repository=str(sandbox.repo),
        id=str(uuid.uuid4()),
        owns_branch=branch is None,
        agent_started=True,
    )
    with Store(sandbox.repo / ".git").stage() as staged:
        staged.write(replace(session, **changes))
        events.post(staged, {"id": session.id, "type": "message", "text": session.prompt})
        log = events.Log(staged.events)
        log.append("message", id=session.id, text=session.prompt)
        log.append("status", status="done")
        log.close()
        Store(sandbox.repo / ".git").claim(staged, name).worker_lock.release()
    return worktree


def write(folder: Path, **files: str) -> None:
    """Write files (name with `__` for a slash and `_dot_` for a dot)."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def commit(sandbox: Sandbox, folder: Path, message: str, **files: str) -> str:
    """Commit files in any checkout of the repository."""
    write(folder, **files)
    sandbox.git("add", "-A", cwd=folder)
    sandbox.git("commit", "-q", "--allow-empty", "-m", message, cwd=folder)
    return sandbox.git("rev-parse", "HEAD", cwd=folder)


def traces(sandbox: Sandbox) -> dict[str, object]:
    """All that a session could leave behind in and around the repository, but for the trash."""
    git_dir = sandbox.repo / ".git"
    state = {
        os.path.relpath(path, git_dir)
        for part in ("chatml", "worktrees", "refs", "logs")
        for path in (git_dir / part).rglob("*")
        if path.name not in ("repo.lock", "ORIG_HEAD") and "refs/chatml" not in str(path)
    }
    return {
        "worktrees": sandbox.git("worktree", "list", "--porcelain"),
        "branches": sandbox.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/remotes"),
        "config": sandbox.git("config", "--local", "--list"),
        "state": state,
        "beside": sorted(path.name for path in sandbox.repo.parent.iterdir()),
    }
