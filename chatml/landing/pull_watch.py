"""One look at a pull request that is watched: what its session's worker does about it, and what it waits for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from chatml.agents import pull_briefing
from chatml.errors import ChatmlError
from chatml.forge import forges
from chatml.forge.door import ForgeBusyError
from chatml.landing import destination, push
from chatml.landing.opened import reference
from chatml.landing.pull import PATIENCE, Work, check_whole
from chatml.landing.pull_fix import keys, look, told, without
from chatml.model import Feedback
from chatml.model.entry import Message
from chatml.repo.answers import OFFLINE
from chatml.state.locks import lock


class PushRefusedError(ChatmlError):
    """What the agent has committed could not be pushed: a person has to look."""


@dataclass(frozen=True)
class Next:
    """What follows from a look."""

    waits: str
    """What the session waits for, or what has ended."""
    message: Message | None = None
    """What its agent is to be told."""
    over: bool = False
    not_before: float = 0.0
    """When to look again at the earliest, in seconds since the epoch."""
    new: bool = False
    """Whether something happened, so that more may follow soon."""


def step(work: Work, known: Collection[str]) -> Next:
    """Look once, push what was committed since, and say what follows; `known` is what the agent was told already.

    Never raises where the forge can't be asked: that is waited for. PushRefusedError, OSError.
    """
    ref = reference(work)
    label = ref.label
    try:
        found = look(work)
    except ForgeBusyError as error:
        return Next(f"{forges.of(ref).words.forge} wants to be asked about {label} later", not_before=error.until)
    except ChatmlError as error:
        return Next(f"could not ask about {label}: {error.message}")
    if not found.pull.open:
        return Next(f"{label} is {found.pull.state}", over=True)
    if _push(work, found):
        return Next(f"what was pushed to {label} just now is checked", new=True)
    new = without(found, known)
    if new.any:
        message = Message(pull_briefing.feedback(new), auto=True, about=keys(new))
        return Next(f"{label}: {told(new)}", message, new=True)
    return _waits(found)


def _waits(found: Feedback) -> Next:
    """What is waited for where the agent has been told all there is."""
    pull = found.pull
    if found.any:
        return Next(f"waits for an answer to what it did about {pull.label}: {told(found)}")
    if pull.checks in ("pending", "failing"):
        return Next(f"waits for the checks of {pull.label}")
    if pull.draft:
        return Next(f"waits until {pull.label} is no draft any more")
    if pull.mergeable is False:
        return Next(f"waits: {pull.label} conflicts with {found.base}")
    if pull.review == "approved":
        return Next(f"{pull.label} is green and approved", over=True)
    return Next(f"waits for a review of {pull.label}")


def _push(work: Work, found: Feedback) -> bool:
    """Push what the branch has and the pull request has not; whether there was something."""
    session = work.store.read()
    tip = work.repository.tip(session.branch)
    if tip in (None, found.commit, session.pushed) or tip is None or _holds(work, found.commit, tip):
        return False
    ref = reference(work)
    at = Path(session.worktree) if Path(session.worktree).is_dir() else work.repository.home
    try:
        with lock(work.store.pr_lock, PATIENCE):
            check_whole(replace(work, session=session), committed=True)
            hub = forges.of(ref).hub(ref, work.repository.home)
            push.push(session, at, destination.choose(at, session.branch, None, hub, found.base), tip)
            work.store.update(lambda one: replace(one, pushed=tip))
    except ChatmlError as error:
        raise PushRefusedError(error.message, error.hint) from error
    work.tell(f"pushed {session.branch}, for {ref.label}")
    return True


def _holds(work: Work, commit: str, tip: str) -> bool:
    ancestor = ("merge-base", "--is-ancestor", tip, commit)
    return work.repository.git(*ancestor, check=False, env=OFFLINE).code == 0
