"""Reads what test runners print at their end: how many tests passed, and whether all did."""

from __future__ import annotations

import re
from dataclasses import dataclass

TAIL = 200_000
"""Characters of an output that are looked through, its last ones: a summary stands at the end."""


@dataclass(frozen=True)
class Printed:
    """What an output says of the tests."""

    ok: bool | None = None
    """Whether all passed; None where it doesn't say."""
    count: int | None = None
    """How many passed."""


def _anywhere(**numbers: str) -> str:
    """Matches nothing, and finds each of these numbers in the rest of the line, where they are."""
    return "".join(f"(?=(?:.*?{text.replace('#', f'(?P<{name}>[0-9]+)')})?)" for name, text in numbers.items())


_BOTH = {"passed": r"\b# passed", "failed": r"\b# failed"}

_SUMS = [
    # pytest, tox with pytest: `==== 1 failed, 12 passed in 0.10s ====`
    r"^(?:=+ )?" + _anywhere(passed=r"\b# passed", failed=r"\b# failed", errors=r"\b# errors?\b")
    + r"(?:\d+ [a-z ]+, )*\d+ (?:passed|failed|errors?|skipped|xfailed|xpassed|deselected|warnings?) in \d[\d.:]*s",
    # unittest, Django
    r"^Ran (?P<total>\d+) tests? in [^\n]*\n+(?P<word>OK|FAILED)"
    + _anywhere(failed="failures=#", errors="errors=#", skipped="skipped=#", unexpected="unexpected successes=#"),
    r"^test result: (?P<word>ok|FAILED)\. (?P<passed>\d+) passed; (?P<failed>\d+) failed",  # cargo test
    r"^[ \t]*Summary \[.*\] " + _anywhere(**_BOTH) + r".*\btests? run:",  # cargo nextest
    r"^Tests: +(?=.*\btotal)" + _anywhere(**_BOTH),  # jest
    r"^[ \t]*Tests  +(?=.*\(\d+\))" + _anywhere(**_BOTH),  # vitest
    r"^[ \t]*(?P<passed>\d+) passing\b(?:[^\n]*\n+\s*\d+ pending)?(?:[^\n]*\n+\s*(?P<failed>\d+) failing)?",  # mocha
    r"^\S pass (?P<passed>\d+)\n\S fail (?P<failed>\d+)",  # node --test
    r"^[ \t]*(?P<passed>\d+) pass\n(?:\s*\d+ (?:skip|todo)\n)*\s*(?P<failed>\d+) fail\b",  # bun
    r"^(?P<total>\d+) examples?, (?P<failed>\d+) failures?(?:, (?P<skipped>\d+) pending)?",  # rspec
    r"^(?P<total>\d+) runs, \d+ assertions, (?P<failed>\d+) failures, (?P<errors>\d+) errors, (?P<skipped>\d+) skips",
    r"^OK \((?P<passed>\d+) tests?, \d+ assertions?\)",  # phpunit
    r"^Tests: (?P<total>\d+), Assertions: \d+"
    + _anywhere(failed="Failures: #", errors="Errors: #", skipped="Skipped: #"),
    r"^\d+% tests passed, (?P<failed>\d+) tests? failed out of (?P<total>\d+)",  # ctest
    r"^(?P<word>Passed|Failed)! +- Failed: +(?P<failed>\d+), Passed: +(?P<passed>\d+)",  # dotnet
    r"^(?P<word>ok|FAILED) \| (?P<passed>\d+) passed.*? \| (?P<failed>\d+) failed",  # deno
    r"^(?:\d+ doctests?, )?(?P<total>\d+) tests?, (?P<failed>\d+) failures?",  # ExUnit, bats
    r"^Executed (?P<total>\d+) tests?, with (?P<failed>\d+) failures?",  # swift
    r"^(?P<total>\d+) tests completed, (?P<failed>\d+) failed",  # gradle, where one fails
]  # fmt: skip
"""Lines of summaries; several of them in one output are added up."""

_MAVEN = (
    r"^(?:\[\w+\] )?Tests run: (?P<total>\d+), Failures: (?P<failed>\d+), Errors: (?P<errors>\d+), "
    r"Skipped: (?P<skipped>\d+)\s*$"
)
"""The last one is the sum of those before it."""

_WORDS = (
    r"^(?:(?P<good>ok\s+\S+\s+(?:[\d.]+s|\(cached\))|BUILD SUCCESSFUL)|"
    r"(?P<bad>FAIL\b|--- FAIL: |BUILD FAILED|no tests ran))"
)
"""Lines without a number: go, gradle; and pytest without a test."""

_VERBOSE = r"^[ \t]*--- PASS: "
"""A test that passed: go test -v."""


def printed(output: str) -> Printed:
    """What the output of a test runner says at its end."""
    text = re.sub(r"\x1b\[[\d;]*[A-Za-z]|\r", "", output[-TAIL:])
    matches = [match for form in _SUMS for match in re.finditer(form, text, re.MULTILINE)]
    matches += [*re.finditer(_MAVEN, text, re.MULTILINE)][-1:]
    words = [*re.finditer(_WORDS, text, re.MULTILINE)]
    bad = any(word["bad"] for word in words)
    if not matches:
        verbose = len(re.findall(_VERBOSE, text, re.MULTILINE))
        return Printed(not bad if words else None, verbose or None)
    passed, failed = (sum(one) for one in zip(*map(_numbers, matches), strict=True))
    return Printed(False if failed or bad else True if passed else None, passed)


def _numbers(match: re.Match[str]) -> tuple[int, int]:
    """How many passed and how many failed, by one summary."""
    said = match.groupdict()
    number = {name: int(value) for name, value in said.items() if value and value.isdigit()}
    failed = sum(number.get(name, 0) for name in ("failed", "errors", "unexpected"))
    passed = number.get(
        "passed", number.get("total", 0) - failed - number.get("skipped", 0) if "total" in number else 0
    )
    word = said.get("word") or ""
    return max(0, passed), failed or int(word.upper().startswith("FAIL"))
