"""Which of several sessions make a check fail, found by few runs of it: a search over sets of names, without git.

A set fails, passes, or can't be merged. Where one name alone is at fault, it takes about log2 n runs; for a set that
fails only together, about so many for each of its names. Nothing is taken for granted of how sets depend on each other:
one more name may mend what others break, and what is named as failing has always been seen to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

Names = tuple[str, ...]

Check = Callable[[Names], bool | None]
"""Whether the union of these, on the base, fails; None where it can't be merged. Without names: the base itself."""

Progress = Callable[[int, int], None]
"""Is told how many runs there were, and how many there will be at the most."""

SMALL = 4
"""Names of a set up to which all that is smaller in it is tried."""


@dataclass(frozen=True)
class Culprit:
    """A smallest set that fails: without any one of its names it doesn't."""

    names: Names
    """In the order given."""
    left_out: str
    """The last of them: without it the others may land."""

    @property
    def alone(self) -> bool:
        """Whether it fails by itself, not only together with others."""
        return len(self.names) == 1


@dataclass(frozen=True)
class Findings:
    """What the search has found."""

    passing: Names
    """What is left without those at fault: it has passed as a whole. Nothing may be left."""
    culprits: tuple[Culprit, ...] = ()
    """In the order in which they were found."""
    unmerged: Names = ()
    """What can't be merged with those before it that pass."""
    flaky: tuple[Names, ...] = ()
    """The sets that have failed, and passed when tried once more."""
    base_fails: bool = False
    """Whether the check fails without any of them: then nobody is at fault, and nothing passes."""
    runs: int = 0
    """How often the check was asked."""


def find(order: Sequence[str], fails: Check, progress: Progress | None = None) -> Findings:
    """Why the union of all fails, where it does: all that fail alone, and sets that fail only together.

    Deterministic; no set is asked for twice.
    """
    return _search(tuple(order), _Runs(tuple(order), fails, None, progress))


def train(order: Sequence[str], fails: Check, again: Check, progress: Progress | None = None) -> Findings:
    """What of these can land, in their order: the same search, where each failure is tried once more.

    What passes then, `again`, is flaky: nobody is left out for that.
    """
    return _search(tuple(order), _Runs(tuple(order), fails, again, progress))


class _Runs:
    """The runs of the check so far: each set's outcome, and how many are still to come at the most."""

    def __init__(self, order: Names, fails: Check, again: Check | None, progress: Progress | None) -> None:
        self.order = order
        self.flaky: list[Names] = []
        self.count = 0
        self._fails, self._again, self._progress = fails, again, progress
        self._known: dict[Names, bool | None] = {}
        self._left = _for_all(len(order))

    def __call__(self, names: Names) -> bool | None:
        """The outcome of a set."""
        if names not in self._known:
            self.count += 1
            self._left -= 1
            fails = self._fails(names)
            if fails and self._again is not None:
                self._tell(one_more=True)
                self.count += 1
                fails = self._again(names)
                if not fails:
                    self.flaky.append(names)
                    fails = False
            self._known[names] = fails
            self._tell()
        return self._known[names]

    def passed(self, names: Names) -> bool:
        """Whether the set is known to pass, without a run."""
        return self._known.get(names, True) is False

    def sorted(self, names: set[str]) -> Names:
        return tuple(name for name in self.order if name in names)

    def expect(self, left: int) -> None:
        """Note that there will be no more than so many other sets."""
        self._left = min(self._left, left)

    def _tell(self, one_more: bool = False) -> None:
        if self._progress is not None:
            others = max(0, min(self._left, (1 << len(self.order)) - len(self._known) - one_more))
            self._progress(self.count, others * (1 if self._again is None else 2) + one_more)


def _search(rest: Names, runs: _Runs) -> Findings:
    """Leave out one after the other, until what is left passes."""
    culprits: list[Culprit] = []
    unmerged: list[str] = []
    base_fails = False
    while rest and (outcome := runs(rest)) is not False:
        if runs(()):
            rest, base_fails = (), True
            break
        if outcome is None:
            left_out = _last(rest, (), runs, fails=False)[-1]
            unmerged.append(left_out)
        else:
            names = _smallest(rest, runs)
            left_out = names[-1]
            culprits.append(Culprit(names, left_out))
        rest = tuple(name for name in rest if name != left_out)
        runs.expect(_for_all(len(rest)))
    runs.expect(0)
    return Findings(rest, tuple(culprits), tuple(unmerged), tuple(runs.flaky), base_fails, runs.count)


def _smallest(names: Names, runs: _Runs) -> Names:
    """A smallest set that fails, of those in a set that fails."""
    among, sure = names, set[str]()
    while not sure or not runs(runs.sorted(sure)):
        # `among` and what is sure fail together; what is sure does not, alone.
        among = _last(among, tuple(sure), runs)
        sure.add(among[-1])
        among = among[:-1]
        runs.expect(_for_one(len(among), len(sure)) + _for_all(len(names) - 1))
    return _reduced(runs.sorted(sure), runs)


def _last(among: Names, others: Names, runs: _Runs, fails: bool = True) -> Names:
    """The beginning of `among` that fails with the others, where one name less doesn't; found by halving.

    With `fails` false: that is not known to pass, where one name less is.
    """

    def bad(length: int) -> bool:
        outcome = runs(runs.sorted({*among[:length], *others}))
        return outcome is True if fails else outcome is not False

    low, high = 0, len(among)
    if not others:  # what an earlier search has seen
        low = max(length for length in range(high) if length == 0 or runs.passed(among[:length]))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if bad(middle) else (middle, high)
    return among[:high]


def _reduced(names: Names, runs: _Runs) -> Names:
    """The set without what it fails without."""
    if len(names) <= SMALL:
        smaller = (part for size in range(1, len(names)) for part in combinations(names, size))
        return next((part for part in smaller if runs(part)), names)
    for name in names:
        if runs((name,)):
            return (name,)
    for name in names:
        if runs(less := tuple(other for other in names if other != name)):
            return _reduced(less, runs)
    return names


def _for_one(among: int, sure: int = 0) -> int:
    """Runs at the most to find one smallest set."""
    halving = sum((number - 1).bit_length() + 1 for number in range(1, among + 1))
    size = among + sure
    return halving + 1 + size * (size + 1) // 2 + size + (1 << SMALL)


def _for_all(count: int) -> int:
    """Runs at the most to find all, the base and the unions that are left among them."""
    return 1 + sum(1 + _for_one(number) for number in range(1, count + 1))
