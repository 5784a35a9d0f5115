"""What a pull request says when its person doesn't: title and body from the session and its repository's template."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from chatml.model import Session
from chatml.repo import Repository, objects
from chatml.repo.objects import Commit
from chatml.text import one_line, shorten

MAX_TITLE = 72
"""Characters of a title made from a prompt: what git's own conventions give to a subject, and GitHub shows whole."""

MAX_BODY = 65_000
"""Characters of a body: GitHub takes 65,536."""

MAX_LISTED = 100
"""Commits listed in a body."""

TEMPLATE = re.compile(r"pull_request_template(\.md|\.txt)?", re.IGNORECASE)
TEMPLATE_FOLDERS = (".github", "", "docs")
"""Where GitHub looks for a repository's only template, in its order:
https://docs.github.com/communities/using-templates-to-encourage-useful-issues-and-pull-requests"""


def title(session: Session, commits: Sequence[Commit]) -> str:
    """The subject of the only commit, else the prompt's first line, shortened at a word."""
    if len(commits) == 1 and commits[0].subject:
        return shorten(one_line(commits[0].subject), 250)  # GitHub takes 256
    line = one_line(session.terms.prompt.strip().splitlines()[0])
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


def template(repository: Repository, tip: str) -> str:
    """The pull request template of the branch; nothing without one, or with several to choose from."""
    content = objects.file(repository.common_dir, tip, TEMPLATE_FOLDERS, TEMPLATE)
    return (content or b"").decode("utf-8", "replace")
