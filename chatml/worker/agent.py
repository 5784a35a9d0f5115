"""Which agent a session has, and what it is told about where it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chatml import environment
from chatml.agents import base
from chatml.model import Session
from chatml.worker.journal import Journal


def instruction(session: Session) -> str:
    """What the agent is told about where it is and what it is for, beside its own system prompt."""
    said = [
        f"You work on one task in a git worktree of your own: {session.worktree}\n"
        f"It is on the branch '{session.branch}', which started from '{session.base.ref}' "
        f"({session.base.commit[:12]}). Other agents work in other worktrees of the same repository at the same time.\n"
        + (READING if base.reads_only(session) else WORKING)
    ]
    if session.terms.scope:
        said.append(
            "Change only files that match these patterns (as in a .gitignore, from the top of your worktree; the last "
            f"one that matches decides): {', '.join(session.terms.scope)}"
        )
    if session.terms.instruction is not None:
        said.append(session.terms.instruction)
    return "\n\n".join(said)


WORKING = """\
- Commit your work in small, coherent commits with messages that say why. Leave nothing uncommitted at the end.
- Never push, merge, rebase onto other branches, switch branches, or use git stash (it is shared by all worktrees). \
A person reviews and lands your branch.
- Never change anything outside your worktree.
- End with a short summary of what you did and what is left: it is shown as the session's result."""

READING = """\
- You only read: change no file, make no commit, and leave every branch as it is.
- Your last answer is the session's result, and what the person gets: put all into it that you have to report."""


def make_setting(journal: Journal, decided: Sequence[base.Decided], unanswered: Sequence[str]) -> base.Setting:
    """What the session's agent is started with; `decided` and `unanswered` are what the one before has left."""
    session = journal.session
    return base.Setting(
        worktree=Path(session.worktree),
        state_dir=journal.store.folder,
        instruction=instruction(session),
        env={environment.MARKER: session.id},
        decided=tuple(decided),
        unanswered=tuple(unanswered),
    )


def load_agent(session: Session) -> base.MakeAgent:
    """Loads the agent's code, which may be slow: called beside the checkout."""
    if session.terms.command is not None:
        from chatml.agents.command import CommandAgent

        return CommandAgent
    from chatml.agents.claude.agent import ClaudeAgent

    return ClaudeAgent
