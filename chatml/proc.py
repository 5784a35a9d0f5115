"""All subprocesses but git's logic: running, detaching, stopping by ladder."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from chatml import guard
from chatml.environment import MARKER
from chatml.pipes import Pipes
from chatml.record import record

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
    errors: Callable[[bytes], None] | None = None,
    leaves: bool = False,
) -> Result:
    """Run a command to its end and keep what it said; never raises for its exit code.

    Its own end counts, not that of what it leaves in the background: a hook may start a server.

    FileNotFoundError where the program is missing, TimeoutError after `timeout` seconds or once `cancelled`
    says so (looked at ten times a second); the whole process group is stopped first. With `cancelled`, the command
    and what it started end with this process too, however that ends. With a `listener` besides, that is given both
    outputs as they come, nothing is kept of them, and what the command leaves in its group is ended; not so where it
    has passed and `leaves` something there on purpose. With `errors`, that is given the standard error apart.
    """
    with Pipes(stdin, joined=listener is not None and errors is None) as pipes:
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
                _pass_on(pipes, listener, errors)
            pipes.finish()
        except BaseException:
            stop_child(process, group=cancelled is not None)
            raise
        finally:
            if listener is not None:
                if not (leaves and process.returncode == 0):
                    end_group(process.pid)
                pipes.finish()
                _pass_on(pipes, listener, errors)
        leave(pipes)
        return Result(tuple(argv), process.returncode, *pipes.said)


def _pass_on(pipes: Pipes, listener: Callable[[bytes], None] | None, errors: Callable[[bytes], None] | None) -> None:
    if listener is not None:
        listener(pipes.take())
    if errors is not None:
        errors(pipes.take(errors=True))


def become(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Be that program from here on, with this process's files and signals as it got them. OSError where it can't be."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and a shell's pipes live by
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], list(argv), dict(env))
    finally:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)


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


def wait_until(condition: Callable[[], bool], timeout: float, step: float = 0.02) -> bool:
    """Whether `condition` came true within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(step)
    return True
