"""Follows a hint: finds the command that it names, and runs it as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess

from tests.support import TIMEOUT, Result, Sandbox

FILLED = {"MESSAGE": "message", "URL": "http://127.0.0.1:9/x.git", "NAME": "another"}
"""What a person puts in where a hint leaves a word to them."""


def follow(sandbox: Sandbox, failed: Result, start: str) -> None:
    """Run the command of a hint that begins like this; the test fails where there is none, or it fails."""
    said = failed.err + failed.out
    found = re.findall(r"'((?:chatml|git) [^'\n]*)'", said) + re.findall(r"[:,;] ((?:chatml|git) [^;()\n]*)", said)
    (command,) = [one for one in dict.fromkeys(found) if one.startswith(start)][:1] or [None]
    assert command is not None, failed
    words = [FILLED.get(word, word) for word in shlex.split(command)]
    done = subprocess.run(
        sandbox.command(*words[1:]) if words[0] == "chatml" else words,
        cwd=sandbox.repo,
        env=sandbox.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done
