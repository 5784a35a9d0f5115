"""A scripted GitHub on loopback, for the real gh: repositories backed by bare ones on disk, pull requests and issues.

It speaks as much of the GraphQL and REST interfaces as gh asks for here, and refuses what GitHub refuses.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.served import Quiet, Served
from tests.support import TIMEOUT

HOST = "github.localhost"
"""The one host that gh speaks plain HTTP to; `GH_HOST` makes it known without a login file."""


@dataclass
class Pull:
    """A pull request; `head` is the branch's name, `owner` whose repository it is in."""

    number: int
    repo: str
    owner: str
    head: str
    base: str
    title: str
    body: str
    draft: bool
    state: str = "OPEN"
    commit: str | None = None
    checks: list[dict[str, Any]] = field(default_factory=list)
    review: str | None = None
    mergeable: str = "MERGEABLE"
    blocked: bool = False
    """The policy of its base prohibits the merge."""
    threads: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    merged_as: tuple[str, str] | None = None
    """The method, and the commit."""

    @property
    def rollup(self) -> str | None:
        """What GitHub makes of all checks."""
        outcomes = {check.get("state") or check.get("conclusion") or "PENDING" for check in self.checks}
        for outcome in ("FAILURE", "ERROR", "PENDING"):
            if outcome in outcomes:
                return outcome
        return "SUCCESS" if outcomes else None


@dataclass
class Issue:
    """An issue; a comment is its author, its text, and whether it is hidden."""

    number: int
    title: str
    body: str = ""
    repo: str = "octo/app"
    author: str | None = "ada"
    state: str = "OPEN"
    labels: tuple[str, ...] = ()
    comments: list[tuple[str | None, str, bool]] = field(default_factory=list)


@dataclass(frozen=True)
class Failure:
    """An answer to give instead, once: a GraphQL error message, or an HTTP status with one."""

    message: str
    status: int = 200
    done: bool = False
    """Whether what was asked for happens all the same, so that only the answer is lost."""
    headers: dict[str, str] = field(default_factory=dict)


class GitHub(Served):
    """Serves from construction to `close()`. `repositories` are bare ones by owner/name, each with `main`."""

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories = repositories
        self.pulls: list[Pull] = []
        self.issues: list[Issue] = []
        self.asked: list[str] = []
        self.failures: dict[str, Failure] = {}
        self.remaining, self.reset = 5000, "2000-01-01T00:00:00Z"
        """Questions that this login has left, and when it gets new ones."""
        self.methods = {"squash": True, "merge": True, "rebase": True}
        self.permission: str | None = "WRITE"
        self.logs: dict[int, str] = {}
        """What jobs of its own runner have printed, by their number."""
        self.secret: str | None = None
        """Why this login may not see checks."""
        self.guard = threading.RLock()
        super().__init__(_Handler)

    @property
    def env(self) -> dict[str, str]:
        """What makes gh ask here."""
        proxy = self.address
        return {"GH_HOST": HOST, "GH_TOKEN": "token", "http_proxy": proxy, "no_proxy": ""}

    def url(self, name: str, number: int | None = None) -> str:
        return f"http://{HOST}/{name}" + (f"/pull/{number}" if number else ".git")

    def tip(self, repo: str, branch: str) -> str | None:
        argv = ["git", "--git-dir", str(self.repositories[repo]), "rev-parse", "-q", "--verify", f"refs/heads/{branch}"]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT).stdout.strip() or None

    def graphql(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data that answers an operation; LookupError with GitHub's words where it refuses."""
        if name == "PullRequestCreate":
            return {"createPullRequest": {"pullRequest": self._shown(self._create(variables["input"]))}}
        if name == "PullRequestMerge":
            return self._merge(variables["input"])
        if name == "CommentsForIssue":
            about = [one for one in self.issues if f"I_{one.number}" == variables["id"]]
            start = int(variables["endCursor"] or 0)
            return {"node": {"comments": _page(about[0], start) if about else _TALK["comments"]}}
        repo = _repository(variables)
        if repo not in self.repositories:
            raise LookupError(f"Could not resolve to a Repository with the name '{repo}'.")
        owner, short = repo.split("/")
        shown: dict[str, Any] = {
            "id": repo,
            "name": short,
            "nameWithOwner": repo,
            "owner": {"id": owner, "login": owner},
            "url": f"http://{HOST}/{repo}",
            "defaultBranchRef": {"name": "main"},
            "viewerPermission": "WRITE",
        }
        issues = [issue for issue in self.issues if issue.repo == repo]
        if name == "IssueSearch":
            return {"repository": {"hasIssuesEnabled": True}, "search": self._searched(issues, variables)}
        pulls = [pull for pull in reversed(self.pulls) if pull.repo == repo]
        if name == "IssueByNumber":
            wanted = [self._issue(one) for one in issues if one.number == variables["number"]]
            wanted += [{**self._shown(p), **_TALK} for p in pulls if p.number == variables["number"]]
            if not wanted:
                number = variables["number"]
                raise LookupError(f"Could not resolve to an issue or pull request with the number of {number}.")
            return {"repository": {"hasIssuesEnabled": True, "issue": wanted[0]}}
        if "pr_number" in variables:
            shown["pullRequest"] = self._shown(next(p for p in pulls if p.number == variables["pr_number"]))
        branch, states = variables.get("headBranch") or variables.get("headRefName"), variables.get("state", ["OPEN"])
        nodes = [self._shown(pull) for pull in pulls if pull.head == branch and pull.state in states]
        nodes = nodes[: variables.get("limit", 100)]
        shown["pullRequests"] = {"totalCount": len(nodes), "nodes": nodes, "pageInfo": {"hasNextPage": False}}
        return {"repository": shown}

    def states(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """What is asked about pull requests by number: those that are not there are null, and an error besides."""
        repo = _repository(variables)
        if repo not in self.repositories:
            raise LookupError(f"Could not resolve to a Repository with the name '{repo}'.")
        known = {pull.number: pull for pull in self.pulls if pull.repo == repo}
        numbers = {alias: int(number) for alias, number in re.findall(r"(\w+): pullRequest\(number:(\d+)\)", query)}
        if "number" in variables:
            numbers = {"pullRequest": variables["number"]}
        shown = {alias: self._state(known[number]) if number in known else None for alias, number in numbers.items()}
        if self.secret:
            for one in filter(None, shown.values()):
                one["commits"]["nodes"][0]["commit"]["statusCheckRollup"] = None
        missing = [number for number in numbers.values() if number not in known]
        limit = {"remaining": self.remaining, "resetAt": self.reset}
        about: dict[str, Any] = {
            **{f"{'mergeCommit' if how == 'merge' else how}{'Merge' if how != 'merge' else ''}Allowed": allowed
               for how, allowed in self.methods.items()},
            "viewerPermission": self.permission,
        }  # fmt: skip
        answer: dict[str, Any] = {"data": {"repository": {**about, **shown}, "rateLimit": limit}}
        if missing:
            message = f"Could not resolve to a PullRequest with the number of {missing[0]}."
            answer["errors"] = [{"type": "NOT_FOUND", "message": message}]
        if self.secret:
            answer["errors"] = [{"type": "FORBIDDEN", "message": self.secret}]
        return answer

    def _state(self, pull: Pull) -> dict[str, Any]:
        shown = self._shown(pull)
        contexts = {"totalCount": len(pull.checks), "nodes": pull.checks[:100]}
        rollup = pull.rollup and {"state": pull.rollup, "contexts": contexts}
        return {
            **shown,
            "reviewDecision": pull.review,
            "mergeable": pull.mergeable,
            "reviewThreads": {"totalCount": len(pull.threads), "nodes": pull.threads[-100:]},
            "latestReviews": {"nodes": pull.reviews},
            "mergeCommit": pull.merged_as and {"oid": pull.merged_as[1]},
            "commits": {"nodes": [{"commit": {"oid": shown["headRefOid"], "statusCheckRollup": rollup}}]},
        }

    def _searched(self, issues: list[Issue], variables: dict[str, Any]) -> dict[str, Any]:
        """The issues that have the labels and the state of a search."""
        words = variables["query"].split()
        assert "type:issue" in words
        labels = {word.removeprefix("label:") for word in words if word.startswith("label:")}
        states = {word.partition(":")[2].upper() for word in words if word in ("state:open", "is:closed", "is:open")}
        found = [one for one in issues if labels <= {*one.labels} and (not states or one.state in states)]
        nodes = [self._issue(one) for one in found[: variables["limit"]]]
        return {"issueCount": len(found), "nodes": nodes, "pageInfo": {"hasNextPage": False}}

    def _issue(self, issue: Issue) -> dict[str, Any]:
        return {
            "__typename": "Issue",
            "id": f"I_{issue.number}",
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "state": issue.state,
            "url": f"http://{HOST}/{issue.repo}/issues/{issue.number}",
            "author": issue.author and {"login": issue.author},
            "labels": {"nodes": [{"name": label} for label in issue.labels], "totalCount": len(issue.labels)},
            "comments": _page(issue, 0),
        }

    def _create(self, asked: dict[str, Any]) -> Pull:
        repo: str = asked["repositoryId"]
        owner, _, head = asked["headRefName"].rpartition(":")
        owner = owner or repo.split("/")[0]
        if self.tip(repo, asked["baseRefName"]) is None:
            raise LookupError("Base ref must be a branch")
        if self.tip(f"{owner}/{repo.split('/')[1]}", head) is None:
            raise LookupError("Head sha can't be blank")
        if any((p.owner, p.head, p.base, p.state) == (owner, head, asked["baseRefName"], "OPEN") for p in self.pulls):
            raise LookupError(f"A pull request already exists for {owner}:{head}.")
        number = len(self.pulls) + 1
        pull = Pull(number, repo, owner, head, asked["baseRefName"], asked["title"], asked["body"], asked["draft"])
        self.pulls.append(pull)
        return pull

    def _merge(self, asked: dict[str, Any]) -> dict[str, Any]:
        (pull,) = (one for one in self.pulls if f"PR_{one.number}" == asked["pullRequestId"])
        head = self._shown(pull)["headRefOid"]
        if asked.get("expectedHeadOid", head) != head:
            raise LookupError("Head branch was modified. Review and try the merge again.")
        if not self.methods[asked["mergeMethod"].lower()]:
            raise LookupError(f"{asked['mergeMethod'].title()} merges are not allowed on this repository.")
        pull.state, pull.commit, pull.merged_as = "MERGED", head, (asked["mergeMethod"].lower(), head)
        return {"mergePullRequest": {"clientMutationId": None}}

    def _shown(self, pull: Pull) -> dict[str, Any]:
        commit = pull.commit or self.tip(f"{pull.owner}/{pull.repo.split('/')[1]}", pull.head)
        rollup = {"contexts": {"nodes": pull.checks, "pageInfo": {"hasNextPage": False}}} if pull.checks else None
        return {
            "id": f"PR_{pull.number}",
            "number": pull.number,
            "url": self.url(pull.repo, pull.number),
            "state": pull.state,
            "isDraft": pull.draft,
            "title": pull.title,
            "commits": {"nodes": [{"commit": {"oid": commit or ""}}]},
            "mergeStateStatus": "BLOCKED" if pull.blocked else "CLEAN",
            "baseRefName": pull.base,
            "headRefName": pull.head,
            "headRefOid": commit or "",
            "isCrossRepository": pull.owner != pull.repo.split("/")[0],
            "headRepositoryOwner": {"id": pull.owner, "login": pull.owner},
            "statusCheckRollup": {"nodes": [{"commit": {"statusCheckRollup": rollup}}]},
        }


OURS = ("PullStates", "PullToMerge", "PullFeedback")
"""Questions that chatml asks by itself, through `gh api`."""


def _repository(variables: dict[str, Any]) -> str:
    return f"{variables['owner']}/{variables.get('name') or variables.get('repo')}"


_TALK: dict[str, Any] = {
    "__typename": "PullRequest",
    "title": "",
    "body": "",
    "author": None,
    "labels": {},
    "comments": {},
}
"""What a pull request has of an issue."""


def _page(issue: Issue, start: int) -> dict[str, Any]:
    """A hundred of an issue's comments."""
    nodes = [
        {"author": author and {"login": author}, "body": text, "isMinimized": hidden}
        for author, text, hidden in issue.comments[start : start + 100]
    ]
    more = len(issue.comments) > start + 100
    return {
        "nodes": nodes,
        "totalCount": len(issue.comments),
        "pageInfo": {"hasNextPage": more, "endCursor": str(start + 100)},
    }


class _Handler(Quiet, BaseHTTPRequestHandler):
    """Answers as a proxy: the paths are whole addresses."""

    def do_POST(self) -> None:
        asked = self._body()
        operation = re.search(r"\b(?:query|mutation) (\w+)", asked["query"])
        assert operation is not None, asked
        variables = asked.get("variables") or {}
        if operation[1] == "PullRequest_fields":  # gh asks what this GitHub knows: all that there was with gh 2.23
            self._send(200, {"data": {"PullRequest": {"fields": [{"name": "statusCheckRollup"}]}}}, {})
            return
        if operation[1] in OURS:
            self._answer(operation[1], lambda: self._github.states(asked["query"], variables))
            return
        name = operation[1] + ("Checks" if "statusCheckRollup" in asked["query"] else "")
        self._answer(name, lambda: {"data": self._github.graphql(operation[1], variables)})

    def do_GET(self) -> None:
        """A job's log, which GitHub keeps elsewhere, or a file of a repository, as git fetches without a service."""
        host, _, path = self.path.removeprefix("http://").partition("?")[0].partition("/")
        job = re.fullmatch(r"(?:repos/[^/]+/[^/]+/actions/jobs|kept)/(\d+)(?:/logs)?", path)
        if job is None:
            self._file(path)
        elif host.startswith("api."):
            self._github.asked.append("Log")
            there = {"Location": f"http://{HOST}/kept/{job[1]}"} if int(job[1]) in self._github.logs else {}
            self._send(302 if there else 404, {"message": "Not Found"}, there)
        else:
            self._give(self._github.logs[int(job[1])].encode())

    def _file(self, path: str) -> None:
        found = re.fullmatch(r"([^/]+/[^/]+)\.git/(.+)", path)
        bare = self._github.repositories.get(found[1]) if found else None
        if bare is None or found is None:
            self._send(404, {"message": "Not Found"}, {})
            return
        subprocess.run(["git", "--git-dir", str(bare), "update-server-info"], check=True, timeout=TIMEOUT)
        file = bare / found[2]
        if file.is_file():
            self._give(file.read_bytes())
        else:
            self._send(404, {"message": "Not Found"}, {})

    def _give(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_PATCH(self) -> None:
        changes = self._body()
        number = int(self.path.rpartition("/")[2])

        def change() -> dict[str, Any]:
            for key, value in changes.items():
                assert key in ("title", "body", "base")
                setattr(self._github.pulls[number - 1], key, value)
            return {"number": number}

        self._answer("Edit", change)

    @property
    def _github(self) -> GitHub:
        return self.server.owner  # type: ignore[attr-defined, no-any-return]

    def _body(self) -> dict[str, Any]:
        """What was sent; `gh api --input` sends it in chunks."""
        raw = b""
        if length := self.headers["Content-Length"]:
            raw = self.rfile.read(int(length))
        else:
            while size := int(self.rfile.readline(), 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        body: dict[str, Any] = json.loads(raw)
        return body

    def _answer(self, name: str, act: Any) -> None:
        github = self._github
        with github.guard:
            github.asked.append(name)
            failure = github.failures.pop(name, None)
            try:
                data = act() if failure is None or failure.done else {}
            except LookupError as error:
                failure = Failure(str(error))
        if failure is not None:
            data = {"message": failure.message} if failure.status >= 400 else _errors(failure.message)
        self._send(failure.status if failure else 200, data, failure.headers if failure else {})

    def _send(self, status: int, data: dict[str, Any], headers: dict[str, str]) -> None:
        content = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _errors(message: str) -> dict[str, Any]:
    return {"data": {}, "errors": [{"message": message}]}
