"""A scripted GitLab on loopback, for the real glab: projects backed by bare repositories, and their merge requests.

It speaks as much of the REST and GraphQL interfaces as chatml asks for through `glab api`, and refuses what GitLab
refuses.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.served import Quiet, Served
from tests.support import TIMEOUT

HOST = "gitlab.localhost"


@dataclass
class Merge:
    """A merge request; `source` and `target` are projects, `head` and `base` branches of theirs."""

    number: int
    target: str
    source: str
    head: str
    base: str
    title: str
    body: str
    state: str = "opened"
    commit: str | None = None
    pipeline: dict[str, Any] | None = None
    """Its status, and its jobs with their traces."""
    approved_by: list[str] = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    """What each has decided."""
    status: str = "MERGEABLE"
    """In detail."""
    discussions: list[dict[str, Any]] = field(default_factory=list)
    merged_as: tuple[str, str] | None = None
    """How, and the commit."""

    @property
    def draft(self) -> bool:
        return self.title.startswith("Draft:")


@dataclass(frozen=True)
class Refusal:
    """An answer to give instead, once."""

    status: int
    message: Any
    headers: dict[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """What GitLab does not do."""

    def __init__(self, status: int, message: Any) -> None:
        super().__init__(message)
        self.refusal = Refusal(status, message)


class GitLab(Served):
    """Serves from construction to `close()`. `projects` are bare repositories by their full name, each with `main`."""

    def __init__(self, projects: dict[str, Path], config: Path) -> None:
        """`config` is a folder for glab's own settings."""
        self.projects = projects
        self.merges: list[Merge] = []
        self.asked: list[str] = []
        self.refusals: dict[str, Refusal] = {}
        self.settings: dict[str, Any] = {"merge_method": "merge", "squash_option": "default_off"}
        self.may_merge = True
        self.remaining: tuple[int, int] | None = None
        """Questions that this login has left, and when it gets new ones."""
        self.guard = threading.RLock()
        super().__init__(_Handler)
        self.config = config
        config.mkdir(exist_ok=True)
        self.log_in()

    def log_in(self, host: str = HOST, token: str | None = None, *, offline: bool = False) -> None:
        """What `glab auth login` writes down, but for the token, which the environment has unless one is given."""
        login = [f"    token: {token}"] if token else []
        address = "127.0.0.1:9" if offline else self.address.removeprefix("http://")
        lines = ["hosts:", f"  {host}:", "    api_protocol: http", f"    api_host: {address}", *login]
        file = self.config / "config.yml"
        file.write_text("\n".join([*lines, ""]))
        file.chmod(0o600)

    @property
    def env(self) -> dict[str, str]:
        """What makes glab ask here."""
        return {"GLAB_CONFIG_DIR": str(self.config), "GITLAB_TOKEN": "token", "no_proxy": "*"}

    def url(self, name: str, number: int | None = None) -> str:
        return f"http://{HOST}/{name}" + (f"/-/merge_requests/{number}" if number else ".git")

    def git(self, name: str, *args: str) -> str | None:
        argv = ["git", "--git-dir", str(self.projects[name]), *args]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT)
        return done.stdout.rstrip("\n") if done.returncode == 0 else None

    def tip(self, name: str, branch: str) -> str | None:
        return self.git(name, "rev-parse", "-q", "--verify", f"refs/heads/{branch}")

    def id(self, name: str) -> int:
        return [*self.projects].index(name) + 1

    def name(self, key: str) -> str:
        """A project by its number or its name, as it stands in a path."""
        by_number = {str(self.id(name)): name for name in self.projects}
        found = by_number.get(key) or next((name for name in self.projects if name.lower() == key.lower()), None)
        if found is None:
            raise RefusedError(404, "404 Project Not Found")
        return found

    def sha(self, merge: Merge) -> str:
        return merge.commit or self.tip(merge.source, merge.head) or ""

    # --- REST ---------------------------------------------------------------------------------------------------

    def project(self, name: str) -> dict[str, Any]:
        return {
            "id": self.id(name), "path_with_namespace": name, "web_url": f"http://{HOST}/{name}",
            "default_branch": "main", **self.settings,
        }  # fmt: skip

    def listed(self, name: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        branch = query["source_branch"][0]
        return [self.shown(one) for one in reversed(self.merges) if one.target == name and one.head == branch]

    def shown(self, merge: Merge) -> dict[str, Any]:
        pipeline = merge.pipeline and {
            "id": 1000 + merge.number, "sha": merge.pipeline.get("sha") or self.sha(merge),
            "status": merge.pipeline["status"], "project_id": self.id(merge.source),
        }  # fmt: skip
        how, commit = merge.merged_as or (None, None)
        return {
            "iid": merge.number, "web_url": self.url(merge.target, merge.number), "state": merge.state,
            "source_project_id": self.id(merge.source), "project_id": self.id(merge.target),
            "source_branch": merge.head, "target_branch": merge.base, "title": merge.title, "sha": self.sha(merge),
            "draft": merge.draft, "head_pipeline": pipeline, "user": {"can_merge": self.may_merge},
            "merge_commit_sha": commit if how == "merge" else None,
            "squash_commit_sha": commit if how == "squash" else None,
        }  # fmt: skip

    def create(self, source: str, asked: dict[str, Any]) -> dict[str, Any]:
        target = self.name(str(asked["target_project_id"]))
        head, base = asked["source_branch"], asked["target_branch"]
        if self.tip(source, head) is None:
            raise RefusedError(400, {"source_branch": ["does not exist"]})
        if self.tip(target, base) is None:
            raise RefusedError(400, {"target_branch": ["does not exist"]})
        for one in self.merges:
            if (one.source, one.head, one.target, one.base, one.state) == (source, head, target, base, "opened"):
                raise RefusedError(
                    409, [f"Another open merge request already exists for this source branch: !{one.number}"]
                )
        merge = Merge(len(self.merges) + 1, target, source, head, base, asked["title"], asked["description"])
        self.merges.append(merge)
        return self.shown(merge)

    def change(self, merge: Merge, asked: dict[str, Any]) -> dict[str, Any]:
        names = {"title": "title", "description": "body", "target_branch": "base"}
        for key, value in asked.items():
            setattr(merge, names[key], value)
        return self.shown(merge)

    def merge(self, merge: Merge, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["sha"] != self.sha(merge):
            raise RefusedError(409, "SHA does not match HEAD of source branch: " + self.sha(merge))
        if merge.status not in ("MERGEABLE", "CHECKING") or merge.draft:
            raise RefusedError(405, "405 Method Not Allowed")
        commit = self.sha(merge)
        merge.state, merge.commit, merge.merged_as = (
            "merged",
            commit,
            ("squash" if asked["squash"] else "merge", commit),
        )
        return self.shown(merge)

    def branch(self, name: str, branch: str) -> dict[str, Any]:
        if self.tip(name, branch) is None:
            raise RefusedError(404, "404 Branch Not Found")
        return {"name": branch}

    def jobs(self, number: int, kind: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        pipeline = next(one.pipeline for one in self.merges if one.number == number)
        found = (pipeline or {}).get(kind, [])
        return [{**job, "trace": None} for job in found if job["status"] in query["scope[]"]]

    def trace(self, number: int) -> str:
        for merge in self.merges:
            for job in (merge.pipeline or {}).get("jobs", []):
                if job["id"] == number and job.get("trace") is not None:
                    return str(job["trace"])
        raise RefusedError(404, "404 Not Found")

    # --- GraphQL ------------------------------------------------------------------------------------------------

    def graphql(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        try:
            name = self.name(variables["path"])
        except RefusedError:
            return {"data": {"project": None}}
        known = {str(one.number): self.state(one) for one in self.merges if one.target == name}
        if operation == "MergeStates":
            nodes = [known[number] for number in variables["iids"] if number in known]
            return {"data": {"project": {"mergeRequests": {"nodes": nodes}}}}
        if operation == "MergeRequest":
            return {"data": {"project": {"mergeRequest": known.get(variables["iid"])}}}
        assert operation == "Quoted"
        files = {path: self.git(name, "show", f"{variables['ref']}:{path}") for path in variables["paths"]}
        nodes = [{"path": path, "rawTextBlob": text} for path, text in files.items() if text is not None]
        return {"data": {"project": {"repository": {"blobs": {"nodes": nodes}}}}}

    def state(self, merge: Merge) -> dict[str, Any]:
        """As GraphQL shows it: only with a pipeline of its newest commit."""
        pipeline = merge.pipeline
        if pipeline and pipeline.get("sha") not in (None, self.sha(merge)):
            pipeline = None
        return {
            "iid": str(merge.number), "state": merge.state, "draft": merge.draft,
            "conflicts": merge.status == "CONFLICT", "detailedMergeStatus": merge.status,
            "diffHeadSha": self.sha(merge), "targetBranch": merge.base,
            "approved": merge.status != "NOT_APPROVED",
            "approvedBy": {"nodes": [{"username": name} for name in merge.approved_by]},
            "reviewers": {"nodes": [{"mergeRequestInteraction": {"reviewState": one}} for one in merge.reviewers]},
            "headPipeline": pipeline and {
                "id": f"gid://gitlab/Ci::Pipeline/{1000 + merge.number}", "status": pipeline["status"].upper(),
                "project": {"fullPath": merge.source},
            },
        }  # fmt: skip


class _Handler(Quiet, BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._act(None)

    def do_POST(self) -> None:
        self._act(self._body())

    def do_PUT(self) -> None:
        self._act(self._body())

    @property
    def _gitlab(self) -> GitLab:
        return self.server.owner  # type: ignore[attr-defined, no-any-return]

    def _act(self, body: dict[str, Any] | None) -> None:
        gitlab = self._gitlab
        if self.headers["Private-Token"] != "token":
            self._send(Refusal(404, "404 Project Not Found"))
            return
        address = urlsplit(self.path)
        path = address.path.removeprefix("/api/").strip("/")
        with gitlab.guard:
            name, act = self._chosen(path, parse_qs(address.query), body or {})
            gitlab.asked.append(name)
            refusal = gitlab.refusals.pop(name, None) or gitlab.refusals.pop("*", None)
            try:
                answer = refusal or act()
            except RefusedError as error:
                answer = error.refusal
        self._send(answer)

    def _chosen(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> tuple[str, Callable[[], Any]]:
        """The name of what is asked for, and what answers it."""
        gitlab = self._gitlab
        if path == "graphql":
            operation = re.match(r"query (\w+)", body["query"])
            assert operation is not None
            return operation[1], lambda: gitlab.graphql(operation[1], body["variables"])
        found = re.fullmatch(r"v4/projects/([^/]+)(?:/(.+))?", path)
        assert found is not None, path
        key, rest = unquote(found[1]), found[2] or ""
        if not rest:
            return "Project", lambda: gitlab.project(gitlab.name(key))
        if rest == "merge_requests":
            if self.command == "POST":
                return "Create", lambda: gitlab.create(gitlab.name(key), body)
            return "List", lambda: gitlab.listed(gitlab.name(key), query)
        if job := re.fullmatch(r"jobs/(\d+)/trace", rest):
            return "Trace", lambda: gitlab.trace(int(job[1]))
        if jobs := re.fullmatch(r"pipelines/1(\d{3})/(jobs|bridges)", rest):
            return jobs[2].title(), lambda: gitlab.jobs(int(jobs[1]), jobs[2], query)
        if branch := re.fullmatch(r"repository/branches/([^/]+)", rest):
            return "Branch", lambda: gitlab.branch(gitlab.name(key), unquote(branch[1]))
        one = re.fullmatch(r"merge_requests/(\d+)(?:/(\w+))?", rest)
        assert one is not None, rest
        merge = next(each for each in gitlab.merges if each.number == int(one[1]) and each.target == gitlab.name(key))
        if one[2] == "merge":
            return "Merge", lambda: gitlab.merge(merge, body)
        if one[2] == "discussions":
            page = int(query["page"][0])
            return "Discussions", lambda: _Page(merge.discussions, page)
        if self.command == "PUT":
            return "Edit", lambda: gitlab.change(merge, body)
        return "Shown", lambda: gitlab.shown(merge)

    def _body(self) -> dict[str, Any]:
        """What was sent; `glab api --input` sends it in chunks."""
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

    def _send(self, answer: Any) -> None:
        status, headers = 200, {}
        if isinstance(answer, Refusal):
            status, headers, answer = answer.status, dict(answer.headers), {"message": answer.message}
        if isinstance(answer, _Page):
            headers, answer = {"X-Next-Page": answer.next}, answer.shown
        if self._gitlab.remaining is not None:
            left, reset = self._gitlab.remaining
            headers |= {"RateLimit-Remaining": str(left), "RateLimit-Reset": str(reset)}
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


class _Page:
    """A hundred discussions."""

    def __init__(self, whole: list[dict[str, Any]], page: int) -> None:
        self.shown = whole[(page - 1) * 100 : page * 100]
        self.next = str(page + 1) if len(whole) > page * 100 else ""
