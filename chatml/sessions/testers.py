"""Which programs run tests, and with which words: a command of the shell, taken apart already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath


def words_of(*texts: str) -> frozenset[str]:
    """The words of some texts."""
    return frozenset(word for text in texts for word in text.split())


ALWAYS = words_of(
    "pytest py.test tox nox nose2 nosetests trial behave robot runtests.py jest vitest mocha ava tap jasmine cypress",
    "playwright rspec cucumber phpunit pest ctest bats prove busted gotestsum cargo-nextest",
)
"""Programs that do nothing but test."""

SUBCOMMANDS = {
    **dict.fromkeys(("go", "swift", "mix", "sbt", "lein", "bazel", "bazelisk", "dotnet", "deno", "flutter"), "test"),
    **dict.fromkeys(("dart", "rails", "stack", "cabal", "meson", "nx", "ng", "turbo", "hatch", "composer"), "test"),
    **dict.fromkeys(("pdm", "poe", "pixi"), "test"),
    **dict.fromkeys(("npm", "yarn", "pnpm", "bun"), "t|tst|test.*"),
    **{"cargo": "t|test|nextest", "dune": "test|runtest", "crystal": "spec", "zig": "test", "artisan": "test"},
    **{"manage.py": "test", "setup.py": "test"},
}  # fmt: skip
"""Programs that test where their first word that is no option is such a one."""

TARGETS = {
    **dict.fromkeys(
        ("make", "gmake", "just", "task", "rake", "ninja"), r"check|(unit|integration|e2e)?[-_]?tests?|tests?[-_:.].*"
    ),
    **dict.fromkeys(("mvn", "mvnw"), r"test|verify|integration-test|surefire:test"),
    **dict.fromkeys(("gradle", "gradlew"), r"(.*:)?(test|check|\w+Test)"),
}  # fmt: skip
"""Programs that test where any of their words is such a one."""

SCRIPTED = ("npm", "yarn", "pnpm", "bun", "turbo", "nx", "composer", "pixi", "deno", "hatch", "pdm")
"""Programs with a `run` before the name of a script."""

LAUNCHERS = {
    **dict.fromkeys(("npx", "bunx", "pnpx", "uvx", "xvfb-run", "sudo", "doas"), ""),
    **dict.fromkeys(("uv", "poetry", "pipenv", "pdm", "hatch", "rye", "pixi", "conda", "mamba", "coverage"), "run"),
    **dict.fromkeys(("bundle", "pnpm", "yarn", "npm", "dotenv", "mise"), "exec|x|dlx|run"),
}
"""Programs that run the program named behind such a word of theirs, or at once; what they run is looked at in turn."""

ASIDE = {
    "time": 0,
    "nohup": 0,
    "command": 0,
    "exec": 0,
    "nice": 0,
    "stdbuf": 0,
    "unbuffer": 0,
    "setsid": 0,
    "timeout": 1,
}
"""Programs that change nothing about what they run, and how many words of theirs come before it."""

VALUED = words_of(
    "-C -n -k -s -u -w -F -f -p -o -i -e --prefix --filter --manifest-path --directory --cwd --workspace --with",
    "--python --group --extra --project --package --env-file --name --signal --kill-after --file --makefile",
)
"""Options with a word of their own behind them, of the programs above."""

NO_RUN = words_of("--version --help -h --collect-only --co --fixtures --markers --listTests --list-tests")
"""Options with which a runner runs no test."""

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def bare(words: list[str]) -> list[str]:
    """A command without those that change nothing about it, such as `timeout 60`; its variables stay."""
    place = 0
    while place < len(words) and _ASSIGNMENT.match(words[place]):
        place += 1
    program = PurePosixPath(words[place]).name if place < len(words) else ""
    if program == "env":
        return bare([*words[:place], *_behind_options(words[place + 1 :])])
    if program in ASIDE:
        rest = _behind_options(words[place + 1 :])[ASIDE[program] :]
        return bare([*words[:place], *rest])
    return words


def _behind_options(words: Sequence[str]) -> list[str]:
    """From the first word on that is no option, nor the value of one."""
    place = 0
    while place < len(words) and words[place].startswith(("-", "+")):
        place += 2 if words[place] in VALUED else 1
    return list(words[place:])


def tests(words: Sequence[str]) -> bool:
    """Whether a simple command runs tests."""
    while words and _ASSIGNMENT.match(words[0]):
        words = words[1:]
    if not words or NO_RUN.intersection(words):
        return False
    program, rest = PurePosixPath(words[0]).name, _behind_options(words[1:])
    if re.fullmatch(r"(python|pypy)[\d.]*|py", program):
        return _python(words[1:])
    if program in ("node", "php", "ruby"):
        return "--test" in words or (program == "php" and tests(rest))
    if program in ALWAYS:
        return program not in ("cypress", "playwright") or rest[:1] in (["run"], ["test"])
    if program in TARGETS:
        return any(re.fullmatch(TARGETS[program], word) for word in rest)
    if program == "yarn" and rest[:1] == ["workspace"]:
        rest = rest[2:]
    return _by_its_word(program, rest) or _launched(program, rest)


def _by_its_word(program: str, rest: Sequence[str]) -> bool:
    """Whether a program tests because of its first word, or of the script that it is told to run."""
    if program in SCRIPTED and rest[:1] in (["run"], ["run-script"], ["task"]):
        rest = _behind_options(rest[1:])
    wanted = SUBCOMMANDS.get(program)
    return wanted is not None and any(re.fullmatch(wanted, word) for word in rest[:1])


def _launched(program: str, rest: Sequence[str]) -> bool:
    """Whether a program tests because of what it is given to run."""
    launches = LAUNCHERS.get(program)
    if launches and any(re.fullmatch(launches, word) for word in rest[:1]):
        return tests(_behind_options(rest[1:])) or (program == "coverage" and _python(rest[1:]))
    return (launches == "" or program == "yarn") and tests(rest)


def _python(words: Sequence[str]) -> bool:
    """Whether Python tests with these arguments: by `-m`, or by a program in it."""
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-m":
        rest = rest[2:] if rest[0] in ("-W", "-X") else rest[1:]
    if rest[:1] == ["-m"]:
        return rest[1:2] == ["unittest"] or tests(rest[1:])
    return bool(rest) and PurePosixPath(rest[0]).name in ("manage.py", "setup.py", "runtests.py") and tests(rest)
