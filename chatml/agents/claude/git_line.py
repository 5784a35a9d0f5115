"""Whether a shell command may make git write a file or run a program by the way it is called.

The git commands that an agent may run without asking are so for what they read and commit. What can't be told for
certain counts as risky: it is then asked for.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise

RISKY = ("--output", "--ext-diff", "--textconv", "--open-files-in-pager", "--exec", "--upload-pack", "--receive-pack")
"""Options that write a file or run a program; git takes some of them abbreviated."""

HARMLESS_GLOBAL = ("--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs", "--no-replace-objects")
"""What may stand between `git` and its verb; others set configuration, programs or another repository (-c, …)."""

WITHOUT_RISK = ("add", "commit", "status", "restore", "mv", "rm")
"""Verbs without any of the risky options, so that a file whose name looks like one does no harm in `git add *`."""

_HERE = re.compile(
    r"""\A(?P<before>(?:[^"'`$\\#<]|"[^"$`\\]*"|'[^']*')*)
    (?:"\$\(cat[ ]<<'(?P<end>\w+)'\n(?:(?!(?P=end)\n).*\n)*(?P=end)\n\s*\)"
    |<<'(?P<stop>\w+)'(?P<after>[^\n"'`$\\#<]*)\n(?:(?!(?P=stop)(?:\n|\Z)).*\n)*(?P=stop)(?=\n|\Z))""",
    re.VERBOSE,
)
"""A text in place, which the shell takes as it is: the usual way to give a commit its message. Nothing before it may
quote or expand but in pairs, else the quotes around it could mean something else to the shell."""

_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.|(?<![^\s;&|()<>])(?<!\\[\s;&|()<>])\#[^\n]*""", re.DOTALL)
"""What the shell does not act on, or only in part: quoted words, and comments."""

_EXPANDED = re.compile(r"(?:^|[^\\])(?:\\\\)*[$`]")
_GIT = re.compile(r"(?<![\w.-])git(?![\w.-])")
_SCRIPT = re.compile(r"eval|-[a-z]*c")
"""What goes before a word that a shell runs as a command line."""


def may_do_harm(command: str) -> bool:
    """Whether git may be made to write a file or to run a program by this command line, or that can't be told."""
    while (told := _HERE.sub(r"\g<before>''\g<after>", command)) != command:
        command = told
    if not _GIT.search(re.sub(r"""['"\\]""", "", command.replace("\\\n", ""))):
        return False
    if "\\\\\n" in command:
        return True  # an escaped backslash before a line end, or an escaped line end: not worth telling apart
    if "<<" in _QUOTED.sub("", command):
        return True  # quotes in that text are none
    command = _QUOTED.sub(lambda found: "" if found[0][0] == "#" else found[0], command).replace("\\\n", "")
    try:
        words = _split(command)
    except ValueError:
        return True
    return _expands(command) or _calls_risky(words) or _matches_files(command, words)


def _split(command: str) -> list[str]:
    """The words of the command without their quotes; operators are words of their own."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def _expands(command: str) -> bool:
    """Whether the shell puts something in that can't be seen here. Redirections are Claude Code's to judge: it does."""
    bare = _QUOTED.sub(lambda found: found[0] if found[0].startswith('"') else "", command)
    return bool(_EXPANDED.search(bare))


def _is_git(word: str) -> bool:
    return word.rpartition("/")[2] == "git"


def _calls_risky(words: list[str]) -> bool:
    verbs = _verbs(words)
    if None in verbs or ("grep" in verbs and any(re.match(r"-[A-Za-z]*O", word) for word in words)):
        return True
    for before, word in pairwise(words):
        if _SCRIPT.fullmatch(before) and may_do_harm(word):
            return True
        if re.match(r"\w+=", before) and _is_git(word):
            return True  # variables choose programs too: GIT_EXTERNAL_DIFF, PAGER
    return any(_is_risky(word.partition("=")[0]) for word in words)


def _is_risky(option: str) -> bool:
    return any(
        option.startswith(name) or (len(option) > 4 and name.startswith(option) and option != "--text")
        for name in RISKY
    )


def _verbs(words: list[str]) -> set[str | None]:
    """What git is called for; None where that can't be told, or an option before it is not harmless."""
    found: set[str | None] = set()
    for place, word in enumerate(words):
        if not _is_git(word):
            continue
        rest = iter(words[place + 1 :])
        verb = next(rest, "")
        while verb in HARMLESS_GLOBAL or verb == "-C":
            if verb == "-C":
                next(rest, "")
            verb = next(rest, "")
        found.add(None if verb.startswith("-") else verb)
    return found


def _matches_files(command: str, words: list[str]) -> bool:
    """Whether the shell could make an option of a pattern: of `*` where a file is named so, of `{--output=x,}`."""
    parts = re.split(r"[\s;&|()<>]+", _QUOTED.sub("", command))
    return not _verbs(words) <= set(WITHOUT_RISK) and any(re.match(r"[*?\[{]|-.*[*?\[{]", part) for part in parts)
