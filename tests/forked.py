"""chatml as a child forked from a process that has it imported: a real process, in a tenth of the time of a cold start.

A server (this file as a program) forks one child for each request; the child gets the environment, the working folder,
the streams and the signals that a cold start has, in `/proc` too, and then runs the package as `python -m chatml` does.
What depends on how Python itself starts (`PYTHON…`, the locale) can't be changed later: such a child is started cold.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOM = 1 << 16
"""Bytes that the server's own environment keeps free for that of a child, to be seen in `/proc/PID/environ`."""

LIMIT = 30.0
"""Seconds within which the server must have done what it was asked."""

PIECE = 1 << 16
"""Bytes read or written at once."""

IGNORED = {signal.SIGPIPE, signal.SIGXFSZ}
"""The signals that Python ignores from its start (`signal` in the manual of the C interface)."""

ORDER = b"."
"""One byte that carries the streams of a child to be."""


class Child:
    """A chatml that runs, on streams of its own, as `subprocess.Popen` would have it; to be waited for."""

    def __init__(self, pid: int, order: socket.socket, streams: Sequence[IO[bytes]]) -> None:
        self.pid = pid
        self.returncode: int | Any = None
        """Its exit code once it was waited for; negative for a signal."""
        self.stdin: IO[bytes] | None = streams[0]
        self.stdout, self.stderr = streams[1:]
        self._order = order
        """The line over which the server tells of its end."""

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self.returncode is None:
            self.kill()
            self.wait(LIMIT)
        self._order.close()
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()

    def wait(self, timeout: float = LIMIT) -> int:
        """Wait for its end; its exit code. subprocess.TimeoutExpired after `timeout` seconds."""
        if self.returncode is None:
            self._order.settimeout(max(0.01, timeout))
            try:
                self.returncode = os.waitstatus_to_exitcode(int(_line(self._order)))
            except TimeoutError:
                raise subprocess.TimeoutExpired("chatml", timeout) from None
        return self.returncode

    def speak(self, text: bytes, timeout: float) -> tuple[bytes, bytes]:
        """Give it this to read and wait for its end; all that it said, as bytes.

        subprocess.TimeoutExpired, and its end, after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        try:
            out, err = _converse(self.stdin, text, [self.stdout, self.stderr], deadline)
            self.stdin = None
            self.wait(deadline - time.monotonic())
        except TimeoutError:
            raise subprocess.TimeoutExpired("chatml", timeout) from None
        finally:
            self.__exit__()
        return out, err

    def communicate(self, timeout: float = LIMIT) -> tuple[str, str]:
        """Wait for its end; what it said, as text."""
        out, err = self.speak(b"", timeout)
        return text_of(out), text_of(err)

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it, and what it started in its own group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def text_of(raw: bytes) -> str:
    """As `subprocess` decodes it."""
    return raw.decode().replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True)
class Finished:
    """What a child that has ended said; `code` is negative for a signal, as in `subprocess`."""

    code: int
    out: bytes
    err: bytes


def run(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: bytes | None, timeout: float) -> Finished:
    """Run `python -m chatml ARGV` to its end; subprocess.TimeoutExpired, and its end, after `timeout` seconds."""
    if Server.fits(env):
        child = start(argv, cwd=cwd, env=env, reads=stdin is not None)
        out, err = child.speak(stdin or b"", timeout)
        assert child.returncode is not None
        return Finished(child.returncode, out, err)
    command = [sys.executable, "-m", "chatml", *argv]
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, timeout=timeout, check=False, **given)
    return Finished(done.returncode, done.stdout, done.stderr)


def start(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], reads: bool = False) -> Child:
    """Start `python -m chatml ARGV`; it has something to read on its input only where it `reads`."""
    assert Server.fits(env), "Python would start otherwise with this environment"
    ends = [os.pipe() for _ in range(3)]
    theirs = [ends[0][0], ends[1][1], ends[2][1]]
    ours = [open(ends[0][1], "wb", 0), open(ends[1][0], "rb", 0), open(ends[2][0], "rb", 0)]  # noqa: SIM115
    if not reads:
        os.close(theirs[0])
        theirs[0] = os.open(os.devnull, os.O_RDONLY)
    try:
        return _server().fork(argv, cwd, env, theirs, ours)
    finally:
        for descriptor in theirs:
            os.close(descriptor)


def _converse(to: IO[bytes] | None, what: bytes, sources: Sequence[IO[bytes]], deadline: float) -> list[bytes]:
    """Write all to a child and read what it says, at the same time and until it has closed its streams."""
    said = {source.fileno(): b"" for source in sources}
    with selectors.DefaultSelector() as selector:
        for source in sources:
            selector.register(source, selectors.EVENT_READ)
        if to is not None:
            os.set_blocking(to.fileno(), False)
            selector.register(to, selectors.EVENT_WRITE)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                if key.fileobj is to:
                    with contextlib.suppress(BrokenPipeError):
                        what = what[os.write(key.fd, what[:PIECE]) :]
                        if what:
                            continue
                    selector.unregister(to)
                    to.close()
                elif chunk := os.read(key.fd, PIECE):
                    said[key.fd] += chunk
                else:
                    selector.unregister(key.fileobj)
    return list(said.values())


def _line(source: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = source.recv(1)
        if not byte:
            raise RuntimeError("the fork server has ended")
        line += byte
    return line


def _of_start(env: Mapping[str, str]) -> dict[str, str]:
    """What of an environment Python itself has read before our first line runs."""
    return {key: value for key, value in env.items() if key.startswith(("PYTHON", "LC_", "LANG"))}


class Server:
    """The testing process's side of the server."""

    start_with: Mapping[str, str] | None = None
    """What of the environment the one server of this process starts with: as of all tests that change nothing of it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._guard = threading.Lock()
        self._channel, theirs = socket.socketpair()
        own = {**_of_start(env), "PATH": env["PATH"], "ROOM": "x" * ROOM}
        with theirs:
            argv = [sys.executable, "-m", "tests.forked", str(theirs.fileno()), "x" * ROOM]
            root = Path(__file__).parents[1]
            subprocess.Popen(argv, cwd=root, env=own, pass_fds=[theirs.fileno()], start_new_session=True)

    @classmethod
    def starts_with(cls, env: Mapping[str, str]) -> None:
        """The first environment that is made counts, whatever becomes of it before the first child starts."""
        if cls.start_with is None:
            cls.start_with = _of_start(env)

    @classmethod
    def fits(cls, env: Mapping[str, str]) -> bool:
        """Whether Python would start with this environment as the server has."""
        size = sum(len(key) + len(value) for key, value in env.items())
        return _of_start(env) == cls.start_with and size < ROOM // 4 and "PATH" in env

    def fork(
        self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], streams: Sequence[int], ours: Sequence[IO[bytes]]
    ) -> Child:
        """Start a child on these streams, whose other ends are ours."""
        order, theirs = socket.socketpair()
        order.settimeout(LIMIT)
        with theirs, self._guard:
            socket.send_fds(self._channel, [ORDER], [*streams, theirs.fileno()])
        order.sendall(json.dumps([list(argv), str(cwd), dict(env)]).encode())
        order.shutdown(socket.SHUT_WR)
        return Child(int(_line(order)), order, ours)


_making = threading.Lock()


def _server() -> Server:
    with _making:  # threads that come at once would each make one, and all but one of them would end
        return _made_once()


@functools.cache
def _made_once() -> Server:
    assert Server.start_with is not None
    return Server({**Server.start_with, "PATH": os.environ["PATH"]})


# From here on: the server, and what becomes of its children.


def serve(channel: socket.socket) -> bool:
    """Fork a child for every order until the channel closes: False then. True in each child, once all is set for it."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    orders: dict[int, socket.socket] = {}
    while True:
        ready = select.select([channel.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _tell_ends(orders)
        if channel.fileno() not in ready:
            continue
        order, streams, _, _ = socket.recv_fds(channel, len(ORDER), 4)
        if not order:
            for pid in orders:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            return False
        line = socket.socket(fileno=streams.pop())
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            _become(line, streams)
            return True
        orders[pid] = line
        for descriptor in streams:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            line.sendall(b"%d\n" % pid)


def _tell_ends(orders: dict[int, socket.socket]) -> None:
    for pid in list(orders):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with orders.pop(pid) as line, contextlib.suppress(OSError):
                line.sendall(b"%d\n" % status)


def _become(line: socket.socket, streams: Sequence[int]) -> None:
    """Make this child what a cold start would be."""
    raw = b""
    while chunk := line.recv(PIECE):
        raw += chunk
    argv, cwd, env = json.loads(raw)
    os.setpgid(0, 0)
    _set_streams(streams)
    os.closerange(3, 1024)
    line.detach()
    _set_signals()
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(cwd)
    sys.path[0] = os.getcwd()
    sys.argv = ["-m", *argv]
    sys.orig_argv = [sys.executable, "-m", "chatml", *argv]
    _show_in_proc(sys.orig_argv, env)


def _set_streams(streams: Sequence[int]) -> None:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        text = {"encoding": before.encoding, "errors": before.errors}
        lines = name == "stderr" or (name == "stdout" and os.isatty(number))
        stream = open(number, "w" if number else "r", 1 if lines else -1, closefd=False, **text)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _set_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, *IGNORED}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _show_in_proc(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Write the child's command line and environment over the server's, where others look for them (Linux)."""
    if not os.path.exists("/proc/self/stat"):
        return
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    edges = [int(field) for field in fields[45:49]]  # arg_start, arg_end, env_start, env_end of proc(5)
    texts = ([*argv], [f"{key}={value}" for key, value in env.items()])
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        for start, end, words in zip(edges[::2], edges[1::2], texts, strict=True):
            content = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - start - 1]
            memory.seek(start)
            memory.write(content.ljust(end - start, b"\0"))


def _load() -> None:
    """Import all that a command may need, but what looks at the environment when it is imported (`git`)."""
    commands = importlib.import_module("chatml.commands")
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"chatml.commands.{module.name}")
    for name in ("chatml.cli", "yaml", "tabulate"):
        importlib.import_module(name)


def main(number: str) -> None:
    _load()
    gc.collect()
    gc.freeze()
    if not serve(socket.socket(fileno=int(number))):
        return
    try:
        runpy.run_module("chatml", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int) and threading.active_count() == 1:
            _end(end.code)
        raise


def _end(code: int) -> None:
    """End as Python does, but without taking apart every module first: half of the time of a short child."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
