"""Whose a session's work is, and what the commit says that it is landed as."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chatml.repo import Repository
from chatml.text import shorten

TRAILER = "Chatml-Session"
"""The trailer by which a commit names the session that it came from."""

MAX_SUBJECT = 250
"""Characters of a commit's subject in the list of a squash."""


@dataclass(frozen=True)
class Authored:
    """One commit: who wrote it, when, and what it says."""

    name: str
    email: str
    date: str
    """Seconds since the epoch, and the offset from UTC."""
    message: str
    others: tuple[str, ...]
    """Who else wrote it, by its trailers."""

    @property
    def env(self) -> dict[str, str]:
        """The environment in which git makes a commit of the same author."""
        return {"GIT_AUTHOR_NAME": self._called, "GIT_AUTHOR_EMAIL": self.email, "GIT_AUTHOR_DATE": f"@{self.date}"}

    @property
    def signature(self) -> str:
        return f"{self._called} <{self.email}>"

    @property
    def subject(self) -> str:
        return " ".join(self.message.strip().partition("\n\n")[0].split())

    @property
    def _called(self) -> str:
        """The name; git makes no commit of a name without a letter, but has such from elsewhere."""
        return self.name if re.search(r"[^\s.,:;<>\"'\\]", self.name) else self.email.partition("@")[0] or "unknown"


_FIELDS = ("%an", "%ae", "%ad", "%B", "%(trailers:key=Co-authored-by,valueonly,unfold,separator=%x1f)")


def authored(repository: Repository, *commits: str) -> list[Authored]:
    """The commits that `git log` finds by these arguments, the oldest first. GitError."""
    form = "%x00".join(_FIELDS)
    said = repository.git(
        "log", "-z", "--reverse", "--topo-order", "--date=raw", f"--format={form}", *commits, "--"
    ).text.split("\0")  # fmt: skip
    rows = [said[start : start + len(_FIELDS)] for start in range(0, len(said) - 1, len(_FIELDS))]
    return [
        Authored(name, email, date, message.strip("\n"), tuple(filter(None, others.split("\x1f"))))
        for name, email, date, message, others in rows
    ]


def of_squash(repository: Repository, session: str, title: str, commits: Sequence[Authored]) -> str:
    """The message of the commit that stands for these; `title` is the subject where they are several."""
    if len(commits) == 1 and commits[0].message.strip():
        text = commits[0].message
    else:
        listed = [f"- {shorten(one.subject, MAX_SUBJECT)}" for one in commits if one.subject]
        text = "\n\n".join([title, *(["\n".join(listed)] if listed else [])])
    return signed_off(repository, text, session, co_authors(commits))


def co_authors(commits: Sequence[Authored]) -> list[str]:
    """All who wrote them but the author of the last one, each once."""
    if not commits:
        return []
    everyone = [one for commit in commits for one in (commit.signature, *commit.others)]
    return [one for one in dict.fromkeys(everyone) if one != commits[-1].signature]


def of_merge(repository: Repository, session: str, branch: str, tip: str, into: str) -> str:
    """The message of a merge commit, as `git merge` writes it."""
    named = f"{tip}\t\tbranch '{branch}' of .\n".encode()
    said = repository.git("fmt-merge-msg", "--into-name", into, stdin=named)
    return signed_off(repository, said.text, session, ())


def signed_off(repository: Repository, text: str, session: str, others: Sequence[str]) -> str:
    """The message with the trailers that say who else wrote it, and which session it came from; each once."""
    trailers = [*(f"Co-authored-by: {one}" for one in others), f"{TRAILER}: {session}"]
    asked = [word for trailer in trailers for word in ("--trailer", trailer)]
    command = ("interpret-trailers", "--no-divider", "--where=end", "--if-exists=addIfDifferent", "--if-missing=add")
    return repository.git(*command, *asked, stdin=encoded(text.strip() + "\n")).text


def tidied(repository: Repository, text: str, comments: bool = False) -> str:
    """The message without needless white space; with `comments` also without git's comment lines."""
    return repository.git("stripspace", *(["--strip-comments"] if comments else []), stdin=encoded(text)).text


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
