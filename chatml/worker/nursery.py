"""A process that has loaded what workers need, once, and forks one for each session that it is given.

Loading the Agent SDK takes a second of computing: far more than all else that a worker does until it asks the model.
What is forked has nothing in common with the others: a session and process group of its own, its own files, folder and
signals, and the one lock that it was given. Nothing runs here but that: no thread, no loop, no connection.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from chatml.agents import table
from chatml.environment import MARKER
from chatml.marking import WORKER
from chatml.proc import python
from chatml.state.store import SessionStore

PACKET = 1 << 16
"""Bytes of the longest packet: a marker and a path."""

AT_ONCE = 64
"""Sessions that wait for each other at most."""


class Newborn(NamedTuple):
    """A session whose worker is to be forked: its marker, its folder, and its open lock."""

    marker: str
    folder: str
    lock: int


def serve(socket_fd: int, work: Callable[[list[str]], int]) -> int:
    """Fork a worker for each session that comes in, until no more can come.

    Whoever makes the sessions comes first: the workers of many would only keep it from making the rest. Should it be
    killed meanwhile, those that it has made are started all the same.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: none stays behind as a zombie
    gathered: list[Newborn] = []
    with socket.socket(fileno=socket_fd) as incoming:
        while True:
            packet, locks, _, _ = socket.recv_fds(incoming, PACKET, 1)
            if packet:
                marker, _, folder = os.fsdecode(packet).partition("\0")
                gathered.append(Newborn(marker, folder, locks[0]))
                _load(folder)
            if not packet or len(gathered) >= AT_ONCE:
                _fork(gathered, incoming, work)
            if not packet:
                return 0


def _fork(gathered: list[Newborn], incoming: socket.socket, work: Callable[[list[str]], int]) -> None:
    """A worker for each; none of them has a lock but its own."""
    gc.freeze()  # what is loaded stays shared: no collection touches it
    while gathered:
        newborn = gathered.pop(0)
        if os.fork() == 0:
            incoming.close()
            for other in gathered:
                os.close(other.lock)
            os._exit(_live(newborn, work))
        os.close(newborn.lock)


def _load(folder: str) -> None:
    """Load the code of the session's agent, once for all that have the same; what comes with a package, each its own.

    It may start threads as it is loaded, which no fork survives.
    """
    try:
        terms = SessionStore(folder).read().terms
        if terms.agent in table.BUILT_IN or terms.command is not None:
            table.load(terms)
    except Exception:  # noqa: BLE001 - its worker meets the same, and says so
        return


def _live(newborn: Newborn, work: Callable[[list[str]], int]) -> int:
    """Be the session's worker, as if started for it alone; the exit code."""
    marker, folder, lock = newborn
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(folder)
        log = os.open(SessionStore(folder).log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        for output in (1, 2):
            os.dup2(log, output)
        os.close(log)
        if not _marked(marker):
            os.set_inheritable(lock, True)
            os.execv(sys.executable, [*python(), "-m", WORKER, folder, str(lock)])
        return work([folder, str(lock)])
    except BaseException:  # noqa: BLE001 - as where a process ends with it: told in its log
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _marked(marker: str) -> bool:
    """Carry the session's marker, also for those who look at this process from outside; False where that can't be.

    They see the environment as it was when the program began: so the marker is written over the one in there, which is
    as long.
    """
    import ctypes

    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    here = getenv(MARKER.encode())
    if here and len(ctypes.string_at(here)) == len(marker):
        ctypes.memmove(here, marker.encode(), len(marker))
    os.environ[MARKER] = marker
    return f"{MARKER}={marker}".encode() in Path("/proc/self/environ").read_bytes().split(b"\0")
