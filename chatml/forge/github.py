"""The only user of gh: a repository on GitHub and its pull requests, and gh's failures as errors of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatml import environment, proc
from chatml.errors import ChatmlError

TIMEOUT = 120.0
"""Seconds for one answer; gh itself waits for ever, and its slowest request here takes a few."""

BROWSER_TIMEOUT = 3600.0
"""Seconds for a browser: gh ends with it, and one in the terminal lives as long as somebody reads."""

MAX_PULLS = 1000
"""Pull requests looked through for ours: many a fork calls its branch `main` or `patch-1`."""

INSTALL = "install gh 2.0 or later: https://cli.github.com"
LOGIN = "log in with: gh auth login"
EXIT_AUTH = 4
"""`gh help exit-codes`: the command needs a login."""

_KNOWN: Sequence[tuple[str, str, str]] = (
    (
        r"no git remotes found|none of the git remotes",
        "none of this repository's remotes is on a GitHub that gh is logged in to",
        "see 'git remote -v'; for a GitHub of your own: gh auth login --hostname HOST",
    ),
    (r"HTTP 401|gh auth login", "GitHub does not accept gh's login", LOGIN),
    (
        r"Could not resolve to a Repository",
        "GitHub shows this login no such repository",
        "is the remote's address right (git remote -v), and may this account see it (gh auth status)?",
    ),
    (
        r"rate limit",
        "GitHub's rate limit for this login is used up",
        "'gh api rate_limit' says when it is reset; then call it again",
    ),
    (
        r"dial tcp|proxyconnect|error connecting|no such host|i/o timeout|TLS handshake|: EOF",
        "GitHub could not be reached",
        "check the network and https://githubstatus.com, then call it again",
    ),
    (r"HTTP 5\d\d", "GitHub has a problem of its own", "see https://githubstatus.com, then call it again"),
    (
        r"Resource not accessible|HTTP 403|must have (push|write)",
        "this login may not do that on GitHub",
        "see 'gh auth status'; a token needs write access to pull requests and contents",
    ),
)
"""What gh says → what it means → what to do; the first that is found in its stderr counts."""

_TOO_OLD = re.compile(r"Unknown JSON field|unknown flag|unknown command|unknown shorthand")

_PASSED = frozenset({"SUCCESS", "NEUTRAL", "SKIPPED"})
_FAILED = frozenset({"ERROR", "FAILURE", "CANCELLED", "TIMED_OUT", "ACTION_REQUIRED", "STARTUP_FAILURE"})
"""Outcomes of checks as `gh pr checks` counts them (a workflow that can't start fails, too); all others are pending."""


@dataclass(frozen=True)
class Pull:
    """A pull request as GitHub has it; `state` is open, closed or merged."""

    number: int
    url: str
    state: str
    base: str
    head_commit: str
    draft: bool


@dataclass(frozen=True)
class Hub:
    """A repository on GitHub, asked for in the directory `at`."""

    at: Path
    host: str
    name: str
    default_branch: str | None

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]

    @classmethod
    def find(cls, at: Path, address: str | None = None) -> Hub:
        """The repository at that address, or the one that gh takes for the base of pull requests made in `at`.

        That is what `gh repo set-default` chose, else the remote `upstream`, `github` or `origin`, in this order.
        """
        named = [address] if address else []
        data = _json(["repo", "view", *named, "--json", "nameWithOwner,url,defaultBranchRef"], at)
        host = re.sub(r"^https?://([^/]+)/.*$", r"\1", data["url"])
        return cls(at, host, data["nameWithOwner"], (data.get("defaultBranchRef") or {}).get("name") or None)

    def pulls(self, branch: str, owner: str) -> list[Pull]:
        """The pull requests from that owner's branch of that name, newest first."""
        fields = "number,url,state,baseRefName,headRefOid,headRepositoryOwner,isDraft"
        asked = ["--head", branch, "--state", "all", "--limit", str(MAX_PULLS), "--json", fields]
        found = _json(["pr", "list", *self._here(), *asked], self.at)
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

    def open(self, *, head: str, base: str, title: str, body: str, draft: bool) -> tuple[int, str]:
        """Open a pull request; returns its number and address."""
        flags = ["--draft"] if draft else []
        argv = ["pr", "create", *self._here(), "--head", head, "--base", base, "--title", title, "--body-file", "-"]
        url = _gh([*argv, *flags], self.at, body).text.strip()
        number = re.search(r"/pull/(\d+)$", url)
        if number is None:
            raise ChatmlError(f"gh opened a pull request, but gave no address: {url!r}", "call it again to find it")
        return int(number[1]), url

    def edit(self, number: int, changes: Mapping[str, str]) -> None:
        """Change title, body or base.

        Through the REST API, because `gh pr edit` fails on github.com up to gh 2.82 even where only the title
        changes (https://github.com/cli/cli/issues/11983).
        """
        path = f"repos/{self.name}/pulls/{number}"
        _gh(["api", "--hostname", self.host, "-X", "PATCH", path, "--input", "-"], self.at, json.dumps(changes))

    def checks(self, number: int, commit: str) -> str | None:
        """How the checks of that commit stand: passing, failing, pending; None without any, or where unknown.

        Asked for apart from all else, because tokens that may open pull requests often may not read checks.
        """
        fields = "headRefOid,statusCheckRollup"
        try:
            data = _json(["pr", "view", str(number), *self._here(), "--json", fields], self.at)
        except ChatmlError:
            return None
        if data["headRefOid"] != commit:
            return None  # GitHub has not seen the push yet: these are the checks of what was there before
        return verdict(data["statusCheckRollup"] or [])

    def browse(self, number: int) -> None:
        """Show a pull request in the person's browser."""
        try:
            _gh(["pr", "view", str(number), *self._here(), "--web"], self.at, timeout=BROWSER_TIMEOUT)
        except ChatmlError as error:
            raise ChatmlError(f"no browser could be opened: {error.message}", "set BROWSER to one that can") from error

    def _here(self) -> list[str]:
        return ["--repo", f"{self.host}/{self.name}"]


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


def _json(args: Sequence[str], at: Path) -> Any:
    answer = _gh(args, at)
    try:
        return json.loads(answer.stdout)
    except ValueError as error:
        command = f"gh {' '.join(args[:2])}"
        said = (answer.errors or answer.text).strip().partition("\n")[0] or "nothing"
        raise ChatmlError(f"{command} gave no proper answer: {said}", f"try it yourself: {command}") from error


def _gh(args: Sequence[str], at: Path, stdin: str | None = None, timeout: float = TIMEOUT) -> proc.Result:
    """Run gh without prompts and colours. ChatmlError, with what to do, where it fails."""
    settings = {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
    env = environment.clean_env(settings, drop=("GH_FORCE_TTY", "CLICOLOR_FORCE", "GH_DEBUG"))
    try:
        given = None if stdin is None else stdin.encode("utf-8", "replace")
        result = proc.run(["gh", *args], cwd=at, env=env, stdin=given, timeout=timeout)
    except FileNotFoundError as error:
        raise ChatmlError("gh, which opens pull requests, is not installed, or not in PATH", INSTALL) from error
    except TimeoutError as error:
        raise ChatmlError(f"gh gave no answer within {timeout:.0f} s", "check the network and call again") from error
    if result.code:
        raise _failure(args, result)
    return result


def _failure(args: Sequence[str], result: proc.Result) -> ChatmlError:
    said = result.errors.strip()
    if result.code == EXIT_AUTH:
        return ChatmlError("gh is not logged in to GitHub", LOGIN)
    if _TOO_OLD.search(said):
        return ChatmlError(f"this gh is too old: {said.splitlines()[0]}", INSTALL)
    for pattern, meaning, hint in _KNOWN:
        line = next((line for line in said.splitlines() if re.search(pattern, line)), None)
        if line is not None:
            return ChatmlError(f"{meaning}: {_plain(line)}", hint)
    ended = f"killed by signal {-result.code}" if result.code < 0 else f"exit code {result.code}"
    last = _plain(said.splitlines()[-1]) if said else ended
    command = f"gh {' '.join(args[:2])}"
    return ChatmlError(f"{command}: {last}", f"see '{command} --help' and 'gh auth status'")


def _plain(line: str) -> str:
    """What gh says, without the names that it gives to its own layers."""
    return re.sub(r"^(pull request create failed: |GraphQL: |gh: )+", "", line.strip())
