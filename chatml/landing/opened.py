"""The pull request that a session has: where it is, and what was last seen of it."""

from __future__ import annotations

from dataclasses import replace

from chatml.errors import ChatmlError
from chatml.forge.door import PullRef
from chatml.landing.pull import Work
from chatml.model import PullRequest


def reference(work: Work) -> PullRef:
    """Where the session's pull request is. ChatmlError where it has none."""
    pull, name = work.session.pr, work.session.name
    ref = PullRef.of(pull.url) if pull is not None else None
    if ref is None:
        raise ChatmlError(f"'{name}' has no pull request", f"open one: chatml pr {name}")
    return ref


def remember(work: Work, pull: PullRequest) -> None:
    """Write down in the session's record what was seen just now."""
    work.store.update(lambda session: replace(session, pr=pull))


def ended(work: Work, pull: PullRequest) -> ChatmlError:
    """Why nothing can be done any more with one that is closed or merged."""
    return ChatmlError(f"{pull.label} is {pull.state}", f"to open another one: chatml pr {work.session.name}")
