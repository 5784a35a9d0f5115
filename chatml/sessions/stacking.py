"""Stacks the work of sessions: a commit for each, one on top of the other, on no branch yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from chatml.errors import ChatmlError, GitError
from chatml.landing.hooks import HookError
from chatml.landing.merge import Maker, NotForwardError, NothingNewError, Offer
from chatml.model import Session
from chatml.repo.merging import MergeConflictError
from chatml.sessions.offers import Left, Reason

Waiting = Sequence[tuple[Session, Offer]]
"""Sessions with what they bring, in the order in which they are to land."""

REFUSALS = (MergeConflictError, NothingNewError, NotForwardError, HookError, GitError)
"""What is wrong with one session alone: the others can be stacked all the same."""


@dataclass(frozen=True)
class Stacked:
    """A session's work as a commit on top of another one, on no branch yet."""

    session: Session
    offer: Offer
    onto: str
    commit: str


@dataclass
class Stacker:
    """Stacks sessions; on the same commit, each only once, so that no hook is asked twice for the same."""

    maker: Maker
    _made: dict[tuple[Offer, str], str | ChatmlError] = field(default_factory=dict)

    def stacked(self, waiting: Waiting, onto: str) -> tuple[list[Stacked], list[Left]]:
        """The commits of all that can be made, each on top of the one before; and which sessions can't."""
        done: list[Stacked] = []
        left: list[Left] = []
        tips: dict[str, str] = {}
        for session, offer in waiting:
            known = (*offer.known, *(tips[name] for name in session.terms.after if name in tips))
            commit = self._make(replace(offer, known=known), onto)
            if isinstance(commit, ChatmlError):
                left.append(_left(offer.name, self.maker.into, commit))
                continue
            done.append(Stacked(session, offer, onto, commit))
            tips[offer.name], onto = offer.tip, commit
        return done, left

    def _make(self, offer: Offer, onto: str) -> str | ChatmlError:
        if (offer, onto) not in self._made:
            try:
                self._made[offer, onto] = self.maker.make(offer, onto)
            except REFUSALS as error:
                self._made[offer, onto] = error
        return self._made[offer, onto]


def _left(name: str, into: str, error: ChatmlError) -> Left:
    """Why no commit could be made."""
    if isinstance(error, MergeConflictError):
        hint = f"let its agent resolve it: chatml merge --resolve {name}"
        return Left(name, Reason.CONFLICT, f"it conflicts with {into}", hint, tuple(error.files))
    if isinstance(error, NothingNewError):
        return Left(name, Reason.EMPTY, error.message)
    if isinstance(error, HookError):
        return Left(name, Reason.CHECK, error.message, error.hint, output=error.output)
    return Left(name, Reason.CONFLICT, error.message, error.hint)
