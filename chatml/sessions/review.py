"""Reviews: another session that reads what one has changed, and the findings in its answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chatml.agents import briefing
from chatml.changes.snapshot import commit_of
from chatml.changes.standing import WorktreeGoneError
from chatml.config import role_of, terms_of
from chatml.errors import ChatmlError
from chatml.model import Session, Status
from chatml.project import Project
from chatml.sessions.create import Task, create
from chatml.sessions.find import load_all
from chatml.sessions.names import MAX_NAME

ROLE = "reviewer"

SUFFIX = "-review"

MAX_TASK = 4000
"""Characters of the reviewed session's prompt that the reviewer is told."""

MAX_STAT = 200
"""Files of the summary that the reviewer is told; it can ask git for the rest."""

USABLE = (Status.QUEUED, Status.PREPARING, Status.RUNNING, Status.WAITING, Status.DONE)
"""A review in one of these is taken for the same changes, instead of a new one."""


@dataclass(frozen=True)
class Finding:
    """What a reviewer found; `line` counts from 1."""

    severity: str
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.severity} {self.file}:{self.line} {self.text}"


_FINDING = re.compile(
    r"^\s*(?:[-*]\s+|\d+[.)]\s+)?[*`\[]*(high|medium|low)[*`\]:]*\s+`?(\S.*?):(\d+)(?:[-\u2013:]\d+)?`?:?\s+(\S.*)$",
    re.I,
)
"""`severity file:line text`, also with what models like to put around it."""


def findings(answer: str) -> list[Finding]:
    """The findings in a reviewer's answer, in its order; what is in no such form is left out."""
    found = [match for line in answer.splitlines() if (match := _FINDING.match(line))]
    return [Finding(one[1].lower(), one[2], int(one[3]), one[4].strip()) for one in found]


def found_nothing(answer: str) -> bool:
    """Whether the answer says that there is nothing to find."""
    return re.search(r"\bno findings\b", answer, re.I) is not None


def review(project: Project, session: Session, model: str | None = None) -> tuple[Session, bool, tuple[str, ...]]:
    """A session that reviews this one's changes as they are now, whether it is new, and what it can't see.

    One that has reviewed just these is taken again, unless it failed or another model is asked for. ChatmlError
    where there is nothing to review.
    """
    commit, left_out = _state(project, session)
    since = project.repo.merge_base(commit, session.base.ref, session.base.commit)
    form = ("-r", "-M", "--stat=100", f"--stat-count={MAX_STAT}", "--ignore-submodules=none")
    stat = project.repo.git("diff-tree", *form, since, commit).text
    if not stat.strip():
        raise ChatmlError(f"'{session.name}' has no changes to review", f"see 'chatml ls {session.name}'")
    known = [one for one in load_all(project)[0] if one.terms.reviews == session.id and one.base.commit == commit]
    usable = [one for one in known if one.status in USABLE]
    if usable and model is None:
        return usable[-1], False, left_out
    prompt = briefing.review(session.name, session.terms.prompt, since, stat, MAX_TASK)
    asked = {"prompt": prompt, "model": model, "agent": "claude", "reviews": session.id}
    task = Task(
        terms_of(project.config, asked, role_of(project.config, ROLE)),
        base=commit,
        stem=session.name[: MAX_NAME - len(SUFFIX)].rstrip("-.") + SUFFIX,
    )
    return create(project, task), True, left_out


def _state(project: Project, session: Session) -> tuple[str, tuple[str, ...]]:
    """A commit of all that the session has changed: of what its branch holds, where its worktree is gone."""
    try:
        return commit_of(project.repo.common_dir, Path(session.worktree))
    except WorktreeGoneError:
        tip = project.repo.tip(session.branch)
        if tip is None:
            raise
        return tip, ()


def message_of(found: Sequence[Finding]) -> str:
    """The findings as a message to the agent whose changes were reviewed."""
    return briefing.findings([str(one) for one in found])
