"""The only user of glab: asks GitLab's interfaces through it, and says its failures as errors of ours."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chatml import environment, proc
from chatml.errors import ChatmlError
from chatml.forge.door import ForgeBusyError, Words
from chatml.text import one_line, shorten

TIMEOUT = 120.0
"""Seconds for one answer; GitLab itself gives up after 60."""

INSTALL = "install glab 1.20 or later: https://gitlab.com/gitlab-org/cli"
WORDS = Words(
    forge="GitLab",
    sign="!",
    kind="merge request",
    tool="glab",
    status="glab auth status",
    git_login="glab auth login (it offers to be git's credential helper)",
    fork="glab repo fork --remote",
    choose="glab repo set-default",
    ready="glab mr update --ready",
    undo_ready="glab mr update --draft",
    # https://docs.gitlab.com/user/project/description_templates, "Set a default template"
    templates=(".gitlab/merge_request_templates",),
    template=re.compile(r"default\.md", re.IGNORECASE),
    aliases=("altssh.", "ssh.", "www."),
)
PAUSE = 60.0
"""Seconds to wait where GitLab says that it was asked too often, but not until when: its limits are by the minute."""

_TOKENS = ("GITLAB_TOKEN", "GITLAB_ACCESS_TOKEN", "OAUTH_TOKEN")
"""Where glab takes a login from that isn't any one host's."""


@dataclass(frozen=True)
class GitLabAnswer:
    """What GitLab has answered."""

    status: int
    headers: Mapping[str, str]
    """Their names in lower case."""
    text: str

    @property
    def resting(self) -> float:
        """When this login may ask again that has used up all its questions; 0 where it has some left.

        https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits, "Response headers".
        """
        reset = self.headers.get("ratelimit-reset", "")
        return float(reset) if self.headers.get("ratelimit-remaining") == "0" and reset.isdigit() else 0.0

    @property
    def data(self) -> Any:
        """It as JSON. ChatmlError where it is none."""
        try:
            return json.loads(self.text)
        except ValueError as error:
            said = shorten(one_line(self.text), 100) or "nothing"
            raise ChatmlError(f"glab gave no proper answer: {said}", "try it yourself: glab api user") from error


class UnseenError(ChatmlError):
    """It is not there, or this login may not see it: GitLab tells nobody which of the two."""


class RefusedError(ChatmlError):
    """GitLab does not do what it was asked, for a reason of its own."""

    def __init__(self, status: int, said: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.status = status
        self.said = said
        """Empty where glab has kept it to itself: it passes on no list of reasons."""


def project(name: str) -> str:
    """The path of a project's own resource, by its name with all groups."""
    return f"projects/{quote(name, safe='')}"


def login(host: str) -> str:
    """What logs glab in there."""
    return f"log in with: glab auth login --hostname {host}"


def ask(host: str, path: str, at: Path, *, method: str = "GET", body: Mapping[str, Any] | None = None) -> GitLabAnswer:
    """What GitLab answers where all is well.

    ForgeBusyError where it has been asked too often, ChatmlError, with what to do, where it gives no answer otherwise.
    """
    args = ["api", path, "--hostname", host, "--include", "--method", method]
    given = None
    if body is not None:
        args += ["--input", "-", "--header", "Content-Type: application/json"]
        given = json.dumps(body)
    result = _ran(args, at, given)
    answer = _parsed(result.text)
    if answer is None:
        raise _unanswered(host, result)
    if answer.status >= 400:
        raise _refused(host, at, answer)
    return answer


def graphql(query: str, variables: Mapping[str, Any], host: str, at: Path) -> tuple[Mapping[str, Any], float]:
    """The project that answers a query about one; also when GitLab may be asked again, 0 where at once.

    Errors as of `ask`; also where this login may not see the project.
    """
    answer = ask(host, "graphql", at, method="POST", body={"query": query, "variables": variables})
    found = answer.data
    errors = [str(one.get("message")) for one in found.get("errors") or ()] if isinstance(found, dict) else ["nothing"]
    if errors:
        raise ChatmlError(
            f"GitLab did not understand the question: {shorten(one_line(errors[0]), 200)}",
            "chatml needs GitLab 16.3 or later there",
        )
    about = (found.get("data") or {}).get("project")
    if about is None:
        raise _unseen(host, at, "Project Not Found")
    return about, answer.resting


def knows(host: str, at: Path) -> bool:
    """Whether glab has a login of that host's own; False where there is no glab."""
    try:
        result = _ran(["config", "get", "token", "--host", host], at, None, drop=_TOKENS)
    except ChatmlError:
        return False
    return result.code == 0 and bool(result.text.strip())


def own_host() -> str | None:
    """The host that glab's own settings in the environment name."""
    for key in ("GITLAB_HOST", "GL_HOST", "GITLAB_URI"):
        if named := os.environ.get(key, "").strip():
            return re.sub(r"^https?://", "", named).partition("/")[0].partition(":")[0].lower()
    return None


def _ran(args: list[str], at: Path, stdin: str | None, drop: tuple[str, ...] = ()) -> proc.Result:
    """Run glab without prompts, colours and messages of its own to its maker, whatever its exit code."""
    settings = {
        "NO_PROMPT": "1", "GLAB_NO_PROMPT": "1", "NO_COLOR": "1", "GLAB_CHECK_UPDATE": "false",
        "GLAB_SEND_TELEMETRY": "false",
    }  # fmt: skip
    env = environment.clean_env(settings, drop=("CLICOLOR_FORCE", "FORCE_COLOR", "DEBUG", "GLAB_DEBUG_HTTP", *drop))
    given = None if stdin is None else stdin.encode("utf-8", "replace")
    try:
        return proc.run(["glab", *args], cwd=at, env=env, stdin=given, timeout=TIMEOUT)
    except FileNotFoundError as error:
        raise ChatmlError("glab, which talks to GitLab, is not installed, or not in PATH", INSTALL) from error
    except TimeoutError as error:
        raise ChatmlError(f"glab gave no answer within {TIMEOUT:.0f} s", "check the network and call again") from error


def _parsed(said: str) -> GitLabAnswer | None:
    """What `glab api --include` prints; None where no answer came."""
    head, _, body = said.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.split("\n")
    status = re.match(r"HTTP/[\d.]+ (\d{3})\b", first)
    if status is None:
        return None
    pairs = (line.partition(":") for line in lines)
    return GitLabAnswer(int(status[1]), {name.lower(): value.strip() for name, _, value in pairs}, body)


def _unanswered(host: str, result: proc.Result) -> ChatmlError:
    said = result.errors.strip()
    if re.search(r"unknown (flag|command|shorthand)", said, re.IGNORECASE):
        return ChatmlError(f"this glab is too old: {one_line(said.splitlines()[0])}", INSTALL)
    lost = re.search(
        r"dial tcp.*|proxyconnect.*|no such host|error connecting to.*|i/o timeout|TLS handshake.*|x509:.*|EOF\b.*",
        said,
    )
    if lost is not None:
        return ChatmlError(
            f"{_called(host)} could not be reached: {shorten(one_line(lost[0]), 200)}",
            f"check the network, and whether https://{host} answers, then call it again",
        )
    ended = f"killed by signal {-result.code}" if result.code < 0 else f"exit code {result.code}"
    last = shorten(one_line(said.splitlines()[-1]), 200) if said else ended
    return ChatmlError(f"glab api: {last}", "see 'glab auth status'")


def _refused(host: str, at: Path, answer: GitLabAnswer) -> ChatmlError:
    """Why an answer is none, by its status: https://docs.gitlab.com/api/rest/troubleshooting."""
    said, status = _words(answer.text), answer.status
    shown = said or f"HTTP {status}"
    if status == 429:
        until = _until(answer.headers)
        clock = datetime.fromtimestamp(until).strftime("%H:%M:%S")
        return ForgeBusyError(
            f"{_called(host)} was asked too often by this login", f"it may be asked again at {clock}", until
        )
    if status == 404:
        return _unseen(host, at, shown)
    if status == 401:
        if not _logged_in(host, at):
            return ChatmlError(f"glab is not logged in to {host}", login(host))
        return ChatmlError(f"{_called(host)} does not accept glab's login: {shown}", login(host))
    if status == 403:
        return ChatmlError(
            f"this login may not do that on {_called(host)}: {shown}",
            "see 'glab auth status'; a token needs the scope api, and the role of a developer there",
        )
    if status >= 500:
        return ChatmlError(f"{_called(host)} has a problem of its own: {shown}", "call it again later")
    return RefusedError(
        status, said, f"{_called(host)} refused that: {shown}", "see what it says, and 'glab auth status'"
    )


def _unseen(host: str, at: Path, said: str) -> ChatmlError:
    if not _logged_in(host, at):
        return ChatmlError(f"glab is not logged in to {host}", login(host))
    return UnseenError(
        f"{_called(host)} shows this login no such thing: {said}",
        "is the remote's address right (git remote -v), and may this account see it (glab auth status)?",
    )


def _logged_in(host: str, at: Path) -> bool:
    return knows(host, at) or any(os.environ.get(key) for key in _TOKENS)


def _called(host: str) -> str:
    return "GitLab" if host == "gitlab.com" else f"GitLab ({host})"


def _until(headers: Mapping[str, str]) -> float:
    if (wait := headers.get("retry-after", "")).isdigit():
        return time.time() + int(wait)
    reset = headers.get("ratelimit-reset", "")
    return float(reset) if reset.isdigit() else time.time() + PAUSE


def _words(text: str) -> str:
    """What GitLab says in an answer that is a refusal: a text, a list, or what is wrong by field."""
    try:
        data = json.loads(text)
        said = data.get("message") or data.get("error_description") or data.get("error") or ""
        if isinstance(said, dict):
            said = [f"{field}: {wrong}" for field, all_wrong in said.items() for wrong in _listed(all_wrong)]
        if isinstance(said, list):
            said = "; ".join(map(str, said))
    except (ValueError, AttributeError):
        said = text
    return shorten(one_line(str(said)), 200)


def _listed(said: Any) -> list[Any]:
    return said if isinstance(said, list) else [said]
