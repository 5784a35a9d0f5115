"""A repository on GitHub, its pull requests and issues, through gh."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.forge import gh
from chatml.forge.door import Pull, Words
from chatml.model import Issue, IssueComment, IssueRef
from chatml.text import counted, one_line

BROWSER_TIMEOUT = 3600.0
"""Seconds for a browser: gh ends with it, and one in the terminal lives as long as somebody reads."""

MAX_PULLS = 1000
"""Pull requests looked through for ours: many a fork calls its branch `main` or `patch-1`."""

PAGE = 100
"""Comments that a list of issues has of each, the oldest; GitHub gives no more at once."""

_PASSED = frozenset({"SUCCESS", "NEUTRAL", "SKIPPED"})
_FAILED = frozenset({"ERROR", "FAILURE", "CANCELLED", "TIMED_OUT", "ACTION_REQUIRED", "STARTUP_FAILURE"})
"""Outcomes of checks as `gh pr checks` counts them (a workflow that can't start fails, too); all others are pending."""


@dataclass(frozen=True)
class GitHubRepository:
    """A repository on GitHub, asked for in the directory `at`."""

    at: Path
    host: str
    name: str
    default_branch: str | None

    @property
    def words(self) -> Words:
        return gh.WORDS

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]

    def named(self, path: str) -> str:
        """OWNER/NAME: what stands before that is of the server that it was fetched from."""
        return "/".join(path.split("/")[-2:])

    def other(self, host: str, name: str) -> GitHubRepository:
        """The repository of that name that gh can see."""
        return self.find(self.at, f"{host}/{name}")

    @classmethod
    def find(cls, at: Path, address: str | None = None) -> GitHubRepository:
        """The repository at that address, or the one that gh takes for the base of pull requests made in `at`.

        That is what `gh repo set-default` chose, else the remote `upstream`, `github` or `origin`, in this order.
        """
        named = [address] if address else []
        data = gh.answer(["repo", "view", *named, "--json", "nameWithOwner,url,defaultBranchRef"], at)
        host = re.sub(r"^https?://([^/]+)/.*$", r"\1", data["url"])
        return cls(at, host, data["nameWithOwner"], (data.get("defaultBranchRef") or {}).get("name") or None)

    def pulls(self, branch: str, source: str) -> list[Pull]:
        """The pull requests from the branch of that name of that repository's owner, newest first."""
        owner = source.partition("/")[0]
        fields = "number,url,state,baseRefName,headRefOid,headRepositoryOwner,isDraft"
        asked = ["--head", branch, "--state", "all", "--limit", str(MAX_PULLS), "--json", fields]
        found = gh.answer(["pr", "list", *self._here(), *asked], self.at)
        return [
            Pull(
                number=one["number"],
                url=one["url"],
                state=one["state"].lower(),
                base=one["baseRefName"],
                head_commit=one["headRefOid"],
                draft=one["isDraft"],
            )
            for one in found
            if ((one["headRepositoryOwner"] or {}).get("login") or "").lower() == owner.lower()
        ]

    def open(self, *, source: str, head: str, base: str, title: str, body: str, draft: bool) -> tuple[int, str]:
        """Open a pull request; returns its number and address."""
        owner = source.partition("/")[0]
        head = head if owner == self.owner else f"{owner}:{head}"
        flags = ["--draft"] if draft else []
        argv = ["pr", "create", *self._here(), "--head", head, "--base", base, "--title", title, "--body-file", "-"]
        url = gh.run([*argv, *flags], self.at, body).text.strip()
        number = re.search(r"/pull/(\d+)$", url)
        if number is None:
            raise ChatmlError(f"gh opened a pull request, but gave no address: {url!r}", "call it again to find it")
        return int(number[1]), url

    def edit(self, pull: Pull, changes: Mapping[str, str]) -> None:
        """Change title, body or base.

        Through the REST API, because `gh pr edit` fails on github.com up to gh 2.82 even where only the title
        changes (https://github.com/cli/cli/issues/11983).
        """
        path = f"repos/{self.name}/pulls/{pull.number}"
        gh.run(["api", "--hostname", self.host, "-X", "PATCH", path, "--input", "-"], self.at, json.dumps(changes))

    def checks(self, number: int, commit: str) -> str | None:
        """How the checks of that commit stand: passing, failing, pending; None without any, or where unknown.

        Asked for apart from all else, because tokens that may open pull requests often may not read checks.
        """
        fields = "headRefOid,statusCheckRollup"
        try:
            data = gh.answer(["pr", "view", str(number), *self._here(), "--json", fields], self.at)
        except ChatmlError:
            return None
        if data["headRefOid"] != commit:
            return None  # GitHub has not seen the push yet: these are the checks of what was there before
        return verdict(data["statusCheckRollup"] or [])

    def browse(self, number: int) -> None:
        """Show a pull request in the person's browser."""
        try:
            gh.run(["pr", "view", str(number), *self._here(), "--web"], self.at, timeout=BROWSER_TIMEOUT)
        except ChatmlError as error:
            raise ChatmlError(f"no browser could be opened: {error.message}", "set BROWSER to one that can") from error

    def _here(self) -> list[str]:
        return ["--repo", f"{self.host}/{self.name}"]


_ISSUE = "number,title,body,author,state,labels,comments,url"


def issue(at: Path, number: int, repository: str | None = None) -> Issue:
    """An issue of `[HOST/]OWNER/REPO`, or of the repository that gh takes in `at`, with all of its comments.

    ChatmlError where there is none, where it is a pull request, and where GitHub can't be asked.
    """
    return _issue(gh.answer(["issue", "view", str(number), *_named(repository), "--json", _ISSUE], at))


def issues(at: Path, query: str, most: int) -> list[Issue]:
    """The issues that a search of GitHub's finds, open ones unless it says otherwise; one more than `most` at the most.

    The search is completed by gh: with the repository that it takes in `at`, and without pull requests.
    """
    asked = ["--search", query, "--limit", str(most + 1), "--json", _ISSUE]
    found = gh.answer(["issue", "list", *asked], at)
    more = {one["number"] for one in found if len(one["comments"]) >= PAGE} if len(found) <= most else set()
    return [issue(at, one["number"]) if one["number"] in more else _issue(one) for one in found]


def _named(repository: str | None) -> list[str]:
    return ["--repo", repository] if repository else []


def _issue(data: Mapping[str, Any]) -> Issue:
    number, url = data["number"], data["url"]
    where = re.fullmatch(r"https?://[^/]+/([^/]+/[^/]+)/(issues|pull)/\d+", url)
    if where is None:
        raise ChatmlError(f"gh gave an issue without a proper address: {url!r}", gh.INSTALL)
    if where[2] == "pull":
        raise ChatmlError(
            f"#{number} of {where[1]} is a pull request, not an issue", f"see what it is for: gh pr view {url}"
        )
    shown = [one for one in data["comments"] if not one.get("isMinimized")]
    hidden = len(data["comments"]) - len(shown)
    return Issue(
        IssueRef("github", str(number), url, one_line(data["title"])),
        f"{where[1]} on GitHub",
        data["body"] or "",
        _login(data),
        closed=data["state"] == "CLOSED",
        labels=tuple(one["name"] for one in data["labels"] or ()),
        comments=tuple(IssueComment(_login(one), one["body"]) for one in shown),
        left_out=(f"{counted(hidden, 'comment')}, hidden there",) if hidden else (),
    )


def _login(data: Mapping[str, Any]) -> str:
    """Who wrote it; GitHub calls somebody whose account is gone `ghost`."""
    return (data.get("author") or {}).get("login") or "ghost"


def verdict(checks: Sequence[Mapping[str, Any]]) -> str | None:
    """What gh's `statusCheckRollup` comes to."""
    outcomes = {_outcome(check) for check in checks}
    if outcomes & _FAILED:
        return "failing"
    if outcomes - _PASSED:
        return "pending"
    return "passing" if outcomes else None


def _outcome(check: Mapping[str, Any]) -> str:
    """The state of a commit status, or the conclusion of a check run once it has one."""
    return str(check.get("state") or check.get("conclusion") or check.get("status") or "PENDING").upper()
