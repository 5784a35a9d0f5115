"""What is put for placeholders in a session's values and commands, and what its programs find in the environment."""

from __future__ import annotations

from pathlib import Path

from chatml.environment import MARKER
from chatml.model import Session
from chatml.model.provision import LONGEST_SLUG, slug_of, variable
from chatml.repo.layout import name_of


def values(session: Session, port: str | None = None) -> dict[str, str]:
    """What stands between the braces, and what is put for it; `{port}` is that port, or the session's first."""
    ports = session.furnished.ports
    first = ports.get(port or "", next(iter(ports.values()), None))
    return {
        "name": session.name,
        "branch": session.branch,
        "slug": slug_of(session.name),
        "worktree": session.worktree,
        "repo": repo_name(session),
        "base": session.base.ref,
        **({"port": str(first)} if first is not None else {}),
        **{f"port:{name}": str(number) for name, number in ports.items()},
    }


def environ(session: Session) -> dict[str, str]:
    """What its agent, setup, check, services and teardown are told about it."""
    told = {"CHATML_REPOSITORY": session.repository, "COMPOSE_PROJECT_NAME": compose_project(session)}
    for name, value in values(session).items():
        told[variable(name)] = value
    return told


def marked_environ(session: Session) -> dict[str, str]:
    """The same, and what all processes of the session are known by: for those that end with it."""
    return {MARKER: session.id, **environ(session)}


def compose_project(session: Session) -> str:
    """The compose project of its containers: unlike a name, no other repository's session has it."""
    return f"{slug_of(session.name)[: LONGEST_SLUG - 9]}_{session.id[:8]}"


def repo_name(session: Session) -> str:
    """What the repository is called, as in `worktrees: ../{repo}.chatml`."""
    return name_of(Path(session.repository))
