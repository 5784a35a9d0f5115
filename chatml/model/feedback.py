"""What stands in the way of a pull request: failing checks, what people say of it, conflicts with its base."""

from __future__ import annotations

from chatml.model.parts import PullRequest
from chatml.record import record


@record(frozen=True)
class FailedCheck:
    """A check of its newest commit that has failed."""

    name: str
    output: str
    """The last lines that it printed, or what it says of itself; empty where that could not be had."""


@record(frozen=True)
class Remark:
    """What somebody says."""

    author: str
    text: str


@record(frozen=True)
class ReviewThread:
    """What was said about a line and is not resolved."""

    path: str
    line: int | None
    """None for one about the whole file."""
    outdated: bool
    """Whether the line has changed since."""
    code: str
    remarks: tuple[Remark, ...]


@record(frozen=True)
class BaseConflict:
    """Its base holds something that it does not merge with."""

    ref: str
    """The base as it was fetched here: `origin/main`."""
    commit: str
    files: tuple[str, ...]
    """Empty where they could not be found out."""


@record(frozen=True)
class Feedback:
    """All of that, bounded in size."""

    pull: PullRequest
    place: str
    """`octo/app on GitHub`"""
    base: str
    commit: str
    """Its newest commit there."""
    checks: tuple[FailedCheck, ...] = ()
    threads: tuple[ReviewThread, ...] = ()
    reviews: tuple[Remark, ...] = ()
    """What those say in general who have asked for changes."""
    conflict: BaseConflict | None = None
    left_out: tuple[str, ...] = ()
    """What is too much to be told, or could not be seen."""

    @property
    def any(self) -> bool:
        """Whether there is anything to mend."""
        return bool(self.checks or self.threads or self.reviews or self.conflict)
