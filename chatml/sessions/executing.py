"""Runs a command of a person's in worktrees: in this process's place for one, side by side for several."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from chatml import proc
from chatml.errors import ChatmlError
from chatml.model import Session
from chatml.sessions.find import worktree_gone
from chatml.workspace import programs
from chatml.workspace.glance import is_worktree

AT_ONCE = 8
"""Sessions in which a command runs at once at the least; with more cores, one for each."""


class CommandError(ChatmlError):
    """A command that could not be run, with the exit code by which a shell says so (POSIX)."""

    def __init__(self, message: str, hint: str | None, code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = code


def check(session: Session) -> None:
    """ChatmlError where the session has no worktree to run anything in."""
    if not is_worktree(Path(session.worktree)):
        raise worktree_gone(session)


def become(session: Session, argv: Sequence[str]) -> NoReturn:
    """Be that command from here on, in the session's worktree: input, output, signals and exit code are its own.

    CommandError where it can't be run.
    """
    check(session)
    os.chdir(session.worktree)
    try:
        proc.become(argv, programs.service_env(session))
    except OSError as error:
        raise _not_run(argv[0], error) from error


def _not_run(program: str, error: OSError) -> CommandError:
    if isinstance(error, FileNotFoundError):
        return CommandError(f"command not found: {program}", "for a line of shell: sh -c '…'", 127)
    return CommandError(f"can't run {program}: {(error.strerror or str(error)).lower()}", None, 126)


def everywhere(
    sessions: Sequence[Session], argv: Sequence[str], heard: Callable[[str, bytes, bool], None]
) -> dict[str, int | ChatmlError]:
    """Run the command in all worktrees, several at once; how it ended in each, by the session's name.

    `heard` is given whole lines as they come, with the session's name and whether they are of the standard error.
    """
    import threading
    from concurrent.futures import ThreadPoolExecutor  # here alone: in one session a command takes our place

    ended = threading.Event()
    turn = threading.Lock()

    def one(session: Session) -> int | ChatmlError:
        streams = {error: _LineBuffer(session.name, error, heard, turn) for error in (False, True)}
        try:
            check(session)
            done = proc.run(
                argv,
                cwd=Path(session.worktree),
                env=programs.service_env(session),
                cancelled=ended.is_set,
                listener=streams[False].hear,
                errors=streams[True].hear,
            )
        except TimeoutError:
            return 130
        except OSError as error:
            return _not_run(argv[0], error)
        except ChatmlError as error:
            return error
        finally:
            for stream in streams.values():
                stream.flush()
        return done.code if done.code >= 0 else 128 - done.code

    with ThreadPoolExecutor(max(AT_ONCE, os.cpu_count() or 1)) as pool:
        running = {session.name: pool.submit(one, session) for session in sessions}
        try:
            return {name: future.result() for name, future in running.items()}
        except BaseException:
            ended.set()
            for future in running.values():
                future.cancel()
            raise


class _LineBuffer:
    """Passes on whole lines, so that those of several sessions don't mix."""

    def __init__(
        self,
        name: str,
        error: bool,
        heard: Callable[[str, bytes, bool], None],
        turn: contextlib.AbstractContextManager[bool],
    ) -> None:
        self._name, self._error, self._heard, self._turn = name, error, heard, turn
        self._open = b""

    def hear(self, piece: bytes) -> None:
        *whole, self._open = (self._open + piece).split(b"\n")
        with self._turn:
            for line in whole:
                self._heard(self._name, line, self._error)

    def flush(self) -> None:
        """Pass on a last line without an end."""
        if self._open:
            self.hear(b"\n")
