"""Who makes a check fail: against every set there is, whatever depends on whatever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatml.landing.culprits import Culprit, Findings, Names, find, train

NAMES = "abcdefg"


def subsets(names: Sequence[str]) -> list[Names]:
    return [part for size in range(len(names) + 1) for part in combinations(names, size)]


class Asked:
    """A check that knows of each set how it ends, and tells what it was asked."""

    def __init__(self, outcome: Callable[[Names], bool | None]) -> None:
        self.outcome = outcome
        self.asked: list[Names] = []

    def __call__(self, names: Names) -> bool | None:
        assert names not in self.asked, "nothing is asked twice"
        self.asked.append(names)
        return self.outcome(names)


def one_of(*sets: str) -> Callable[[Names], bool | None]:
    """Fails where all of one of these sets come together."""
    return lambda names: any(set(one) <= set(names) for one in sets)


def one_of_names(name: str) -> Callable[[Names], bool | None]:
    return lambda names: name in names


def of(findings: Findings) -> list[str]:
    return ["".join(culprit.names) for culprit in findings.culprits]


@st.composite
def monotone(draw: st.DrawFn) -> tuple[str, list[str]]:
    names = NAMES[: draw(st.integers(1, 7))]
    sets = draw(st.lists(st.sets(st.sampled_from(names), min_size=1).map(lambda one: "".join(sorted(one))), max_size=4))
    return names, sets


@given(monotone())
def test_where_more_never_mends_all_that_fail_alone_are_found_and_what_is_left_passes(
    case: tuple[str, list[str]],
) -> None:
    names, sets = case
    check = Asked(one_of(*sets))
    findings = find(names, check)
    smallest = {one for one in sets if not any(set(other) < set(one) for other in sets)}
    assert {one for one in smallest if len(one) == 1} == {one for one in of(findings) if len(one) == 1}
    assert set(of(findings)) <= smallest
    assert (of(findings) == []) is (not sets)
    left_out = {culprit.left_out for culprit in findings.culprits}
    assert findings.passing == tuple(name for name in names if name not in left_out)
    assert not one_of(*sets)(findings.passing)
    assert findings.runs == len(check.asked)
    assert findings == find(names, Asked(one_of(*sets))), "the same each time"


OUTCOMES = st.sampled_from([False, True, None])


@st.composite
def anyhow(draw: st.DrawFn) -> tuple[str, dict[Names, bool | None]]:
    names = NAMES[: draw(st.integers(0, 5))]
    outcomes = draw(st.lists(OUTCOMES, min_size=2 ** len(names), max_size=2 ** len(names)))
    return names, {**dict(zip(subsets(names), outcomes, strict=True)), (): draw(st.booleans())}


@given(anyhow())
def test_whatever_the_sets_do_what_is_named_fails_and_nothing_smaller_of_it_does(
    case: tuple[str, dict[Names, bool | None]],
) -> None:
    names, table = case
    told: list[tuple[int, int]] = []
    check = Asked(table.__getitem__)
    findings = find(names, check, lambda runs, left: told.append((runs, left)))
    assert findings.passing == () or table[findings.passing] is False
    for culprit in findings.culprits:
        assert table[culprit.names] is True
        assert not [part for part in subsets(culprit.names)[:-1] if table[part]]
        assert culprit.left_out == culprit.names[-1]
    taken = {*findings.passing, *findings.unmerged, *(culprit.left_out for culprit in findings.culprits)}
    if findings.base_fails:
        assert table[()] is True
        assert findings.passing == ()
    else:
        assert taken == set(names), "each name is in one place"
    assert [runs for runs, _ in told] == list(range(1, len(check.asked) + 1))
    assert all(left >= findings.runs - runs for runs, left in told), "no more runs than were announced"
    assert all(left >= 0 for _, left in told)


@given(st.data())
def test_of_seven_that_depend_on_each_other_anyhow(data: st.DataObject) -> None:
    table: dict[Names, bool | None] = {}

    def outcome(names: Names) -> bool | None:
        return table.setdefault(names, data.draw(OUTCOMES) if names else False)

    told: list[tuple[int, int]] = []
    findings = find(NAMES, Asked(outcome), lambda runs, left: told.append((runs, left)))
    for culprit in findings.culprits:
        assert table[culprit.names] is True
        for name in culprit.names:
            assert not table[tuple(other for other in culprit.names if other != name)]
            assert culprit.alone or not table[(name,)], "what fails alone is not said to fail only together"
    assert findings.passing == () or table[findings.passing] is False
    assert all(left >= findings.runs - runs for runs, left in told)


@given(anyhow(), st.data())
def test_what_lands_has_passed_and_who_is_left_out_has_failed_twice(
    case: tuple[str, dict[Names, bool | None]], data: st.DataObject
) -> None:
    names, table = case
    second: dict[Names, bool] = {}

    def again(part: Names) -> bool:
        assert part not in second
        assert table[part] is True, "only failures are tried again"
        second[part] = data.draw(st.booleans())
        return second[part]

    told: list[tuple[int, int]] = []
    findings = train(names, Asked(table.__getitem__), again, lambda runs, left: told.append((runs, left)))
    landed = findings.passing
    assert landed == () or table[landed] is False or second[landed] is False
    assert all(second[culprit.names] for culprit in findings.culprits)
    assert set(findings.flaky) == {part for part, failed in second.items() if not failed}
    assert findings.base_fails is second.get((), False)
    assert [runs for runs, _ in told] == list(range(1, findings.runs + 1))
    assert all(left >= findings.runs - runs for runs, left in told)


@pytest.mark.parametrize("count", [1, 2, 10, 33, 200])
def test_one_culprit_takes_few_runs_wherever_it_stands(count: int) -> None:
    names = [f"s{number}" for number in range(count)]
    for culprit in names:
        findings = find(names, Asked(one_of_names(culprit)))
        assert findings.culprits == (Culprit((culprit,), culprit),)
        assert findings.runs <= ceil(log2(count)) + 4


def test_what_passes_takes_one_run_and_nothing_none() -> None:
    check = Asked(one_of())
    assert find(NAMES, check) == Findings(tuple(NAMES), runs=1)
    assert find((), check) == Findings(())


def test_a_train_of_ten_with_two_culprits_one_of_which_fails_only_with_a_third() -> None:
    names = "abcdefghij"
    findings = train(names, Asked(one_of("c", "dh")), one_of("c", "dh"))
    assert of(findings) == ["c", "dh"]
    assert [culprit.alone for culprit in findings.culprits] == [True, False]
    assert [culprit.left_out for culprit in findings.culprits] == ["c", "h"]
    assert findings.passing == tuple("abdefgij")
    assert findings.runs <= 25, "that many, with each failure tried twice"


def test_a_failure_that_passes_the_second_time_leaves_nobody_out() -> None:
    findings = train(NAMES, Asked(lambda _: True), lambda _: False)
    assert findings == Findings(tuple(NAMES), flaky=(tuple(NAMES),), runs=2)


def test_where_the_base_fails_nobody_is_at_fault() -> None:
    check = Asked(lambda _: True)
    assert find(NAMES, check) == Findings((), base_fails=True, runs=2)


def test_what_cannot_be_merged_is_left_out_and_the_rest_goes_on() -> None:
    findings = find(NAMES, Asked(lambda names: None if "b" in names and "e" in names else "g" in names))
    assert (findings.unmerged, of(findings), "".join(findings.passing)) == (("e",), ["g"], "abcdf")
