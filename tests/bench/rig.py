"""The two sides that are compared, each in a sealed home of its own, and what their processes use."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatml.scripted.api import ScriptedApi
from chatml.scripted.script import Script
from tests.conftest import GITCONFIG
from tests.support import Sandbox, init_repository, marked_processes, sealed_env

PATIENCE = 60.0
"""Seconds after which a wait is given up, and the run with it."""

TICK = os.sysconf("SC_CLK_TCK")
"""Ticks a second, the unit of CPU time and start times in proc(5)."""


@dataclass
class Side:
    """One way to run agents in the background, in a sealed home with a repository and a scripted API."""

    sandbox: Sandbox
    api: ScriptedApi

    def start_argv(self, prompt: str) -> list[str]:
        """The command that starts a session and returns."""
        return self.sandbox.command("new", "-q", prompt)

    def list_argv(self) -> list[str]:
        """The command that lists the sessions for a program."""
        return self.sandbox.command("ls", "--json")

    def warm(self, keep: bool) -> None:
        """Bring up what sessions share, and `keep` it up between them: chatml has nothing of the kind."""

    def end_one(self, said: str) -> None:
        """End the session whose start command printed `said`, and wait until it is gone."""
        self.sandbox.chatml("stop", "-q", said.strip())
        wait(lambda: not self.processes(), "the session's processes to end")

    def end(self) -> None:
        """End all sessions and all else that the side keeps running."""
        self.sandbox.chatml("stop", "--all", "-q", code=None)

    def answered(self) -> bool:
        """Whether all sessions are at rest."""
        statuses = {session["status"] for session in self.sandbox.chatml("ls", "--json").json}
        return not statuses - {"done", "failed", "stopped"}

    def run(self, argv: Sequence[str], cwd: Path | None = None) -> tuple[float, str]:
        """Run a command to its success; how long it took in ms, and what it said."""
        began = time.monotonic()
        done = subprocess.run(
            argv,
            cwd=cwd or self.sandbox.repo,
            env=self.sandbox.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        took = (time.monotonic() - began) * 1000
        if done.returncode:
            raise RuntimeError(f"{argv}: exit code {done.returncode}: {done.stderr or done.stdout}")
        return took, done.stdout

    def processes(self) -> dict[int, str]:
        return marked_processes(self.sandbox.home)

    def memory(self) -> float:
        """MB of all processes together; what several share is counted once (PSS)."""
        return sum(pss(pid) for pid in self.processes()) / 1e6

    def cpu(self) -> float:
        """Seconds of CPU that all processes have used so far, with their ended children."""
        return sum(cpu(pid) for pid in self.processes())


@dataclass
class ClaudeBackground(Side):
    """`claude --bg` of the CLI that the SDK bundles; like chatml's agent it may edit without asking."""

    cli: Path

    def start_argv(self, prompt: str) -> list[str]:
        return [str(self.cli), "--bg", "--permission-mode", "acceptEdits", prompt]

    def list_argv(self) -> list[str]:
        return [str(self.cli), "agents", "--json"]

    def warm(self, keep: bool) -> None:
        """Its daemon ends 5 s after the last session: time enough for the next one, or else one session stays."""
        before = len(self.api.requests)
        said = self.run(self.start_argv("keep the daemon warm"))[1]
        self.api.wait_for(lambda: len(self.api.requests) > before, PATIENCE)
        self.settle()
        if not keep:
            self.end_one(said)

    def settle(self) -> None:
        """Wait until the spare process that takes the next session is ready: nothing computes any more."""

        def quiet() -> bool:
            before = self.cpu()
            time.sleep(0.4)
            return "bg-spare" in " ".join(self.processes().values()) and 0 <= self.cpu() - before <= 0.04

        wait(quiet, "the warm spare to be ready")

    def end_one(self, said: str) -> None:
        found = re.search(r"backgrounded · (\w+)", said)
        if found is None:
            raise RuntimeError(f"no session in what claude --bg said: {said!r}")
        self.run([str(self.cli), "stop", found[1]])
        self.settle()

    def end(self) -> None:
        self.run([str(self.cli), "daemon", "stop", "--any"])

    def answered(self) -> bool:
        listed = json.loads(self.run([*self.list_argv(), "--all"])[1])
        return all(session.get("status") != "busy" for session in listed)


@contextlib.contextmanager
def chatml_side(script: Script) -> Iterator[Side]:
    """chatml in a sealed home; all that it started is ended and all folders are removed at the end."""
    with _place(script) as (sandbox, api):
        side = Side(sandbox, api)
        with _ending(side):
            yield side


@contextlib.contextmanager
def claude_side(script: Script) -> Iterator[ClaudeBackground]:
    """`claude --bg` in a sealed home; all that it started is ended and all folders are removed at the end."""
    with _place(script) as (sandbox, api):
        side = ClaudeBackground(sandbox, api, bundled_cli())
        try:
            with _ending(side):
                yield side
        finally:
            # Its sockets don't follow TMPDIR: the folder goes unless another daemon of this user lives in it.
            with contextlib.suppress(OSError):
                os.rmdir(f"/tmp/cc-daemon-{os.geteuid()}")


@contextlib.contextmanager
def _place(script: Script) -> Iterator[tuple[Sandbox, ScriptedApi]]:
    root = Path(tempfile.mkdtemp(prefix="cb-"))
    try:
        home, repo, scratch = root / "home", root / "app", root / "t"
        (home / ".claude").mkdir(parents=True)
        scratch.mkdir()
        (home / ".gitconfig").write_text(GITCONFIG)
        # What a person has said yes to once: `claude --bg` refuses to start without.
        accepted = {
            "hasCompletedOnboarding": True,
            "customApiKeyResponses": {"approved": ["test-key"], "rejected": []},
            "projects": {str(repo): {"hasTrustDialogAccepted": True}},
        }
        (home / ".claude" / ".claude.json").write_text(json.dumps(accepted))
        with ScriptedApi(script) as api:
            env = sealed_env(home, api.url)
            # On both sides, so that neither pays for requests that the other spares itself.
            env.update(TMPDIR=str(scratch), CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1")
            init_repository(repo, env)
            yield Sandbox(home, repo, env), api
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def _ending(side: Side) -> Iterator[None]:
    """End a side by its own means, then whatever still runs under its home."""
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            side.end()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(TimeoutError):
                wait(lambda: not side.processes(), "all processes to end", 5.0)
                break
            for pid in side.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)


def bundled_cli() -> Path:
    """The Claude Code CLI that the SDK brings. FileNotFoundError without one."""
    from chatml.agents.claude.agent import find_cli

    cli = find_cli()
    if cli is None:
        raise FileNotFoundError("the Claude Code CLI")
    return cli


def wait(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """Wait until `condition()` is true. TimeoutError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.02)


def pss(pid: int) -> int:
    """Bytes of memory of a process, its share of what it shares included; 0 once it is gone."""
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def cpu(pid: int) -> float:
    """Seconds of CPU that a process and its ended children have used; 0 once it is gone."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / TICK if fields else 0.0


@dataclass
class Shown:
    """A command on a terminal, and who reads there until it ends."""

    process: subprocess.Popen[bytes]
    reader: threading.Thread


@contextlib.contextmanager
def on_terminal(argv: Sequence[str], sandbox: Sandbox) -> Iterator[Shown]:
    """A command on a terminal of its own, which reads all that it prints; ended at the end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        argv, cwd=sandbox.repo, env=sandbox.env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    reader = threading.Thread(target=_drain, args=(ours,), daemon=True)
    reader.start()
    try:
        yield Shown(process, reader)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        reader.join(PATIENCE)
        os.close(ours)


def _drain(fd: int) -> None:
    with contextlib.suppress(OSError):  # the other side is closed
        while os.read(fd, 1 << 16):
            pass


def busy(pid: int) -> float:
    """Seconds of CPU that a process has used, to the microsecond (schedstat), without its children."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def started(pid: int) -> float:
    """When a process was started, as `time.monotonic` counts, to 10 ms. ProcessLookupError once it is gone."""
    fields = _stat(pid)
    if not fields:
        raise ProcessLookupError(pid)
    return int(fields[19]) / TICK + time.monotonic() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _stat(pid: int) -> list[str]:
    """The fields of proc(5) stat from the third on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def read_bytes(pid: int) -> int:
    """How many bytes a process has read so far, from wherever; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/io").read_text().split()[1])
    except OSError:
        return 0
