"""Answers to what the agents ask: the first one counts, from whatever terminal it comes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict

from chatml.errors import ChatmlError, UsageError
from chatml.model import Reply, Request, Session, Status, questions_of
from chatml.runners import table as runners
from chatml.sessions.control import check_message, start_worker
from chatml.sessions.find import Project, relocated, resolve, still_open
from chatml.state import events


def reply(project: Project, name: str, decided: Reply) -> None:
    """Answer the request that the reply is about, and see that a worker takes it in.

    ChatmlError where that is not open: another answer was faster, or the turn was interrupted.
    """
    resolve(project, name)
    store = project.store.session(name)
    with store.lock():
        session = relocated(project, store)
        waiting = still_open(store, session)
        _choose(session, waiting, decided.request)
        entry = {"id": str(uuid.uuid4()), "type": "reply", **asdict(decided)}
        with events.posted(store, entry):
            if not runners.alive(store, session):
                start_worker(store, session)
            elif len(waiting) == 1:
                store.write(session.moved_to(Status.RUNNING))  # at once, so that `approve x; wait x` waits


def asked(project: Project, name: str, request_id: str | None = None) -> Request:
    """The request that `reply` would answer now. ChatmlError where there's none, or several."""
    session = resolve(project, name)
    return _choose(session, still_open(project.store.session(name), session), request_id)


def answers(request: Request, given: Sequence[str]) -> dict[str, str]:
    """The answer to each question, by its text: an option's number or label, several with commas, or free text.

    UsageError where they can't be meant so.
    """
    questions = questions_of(request)
    if len(given) != len(questions):
        listed = "; ".join(f"{number}. {one.text}" for number, one in enumerate(questions, 1))
        needed = f"{len(questions)} {'answer is' if len(questions) == 1 else 'answers are'} needed"
        raise UsageError(
            f"{needed}, not {len(given)}: {listed}",
            "one word or quoted text for each question, in their order",
        )
    return {one.text: one.answer(check_message(text)) for one, text in zip(questions, given, strict=True)}


def _choose(session: Session, waiting: Sequence[Request], request_id: str | None) -> Request:
    if request_id is not None:
        found = next((request for request in waiting if request.id == request_id), None)
        if found is None:
            known = ", ".join(request.id for request in waiting) or "none"
            raise ChatmlError(
                f"'{session.name}' does not ask anything under the id {request_id}, or was answered already",
                f"open: {known}",
            )
        return found
    if not waiting:
        answered = session.status is Status.WAITING and session.requests
        raise ChatmlError(
            f"'{session.name}' was answered already" if answered else f"'{session.name}' asks nothing right now",
            f"it is {session.status.value}: see 'chatml ls {session.name}'",
        )
    if len(waiting) > 1:
        listed = ", ".join(f"{request.id} ({request.summary})" for request in waiting)
        raise ChatmlError(f"'{session.name}' asks {len(waiting)} things at once", f"name one with --id: {listed}")
    return waiting[0]
