"""Roles: what a session is made for, and what it may do; those that are built in, and patterns of scopes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chatml.config.files import BadValueError, shown


@dataclass(frozen=True)
class Role:
    """What is settled for a session by the role that it plays; None and nothing leave it as it would be without."""

    name: str | None = None
    instruction: str | None = None
    """What the agent is told beside its task."""
    permission_mode: str | None = None
    tools: tuple[str, ...] | None = None
    """The only tools that the agent has."""
    scope: tuple[str, ...] = ()
    """The paths that it may change, as patterns of gitignore(5)."""
    model: str | None = None


def check_pattern(text: str) -> str:
    """One pattern of a scope. BadValueError for one that could match nothing in a worktree, or can't be meant so."""
    plain = text.removeprefix("!").strip()
    if not plain.strip("/"):
        raise BadValueError(f"holds no pattern: {shown(text)}", hint="such as 'src/billing/**'")
    if re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text):
        raise BadValueError("holds control characters, or is not valid Unicode")
    if plain[0] == "#":
        raise BadValueError(f"would be a comment: {shown(text)}", hint=f"write '\\{plain}'")
    parts = [part.casefold() for part in plain.split("/")]
    if plain[0] == "~" or ".." in parts or ".git" in parts or re.search(r"(?<!\\)(\\\\)*\\$", plain):
        raise BadValueError(
            f"matches nothing in a worktree: {shown(text)}", hint="from the top of the checkout: 'src/billing/**'"
        )
    return text


def check_scope(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """A whole scope. BadValueError for one without any pattern that lets something in."""
    if all(pattern.startswith("!") for pattern in patterns):
        raise BadValueError(
            "lets nothing in: a pattern with '!' takes out again what one before it lets in", hint="begin with '**'"
        )
    return patterns


REVIEWER = """\
You review the changes of another agent; you change nothing yourself. Read the changes, and as much of the code around \
them as it takes to judge them: does the work do what its task asks, and does it break what worked? Look for mistakes, \
for cases that were forgotten, for losses of data, for holes in security, and for missing tests. Leave matters of taste.

Answer with your findings alone, the worst first, each on a line of its own in exactly this form:

SEVERITY FILE:LINE TEXT

SEVERITY is high (wrong results, lost data, a hole), medium (wrong in cases that come up) or low (worth mending). FILE \
is the path from the top of the repository, LINE the number of the line as the file is now. TEXT says on that one line \
what is wrong, when it shows, and what would mend it. For example:

high src/api/limit.py:42 the counter is never reset, so every user is locked out after a day; reset it in 'tick'

Report only what you have made sure of in the code. If you have found nothing, answer with the two words: no findings"""

TESTER = """\
You write and mend tests, and change nothing else. Where a test shows a mistake in the code, leave the code as it is, \
keep the test, and report the mistake in your answer with its file and line."""

RESEARCHER = """\
You find something out, and report it; you change nothing. Read what it takes, and answer the question itself first, \
then with what you base it on: files with their lines, commits, addresses. Say what you could not find out, and what \
you only suppose."""

READING = ("Read", "Grep", "Glob", "Bash")

TEST_FILES = (
    "test/", "tests/", "spec/", "__tests__/", "__mocks__/", "__snapshots__/", "androidTest/", "testdata/", "e2e/",
    "/t/", "test_*.*", "*_test.*", "*_tests.*", "*.test.*", "*.spec.*", "*_spec.*", "*.bats", "conftest.py",
    "*Test.*", "*Tests.*", "*IT.java", "*Spec.scala", "*Spec.groovy", "*Spec.kt", "*Spec.hs",
)  # fmt: skip
"""Where the tests are in the usual layouts of Python, JavaScript, Go, Java, Kotlin, Scala, C#, Ruby, Rust, PHP, C."""

BUILT_IN: Mapping[str, Role] = {
    role.name or "": role
    for role in (
        Role("reviewer", REVIEWER, permission_mode="dontAsk", tools=READING),
        Role("tester", TESTER, scope=TEST_FILES),
        Role("researcher", RESEARCHER, permission_mode="default", tools=(*READING, "WebFetch", "WebSearch")),
    )
}
