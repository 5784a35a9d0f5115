"""What an agent needs a person for, and what the person says."""

from __future__ import annotations

from typing import Any

from chatml.errors import UsageError
from chatml.record import record


@record(frozen=True)
class Request:
    """What an agent needs a person for; `id` counts from 1 within the session."""

    id: str
    kind: str
    summary: str
    detail: dict[str, Any]
    since: str


@record(frozen=True)
class Reply:
    """What a person decided about a request, by its id: `approve`, `deny` or `answer`."""

    request: str
    decision: str
    message: str | None = None
    """Why it was denied, in the person's words to the agent."""
    answers: dict[str, Any] | None = None
    """For a question: the answer to each one, by the question's text."""
    input: dict[str, Any] | None = None
    """What the person made of the tool's input; None where it stays as it was."""
    rules: tuple[str, ...] = ()
    """What is allowed from now on without asking, as rules of Claude Code."""
    interrupt: bool = False
    """End the turn with this."""


@record(frozen=True)
class Question:
    """One question of a request, with its options: label and description."""

    text: str
    options: tuple[tuple[str, str], ...]
    several: bool

    def answer(self, given: str) -> str:
        """The answer that is meant. UsageError for an option that isn't there."""
        given = given.strip()
        parts = [part.strip() for part in given.split(",")] if self.several else [given]
        chosen = [self._option(part) for part in parts]
        if all(chosen):
            return ", ".join(str(label) for label in chosen)
        if given.isdecimal():
            count = len(self.options)
            raise UsageError(f"there is no option {given}: {self.text}", f"1 to {count}, or an answer in words")
        return given

    def _option(self, given: str) -> str | None:
        if given.isdecimal():
            return self.options[int(given) - 1][0] if 0 < int(given) <= len(self.options) else None
        return next((label for label, _ in self.options if label.casefold() == given.casefold()), None)


def questions_of(request: Request) -> list[Question]:
    """The questions of a request, as far as the agent put them in order."""
    raw = (request.detail.get("input") or {}).get("questions")
    return [_question(one) for one in raw if isinstance(one, dict)] if isinstance(raw, list) else []


def _question(raw: dict[str, Any]) -> Question:
    options = [one for one in raw.get("options") or () if isinstance(one, dict)]
    labels = tuple((str(one.get("label", "")), str(one.get("description") or "")) for one in options)
    return Question(str(raw.get("question", "")), labels, raw.get("multiSelect") is True)
