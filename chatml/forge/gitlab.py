"""A project on GitLab and its merge requests, through `glab api`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from chatml import environment, proc
from chatml.errors import ChatmlError
from chatml.forge import glab
from chatml.forge.door import Pull, PullRef, Words
from chatml.forge.glab import project

PAGE = 100
"""Merge requests of one branch that are looked through, the newest; GitLab gives no more at once."""

BROWSER_TIMEOUT = 3600.0
"""Seconds for a browser: one in the terminal lives as long as somebody reads."""

STATES = {"opened": "open", "locked": "open", "closed": "closed", "merged": "merged"}
"""GitLab locks one for the moments in which it merges it."""

CHECKS = {"success": "passing", "failed": "failing", "canceled": "failing", "skipped": None}
"""What a pipeline comes to; all other states are pending. In one that is skipped no job has run."""

DRAFT = re.compile(r"\s*(\[draft\]|\(draft\)|draft:|draft\s-)\s*", re.IGNORECASE)
"""What makes a merge request a draft: https://docs.gitlab.com/user/project/merge_requests/drafts"""


def verdict(status: str | None) -> str | None:
    """What the status of a pipeline means for its merge request."""
    return CHECKS.get(status.lower(), "pending") if status else None


@dataclass(frozen=True)
class GitLabProject:
    """A project on GitLab, asked for in the directory `at`."""

    at: Path
    host: str
    name: str
    """With all its groups."""
    default_branch: str | None

    @classmethod
    def find(cls, at: Path, host: str, name: str) -> GitLabProject:
        """The project of that name, as GitLab itself writes it."""
        data = glab.ask(host, project(name), at).data
        return cls(at, host, data["path_with_namespace"], data.get("default_branch") or None)

    @property
    def words(self) -> Words:
        return glab.WORDS

    def named(self, path: str) -> str:
        """The whole path: groups may stand in groups."""
        return path

    def other(self, host: str, name: str) -> GitLabProject:
        """The project of that name on that host."""
        return self.find(self.at, host, name)

    def pulls(self, branch: str, source: str) -> list[Pull]:
        """The merge requests here from the branch of that name of the project `source`, newest first."""
        wanted = {"source_branch": branch, "state": "all", "per_page": PAGE, "order_by": "created_at", "sort": "desc"}
        found = self._ask(f"{project(self.name)}/merge_requests?{urlencode(wanted)}")
        if not found:
            return []
        origin = self._id(source)
        return [_pull(one) for one in found if one["source_project_id"] == origin]

    def open(self, *, source: str, head: str, base: str, title: str, body: str, draft: bool) -> tuple[int, str]:
        """Open a merge request; returns its number and address."""
        asked = {
            "source_branch": head,
            "target_branch": base,
            "target_project_id": self._id(self.name),
            "title": f"Draft: {title}" if draft and not DRAFT.match(title) else title,
            "description": body,
        }
        try:
            made = self._ask(f"{project(source)}/merge_requests", "POST", asked)
        except glab.RefusedError as error:
            if error.said or self._has(base):
                raise
            raise ChatmlError(f"{self.name} has no target branch '{base}'", error.hint) from error
        return made["iid"], made["web_url"]

    def edit(self, pull: Pull, changes: Mapping[str, str]) -> None:
        """Change title, body or base; a draft stays one."""
        names = {"title": "title", "body": "description", "base": "target_branch"}
        asked = {names[key]: value for key, value in changes.items()}
        if pull.draft and "title" in asked and not DRAFT.match(asked["title"]):
            asked["title"] = f"Draft: {asked['title']}"
        self._ask(self._place(pull.number), "PUT", asked)

    def checks(self, number: int, commit: str) -> str | None:
        """How the pipeline of that commit stands; None without one, and where nobody may look."""
        with suppress(ChatmlError):
            data = self._ask(self._place(number))
            pipeline = data.get("head_pipeline") or {}
            if data.get("sha") == commit == pipeline.get("sha"):
                return verdict(pipeline.get("status"))
        return None

    def browse(self, number: int) -> None:
        """Show a merge request in the person's browser."""
        argv = ["glab", "mr", "view", str(number), "--web", "--repo", f"https://{self.host}/{self.name}"]
        problem = "glab is not installed"
        with suppress(FileNotFoundError):
            done = proc.run(argv, cwd=self.at, env=environment.clean_env({"NO_PROMPT": "1"}), timeout=BROWSER_TIMEOUT)
            if done.code == 0:
                return
            problem = done.errors.strip().rpartition("\n")[2] or f"exit code {done.code}"
        raise ChatmlError(f"no browser could be opened: {problem}", "set BROWSER to one that can")

    def _id(self, name: str) -> int:
        return int(self._ask(project(name))["id"])

    def _has(self, branch: str) -> bool:
        """Whether there is such a branch, as far as anybody can tell."""
        try:
            self._ask(f"{project(self.name)}/repository/branches/{quote(branch, safe='')}")
        except glab.UnseenError:
            return False
        except ChatmlError:
            return True
        return True

    def _place(self, number: int) -> str:
        return f"{project(self.name)}/merge_requests/{number}"

    def _ask(self, path: str, method: str = "GET", body: Mapping[str, Any] | None = None) -> Any:
        return glab.ask(self.host, path, self.at, method=method, body=body).data


def hub(ref: PullRef, at: Path) -> GitLabProject:
    """The project that a merge request is in, without asking for it."""
    return GitLabProject(at, ref.host, ref.repository, None)


def _pull(one: Mapping[str, Any]) -> Pull:
    return Pull(
        number=one["iid"],
        url=one["web_url"],
        state=STATES[one["state"]],
        base=one["target_branch"],
        head_commit=one.get("sha") or "",
        draft=bool(one.get("draft")),
        title=one.get("title") or "",
    )
