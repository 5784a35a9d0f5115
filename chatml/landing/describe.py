"""What a pull request says when its person doesn't: title and body from the session and its repository's template."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from chatml.forge.door import Words
from chatml.model import IssueRef, Session
from chatml.repo import Repository, objects
from chatml.repo.objects import Commit
from chatml.text import one_line, shorten

MAX_TITLE = 72
"""Characters of a title made from a prompt: what git's own conventions give to a subject, and GitHub shows whole."""

MAX_BODY = 65_000
"""Characters of a body: GitHub takes 65,536."""

MAX_LISTED = 100
"""Commits listed in a body."""


def title(session: Session, commits: Sequence[Commit]) -> str:
    """The subject of the only commit, else the issue's title or the prompt's first line, shortened at a word."""
    if len(commits) == 1 and commits[0].subject:
        return shorten(one_line(commits[0].subject), 250)  # GitHub takes 256
    named = session.issue.title if session.issue else ""
    line = one_line(named or session.terms.prompt.strip().splitlines()[0])
    words = textwrap.shorten(line, MAX_TITLE, placeholder="…")
    return words if words != "…" else shorten(line, MAX_TITLE)


def body(session: Session, commits: Sequence[Commit], template_text: str) -> str:
    """The agent's last answer, its commits where there are several, then the repository's template."""
    listed = [f"- {commit.subject}" for commit in commits[:MAX_LISTED]]
    if len(commits) > MAX_LISTED:
        listed.append(f"- … and {len(commits) - MAX_LISTED} more")
    answer = (session.result or "").strip() or commits[0].body
    rest = [part for part in ("\n".join(listed) if len(commits) > 1 else "", template_text.strip()) if part]
    room = max(0, MAX_BODY - sum(len(part) + 2 for part in rest))
    if len(answer) > room:
        answer = answer[: max(0, room - 1)].rstrip() + "…"
    return "\n\n".join([part for part in (answer, *rest) if part])[:MAX_BODY]


def template(repository: Repository, tip: str, words: Words) -> str:
    """The pull request template of the branch; nothing without one, or with several to choose from."""
    content = objects.file(repository.common_dir, tip, words.templates, words.template)
    return (content or b"").decode("utf-8", "replace")


CLOSING = {
    "github": r"close[sd]?|fix(?:e[sd])?|resolve[sd]?",
    "linear": r"clos(?:e[sd]?|ing)|fix(?:e[sd]|ing)?|resolv(?:e[sd]?|ing)|complet(?:e[sd]?|ing)|implement(?:s|ed|ing)?",
}
"""What closes an issue once the pull request is merged, before its number or address:
https://docs.github.com/issues/tracking-your-work-with-issues/linking-a-pull-request-to-an-issue
https://linear.app/docs/github"""

HIDDEN = re.compile(r"<!--.*?-->", re.DOTALL)
"""A comment in Markdown, such as the advice of a template: no forge reads it."""


def closing(text: str, issue: IssueRef | None, host: str, repository: str) -> str:
    """The description of a pull request in that repository (OWNER/NAME), with the words that close the issue, once."""
    if issue is None:
        return text
    names = _names(issue, host, repository)
    known = rf"\b(?:{CLOSING[issue.forge]}):?\s+(?:{'|'.join(map(re.escape, names))})(?![\w-])"
    if re.search(known, HIDDEN.sub("", text), re.IGNORECASE):
        return text
    words = f"{'Fixes' if issue.forge == 'linear' else 'Closes'} {names[0]}"
    return f"{text.rstrip()}\n\n{words}" if text.strip() else words


def _names(issue: IssueRef, host: str, repository: str) -> list[str]:
    """What means the issue there, the shortest first."""
    if issue.forge != "github":
        return [issue.ref, issue.url]
    there, name = re.sub(r"^https?://|/issues/\d+$", "", issue.url).split("/", 1)
    if there.lower() != host.lower():
        return [issue.url]
    short = [f"#{issue.ref}", f"GH-{issue.ref}"] if name.lower() == repository.lower() else []
    return [*short, f"{name}#{issue.ref}", issue.url]
