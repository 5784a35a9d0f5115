"""Looks at the end of a turn whether the session kept to its scope, whatever it changed files with."""

from __future__ import annotations

import asyncio

from chatml.agents import briefing
from chatml.changes.compare import strayed
from chatml.changes.scope import NAMED, named
from chatml.errors import Kind
from chatml.model import Failure
from chatml.model.entry import Message
from chatml.state.inbox import post, since_person
from chatml.worker.journal import Journal


async def check(journal: Journal) -> tuple[bool, Failure | None]:
    """Whether the agent was just asked to take something back, by a message in the inbox; else why the session fails.

    ChatmlError where that can't be found out.
    """
    out = await asyncio.to_thread(strayed, journal.common_dir, journal.session) if journal.session.terms.scope else []
    if not out:
        return False, None
    if not _was_asked(journal):
        _ask(journal, out)
        return True, None
    name, scope = journal.session.name, ", ".join(journal.session.terms.scope)
    found = Failure(
        Kind.SCOPE.value,
        f"changed {named(out)}, outside of {scope}",
        f"see 'chatml diff {name}'; tell it what to do about that with 'chatml send {name}'",
    )
    journal.failed(found)
    return False, found


def _ask(journal: Journal, out: list[str]) -> None:
    text = briefing.out_of_scope(out, journal.session.terms.scope, NAMED)
    with journal.store.lock():
        post(journal.store, Message(text, auto=True, scope=tuple(out)))


def _was_asked(journal: Journal) -> bool:
    """Whether the agent was asked since a person said something: once is enough."""
    return any(message.scope for message in since_person(journal.store))
