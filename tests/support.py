"""What the tests share: a sealed environment, the program as a child process, a repository to work on."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import forked

ROOT = Path(__file__).parents[1]
TIMEOUT = 30.0
"""Seconds after which a wait is given up: far beyond what a loaded machine needs, so reaching it is a failure."""


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips a test, and says why, where one of these programs is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def thinned(cases: Iterable[Any], every: int) -> list[Any]:
    """All cases, of which each so-and-so-manieth is for the fast suite too, and the others for its long part alone."""

    def long(case: Any) -> Any:
        return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.long)

    return [case if number % every == 0 else long(case) for number, case in enumerate(cases)]


@dataclass(frozen=True)
class Result:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def sealed_env(home: Path, api_url: str | None = None) -> dict[str, str]:
    """An environment that knows nothing of the person who runs the tests."""
    keep = ("PATH", "LANG", "VIRTUAL_ENV", "PYTHONPATH", "TMPDIR")
    env = {key: os.environ[key] for key in keep if key in os.environ}
    env.update(
        HOME=str(home),
        XDG_CONFIG_HOME=str(home / ".config"),
        CLAUDE_CONFIG_DIR=str(home / ".claude"),
        GIT_CONFIG_GLOBAL=str(home / ".gitconfig"),
        GIT_CONFIG_NOSYSTEM="1",
        GIT_TERMINAL_PROMPT="0",
        TERM="xterm-256color",
        LC_ALL="C.UTF-8",
        TZ="UTC",
        PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        CLAUDE_CODE_MAX_RETRIES="1",
        # No two of the processes that run tests hand out the same ports.
        CHATML_PORT_RANGE=_ports(),
        # Most tests are about what is asked; in a sandbox no command is, and not every machine has one. Those about the
        # sandbox (tests/test_sandbox.py, tests/test_escapes.py) switch it on.
        CHATML_SANDBOX="off",
        ANTHROPIC_API_KEY="test-key",
        ANTHROPIC_BASE_URL=api_url or "http://127.0.0.1:9",
    )
    forked.Server.starts_with(env)
    return env


def _ports() -> str:
    """The ports that sessions of this testing process have: below those that Linux gives out by itself (ip(7))."""
    first = 20_000 + 500 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 20)
    return f"{first}-{first + 499}"


@dataclass
class Sandbox:
    """A home folder, a repository, and chatml run on it as a child process."""

    home: Path
    repo: Path
    env: dict[str, str] = field(default_factory=dict)

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "chatml", *args]

    def chatml(
        self,
        *args: str,
        code: int | None = 0,
        cwd: Path | None = None,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> Result:
        """Run chatml; asserts its exit code, unless `code` is None."""
        done = forked.run(
            args,
            cwd=cwd or self.repo,
            env={**self.env, **(env or {})},
            stdin=None if stdin is None else stdin.encode("utf-8", "surrogateescape"),
            timeout=timeout,
        )
        result = Result(done.code, forked.text_of(done.out), forked.text_of(done.err))
        assert code is None or result.code == code, f"chatml {' '.join(args)}: {result}"
        return result

    def start(self, *args: str, cwd: Path | None = None, reads: bool = False) -> forked.Child:
        """Start chatml beside the test; the caller waits for it. It has an input only where it `reads`."""
        return forked.start(args, cwd=cwd or self.repo, env=self.env, reads=reads)

    def git(self, *args: str, cwd: Path | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["git", *args],
            cwd=cwd or self.repo,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0 or not check, f"git {args}: {done}"
        return done.stdout.strip()

    def session(self, name: str) -> dict[str, Any]:
        """The session as `ls --json` shows it."""
        found: dict[str, Any] = self.chatml("ls", name, "--json").json[0]
        return found

    def written(self, name: str) -> dict[str, Any]:
        """The record as it lies on the disk, read without starting chatml: for waits that must not miss a moment."""
        found: dict[str, Any] = json.loads((self.state(name) / "session.json").read_text())
        return found

    def until(self, name: str, *statuses: str) -> dict[str, Any]:
        """The session as `ls --json` shows it, once it is in one of these statuses."""
        found: dict[str, Any] = {}

        def there() -> bool:
            if "crashed" not in statuses and self.written(name)["status"] not in statuses:
                return False  # of all statuses, only `crashed` is never written
            found.update(self.session(name))
            return found["status"] in statuses

        wait_until(there, f"{name} to be {' or '.join(statuses)}", lambda: found or self.written(name)["status"])
        return found

    def state(self, name: str) -> Path:
        """The folder of the session's state."""
        return self.repo / ".git" / "chatml" / "sessions" / name

    def events(self, name: str, *types: str) -> list[dict[str, Any]]:
        """The log as it lies on the disk, so far; all events, or those of these types."""
        try:
            text = (self.state(name) / "events.jsonl").read_text("utf-8", "surrogatepass")
        except FileNotFoundError:
            return []
        found = []
        for line in text.split("\n")[:-1]:
            with contextlib.suppress(ValueError):  # damaged, or torn by a crash: skipped by every reader
                found.append(json.loads(line))
        return [event for event in found if not types or event["type"] in types]

    def commit(self, message: str, **files: str) -> str:
        """Commit files (name with `__` for a slash and `_dot_` for a dot) in the main checkout."""
        for name, text in files.items():
            path = self.repo / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


def wait_until(condition: Callable[[], bool], what: str, state: Callable[[], object] = lambda: "") -> None:
    """Wait for a condition; the test fails with `what` where it never comes."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what} ({state()})"
        time.sleep(0.02)


def marked_processes(home: Path) -> dict[int, str]:
    """Living processes that were started under this sealed home, by PID."""
    wanted = f"HOME={home}".encode()
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return found


def init_repository(path: Path, env: Mapping[str, str]) -> None:
    """A repository with one commit: a copy of the one that this process has made before."""
    shutil.copytree(_template(Path(env["GIT_CONFIG_GLOBAL"]).read_text()), path, symlinks=True)
    # The index knows files by number and time too, which a copy changes.
    subprocess.run(["git", "update-index", "-q", "--refresh"], cwd=path, env=dict(env), check=True, timeout=TIMEOUT)


@functools.cache
def _template(settings: str) -> Path:
    """A repository as these settings of git make it, in a folder that the testing process removes at its end."""
    # Among the temporary files of the programs under test, which go too where a process does not end in order.
    folder = Path(tempfile.mkdtemp(prefix="template-", dir=os.environ.get("TMPDIR")))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / ".gitconfig").write_text(settings)
    env = sealed_env(folder)
    repo = folder / "repository"
    repo.mkdir()
    (repo / "README.md").write_text("sample\n")
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *args], cwd=repo, env=env, check=True, capture_output=True, timeout=TIMEOUT)
    return repo
