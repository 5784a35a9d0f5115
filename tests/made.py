"""Sessions at rest, made as `new` and its worker leave them but in no time; and all that can be seen of one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatml.model import Base, Checkout, Exchange, Session, Status, Terms, now
from chatml.model.entry import Message
from chatml.model.event import MessageTaken, StatusChanged
from chatml.state import inbox
from chatml.state.log import Log
from chatml.state.store import Store
from tests.support import TIMEOUT, Sandbox


def make_session(sandbox: Sandbox, name: str, base: str = "main", branch: str | None = None, **changes: Any) -> Path:
    """A session that has answered once; returns its worktree. `branch` is an existing one for it to work on.

    `changes` are of its record, or of its terms.
    """
    own = branch or f"chatml/{name}"
    worktree = Path(f"{sandbox.repo}.chatml") / name
    commit = sandbox.git("rev-parse", f"{base}^{{commit}}")
    start = [branch] if branch else ["--no-track", "-b", own, commit]
    sandbox.git("worktree", "add", "--quiet", str(worktree), *start[-1:], *start[:-1])
    session = Session(
        name=name,
        status=Status.DONE,
        terms=Terms(prompt=f"do {name}"),
        branch=own,
        base=Base(base, commit),
        worktree=str(worktree),
        model="some-model",
        session_id=str(uuid.uuid4()),
        created_at=now(),
        updated_at=now(),
        turns=1,
        cost_usd=0.25,
        result="It is done.",
        repository=str(sandbox.repo),
        id=str(uuid.uuid4()),
        exchange=Exchange(started=True),
        checkout=Checkout(owns_branch=branch is None, populated=True),
    )
    with Store(sandbox.repo / ".git").stage() as staged:
        asked = {key: changes.pop(key) for key in [*changes] if key in vars(session.terms) and key != "model"}
        staged.write(replace(session.with_terms(**asked), **changes))
        inbox.post(staged, Message(session.terms.prompt, id=session.id))
        log = Log(staged.events)
        log.append(MessageTaken(session.id, session.terms.prompt))
        log.append(StatusChanged("done"))
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


REMEMBERED = ("landed.json", "landed.lock", "conflicts.json", "conflicts.lock")
"""What is only remembered, and found out again where it is gone: any command may write it."""


def traces(sandbox: Sandbox) -> dict[str, object]:
    """All that a session could leave behind in and around the repository, but for the trash."""
    git_dir = sandbox.repo / ".git"
    state = {
        os.path.relpath(path, git_dir)
        for part in ("chatml", "worktrees", "refs", "logs")
        for path in (git_dir / part).rglob("*")
        if path.name not in (*REMEMBERED, "repo.lock", "ORIG_HEAD")
        and not re.search("refs/chatml|chatml/trash", str(path))
    }
    return {
        "worktrees": sandbox.git("worktree", "list", "--porcelain"),
        "branches": sandbox.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/remotes"),
        "config": sandbox.git("config", "--local", "--list"),
        "state": state,
        "beside": sorted(path.name for path in sandbox.repo.parent.iterdir()),
    }


def raw(sandbox: Sandbox, folder: Path, *args: str) -> bytes:
    """What git says, whatever bytes its paths are made of."""
    done = subprocess.run(
        ["git", *args], cwd=folder, env=sandbox.env, capture_output=True, check=False, timeout=TIMEOUT
    )
    return done.stdout + b"(%d)" % done.returncode


def files(folder: Path) -> dict[bytes, tuple[str, bytes]]:
    """Every file and link below a folder: what it is, and what is in it."""
    found = {}
    for here, names, inside in os.walk(os.fsencode(folder)):
        names[:] = [name for name in names if os.path.join(here, name) != os.fsencode(folder / ".git")]
        for name in [*inside, *(name for name in names if os.path.islink(os.path.join(here, name)))]:
            path = os.path.join(here, name)
            if os.path.islink(path):
                found[path] = ("link", os.readlink(path))
            elif path != os.fsencode(folder / ".git"):
                kind = "program" if os.stat(path).st_mode & 0o100 else "file"
                found[path] = (kind, Path(os.fsdecode(path)).read_bytes())
    return found


def state(sandbox: Sandbox, name: str, worktree: Path) -> dict[str, Any]:
    """All of a session that a person or a program could look at."""
    session = json.loads((sandbox.state(name) / "session.json").read_text())
    return {
        "files": files(worktree),
        "status": raw(sandbox, worktree, "status", "--porcelain=v2", "-z", "--branch", "--untracked-files=all"),
        "index": raw(sandbox, worktree, "ls-files", "-s", "-v", "-z"),
        "head": raw(sandbox, worktree, "symbolic-ref", "HEAD"),
        "commit": raw(sandbox, worktree, "rev-parse", "HEAD"),
        "branch": raw(sandbox, worktree, "rev-parse", session["branch"]),
        "reflog": raw(sandbox, worktree, "log", "-g", "--format=%H %gs"),
        "staged": raw(sandbox, worktree, "diff", "--cached", "--binary"),
        "session": {
            key: value for key, value in session.items() if key not in ("updated_at", "changes", "changes_seen")
        },
        "events": (sandbox.state(name) / "events.jsonl").read_text(),
        "inbox": (sandbox.state(name) / "inbox.jsonl").read_text(),
    }


def assert_comes_back(sandbox: Sandbox, name: str, worktree: Path) -> None:
    """Removing by force and restoring leaves everything as it was."""
    before, outside = state(sandbox, name, worktree), traces(sandbox)
    told = sandbox.chatml("rm", "--force", name)
    assert not os.path.lexists(worktree), told
    assert sandbox.chatml("ls", name, code=1).out == ""
    sandbox.git("gc", "-q", "--prune=now")
    sandbox.chatml("restore", name)
    after = state(sandbox, name, worktree)
    for part, value in before.items():
        assert after[part] == value, part
    sandbox.git("fsck", "--no-dangling", "--no-progress")
    assert sandbox.git("for-each-ref", "refs/chatml") == ""
    assert {**traces(sandbox), "state": 0, "config": 0} == {**outside, "state": 0, "config": 0}
    assert not list((sandbox.repo / ".git" / "chatml").rglob(".*"))
