"""Every path below `.git/chatml`: whoever needs one gets it here, by what it is for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

STAGE, GONE, DONE = ".new-", ".gone-", ".done-"
"""How folders beside the sessions begin that are none: being made, being removed, and to be deleted."""


class SessionPaths:
    """One session's folder, and what lies in it."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = str(folder)
        self.name = os.path.basename(self._folder)
        self._record = f"{self._folder}/session.json"  # as text: making two paths takes as long as reading the file

    @cached_property
    def folder(self) -> Path:
        return Path(self._folder)

    @property
    def common_dir(self) -> Path:
        """The common git directory of the session's repository."""
        return self.folder.parents[2]

    @property
    def record(self) -> Path:
        return Path(self._record)

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox.jsonl"

    @property
    def changed(self) -> Path:
        """The paths that the session has changed, as its worker has last counted them; missing before that."""
        return self.folder / "changed.json"

    @property
    def log(self) -> Path:
        """What its workers print, and all that git has said."""
        return self.folder / "worker.log"

    @property
    def own_lock(self) -> Path:
        """Held briefly, around each change."""
        return self.folder / "session.lock"

    @property
    def pr_lock(self) -> Path:
        """Held by the `pr` that is at work."""
        return self.folder / "pr.lock"

    @property
    def services(self) -> Path:
        """A folder for what the session's services need."""
        return self.folder / "services"

    def service_lock(self, name: str) -> Path:
        """Held by the service of that name as long as it lives."""
        return self.services / f"{name}.lock"

    def service_log(self, name: str) -> Path:
        """What it prints."""
        return self.services / f"{name}.log"

    def service_exit(self, name: str) -> Path:
        """The exit code that it ended with."""
        return self.services / f"{name}.exit"

    @property
    def launcher(self) -> Path:
        """The script that starts the agent's program."""
        return self.folder / "claude"

    @property
    def excludes(self) -> Path:
        """What the agent's git leaves out: a file of patterns."""
        return self.folder / "excludes"

    @property
    def temporary(self) -> Path:
        """A note of where the agent's temporary files lie."""
        return self.folder / "temporary"

    @property
    def plan(self) -> Path:
        """What a removal that has begun is to do."""
        return self.folder / ".plan.json"

    @property
    def admin(self) -> Path:
        """git's folder of the worktree, amid a removal."""
        return self.folder / "admin"

    def gone(self, session_id: str) -> Path:
        """The folder's place while the session is being removed."""
        return self.folder.with_name(GONE + session_id)

    def done(self, number: str) -> Path:
        """The folder's place once nothing in it is needed any more."""
        return self.folder.with_name(DONE + number)


class StatePaths:
    """The folder `.git/chatml` of one repository, and what lies in it."""

    def __init__(self, common_dir: Path) -> None:
        self.root = common_dir / "chatml"
        self.sessions = self.root / "sessions"
        self.config = self.root / "config.yaml"
        self.approvals = self.root / "approvals.json"
        self.own_lock = self.root / "repo.lock"
        self.pulls = self.root / "pulls.json"
        """What was last seen of pull requests."""
        self.pulls_lock = self.root / "pulls.lock"
        """Held by whoever asks for that."""
        self.landed = self.root / "landed.json"
        """What was last found out about which sessions have landed."""

    @property
    def landed_lock(self) -> Path:
        """Held briefly, while that is replaced."""
        return self.root / "landed.lock"

    @property
    def conflicts(self) -> Path:
        """What merges of sessions in memory have come to."""
        return self.root / "conflicts.json"

    @property
    def conflicts_lock(self) -> Path:
        """Held by whoever merges sessions in memory, or writes that down."""
        return self.root / "conflicts.lock"

    def setup_slot(self, number: int) -> Path:
        """Held by one of the setups that run at once."""
        return self.root / f"setup-{number}.lock"

    @property
    def merge_lock(self) -> Path:
        """Held by the `merge` that is at work."""
        return self.root / "merge.lock"

    @property
    def moving(self) -> Path:
        """A note of the branch that is being moved, and of the checkout that comes along; gone once that is done."""
        return self.root / "moving.json"

    @property
    def merging(self) -> Path:
        """The folder for what `merge` needs in between; gone once it has ended."""
        return self.root / "merging"

    @property
    def mending(self) -> str:
        """How the folder begins in which git's part of a worktree is made anew: git takes all among its own for one."""
        return str(self.root / ".mending-")

    @property
    def trying(self) -> Path:
        """A note of the session that is shown in the main checkout; gone once that is put back."""
        return self.root / "try.json"

    @property
    def trying_lock(self) -> Path:
        """Held by the `try` that is at work."""
        return self.root / "try.lock"

    @property
    def trials(self) -> Path:
        """A folder for each command that tries merged sessions in a scratch worktree, as long as it runs."""
        return self.root / "trials"

    @property
    def trial_results(self) -> Path:
        """How those tries ended, by tree and command."""
        return self.root / "trials.json"

    @property
    def trial_logs(self) -> Path:
        """All that the last of those tries have printed: for each one file, and one of what it was."""
        return self.root / "trial-logs"

    def kept_repositories(self, session_id: str) -> Path:
        """Where repositories that were inside a removed worktree are kept: git can't hold one in another."""
        return self.root / "trash" / session_id


def xdg_folder(variable: str, default: str, environ: Mapping[str, str] = os.environ) -> Path:
    """A folder of the XDG Base Directory Specification: a value that is not absolute is to be ignored."""
    folder = Path(environ.get(variable, ""))
    return folder if folder.is_absolute() else Path(environ.get("HOME") or os.path.expanduser("~"), default)


class UserPaths:
    """What is one for all repositories of this user, in their state folder (XDG Base Directory Specification)."""

    def __init__(self) -> None:
        self.root = xdg_folder("XDG_STATE_HOME", ".local/state") / "chatml"

    @property
    def repositories(self) -> Path:
        """Which repositories have sessions."""
        return self.root / "repositories.json"

    @property
    def repositories_lock(self) -> Path:
        return self.root / "repositories.lock"

    @property
    def ports(self) -> Path:
        """Whose each port is."""
        return self.root / "ports.json"

    @property
    def ports_lock(self) -> Path:
        return self.root / "ports.lock"
