"""Reviews: another session that reads what one has changed, and the findings in its answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chatml import repo
from chatml.changes.snapshot import commit_of
from chatml.config import role_of, with_flags, with_role
from chatml.errors import ChatmlError, Kind
from chatml.model import Session, Status
from chatml.project import Project
from chatml.sessions.create import MAX_NAME, Order, create
from chatml.sessions.find import load_all

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
    since = repo.merge_base(project.repo.common_dir, commit, session.base.ref, session.base.commit)
    stat = project.repo.git("diff-tree", "-r", "-M", "--stat=100", f"--stat-count={MAX_STAT}", since, commit).text
    if not stat.strip():
        raise ChatmlError(f"'{session.name}' has no changes to review", f"see 'chatml ls {session.name}'")
    known = [one for one in load_all(project)[0] if one.reviews == session.id and one.base.commit == commit]
    usable = [one for one in known if one.status in USABLE]
    if usable and model is None:
        return usable[-1], False, left_out
    role = role_of(project.config, ROLE)
    settings = with_flags(with_role(project.config, role), {"model": model})
    order = Order(
        prompt=_prompt(session, since, stat),
        config=replace(settings, base=commit, agent="claude"),
        role=role,
        stem=session.name[: MAX_NAME - len(SUFFIX)].rstrip("-.") + SUFFIX,
        reviews=session.id,
    )
    return create(project, order), True, left_out


def _state(project: Project, session: Session) -> tuple[str, tuple[str, ...]]:
    """A commit of all that the session has changed: of what its branch holds, where its worktree is gone."""
    try:
        return commit_of(Path(session.worktree))
    except ChatmlError as error:
        tip = project.repo.tip(session.branch)
        if error.kind is not Kind.WORKTREE or tip is None:
            raise
        return tip, ()


def _prompt(session: Session, since: str, stat: str) -> str:
    task = session.prompt if len(session.prompt) <= MAX_TASK else session.prompt[:MAX_TASK] + " …"
    quoted = "\n".join(f"> {line}".rstrip() for line in task.splitlines())
    return (
        f"Review the changes of the session '{session.name}'. Its task was:\n\n{quoted}\n\n"
        f"All that it has changed, committed or not, is what differs between the commit {since[:12]} and HEAD here:\n\n"
        f"{stat.rstrip()}\n\n"
        f"See it with 'git diff {since[:12]} HEAD', or 'git diff {since[:12]} HEAD -- PATH' for one file. The files in "
        "your worktree are as the session has left them."
    )


def message_of(found: Sequence[Finding]) -> str:
    """The findings as a message to the agent whose changes were reviewed."""
    lines = "\n".join(map(str, found))
    return (
        f"Another agent has reviewed your changes and found this, as severity, file:line and text:\n\n{lines}\n\n"
        "Look at each one yourself. Mend what is right, with a test where that makes sense, and say in your answer "
        "which ones are wrong, and why."
    )
