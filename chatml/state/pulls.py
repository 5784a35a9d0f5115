"""What was last seen of pull requests, kept so that nobody waits for a forge; and when it may be asked again."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace

from chatml import typed
from chatml.model import PullRequest, parse_time
from chatml.record import record
from chatml.state.paths import StatePaths
from chatml.state.store import read_whole, write_json

EVERY = 60.0
"""Seconds at least between two questions to a forge about one repository's pull requests."""

LONGEST = 3600.0
"""Seconds at most until it is asked again after it has failed without saying when."""

FARTHEST = 86400.0
"""Seconds that a forge is believed that it is not to be asked: what lies beyond is of a clock that was wrong."""

KEPT = 1000
"""Pull requests that are remembered, those seen last."""


@record(frozen=True)
class PullsSeen:
    """What was seen, and how asking went; all times are seconds since the epoch."""

    pulls: tuple[PullRequest, ...] = ()
    asked: float = 0.0
    failures: int = 0
    """How often asking has failed since it last went well."""
    not_before: float = 0.0
    """The forge is not asked before this: it said so itself, or it has failed."""
    trouble: str | None = None
    """Why asking has failed last."""

    def latest(self, known: PullRequest) -> PullRequest:
        """A pull request as it was seen last, here or where it is `known` from."""
        return max((known, *(pull for pull in self.pulls if pull.url == known.url)), key=lambda pull: pull.at or "")

    def may_ask(self, now: float) -> bool:
        """Whether it is time to ask again."""
        return not 0 <= now - self.asked < EVERY and not 0 < self.not_before - now <= FARTHEST

    def answered(self, pulls: Collection[PullRequest], not_before: float = 0.0) -> PullsSeen:
        """The same with these as they are now."""
        known = {pull.url: pull for pull in (*self.pulls, *pulls)}
        newest = sorted(known.values(), key=lambda pull: pull.at or "")[-KEPT:]
        return replace(self, pulls=tuple(newest), failures=0, not_before=not_before, trouble=None)

    def failed(self, now: float, trouble: str, not_before: float = 0.0) -> PullsSeen:
        """The same after a failure: each one doubles the wait, unless the forge has asked for a longer one."""
        wait = min(EVERY * 2 ** min(self.failures + 1, 10), LONGEST)
        until = min(max(now + wait, not_before), now + FARTHEST)
        return replace(self, failures=self.failures + 1, not_before=until, trouble=trouble)


def read(paths: StatePaths) -> PullsSeen:
    """What is there; nothing where it can't be read or is damaged."""
    try:
        found = typed.build(PullsSeen, json.loads(read_whole(str(paths.pulls))), "what was seen")
        for pull in found.pulls:
            parse_time(pull.at or "")
        return found
    except (OSError, ValueError, TypeError, RecursionError):
        return PullsSeen()


def write(paths: StatePaths, seen: PullsSeen) -> None:
    """Replace what is there. OSError."""
    write_json(paths.pulls, {**vars(seen), "pulls": [vars(pull) for pull in seen.pulls]})
