"""A real terminal for tests: tmux on a server of its own."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import TIMEOUT, Sandbox, wait_until


class Terminal:
    """One tmux window with a plain shell in the sandbox's repository; `chatml` is the program under test."""

    def __init__(self, sandbox: Sandbox, socket: Path, columns: int, rows: int) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self._env = sandbox.env
        function = f'chatml() {{ {shlex.join(sandbox.command())} "$@"; }}; PS1="$ "; '
        rc = sandbox.home / "terminal.rc"
        rc.write_text(f"{function} cd {shlex.quote(str(sandbox.repo))}\n")
        self._run("new-session", "-d", "-x", str(columns), "-y", str(rows), f"bash --noprofile --rcfile {rc}")

    def _run(self, *args: str) -> str:
        return subprocess.run(
            [*self._tmux, *args], env=self._env, capture_output=True, text=True, check=True, timeout=20
        ).stdout

    def type(self, text: str, enter: bool = True) -> None:
        """Type text, letter by letter."""
        self._run("send-keys", "-l", text)
        if enter:
            self.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys by their tmux names, such as C-c."""
        self._run("send-keys", *keys)

    def screen(self) -> str:
        """What a person sees, without trailing blanks."""
        return "\n".join(line.rstrip() for line in self._run("capture-pane", "-p").splitlines()).strip("\n")

    def colours(self) -> str:
        return self._run("capture-pane", "-p", "-e")

    def expect(self, *texts: str) -> str:
        """Wait until the screen holds all of these; returns it."""
        wait_until(lambda: all(text in self.screen() for text in texts), f"{texts} on the screen", self.screen)
        return self.screen()

    def keep(self, file: Path) -> None:
        """Write every byte that reaches the terminal from now on to a file too."""
        self._run("pipe-pane", f"cat >> {shlex.quote(str(file))}")

    def close(self) -> None:
        """Close the window the hard way, as a person does who closes the terminal."""
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False, timeout=TIMEOUT)


@contextmanager
def terminal(sandbox: Sandbox, columns: int = 80, rows: int = 40) -> Iterator[Terminal]:
    """A terminal of that size. Skips the test where tmux is missing."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    window = Terminal(sandbox, sandbox.home / "tmux.sock", columns, rows)
    try:
        window.expect("$")
        yield window
    finally:
        window.close()
