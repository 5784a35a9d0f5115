"""Finds the calls of test runners in a line of shell, and what its exit status tells of each."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class RunnerCall:
    """A test runner called in a command, and what the status of the whole command says of it."""

    command: str
    """The runner's own words, with the folder that it was called in where that is another than the worktree."""
    if_zero: bool
    """Whether an exit status of 0 means that the tests passed."""
    if_not: bool
    """Whether any other one means that they failed."""


def _words(*texts: str) -> frozenset[str]:
    return frozenset(word for text in texts for word in text.split())


ALWAYS = _words(
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

VALUED = _words(
    "-C -n -k -s -u -w -F -f -p -o -i -e --prefix --filter --manifest-path --directory --cwd --workspace --with",
    "--python --group --extra --project --package --env-file --name --signal --kill-after --file --makefile",
)
"""Options with a word of their own behind them, of the programs above."""

NO_RUN = _words("--version --help -h --collect-only --co --fixtures --markers --listTests --list-tests")
"""Options with which a runner runs no test."""

HARMLESS = _words("cd pushd source . export set unset tail head tee cat echo printf true mkdir ulimit")
"""Programs that are not to be expected to fail: beside them, the status is the runner's."""

_HEREDOC = re.compile(r"<<-?\s*(['\"\\]?)(\w+)\1(.*?)\n.*?(?:^\s*\2\s*$|\Z)", re.MULTILINE | re.DOTALL)
_DESCRIPTOR = re.compile(r"(?<=\s)\d(?=[<>])")
_COMMENT = re.compile(r"(?:^|(?<=\s))#[^'\"\n]*$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_KEYWORDS = ("then", "do", "else", "{", "if", "while", "until", "elif", "!")


@dataclass
class _Part:
    """One simple command of a line of shell."""

    words: list[str]
    before: str
    """The operator that it follows: one of `&& || | & ;`, or none."""
    inside: bool
    """Whether its output or status is only used by what is around it."""


@dataclass
class _Settings:
    """What `set` has changed so far in a line of shell."""

    strict: bool = False
    pipefail: bool = False

    def note(self, words: Sequence[str]) -> None:
        if words[:1] == ["set"]:
            self.strict = self.strict or any(re.fullmatch(r"-\w*e\w*", word) for word in words)
            self.pipefail = self.pipefail or "pipefail" in words


def calls(command: str, worktree: str = "") -> list[RunnerCall]:
    """The test runners that a command calls, in its order; none where it is no shell that could be understood."""
    parts = _parts(command)
    found, folder, settings = [], "", _Settings()
    for place, part in enumerate(parts):
        words, asked = _without_keywords(part.words)
        if words[:1] in (["cd"], ["pushd"]) and len(words) > 1:
            folder = _folder(folder, words[1], worktree)
        settings.note(words)
        where = f"cd {shlex.quote(folder)} && " if folder else ""
        for call in _called(words, worktree):
            if_zero, if_not = (False, False) if asked or part.inside else _status(parts, place, settings)
            found.append(RunnerCall(where + call.command, call.if_zero and if_zero, call.if_not and if_not))
    return found


def _called(words: list[str], worktree: str) -> list[RunnerCall]:
    """The test runners that a simple command is or, where it is a shell, is given to run."""
    if words[:1] in (["bash"], ["sh"], ["zsh"]) and (script := _script(words)) is not None:
        return calls(script, worktree)
    bare = _plain(words)
    return [RunnerCall(shlex.join(bare), if_zero=True, if_not=True)] if _tests(bare) else []


def _parts(command: str) -> list[_Part]:
    """The simple commands of a line of shell, without what redirects them. None where a quote is left open."""
    text = _HEREDOC.sub(r"\3", command.replace("\\\n", " ").replace("`", " "))
    text = _DESCRIPTOR.sub("", _COMMENT.sub("", text))
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
    try:
        tokens = list(lexer)
    except ValueError:
        return []
    parts = [_Part([], "", False)]
    depth, skip = 0, False
    for token in tokens:
        words = parts[-1].words
        if not set(token) <= set("();<>|&\n"):
            if not skip:
                words.append(token)
            skip = False
        elif "<" in token or ">" in token:
            skip = True
        else:
            depth += token.count("(") if depth or (words and words[-1].endswith("$")) else 0
            depth = max(0, depth - token.count(")"))
            parts.append(_Part([], _operator(token), depth > 0))
            skip = False
    if parts[-1].before == "&" and not parts[-1].words:
        parts[-1].words.append("true")  # what is left in the background has no status here
    return list(_joined(parts))


def _joined(parts: Sequence[_Part]) -> Iterator[_Part]:
    """The parts, an empty one between two operators taken out: of the two, the one that says more is kept."""
    before = ""
    for part in parts:
        operator = part.before if part.before not in ("", ";") or not before else before
        if part.words:
            yield _Part(part.words, operator, part.inside)
            before = ""
        else:
            before = operator


def _operator(token: str) -> str:
    bare = token.strip("\n()")
    return "|" if bare == "|&" else bare if bare in ("&&", "||", "|", "&") else ";" if token.strip("()") else ""


def _without_keywords(words: list[str]) -> tuple[list[str], bool]:
    """A command without the shell's own words before it, and whether those make something else of its status."""
    asked = False
    while words and words[0] in _KEYWORDS:
        asked = asked or words[0] not in ("then", "do", "else", "{")
        words = words[1:]
    return words, asked


def _script(words: Sequence[str]) -> str | None:
    """What a shell is given to run by `-c`."""
    place = next((i for i, word in enumerate(words) if re.fullmatch(r"-\w*c", word)), len(words))
    return words[place + 1] if place + 1 < len(words) else None


def _folder(folder: str, to: str, worktree: str) -> str:
    """Where a command goes on after `cd`, as seen from the worktree; empty for its top."""
    if "$" in to or to == "-":
        return folder
    path = PurePosixPath(posixpath.normpath(posixpath.join(worktree or "/", folder, to)))
    if not path.is_relative_to(worktree or "/"):
        return str(path)
    inside = str(path.relative_to(worktree or "/"))
    return "" if inside == "." else inside


def _plain(words: list[str]) -> list[str]:
    """A command without those that change nothing about it, such as `timeout 60`; its variables stay."""
    place = 0
    while place < len(words) and _ASSIGNMENT.match(words[place]):
        place += 1
    program = PurePosixPath(words[place]).name if place < len(words) else ""
    if program == "env":
        return _plain([*words[:place], *_behind_options(words[place + 1 :])])
    if program in ASIDE:
        rest = _behind_options(words[place + 1 :])[ASIDE[program] :]
        return _plain([*words[:place], *rest])
    return words


def _behind_options(words: Sequence[str]) -> list[str]:
    """From the first word on that is no option, nor the value of one."""
    place = 0
    while place < len(words) and words[place].startswith(("-", "+")):
        place += 2 if words[place] in VALUED else 1
    return list(words[place:])


def _tests(words: Sequence[str]) -> bool:
    """Whether a simple command runs tests."""
    while words and _ASSIGNMENT.match(words[0]):
        words = words[1:]
    if not words or NO_RUN.intersection(words):
        return False
    program, rest = PurePosixPath(words[0]).name, _behind_options(words[1:])
    if re.fullmatch(r"(python|pypy)[\d.]*|py", program):
        return _python(words[1:])
    if program in ("node", "php", "ruby"):
        return "--test" in words or (program == "php" and _tests(rest))
    if program in ALWAYS:
        return program not in ("cypress", "playwright") or rest[:1] in (["run"], ["test"])
    if program in TARGETS:
        return any(re.fullmatch(TARGETS[program], word) for word in rest)
    if program == "yarn" and rest[:1] == ["workspace"]:
        rest = rest[2:]
    wanted = SUBCOMMANDS.get(program)
    script = rest[1:] if program in SCRIPTED and rest[:1] in (["run"], ["run-script"], ["task"]) else rest
    if wanted is not None and any(re.fullmatch(wanted, word) for word in _behind_options(script)[:1]):
        return True
    launches = LAUNCHERS.get(program)
    if launches is None:
        return program == "yarn" and _tests(rest)
    if launches and not re.fullmatch(launches, (rest or ["none"])[0]):
        return program == "yarn" and _tests(rest)
    return _tests(_behind_options(rest[1:] if launches else rest)) or (program == "coverage" and _python(rest[1:]))


def _python(words: Sequence[str]) -> bool:
    """Whether Python tests with these arguments: by `-m`, or by a program in it."""
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-m":
        rest = rest[2:] if rest[0] in ("-W", "-X") else rest[1:]
    if rest[:1] == ["-m"]:
        return rest[1:2] == ["unittest"] or _tests(rest[1:])
    return bool(rest) and PurePosixPath(rest[0]).name in ("manage.py", "setup.py", "runtests.py") and _tests(rest)


def _status(parts: Sequence[_Part], place: int, settings: _Settings) -> tuple[bool, bool]:
    """Whether the status of the whole says that this part has passed (0), and that it has failed (any other)."""
    if_zero = if_not = True
    following = [part for part in parts[place + 1 :] if not part.inside]
    for part in following:
        goes_on = {"&&": True, ";": settings.strict, "|": settings.pipefail}.get(part.before, False)
        if_zero = if_zero and goes_on
        if_not = if_not and goes_on and part.words[0] in HARMLESS
    for part, earlier in zip(reversed(parts[1 : place + 1]), reversed(parts[:place]), strict=True):
        if part.before == "||":
            return False, False
        if part.before in (";", "") and not settings.strict:
            break
        if_not = if_not and (part.before == "|" or earlier.words[0] in HARMLESS)
    return if_zero, if_not
