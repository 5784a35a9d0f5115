"""All subprocesses but git's logic: running, detaching, stopping by ladder, and finding what a dead worker left."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from chatml import guard
from chatml.environment import MARKER
from chatml.pipes import Pipes
from chatml.record import record

WORKER = "chatml.worker"
"""The module that runs as a worker."""

STEP = 0.1
"""Seconds between two looks whether a command has ended, or is to end, while nothing comes from it."""


@record(frozen=True)
class Result:
    """A finished command, with all that it said."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "surrogateescape")

    @property
    def errors(self) -> str:
        return self.stderr.decode("utf-8", "replace")


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,
    cancelled: Callable[[], bool] | None = None,
    listener: Callable[[bytes], None] | None = None,
    leaves: bool = False,
) -> Result:
    """Run a command to its end and keep what it said; never raises for its exit code.

    Its own end counts, not that of what it leaves in the background: a hook may start a server.

    FileNotFoundError where the program is missing, TimeoutError after `timeout` seconds or once `cancelled`
    says so (looked at ten times a second); the whole process group is stopped first. With `cancelled`, the command
    and what it started end with this process too, however that ends. With a `listener` besides, that is given both
    outputs as they come, nothing is kept of them, and what the command leaves in its group is ended; not so where it
    has passed and `leaves` something there on purpose.
    """
    with Pipes(stdin, joined=listener is not None) as pipes:
        process = subprocess.Popen(
            guarded(argv, group=True) if cancelled is not None else argv,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            stdin=pipes.stdin or subprocess.DEVNULL,
            stdout=pipes.stdout,
            stderr=pipes.stderr,
            start_new_session=cancelled is not None,
        )
        pipes.started()
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        try:
            while process.poll() is None:
                if time.monotonic() >= deadline or (cancelled is not None and cancelled()):
                    raise TimeoutError(f"{argv[0]} was stopped")
                _await(process, pipes, min(STEP, deadline - time.monotonic()))
                if listener is not None:
                    listener(pipes.take())
            pipes.finish()
        except BaseException:
            stop_child(process, group=cancelled is not None)
            raise
        finally:
            if listener is not None:
                if not (leaves and process.returncode == 0):
                    end_group(process.pid)
                pipes.finish()
                listener(pipes.take())
        leave(pipes)
        return Result(tuple(argv), process.returncode, *pipes.said)


def end_group(group: int, grace: float = 2.0) -> None:
    """End what is left of a process group: terminate, up to `grace` seconds, kill."""

    def gone() -> bool:
        os.killpg(group, 0)  # raises where it is
        return False

    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: the latter, where only dead are left
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(group, number)
            wait_until(gone, grace)


def _await(process: subprocess.Popen[bytes], pipes: Pipes, seconds: float) -> None:
    """Wait a little for the command to say something or to end: mostly it does both at once."""
    if pipes.open:
        pipes.tend(seconds)
    else:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(seconds, 0))


def leave(pipes: Pipes) -> None:
    """Let what a command has left in the background print on into nothing: else its next word would be its death."""
    for end in pipes.left:
        with contextlib.suppress(OSError):
            drain = subprocess.Popen(
                ["cat"],
                cwd="/",
                env={key: value for key, value in os.environ.items() if key != MARKER},
                stdin=end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            drain.returncode = 0  # it ends with the last who holds the other end, and nobody waits for it


def attach(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> int:
    """Run a command with this process's own input, output and terminal; its exit code, negative for a signal.

    Ctrl-C is the command's: a pager, for one, goes on.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(argv, env=dict(env), cwd=cwd, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def call(argv: Sequence[str], *, env: Mapping[str, str], grace: float = 5.0) -> int:
    """Run a command with this process's own output and nothing to read; its exit code, negative for a signal.

    Where this process is to end (Ctrl-C on a terminal reaches both), the command has `grace` seconds to end first.
    """
    process = subprocess.Popen(argv, env=dict(env), stdin=subprocess.DEVNULL)
    try:
        return process.wait()
    except BaseException:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        stop_child(process, group=False)
        raise


def stop_child(process: subprocess.Popen[bytes], group: bool, grace: float = 3.0) -> None:
    """Terminate a child (or its whole group), wait `grace` seconds, then kill it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
        try:
            process.wait(timeout=grace)
            return
        except subprocess.TimeoutExpired:
            continue


def spawn_detached(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: Path, keep: Sequence[int] = ()
) -> int:
    """Start a process that outlives this one, its terminal and its signals; it inherits only the files `keep`.

    Its own session and process group, /dev/null as input, `output` (appended) for what it prints. Returns the PID.
    """
    with output.open("ab") as log, open(os.devnull, "rb") as nothing:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=nothing,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=keep,
        )
    process.returncode = 0  # it is not ours to wait for: keeps the destructor quiet
    return process.pid


def guarded(argv: Sequence[str], group: bool = False) -> list[str]:
    """`argv` as a command that ends when this process does; with `group`, so does all that it started.

    In a group it must be started as the leader of one.
    """
    return [sys.executable, "-I", "-S", guard.__file__, *(["--group"] if group else []), str(os.getpid()), *argv]


def python() -> list[str]:
    """The command of this interpreter for our own modules: never picks up a module from the working directory."""
    return [sys.executable, *(["-P"] if sys.version_info >= (3, 11) else [])]


def marks(variable: str = MARKER) -> dict[int, str]:
    """The living processes of ours that a session has marked, with its marker, by PID; without this process.

    Another `variable` marks a part of them.
    """
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")] if sees_marks() else []
    found = ((pid, _mark(pid, variable)) for pid in pids if pid != os.getpid())
    return {pid: marker for pid, marker in found if marker is not None}


def _mark(pid: int, variable: str = MARKER) -> str | None:
    start = f"{variable}=".encode()
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None  # gone, or somebody else's
    return next((one[len(start) :].decode("ascii", "replace") for one in variables if one.startswith(start)), None)


def marks_above() -> Iterator[str]:
    """The markers of the processes that this one descends from, the nearest first; none where that can't be seen.

    Not those of workers: what they start themselves, such as a person's notifier or a hook, is no agent's.
    """
    pid = os.getppid()
    while pid > 1:
        if (marker := _mark(pid)) is not None and WORKER not in words(pid):
            yield marker
        try:
            # The name in it may hold anything, also parentheses (proc_pid_stat(5)).
            pid = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return


def sees_marks() -> bool:
    """Whether this system shows the environments of processes, and so which of them a session has marked."""
    return os.path.exists("/proc/self/environ")


def words(pid: int) -> list[str]:
    """A process's program and arguments; empty for one that is gone, or that can't be seen."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").rstrip("\0")
    except OSError:
        return []
    return line.split("\0") if line else []  # nothing: it has ended, and waits to be reaped


def marked(marker: str, variable: str = MARKER) -> list[int]:
    """PIDs of living processes of ours whose environment carries this session's marker, but this process."""
    return [pid for pid, found in marks(variable).items() if found == marker]


def is_marked(pid: int, marker: str) -> bool:
    """Whether the process is of this session, so that a stale PID ends nobody else; True where that can't be seen."""
    return _mark(pid) == marker if sees_marks() else pid > 1


def sweep(marker: str, grace: float = 2.0, variable: str = MARKER) -> int:
    """Stop all processes that carry the marker: terminate, `grace` seconds, kill. Returns how many there were."""
    first = marked(marker, variable)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in marked(marker, variable):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        if wait_until(lambda: not marked(marker, variable), grace):
            break
    return len(first)


def wait_until(condition: Callable[[], bool], timeout: float, step: float = 0.02) -> bool:
    """Whether `condition` came true within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(step)
    return True
