"""Tries a check on stacked sessions, and finds out with which of them it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatml.agents.confining import confined
from chatml.errors import ChatmlError
from chatml.landing import culprits
from chatml.landing.culprits import Culprit, Findings, Names
from chatml.landing.trial import Ending, Trial, Tried
from chatml.model import Session
from chatml.project import Project
from chatml.sessions.offers import CheckFailure, Left, Reason
from chatml.sessions.stacking import Stacked, Stacker
from chatml.text import listed


@dataclass(frozen=True)
class Testing:
    """A run of the check that begins."""

    names: Names
    """The sessions that are in it; none for the branch alone."""
    into: str
    number: int
    most: int | None
    """How many further runs there will be, at the most; None before the first has ended."""


class BaseFailsError(ChatmlError):
    """The branch fails the check without any of the sessions."""


def trial_of(project: Project, sessions: Sequence[Session], command: str) -> Trial:
    """The command, to be tried on unions of these sessions: in a sandbox where one of them would have its check there.

    ChatmlError where it must be in one, and can't.
    """
    from chatml import config  # here alone: without a check, no setting is needed

    repo = project.repo
    boxes = [confined(session.terms) for session in sessions]  # all are asked: each may insist
    return Trial(
        repo,
        project.store,
        config.worktrees_dir(project.config, repo.home, repo.name, repo.common_dir),
        command,
        timeout=project.config.terms.check_timeout,
        contained=any(boxes),
    )


def cannot_run(tried: Tried, said: str) -> ChatmlError:
    """That a command is at fault, not what it was tried on."""
    hint = "it runs in a clean checkout, so it needs all that it calls in the repository or in PATH"
    return ChatmlError(f"{said}: {tried.output.strip().rpartition(chr(10))[2] or tried.said}", hint)


class Vetting:
    """A check that must pass on what is to land in a branch."""

    def __init__(self, trial: Trial, rough: Stacker, into: str, tell: Callable[[Testing], None]) -> None:
        """`rough` stacks what is only tried: no hook runs, nothing is signed. `tell` hears of each run."""
        self._trial, self._rough, self._into, self._tell = trial, rough, into, tell
        self._count = 0
        self.flaky: list[Names] = []
        """The sets that have failed, and passed when tried once more."""

    def failing(self, base: str, made: Sequence[Stacked]) -> list[Left]:
        """Those that make it fail on top of `base`; none where it passes with all of them, as they were made.

        A failure counts that is seen twice. ChatmlError where the command can't be run, BaseFailsError where it fails
        without any of them.
        """
        found, tried = self.search(base, made, twice=True)
        self.flaky += [names for names in found.flaky if names not in self.flaky]
        if found.base_fails:
            raise self._base_fails(tried[()])
        return [self._left(one, tried[one.names]) for one in found.culprits]

    def search(self, base: str, made: Sequence[Stacked], twice: bool = False) -> tuple[Findings, dict[Names, Tried]]:
        """Why it fails on top of `base` with all of them, where it does, and each run; `twice`: it must fail again."""
        order = tuple(one.session.name for one in made)
        tried: dict[Names, Tried] = {}
        most: int | None = None

        def fails(names: Names, again: bool = False) -> bool | None:
            commit = base if not names else made[-1].commit if names == order else self._union(names, base, made)
            if commit is None:
                return None
            self._count += 1
            self._tell(Testing(names, self._into, self._count, most))
            tried[names] = self._trial.run(commit, names, again)
            return tried[names].fails

        def progress(count: int, left: int) -> None:
            nonlocal most
            del count  # of this search alone
            most = max(0, left - 1)

        if twice:
            return culprits.train(order, fails, lambda names: fails(names, again=True) is not False, progress), tried
        return culprits.find(order, fails, progress), tried

    def _union(self, names: Names, base: str, made: Sequence[Stacked]) -> str | None:
        """A commit with these alone on the base; None where they can't be merged without the others."""
        some = [(one.session, one.offer) for one in made if one.session.name in names]
        done, left = self._rough.stacked(some, base)
        return None if left else done[-1].commit

    def _base_fails(self, tried: Tried) -> ChatmlError:
        if tried.ending is Ending.NOT_RUN:
            return cannot_run(tried, "the check can't be run, so nothing was landed")
        said = f"{self._into} itself fails the check, which {tried.said}; nothing was landed"
        return BaseFailsError(said, "mend that first; what it printed: chatml logs --check")

    def _left(self, culprit: Culprit, tried: Tried) -> Left:
        name = culprit.left_out
        others = tuple(one for one in culprit.names if one != name)
        with_whom = f" together with {listed(others)}, not alone" if others else ""
        failed = CheckFailure(self._trial.command, tried.said, others)
        hint = f"all that it printed: chatml logs --check {name}"
        why = f"it fails the check{with_whom} (the command {tried.said})"
        return Left(name, Reason.CHECK, why, hint, output=tried.output, failed=failed)
