"""Runs a program that must not outlive its parent: `python guard.py PARENT_PID PROGRAM [ARG…]`.

On Linux the kernel sends it SIGTERM when the parent dies by whatever means. Elsewhere a small watcher does,
within a second. Kept apart from the package and free of imports, because it starts before every agent.
"""

import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
SIGTERM = 15


def main() -> None:
    parent = int(sys.argv[1])
    program = sys.argv[2:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0)
    elif os.fork() == 0:
        _watch(parent, os.getppid())
    if os.getppid() != parent:
        sys.exit(1)  # the parent died before the kernel was told: nobody is left to run for
    os.execvp(program[0], program)


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


if __name__ == "__main__":
    main()
