"""Makes a session's worktree habitable before its agent's first turn: files, variables, and the project's setup."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chatml import checking
from chatml.checking import CheckRun, shown_line
from chatml.errors import ChatmlError, Kind
from chatml.model import PassedStep, Session, SetupStep
from chatml.model.event import SetUp
from chatml.model.provision import filled, shell_filled
from chatml.repo import Repository
from chatml.state.locks import WorkerLock
from chatml.state.store import Store
from chatml.text import beginning
from chatml.worker.journal import Journal
from chatml.workspace import copying, dotenv, steps
from chatml.workspace.values import marked_environ, values

LOGGED = 2000
"""Lines of one step that the log has as they come; of what follows it has the last ones."""

WAIT = 0.1
"""Seconds between two tries for one of the places of setups."""


def furnish(journal: Journal, cancelled: Callable[[], bool]) -> None:
    """Bring the worktree what it is to have, and run each step of the setup that is due.

    Safe to repeat after a crash at any point. ChatmlError of kind `setup`, OSError; TimeoutError once `cancelled` says
    so.
    """
    session = journal.session
    if not session.furnished.files:
        _bring_files(journal, session, cancelled)
        journal.change(lambda one: one.with_furnished(files=True).changed())
    due = steps.due(session)
    if not due:
        return
    with _place(journal, session, cancelled):
        for step in due:
            _run(journal, step, cancelled)


def _bring_files(journal: Journal, session: Session, cancelled: Callable[[], bool]) -> None:
    given, source, worktree = session.furnishing, Path(session.repository), Path(session.worktree)
    told: list[str] = []
    checkout = (source / ".git").exists()
    if checkout and (given.copy or (source / copying.INCLUDE).is_file()):
        journal.activity("copying ignored files")
        avoided = [one.path for one in Repository.discover(source).worktrees()]
        told += copying.copy(source, worktree, given.copy, [*avoided, journal.store.common_dir], cancelled)
    if given.link and checkout:
        told += copying.link(Repository.discover(source), source, worktree, given.link)
    if (given.copy or given.link) and not checkout:
        told.append(f"nothing to copy or link: {source} is no checkout")
    known = values(session)
    files: dict[str, dict[str, str]] = {}
    for one in given.env:
        files.setdefault(one.file, {})[one.name] = filled(one.value, known)
    for file, variables in files.items():
        dotenv.set_in(worktree, file, variables)
    for line in told:
        journal.log.append(SetUp(line))


@contextlib.contextmanager
def _place(journal: Journal, session: Session, cancelled: Callable[[], bool]) -> Iterator[None]:
    """One of the places for setups; the others wait, so that fifty installs at once don't take the machine down."""
    store = Store(journal.common_dir)
    most = session.furnishing.max_setups or os.cpu_count() or 1
    slots = [WorkerLock(store.setup_slot(number)) for number in range(most)]
    told = False
    while (mine := next((slot for slot in slots if slot.take()), None)) is None:
        if not told:
            journal.activity(f"setup waits: {most} others run")
            told = True
        if cancelled():
            raise TimeoutError("the setup was stopped")
        time.sleep(WAIT)
    try:
        yield
    finally:
        mine.release()


def _run(journal: Journal, step: SetupStep, cancelled: Callable[[], bool]) -> None:
    session = journal.session
    command = shell_filled(step.command, values(session))
    journal.activity(f"setup: {beginning(command)}")
    journal.log.append(SetUp(f"$ {command}"))
    lines = _Lines(journal)
    run = checking.execute(
        command,
        Path(session.worktree),
        {**os.environ, **marked_environ(session)},
        timeout=step.timeout,
        contained=False,
        cancelled=cancelled,
        listener=lines.hear,
        leaves=True,
    )
    lines.end(run)
    if run.cancelled:
        raise TimeoutError("the setup was stopped")
    if run.code != 0:
        raise _failure(session, command, run)
    seen = steps.seen(session, step)

    def passed(one: Session) -> Session:
        others = tuple(old for old in one.furnished.passed if old.command != step.command)
        return one.with_furnished(passed=(*others, PassedStep(step.command, seen)), torn_down=False).changed()

    journal.change(passed)


def _failure(session: Session, command: str, run: CheckRun) -> ChatmlError:
    hint = f"see 'chatml show {session.name}'; once it is mended, try again: chatml setup {session.name}"
    return ChatmlError(run.complaint(command), hint, Kind.SETUP, "\n".join(run.output.split("\n")[-20:]) or None)


class _Lines:
    """Passes a step's output on to the log, line by line as it comes; of a very long one the beginning and the end."""

    def __init__(self, journal: Journal) -> None:
        self._log = journal.log
        self._open = b""
        self._count = 0

    def hear(self, piece: bytes) -> None:
        if self._count > LOGGED:
            self._count += piece.count(b"\n")
            return
        *whole, self._open = (self._open + piece).split(b"\n")
        self._open = self._open[-checking.KEPT :]
        for line in whole:
            self._count += 1
            if self._count <= LOGGED:
                self._log.append(SetUp(shown_line(line)))

    def end(self, run: CheckRun) -> None:
        """The step has ended: what is left of its last line, or the end of a long output."""
        if self._count <= LOGGED:
            if self._open:
                self._log.append(SetUp(shown_line(self._open)))
            return
        last = run.output.split("\n")
        left_out = self._count - LOGGED - len(last)
        if left_out > 0:
            self._log.append(SetUp(f"… {left_out:,} lines are left out here"))
        for line in last:
            self._log.append(SetUp(line))
