"""Finds the processes of a session by the marker in their environment, and ends what a dead worker has left."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from chatml.environment import MARKER
from chatml.proc import wait_until

WORKER = "chatml.worker"
"""The module that runs as a worker."""


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


def leads_group(pid: int, marker: str, variable: str) -> bool:
    """Whether a process carries the marker and leads a group of its own; where that can't be seen, the latter alone."""
    try:
        return os.getpgid(pid) == pid and (not sees_marks() or _mark(pid, variable) == marker)
    except ProcessLookupError:
        return False


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
