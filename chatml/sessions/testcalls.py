"""Finds the calls of test runners in a line of shell, and what its exit status tells of each."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from chatml.sessions.testers import bare, tests, words_of


@dataclass(frozen=True)
class RunnerCall:
    """A test runner called in a command, and what the status of the whole command says of it."""

    command: str
    """The runner's own words, with the folder that it was called in where that is another than the worktree."""
    if_zero: bool
    """Whether an exit status of 0 means that the tests passed."""
    if_not: bool
    """Whether any other one means that they failed."""


HARMLESS = words_of("cd pushd source . export set unset tail head tee cat echo printf true mkdir ulimit")
"""Programs that are not to be expected to fail: beside them, the status is the runner's."""

_HEREDOC = re.compile(r"<<-?\s*(['\"\\]?)(\w+)\1(.*?)\n.*?(?:^\s*\2\s*$|\Z)", re.MULTILINE | re.DOTALL)
_DESCRIPTOR = re.compile(r"(?<=\s)\d(?=[<>])")
_COMMENT = re.compile(r"(?:^|(?<=\s))#[^'\"\n]*$", re.MULTILINE)
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
    runner = bare(words)
    return [RunnerCall(shlex.join(runner), if_zero=True, if_not=True)] if tests(runner) else []


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
