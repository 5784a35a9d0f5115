"""Answers to what the agents ask: the first one counts, from whatever terminal it comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatml.errors import ChatmlError, UsageError
from chatml.model import Reply, Request, Session, Status, questions_of, transitions
from chatml.model.entry import Answer
from chatml.project import Project
from chatml.runners import table as runners
from chatml.sessions.caller import hands_off, persons_only
from chatml.sessions.control import check_message, start_worker
from chatml.sessions.find import relocated, resolve, still_open
from chatml.state.inbox import posted


def reply(project: Project, name: str, decided: Reply) -> None:
    """Answer the request that the reply is about, and see that a worker takes it in.

    ChatmlError where that is not open: another answer was faster, or the turn was interrupted. An agent answers none
    but the sessions that it has started, and permits nothing.
    """
    resolve(project, name)
    hands_off(project, name, decided.decision)
    store = project.store.session(name)
    with store.lock():
        session = relocated(project, store)
        waiting = still_open(store, session)
        _check_caller(project, _choose(session, waiting, decided.request), decided)
        with posted(store, Answer(decided)):
            if not runners.alive(store, session):
                start_worker(store, session)
            elif len(waiting) == 1:
                store.write(transitions.goes_on(session))  # at once, so that `approve x; wait x` waits


def _check_caller(project: Project, request: Request, decided: Reply) -> None:
    """ChatmlError where an agent would let a session that it has started do what it may not do itself."""
    if decided.rules or (decided.decision == "approve" and request.kind == "permission"):
        persons_only(project, f"approve this: {request.summary}")


def asked(project: Project, name: str, request_id: str | None = None) -> Request:
    """The request that `reply` would answer now. ChatmlError where there's none, or several."""
    session = resolve(project, name)
    return _choose(session, still_open(project.store.session(name), session), request_id)


YES = {"y", "yes"}
ALWAYS = {"a", "always"}
NO = {"n", "no"}


def approval(request: Request, *, always: bool = False, edited: dict[str, Any] | None = None) -> Reply:
    """The reply that approves a request. ChatmlError for a question, and where no rule can be made."""
    if request.kind == "question":
        raise ChatmlError(f"this is a question: {request.summary}", "answer it with 'chatml answer'")
    rules = tuple(request.detail.get("rules") or ()) if always else ()
    if always and not rules:
        raise ChatmlError(f"no rule can be made of this: {request.summary}", "approve it without --always or --for-all")
    return Reply(request.id, "approve", rules=rules, input=edited)


def denial(request: Request, reason: str | None) -> Reply:
    """The reply that denies a request; the agent reads the reason."""
    return Reply(request.id, "deny", reason)


def answer(request: Request, given: Sequence[str]) -> Reply:
    """The reply to a question. ChatmlError for what is none, UsageError for an answer that doesn't fit."""
    if request.kind != "question":
        raise ChatmlError(f"this is no question: {request.summary}", "use 'chatml approve' or 'chatml deny'")
    return Reply(request.id, "answer", answers=_answers(request, given))


def typed(request: Request, line: str) -> Reply | None:
    """The reply that a line typed in `attach` is meant as; None for a message to the agent."""
    word, _, rest = line.strip().partition(" ")
    word = word.casefold()
    if request.kind == "question":
        return answer(request, line.split(";") if len(questions_of(request)) > 1 else [line])
    if word in NO:
        return denial(request, rest.strip() or None)
    if word in YES | ALWAYS and not rest:
        return approval(request, always=word in ALWAYS)
    return None


def _answers(request: Request, given: Sequence[str]) -> dict[str, str]:
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
