"""Whether this machine can run an agent's shell commands in a sandbox; if not, why, and what to do about it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass

from chatml import proc

TOOLS = {"bwrap": "bubblewrap", "socat": "socat"}
"""What the sandbox needs on Linux: each program, and the package that it comes in."""

PROBE = ("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true")
"""All that the sandbox asks of the kernel, for nothing."""

TIMEOUT = 10.0
"""Seconds that the probe may take; it takes hundredths of one."""


@dataclass(frozen=True)
class Lack:
    """Why there is no sandbox; `remedy` is what a person can do."""

    reason: str
    remedy: str


def lack() -> Lack | None:
    """What is missing for a sandbox; None where there is one."""
    if sys.platform == "darwin":
        return None if shutil.which("sandbox-exec") else Lack("sandbox-exec is missing", "it comes with macOS")
    if not sys.platform.startswith("linux"):
        return Lack("it needs Linux or macOS", "run in WSL 2, or in a container")
    missing = [package for program, package in TOOLS.items() if shutil.which(program) is None]
    if missing:
        return Lack(f"not installed: {', '.join(missing)}", f"such as: apt install {' '.join(missing)}")
    try:
        done = proc.run(PROBE, timeout=TIMEOUT)
    except (OSError, TimeoutError) as error:
        return Lack(f"bwrap does not run: {error}", "try it: bwrap --ro-bind / / true")
    if done.code:
        said = (done.errors.strip() or f"exit code {done.code}").splitlines()[0]
        return Lack(f"the kernel forbids it: {said}", "allow unprivileged user namespaces, or rely on being asked")
    return None
