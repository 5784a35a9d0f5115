"""The only user of gh: runs it without prompts, and says its failures as errors of ours."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from chatml import environment, proc
from chatml.errors import ChatmlError
from chatml.forge.door import ForgeBusyError, Words

TIMEOUT = 120.0
"""Seconds for one answer; gh itself waits for ever, and its slowest request here takes a few."""

INSTALL = "install gh 2.0 or later: https://cli.github.com"
LOGIN = "log in with: gh auth login"
WORDS = Words(
    forge="GitHub",
    sign="#",
    kind="pull request",
    tool="gh",
    status="gh auth status",
    git_login="gh auth setup-git",
    fork="gh repo fork --remote",
    choose="gh repo set-default",
    ready="gh pr ready",
    undo_ready="gh pr ready --undo",
    # https://docs.github.com/communities/using-templates-to-encourage-useful-issues-and-pull-requests
    templates=(".github", "", "docs"),
    template=re.compile(r"pull_request_template(\.md|\.txt)?", re.IGNORECASE),
    aliases=("ssh.", "www."),
)
EXIT_AUTH = 4
"""`gh help exit-codes`: the command needs a login."""


class NoGitHubError(ChatmlError):
    """None of the remotes is on GitHub."""


_NO_REMOTE = (
    r"no git remotes found|none of the git remotes",
    "none of this repository's remotes is on a GitHub that gh is logged in to",
    "see 'git remote -v'; for a GitHub of your own: gh auth login --hostname HOST",
)

_KNOWN: Sequence[tuple[str, str, str]] = (
    _NO_REMOTE,
    (r"HTTP 401|gh auth login", "GitHub does not accept gh's login", LOGIN),
    (
        r"Could not resolve to an issue",
        "GitHub shows this login no such issue",
        "is the number right? see 'gh issue list --state all'; elsewhere than in this repository: OWNER/REPO#NUMBER",
    ),
    (
        r"disabled issues",
        "the issues of this project are elsewhere",
        "name one with its address, as OWNER/REPO#NUMBER, or as ENG-123 of Linear",
    ),
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
    (
        r"is not mergeable",
        "GitHub does not merge it",
        "what it lacks stands on its page (chatml pr NAME --web), and 'chatml pr NAME --fix' gives it to the agent",
    ),
    (
        r"Head branch was modified|head (sha|branch|commit).*(match|out of date)",
        "somebody has pushed to it just now",
        "look at what came in, and call it again",
    ),
    (r"HTTP 5\d\d", "GitHub has a problem of its own", "see https://githubstatus.com, then call it again"),
    (
        r"Resource not accessible|HTTP 403|must have (push|write)|have the correct permissions",
        "this login may not do that on GitHub",
        "see 'gh auth status'; a token needs access to contents, pull requests and issues",
    ),
)
"""What gh says → what it means → what to do; the first that is found in its stderr counts."""

_TOO_OLD = re.compile(r"Unknown JSON field|unknown flag|unknown command|unknown shorthand")


def answer(args: Sequence[str], at: Path) -> Any:
    """What gh prints as JSON. ChatmlError, with what to do, where it fails."""
    result = run(args, at)
    try:
        return json.loads(result.stdout)
    except ValueError as error:
        command = f"gh {' '.join(args[:2])}"
        said = (result.errors or result.text).strip().partition("\n")[0] or "nothing"
        raise ChatmlError(f"{command} gave no proper answer: {said}", f"try it yourself: {command}") from error


def graphql(query: str, variables: Mapping[str, str | int], host: str, at: Path) -> Mapping[str, Any]:
    """The data that answers a query about a repository; what is not there, or not for this login, is null in it.

    GitHub's words about that are in `unseen`.
    ForgeBusyError where GitHub says when it may be asked again, ChatmlError where it gives no answer otherwise.
    """
    args = ["api", "graphql", "--hostname", host, "--include", "--input", "-"]
    result = _ran(args, at, json.dumps({"query": query, "variables": variables}), TIMEOUT)
    head, _, body = result.text.replace("\r\n", "\n").partition("\n\n")
    try:
        answered = json.loads(body)
        if answered["data"]["repository"] is not None:
            unseen = [str(one["message"]) for one in answered.get("errors") or ()]
            return {**answered["data"], "unseen": unseen}
    except (ValueError, LookupError, TypeError):
        pass
    error = _failure(args, result)
    until = _until(head, result.errors + body)
    raise error if until is None else ForgeBusyError(error.message, error.hint, until)


def resting(limit: Mapping[str, Any] | None) -> float:
    """When a login may ask again that has used up all its questions; 0 where it has some left."""
    if not limit or limit.get("remaining") != 0:
        return 0.0
    try:
        return datetime.fromisoformat(str(limit["resetAt"]).replace("Z", "+00:00")).timestamp()
    except (KeyError, ValueError):
        return 0.0


def _until(head: str, said: str) -> float | None:
    """When GitHub wants to be asked again, by the headers of an answer that is none; None where it didn't refuse that.

    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api, "Exceeding the rate limit".
    """
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.splitlines())}
    if (wait := headers.get("retry-after", "")).isdigit():
        return time.time() + int(wait)
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdigit():
        return float(reset)
    return time.time() + 60 if "rate limit" in said.lower() else None


def run(args: Sequence[str], at: Path, stdin: str | None = None, timeout: float = TIMEOUT) -> proc.Result:
    """Run gh without prompts and colours. ChatmlError, with what to do, where it fails."""
    result = _ran(args, at, stdin, timeout)
    if result.code:
        raise _failure(args, result)
    return result


def _ran(args: Sequence[str], at: Path, stdin: str | None, timeout: float) -> proc.Result:
    """The same, whatever its exit code."""
    settings = {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
    env = environment.clean_env(settings, drop=("GH_FORCE_TTY", "CLICOLOR_FORCE", "GH_DEBUG"))
    try:
        given = None if stdin is None else stdin.encode("utf-8", "replace")
        return proc.run(["gh", *args], cwd=at, env=env, stdin=given, timeout=timeout)
    except FileNotFoundError as error:
        raise ChatmlError("gh, which talks to GitHub, is not installed, or not in PATH", INSTALL) from error
    except TimeoutError as error:
        raise ChatmlError(f"gh gave no answer within {timeout:.0f} s", "check the network and call again") from error


def _failure(args: Sequence[str], result: proc.Result) -> ChatmlError:
    said = result.errors.strip()
    if result.code == EXIT_AUTH:
        return ChatmlError("gh is not logged in to GitHub", LOGIN)
    if _TOO_OLD.search(said):
        return ChatmlError(f"this gh is too old: {said.splitlines()[0]}", INSTALL)
    for known in _KNOWN:
        pattern, meaning, hint = known
        line = next((line for line in said.splitlines() if re.search(pattern, line)), None)
        if line is not None:
            kind = NoGitHubError if known is _NO_REMOTE else ChatmlError
            return kind(f"{meaning}: {_plain(line)}", hint)
    ended = f"killed by signal {-result.code}" if result.code < 0 else f"exit code {result.code}"
    last = _plain(said.splitlines()[-1]) if said else ended
    command = f"gh {' '.join(args[:2])}"
    return ChatmlError(f"{command}: {last}", f"see '{command} --help' and 'gh auth status'")


def _plain(line: str) -> str:
    """What gh says, without the names that it gives to its own layers."""
    return re.sub(r"^(pull request create failed: |GraphQL: |gh: |X )+", "", line.strip())
