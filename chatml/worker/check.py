"""The command that must pass for a session to be done: when it is due, how it runs, what the agent is told of it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

from chatml import checking
from chatml.agents import briefing
from chatml.agents.confining import confined
from chatml.changes.snapshot import state_of
from chatml.checking import CheckRun
from chatml.errors import Kind
from chatml.model import CheckResult, Failure, Session, Status, now, transitions
from chatml.model.entry import Message
from chatml.model.event import CheckBegun, CheckEnded
from chatml.state.inbox import post, since_person
from chatml.text import beginning
from chatml.worker.journal import Journal
from chatml.workspace.values import marked_environ

SHORT = 20
"""Lines that the record keeps of a check that has passed: `ls` reads them of each session, and the log has all."""

RUNS = 2
"""How often a check runs at the most that passes and leaves something else behind than it has seen."""

POLL = 0.05
"""Seconds between two looks whether something came in meanwhile."""


class Verdict(Enum):
    """What is to follow, where the session does not fail."""

    PASSED = auto()
    """The check has passed on what the worktree holds."""
    ASKED = auto()
    """It failed, and a message in the inbox asks the agent to mend that."""
    BROKEN_OFF = auto()
    """Something came in meanwhile; the check is still due."""


async def verify(journal: Journal, disturbed: Callable[[], bool]) -> Verdict | Failure:
    """Run the session's check where it is due, and say what is to follow; a Failure, why the session fails.

    Where it has passed and something else stands there now, most likely by its own doing (a formatter), it runs once
    more, on that. What changes with each run, such as an output that git doesn't ignore, is left at that: the record
    names what has passed, and that something else stands there.

    `disturbed` is asked all the time whether something came in: then the command is ended. ChatmlError where the
    worktree can't be looked at, or a sandbox is required and there is none.
    """
    command = journal.session.terms.check
    assert command is not None
    for _ in range(RUNS):
        verdict = await _verified(journal, command, disturbed)
        if verdict is not Verdict.PASSED or (journal.session.check and journal.session.check.current):
            break
    return verdict


async def _verified(journal: Journal, command: str, disturbed: Callable[[], bool]) -> Verdict | Failure:
    """Run the check on what stands there, unless it has passed on that."""
    state = await asyncio.to_thread(state_of, journal.common_dir, Path(journal.session.worktree))
    before = journal.session.check
    if before is not None and before.ok and before.seen(state).current:
        if not before.current:
            journal.update(check=before.seen(state))
        return Verdict.PASSED
    contained = await asyncio.to_thread(_contained, journal.session)
    if journal.session.status is not Status.RUNNING:
        journal.change(transitions.running)
    journal.log.append(CheckBegun(command))
    journal.activity(f"check: {beginning(command)}")
    run = await _run(journal.session, contained, disturbed)
    ok = None if run.cancelled else run.code == 0
    journal.log.append(CheckEnded(run.said, run.output, ok))
    journal.update(activity=None)
    if ok is None:
        return Verdict.BROKEN_OFF
    asked = sum(message.check for message in since_person(journal.store))
    output = "\n".join(run.output.split("\n")[-SHORT:]) if ok else run.output
    commit, tree = state
    journal.update(check=CheckResult(command, ok, commit, asked + 1, output, now(), tree, run.said))
    await journal.measure()
    return Verdict.PASSED if ok else _failed(journal, run, asked)


def _failed(journal: Journal, run: CheckRun, asked: int) -> Verdict | Failure:
    """Have the agent mend what the check has found, unless it was `asked` often enough, or can't."""
    session = journal.session
    command = session.terms.check or ""
    if run.not_run or asked >= session.terms.retries:
        failure = _failure(session, run, asked + 1)
        journal.failed(failure)
        return failure
    text = briefing.check_failed(command, run.said, run.output)
    with journal.store.lock():
        post(journal.store, Message(text, auto=True, check=True))
    return Verdict.ASKED


def _failure(session: Session, run: CheckRun, tries: int) -> Failure:
    again = f"'chatml resume {session.name}' runs the check again"
    if run.not_run:
        why = run.last_line or beginning(session.terms.check or "")
        said = f"the check could not be run: {why} (exit code {run.code})"
        return Failure(Kind.CHECK.value, said, f"that is none of the agent's doing; once it is mended, {again}")
    said = f"'{beginning(session.terms.check or '')}' {run.said}" + (
        f", the last of {tries} tries" if tries > 1 else ""
    )
    hint = f"see 'chatml show {session.name}'; tell it what to do with 'chatml send {session.name}'; {again}"
    return Failure(Kind.CHECK.value, said, hint)


def _contained(session: Session) -> bool:
    """Whether the command runs in a sandbox, as the agent's own commands do.

    ChatmlError where it must be contained, and can't.
    """
    return confined(session.terms)


async def _run(session: Session, contained: bool, disturbed: Callable[[], bool]) -> CheckRun:
    """Run the command beside the event loop, until it ends, is disturbed, or takes too long."""
    broken_off = threading.Event()
    running = asyncio.create_task(asyncio.to_thread(_execute, session, contained, broken_off))
    try:
        while not running.done():
            if not broken_off.is_set() and disturbed():
                broken_off.set()
            await asyncio.wait({running}, timeout=POLL)
    finally:
        broken_off.set()
    return running.result()


def _execute(session: Session, contained: bool, broken_off: threading.Event) -> CheckRun:
    return checking.execute(
        session.terms.check or "",
        Path(session.worktree),
        {**os.environ, **marked_environ(session)},
        timeout=session.terms.check_timeout,
        contained=contained,
        cancelled=broken_off.is_set,
    )
