"""The commands of the committed file: asked about before anything is made, approved by a person for good."""

from __future__ import annotations

from chatml.config import CommittedCommands, approvals
from chatml.errors import ChatmlError
from chatml.project import Project
from chatml.sessions.caller import persons_only
from chatml.state import store

REFUSED = "approve commands of the project"
"""What an agent can't do."""


def check(project: Project) -> None:
    """ChatmlError where the committed file has commands that this person has not approved."""
    found = project.config.committed
    if found is None:
        return
    if not found.approved:
        keys = ", ".join(found.data)
        changed = "has changed commands" if found.before is not None else "has commands"
        raise ChatmlError(
            f"{found.file} {changed} that you have not approved: {keys}",
            f"see and approve them: chatml trust; in CI: CHATML_TRUST={found.digest}",
        )
    if found.by_variable:
        persons_only(project, REFUSED)


def approve(project: Project, found: CommittedCommands) -> None:
    """Approve the exact text for good, in this repository. ChatmlError where an agent calls, or the file is damaged."""
    persons_only(project, REFUSED)
    with project.store.lock():
        path = project.store.approvals
        store.write_json(path, approvals.with_text(path, found.data))
    project.reload()
