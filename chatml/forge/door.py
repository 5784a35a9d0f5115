"""What landing asks of a forge: the one door to GitHub's pull requests and GitLab's merge requests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chatml.errors import ChatmlError
from chatml.model import Feedback, PullRequest
from chatml.record import record


class ForgeBusyError(ChatmlError):
    """A forge does not want to be asked before `until`, in seconds since the epoch."""

    def __init__(self, message: str, hint: str | None, until: float) -> None:
        super().__init__(message, hint)
        self.until = until


@record(frozen=True)
class Words:
    """What a forge is called, and what a person calls to help themselves there."""

    forge: str
    """`GitHub`"""
    sign: str
    """What it writes before the number of a pull request: `#`"""
    kind: str
    """`pull request`"""
    tool: str
    """The program that talks to it."""
    status: str
    """Says whose login it has."""
    git_login: str
    """Lets git use that login."""
    fork: str
    choose: str
    """Chooses the repository that pull requests are made in."""
    ready: str
    """Makes a draft ready, before its address."""
    undo_ready: str
    """Makes it a draft again, before its number."""
    templates: tuple[str, ...]
    """Folders that may hold a repository's only template of a description, in the forge's order."""
    template: re.Pattern[str]
    """The file's name there."""
    aliases: tuple[str, ...]
    """Prefixes of other names of its host: `ssh.`"""


@dataclass(frozen=True)
class Pull:
    """A pull request as its forge has it; `state` is open, closed or merged."""

    number: int
    url: str
    state: str
    base: str
    head_commit: str
    draft: bool
    title: str = ""

    @property
    def label(self) -> str:
        """As its forge writes it: `#12`, or `!12`."""
        return PullRequest(self.number, self.url, self.state).label


@record(frozen=True)
class PullRef:
    """Where a pull request is."""

    host: str
    repository: str
    """OWNER/NAME; on GitLab with all groups: GROUP/SUBGROUP/NAME."""
    number: int
    url: str

    @classmethod
    def of(cls, url: str) -> PullRef | None:
        """The one at that address; None where it is no pull request's of a known forge."""
        found = re.fullmatch(r"https?://([^/]+)/([^/]+/[^/]+)/pull/(\d{1,9})", url) or re.fullmatch(
            r"https?://([^/]+)/([^/]+/.+)/-/merge_requests/(\d{1,9})", url
        )
        return None if found is None else cls(found[1], found[2], int(found[3]), url)

    @property
    def seen(self) -> PullRequest:
        """As much of it as its address tells."""
        return PullRequest(self.number, self.url, "open")

    @property
    def label(self) -> str:
        return self.seen.label

    @property
    def variables(self) -> dict[str, str]:
        """What a question to GitHub about its repository needs to know."""
        owner, _, name = self.repository.partition("/")
        return {"owner": owner, "name": name}


@record(frozen=True)
class Candidate:
    """A pull request that is to be merged."""

    pull: PullRequest
    base: str
    head: str
    """The newest commit of it that its forge has."""
    commit: str | None
    """What it was merged as."""
    methods: tuple[str, ...]
    """Those that its repository allows, of squash, merge and rebase; the first comes first."""
    refused: bool
    """Whether this login may not merge there."""


class Hub(Protocol):
    """A repository on a forge. Whatever it is asked raises ChatmlError, with what to do, where that fails."""

    @property
    def words(self) -> Words: ...
    @property
    def host(self) -> str: ...
    @property
    def name(self) -> str:
        """OWNER/NAME, or with all groups."""
        ...

    @property
    def default_branch(self) -> str | None: ...

    def named(self, path: str) -> str:
        """The repository's name by the path of an address."""
        ...

    def other(self, host: str, name: str) -> Hub:
        """Another repository that the same program can see."""
        ...

    def pulls(self, branch: str, source: str) -> list[Pull]:
        """The pull requests here from the branch of that name of the repository `source`, newest first."""
        ...

    def open(self, *, source: str, head: str, base: str, title: str, body: str, draft: bool) -> tuple[int, str]:
        """Open a pull request from the branch `head` of the repository `source`; returns its number and address."""
        ...

    def edit(self, pull: Pull, changes: Mapping[str, str]) -> None:
        """Change title, body or base."""
        ...

    def checks(self, number: int, commit: str) -> str | None:
        """How the checks of that commit stand: passing, failing, pending; None without any, or where unknown."""
        ...

    def browse(self, number: int) -> None:
        """Show a pull request in the person's browser."""
        ...


class Forge(Protocol):
    """A kind of forge, asked about pull requests by where they are. ChatmlError, with what to do, where that fails."""

    @property
    def words(self) -> Words: ...

    def hub(self, ref: PullRef, at: Path) -> Hub:
        """The repository that a pull request is in, without asking for it."""
        ...

    def states(self, refs: Sequence[PullRef], at: Path, moment: float) -> tuple[list[PullRequest], float]:
        """These, all of one repository, as they are; asked at that moment, in seconds since the epoch.

        Also the moment before which the forge is not to be asked again; 0 where it may be. What this login may not
        see is left out.
        """
        ...

    def candidate(self, ref: PullRef, at: Path, moment: float) -> Candidate:
        """One as it is, with what is needed to merge it."""
        ...

    def merge(self, ref: PullRef, head: str, method: str, at: Path) -> None:
        """Merge it as it is at that commit, or have it queued where its base has a queue."""
        ...

    def feedback(self, ref: PullRef, at: Path, moment: float) -> Feedback:
        """What there is against it at that moment; the conflicts with its base are not looked at."""
        ...
