"""Runs a program that must not outlive its parent: `python guard.py [--group] PARENT_PID PROGRAM [ARG…]`.

On Linux the kernel sends it SIGTERM when the parent dies by whatever means. Elsewhere a small watcher does,
within a second. With `--group` it stays beside the program and ends their whole process group, for programs that
leave their own children behind. Kept apart from the package and free of imports, because it starts before every agent.
"""

import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
SIGKILL = 9
SIGTERM = 15
GRACE = 2.0  # seconds between asking the group to end and killing it
NOT_FOUND = 127  # exit code of a shell for a program that is missing


def main() -> None:
    words = sys.argv[1:]
    group = words[0] == "--group"
    parent, program = int(words[group]), words[group + 1 :]
    _die_with(parent)
    if group:
        _run_group(program)
    _execute(program)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0)
    elif os.fork() == 0:
        _watch(parent, os.getppid())
    if os.getppid() != parent:
        sys.exit(1)  # the parent died before the kernel was told: nobody is left to run for


def _watch(parent: int, child: int) -> None:
    import time

    os.closerange(0, 3)
    while os.getppid() == child:
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os.kill(child, SIGTERM)
            break
        time.sleep(0.5)
    os._exit(0)


def _run_group(program: list[str]) -> None:
    """Run the program to its end and exit like it; when told to end, end the group that this process leads."""
    import signal
    import time

    def end(number: int, frame: object) -> None:
        del number, frame
        signal.signal(SIGTERM, signal.SIG_IGN)
        os.killpg(0, SIGTERM)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.02)
        os.killpg(0, SIGKILL)

    signal.pthread_sigmask(signal.SIG_BLOCK, {SIGTERM})
    child = os.fork()
    if child:
        signal.signal(SIGTERM, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGTERM})
    if child == 0:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and a shell's pipes live by
            signal.signal(number, signal.SIG_DFL)
        _execute(program)
    status = os.waitpid(child, 0)[1]
    sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def _execute(program: list[str]) -> None:
    try:
        os.execvp(program[0], program)
    except FileNotFoundError:
        os._exit(NOT_FOUND)


if __name__ == "__main__":
    main()
