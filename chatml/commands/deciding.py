"""Shared by the commands that answer what agents ask: `answer`, `approve`, `attach`, `deny`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import click

from chatml import output
from chatml.errors import ChatmlError, UsageError
from chatml.model import Reply, Request, questions_of
from chatml.sessions import Project, answers, asked, reply
from chatml.text import one_line, shorten

YES = {"y", "yes"}
ALWAYS = {"a", "always"}
NO = {"n", "no"}


def decide(
    project: Project,
    chosen: Iterable[tuple[str, str | None]],
    make: Callable[[Request], Reply],
    quiet: bool,
    suffix: str = "",
) -> int:
    """Answer a request of each session by what `make` says of it, and tell; the worst exit code."""
    code = 0
    for name, request_id in dict.fromkeys(chosen):
        try:
            request = asked(project, name, request_id)
            decided = make(request)
            reply(project, name, decided)
        except (ChatmlError, OSError) as error:
            code = max(code, output.complain(error))
        else:
            if not quiet:
                output.note(f"{name}: {in_words(request, decided)}{suffix}")
    return code


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


def answer(request: Request, given: list[str]) -> Reply:
    """The reply to a question. ChatmlError for what is none, UsageError for an answer that doesn't fit."""
    if request.kind != "question":
        raise ChatmlError(f"this is no question: {request.summary}", "use 'chatml approve' or 'chatml deny'")
    return Reply(request.id, "answer", answers=answers(request, given))


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


def how(request: Request) -> str:
    """How to answer it in `attach`, in one line."""
    if request.kind == "question":
        several = "; one for each question, ';' between" if len(questions_of(request)) > 1 else ""
        return f"type the number, or an answer in words{several}"
    rules = ", ".join(request.detail.get("rules") or ())
    always = f" · a always {one_line(rules)}" if rules else ""
    return f"y yes{always} · n [REASON] no"


def in_words(request: Request, decided: Reply) -> str:
    """What was decided, for the person who did."""
    verb = {"approve": "approved", "deny": "denied", "answer": "answered"}[decided.decision]
    rules = f"; from now on without asking: {', '.join(decided.rules)}" if decided.rules else ""
    said = f": {', '.join(map(str, decided.answers.values()))}" if decided.answers else ""
    return f"{verb} {shorten(one_line(request.summary), 60)}{said}{rules}"


def edit(request: Request) -> dict[str, Any]:
    """What the person makes of the input in $EDITOR: of a plan or a command as text, of anything else as JSON.

    ChatmlError where nothing usable comes back.
    """
    before: dict[str, Any] = request.detail.get("input") or {}
    if request.kind == "question":
        raise ChatmlError(f"this is a question: {request.summary}", "answer it with 'chatml answer'")
    if request.kind == "plan":
        return {"plan": _edited(str(request.detail.get("plan") or ""), ".md")}
    if isinstance(before.get("command"), str):
        return {**before, "command": _edited(before["command"], ".sh").rstrip("\n")}
    text = _edited(json.dumps(before, indent=2, ensure_ascii=False), ".json")
    try:
        after = json.loads(text)
    except ValueError as error:
        raise ChatmlError(f"that is no JSON: {error}", "nothing was approved; try again") from None
    if not isinstance(after, dict):
        raise ChatmlError("that is no JSON object", "nothing was approved; try again")
    return after


def _edited(text: str, suffix: str) -> str:
    after = click.edit(text, extension=suffix, require_save=True)
    if after is None or not after.strip():
        raise UsageError("the editor was left without saving", "nothing was approved")
    return after
