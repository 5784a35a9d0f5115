"""A session without an agent: its worktree is changed by the test itself."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatml.model import Base, Session, Status, Terms, now
from chatml.state.store import Store
from tests import forked
from tests.support import TIMEOUT, Sandbox


@dataclass(frozen=True)
class Work:
    """A session `work` on the branch `chatml/work`, and git in its worktree."""

    sandbox: Sandbox
    top: Path
    base: str

    def git(self, *args: str, check: bool = True) -> str:
        return self.sandbox.git(*args, cwd=self.top, check=check)

    def write(self, name: str, content: str | bytes = "new\n") -> Path:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def commit(self, message: str = "work") -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)

    def patch(self, *args: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> bytes:
        """What `chatml diff work` writes into a pipe."""
        place, env = cwd or self.sandbox.repo, {**self.sandbox.env, **(env or {})}
        done = forked.run(["diff", "work", *args], cwd=place, env=env, stdin=None, timeout=TIMEOUT)
        assert done.code == 0, done
        return done.out

    def changed(self) -> dict[str, str]:
        """Status by path, as `diff --json` has it."""
        return {file["path"]: file["status"] for file in self.sandbox.chatml("diff", "work", "--json").json["files"]}

    def applied(self, patch: bytes) -> str:
        """The tree that `git apply --index` of a patch makes of a checkout of the base."""
        fresh = self.sandbox.repo.parent / "fresh"
        self.sandbox.git("worktree", "add", "-q", "--detach", str(fresh), self.base)
        if patch:
            subprocess.run(
                ["git", "apply", "--index"], cwd=fresh, env=self.sandbox.env, input=patch, check=True, timeout=TIMEOUT
            )
        tree = self.sandbox.git("write-tree", "--missing-ok", cwd=fresh)
        self.sandbox.git("worktree", "remove", "--force", str(fresh))
        return tree


def add_session(sandbox: Sandbox, base: str = "main", repo: Path | None = None) -> Work:
    """Make the session's record, branch and worktree, at rest, as if its agent was done."""
    repo = repo or sandbox.repo
    top = repo.parent / "app.chatml" / "work"
    commit = sandbox.git("rev-parse", base, cwd=repo)
    sandbox.git("worktree", "add", "-q", "-b", "chatml/work", str(top), commit, cwd=repo)
    session = Session(
        name="work",
        status=Status.DONE,
        terms=Terms(prompt="work"),
        branch="chatml/work",
        base=Base(base, commit),
        worktree=str(top),
        session_id=None,
        created_at=now(),
        updated_at=now(),
        repository=str(repo),
        id="an-id",
    )
    store = Store(repo / ".git")
    with store.stage() as staged:
        staged.write(session)
        store.claim(staged, "work").worker_lock.release()
    return Work(sandbox, top, commit)


@pytest.fixture
def work(sandbox: Sandbox) -> Work:
    sandbox.commit("files", a="one\ntwo\nthree\n", b="b\n", dir__c="c\n", _dot_gitignore="*.ignored\n")
    return add_session(sandbox)


@pytest.fixture
def sealed(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process sees the sandbox too, to call the program's functions directly."""
    for key in os.environ:
        if key.startswith("GIT_"):
            monkeypatch.delenv(key)
    for key, value in sandbox.env.items():
        monkeypatch.setenv(key, value)


@contextmanager
def pseudo_terminal(
    sandbox: Sandbox, *args: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[..., str]]]:
    """chatml on a terminal of its own: the process, and a function that reads until a text appears (or to the end)."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        sandbox.command(*args),
        cwd=sandbox.repo,
        env={**sandbox.env, **(env or {})},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)

    def read(until: str = "\0") -> str:
        seen = b""
        deadline = time.monotonic() + TIMEOUT
        while until.encode() not in seen:
            assert time.monotonic() < deadline, f"waited in vain for {until!r} in {seen!r}"
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    seen += os.read(ours, 1 << 16)
                except OSError:  # the other side is closed
                    break
        return seen.decode(errors="replace").replace("\r\n", "\n")

    try:
        yield process, read
    finally:
        process.kill()
        process.wait(TIMEOUT)
        os.close(ours)
