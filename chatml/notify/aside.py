"""Runs a command that nobody waits for: `python aside.py SECONDS BYTES PROGRAM [ARG…]`, as the leader of a group.

After so many seconds the command and all that it started are killed, this process with them. Of what they print, the
first BYTES go to this process's output. Kept apart from the package and free of its imports, because it starts often.
"""

import contextlib
import os
import select
import signal
import sys
import time

CHUNK = 1 << 16
STEP = 0.02  # seconds between two looks whether a command that has closed all its files has ended
MARK = "CHATML_NOTIFIER"  # what a process inherits that leaves the group
NOT_STARTED = 127  # exit code of a shell for a program that is missing


def main() -> None:
    seconds, room, program = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    deadline = time.monotonic() + seconds
    said, mouth = os.pipe()
    # What the command leaves in the background may have its output redirected, but holds this one open.
    pulse, heart = os.pipe()
    mark = f"{os.getpid()}-{time.time_ns()}"
    os.environ[MARK] = mark
    child = os.fork()
    if child == 0:
        os.dup2(mouth, 1)
        os.dup2(mouth, 2)
        os.set_inheritable(heart, True)
        _execute(program)
    os.close(mouth)
    os.close(heart)
    if not (_listen(said, pulse, room, deadline) and _ended(child, deadline)):
        _write(f"notify: stopped after {seconds:g} s\n".encode())
        for pid in _marked(f"{MARK}={mark}".encode()):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        os.killpg(0, signal.SIGKILL)


def _listen(said: int, pulse: int, room: int, deadline: float) -> bool:
    """Take in what is said until nobody is left who could say more; False where the time is over before."""
    unfinished = {said, pulse}
    while unfinished:
        left = deadline - time.monotonic()
        ready = select.select(unfinished, [], [], left)[0] if left > 0 else []
        if not ready:
            return False
        for end in ready:
            chunk = os.read(end, CHUNK)
            if not chunk:
                unfinished.discard(end)
            elif end == said and room > 0:
                room -= len(chunk)
                _write(chunk if room >= 0 else chunk[:room] + b"\nnotify: it printed more, which is left out\n")
    return True


def _ended(child: int, deadline: float) -> bool:
    """Whether the command itself has ended in time; one that failed is written down."""
    while (status := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() >= deadline:
            return False
        time.sleep(STEP)
    code = os.waitstatus_to_exitcode(status[1])
    if code:
        how = f"exited with code {code}" if code > 0 else f"was killed (signal {-code})"
        _write(f"notify: the command {how}\n".encode())
    return True


def _marked(mark: bytes) -> list[int]:
    """The living processes that carry the mark; none where the system doesn't show that."""
    found = []
    for name in os.listdir("/proc") if os.path.exists("/proc/self/environ") else ():
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{int(name)}/environ", "rb") as file:
            if mark in file.read().split(b"\0"):
                found.append(int(name))
    return found


def _write(text: bytes) -> None:
    with contextlib.suppress(OSError):  # a full disk: nobody is there to be told
        os.write(1, text)


def _execute(program: list[str]) -> None:
    try:
        os.execvp(program[0], program)
    except OSError as error:
        os.write(2, f"{program[0]}: {error.strerror}\n".encode())
        os._exit(NOT_STARTED)


if __name__ == "__main__":
    main()
