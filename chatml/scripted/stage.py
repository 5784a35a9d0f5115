"""Where the demo plays: its folder, the scripted model behind it, and the commands that it runs like a person would."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatml import environment, proc
from chatml.errors import ChatmlError
from chatml.scripted import sample, todo
from chatml.scripted.api import ScriptedApi

PRIVATE = ("ANTHROPIC_", "CLAUDE_", "CHATML_")
"""How the variables begin that would lead the agent to another model, or chatml to other settings."""

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

IGNORE_ALL = "# This folder was made by 'chatml demo'. It stays out of any repository around it.\n*\n"


class Stage:
    """The demo's folder and scripted model; `api` serves until `close`."""

    def __init__(self, folder: Path, pause: float) -> None:
        self.folder = folder
        self.repo = folder / sample.NAME
        self.pause = pause
        self.api = ScriptedApi(sample.script(pause), delay=pause / 30)

    def exists(self) -> bool:
        """Whether a demo has been made there."""
        return (self.repo / ".git").is_dir() and (self.folder / "claude").is_dir()

    def make(self) -> None:
        """Make the folder and the sample repository. ChatmlError where that is not possible, or something is there."""
        if os.path.lexists(self.folder) and (not self.folder.is_dir() or any(self.folder.iterdir())):
            what = "a demo is there already" if self.exists() else "there is something already"
            raise ChatmlError(f"{what}: {self.folder}", _other_place(self.folder, self.exists()))
        try:
            self.folder.mkdir(exist_ok=True)
            (self.folder / ".gitignore").write_text(IGNORE_ALL, encoding="utf-8")
            (self.folder / "claude").mkdir()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ChatmlError(
                f"can't make {self.folder}: {reason}", "choose another place with 'chatml demo --dir PATH'"
            ) from error
        todo.make_repository(self.repo, self._sealed())

    def environment(self) -> dict[str, str]:
        """What chatml and the agent run with: the scripted model, and Claude's files in the demo's own folder."""
        drop = [key for key in os.environ if key.startswith(PRIVATE) or key in PROXIES]
        own = {
            "ANTHROPIC_BASE_URL": self.api.url,
            "ANTHROPIC_API_KEY": "none-is-needed-for-the-demo",
            "CLAUDE_CONFIG_DIR": str(self.folder / "claude"),
            "XDG_STATE_HOME": str(self.folder / "state"),  # it is none of the person's repositories
            "CHATML_AGENT": "claude",
            "CHATML_NOTIFY": "off",  # whoever plays looks on anyway
            "CHATML_SANDBOX": "off",  # the script is harmless, and the demo the same with a sandbox and without
        }
        return environment.session_env(own, drop)

    def _sealed(self) -> dict[str, str]:
        """As little as possible of the person's settings: the demo is the same for everybody."""
        return {
            "XDG_CONFIG_HOME": str(self.folder / "none"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PAGER": "cat",
        }

    def run(self, *args: str) -> int:
        """Run a chatml command in the repository, with this terminal; its exit code."""
        argv = [*proc.python(), "-m", "chatml", "-C", str(self.repo), *args]
        return proc.call(argv, env={**self.environment(), **self._sealed()})

    def git(self, *args: str) -> int:
        """Run a git command in the repository, with this terminal; its exit code."""
        return proc.call(["git", "-C", str(self.repo), *args], env={**self.environment(), **self._sealed()})

    def shell(self) -> int:
        """Open the person's shell in the repository, until they leave it."""
        env = self.environment()
        # This very chatml, also where it was called by its path and is not in PATH.
        program = self.folder / "bin" / "chatml"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {shlex.join(proc.python())} -m chatml "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        env["PATH"] = os.pathsep.join([str(program.parent), env.get("PATH", os.defpath)])
        return proc.attach([os.environ.get("SHELL") or "/bin/sh"], env=env, cwd=self.repo)

    def remove(self) -> None:
        """Remove the whole folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Stop what still runs, then the model."""
        try:
            if self.exists():
                env = {**self.environment(), **self._sealed()}
                stop = [*proc.python(), "-m", "chatml", "-C", str(self.repo), "stop", "--all"]
                proc.run(stop, env=env, timeout=STOP_TIMEOUT)
        finally:
            self.api.close()


STOP_TIMEOUT = 90.0
"""Seconds: three sessions, each with the whole ladder of `stop`."""


def _other_place(folder: Path, demo: bool) -> str:
    again = f"play in it with 'chatml demo --play', remove it with 'rm -rf {folder}', or " if demo else ""
    return f"{again}choose another place with --dir PATH"


@contextmanager
def stage(folder: Path, pause: float) -> Iterator[Stage]:
    """The demo's stage; at the end nothing of it runs any more, also where the person or the system ends it."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    ends = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in ends}
    place = Stage(folder, pause)
    try:
        yield place
    finally:
        for number in (*ends, signal.SIGINT):  # a second Ctrl-C must not interrupt the stopping
            signal.signal(number, signal.SIG_IGN)
        place.close()
    for number, handler in {**before, signal.SIGINT: signal.default_int_handler}.items():
        signal.signal(number, handler)
