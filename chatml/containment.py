"""Sandboxes for an agent's shell commands: whether this machine can have one, and what one leaves lying about."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chatml import proc
from chatml.model import Terms

TOOLS = {"bwrap": "bubblewrap", "socat": "socat"}
"""What the sandbox needs on Linux: each program, and the package that it comes in."""

PROBE = ("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true")
"""All that the sandbox asks of the kernel, for nothing."""

TIMEOUT = 10.0
"""Seconds that the probe may take; it takes hundredths of one."""


MASKED = (
    *(".bash_profile", ".bashrc", ".gitconfig", ".gitmodules", ".idea", ".mcp.json", ".profile", ".ripgreprc"),
    *(".vscode", ".zprofile", ".zshrc"),
    *(
        f".claude/{name}"
        for name in (
            *("agents", "commands", "hooks", "launch.json", "loop.md", "output-styles", "routines"),
            *("scheduled_tasks.json", "settings.json", "settings.local.json", "skills", "workflows"),
        )
    ),
)
"""What the sandbox puts a device in the place of, in a worktree that has no such file: `git add -A` fails on them."""

STAND_IN_MODE = 0o444
"""Mode of the empty file that bwrap makes, on the disk, to put something in its place (its `ensure_file`)."""


@dataclass(frozen=True)
class Lack:
    """Why there is no sandbox; `remedy` is what a person can do."""

    reason: str
    remedy: str


def lack() -> Lack | None:
    """What is missing for a sandbox; None where there is one."""
    if sys.platform == "darwin":
        return None if shutil.which("sandbox-exec") else Lack("sandbox-exec is missing", "it comes with macOS")
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


def wanted(terms: Terms) -> bool:
    """Whether shell commands are to be in a sandbox, where there is one."""
    # Who bypasses all permissions, be it after a plan, wants commands to reach the whole machine.
    return terms.sandbox == "required" or (terms.sandbox == "auto" and not terms.bypasses)


def contained(argv: Sequence[str], worktree: Path, temporary: Path) -> list[str]:
    """The command in a sandbox of ours: it writes in these two folders alone, and reaches no other machine."""
    folders = [os.path.realpath(folder) for folder in (worktree, temporary)]
    pointer = os.path.join(folders[0], ".git")  # says where git's own folder is: none of the command's business
    if sys.platform == "darwin":
        values = {"WORKTREE": folders[0], "TEMPORARY": folders[1], "POINTER": pointer}
        given = [word for name, value in values.items() for word in ("-D", f"{name}={value}")]
        return ["sandbox-exec", *given, "-p", SEATBELT, *argv]
    writable = [word for folder in folders for word in ("--bind", folder, folder)]
    return [
        *("bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
        *(*writable, "--ro-bind-try", pointer, pointer, "--chdir", folders[0], "--", *argv),
    ]


SEATBELT = """\
(version 1)
(allow default)
(deny file-write*)
(allow file-write* (subpath (param "WORKTREE")) (subpath (param "TEMPORARY")) (subpath "/dev"))
(deny file-write* (literal (param "POINTER")))
(deny network*)
(allow network* (local ip "localhost:*") (remote ip "localhost:*"))
"""
"""The same in the language of sandbox-exec(1)."""


def is_stand_in(path: Path) -> bool:
    """Whether that is no file of anybody's, but one that a sandbox has made to put something in its place."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and not found.st_size and stat.S_IMODE(found.st_mode) == STAND_IN_MODE


def masked(worktree: Path) -> list[str]:
    """What a sandbox puts something in the place of, as a worktree is now."""
    return [name for name in MASKED if not os.path.lexists(worktree / name) or is_stand_in(worktree / name)]


def stand_ins(worktree: Path) -> list[str]:
    """What a sandbox has made in a worktree: there while a command runs, and left when the sandbox is killed."""
    return [name for name in MASKED if is_stand_in(worktree / name)]
