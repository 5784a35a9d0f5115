"""The sandbox around Claude's shell commands: what they may write, and how they commit from inside of it.

Claude Code's own sandbox makes all read-only but the worktree, a temporary folder and the repository's git directory,
in which it protects hooks, configuration and the other worktrees. Here the rest of that directory is closed too: the
branches, tags and logs of others, chatml's own state, the main checkout's HEAD and index, and its submodules.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from chatml import containment
from chatml.agents.base import AgentError, Setting
from chatml.errors import Kind
from chatml.model import Failure, Session
from chatml.repo import git
from chatml.repo.answers import answer
from chatml.state.paths import SessionPaths, StatePaths

NO_REFS = "# pack-refs with: peeled fully-peeled sorted \n"
"""What git writes into `packed-refs` where there are none: only a file that is there can be closed."""

TEMPORARY = "chatml-"
"""How the folders for temporary files begin."""

CLOSED = ("COMMIT_EDITMSG", "FETCH_HEAD", "HEAD", "MERGE_HEAD", "ORIG_HEAD", "index", "info", "packed-refs", "shallow")
"""Parts of the git directory that belong to the main checkout or to all, and that no commit in a worktree writes."""


class ClaudeSandbox:
    """How one session's shell commands are contained."""

    def __init__(self, session: Session, setting: Setting) -> None:
        self._worktree = setting.worktree
        files = SessionPaths(setting.state_dir)
        self._excludes = files.excludes
        self._git_dir = files.common_dir
        self._required = session.terms.sandbox == "required"
        self._branch = Path("refs/heads", session.branch)
        self._users_excludes = _users_excludes(setting.worktree)
        self._temporary: Path | None = None
        self._noted = files.temporary
        """Where the folder for temporary files lies, for the next one to remove should this be killed."""
        self.unasked = "dontAsk" not in (session.terms.permission_mode, session.terms.after_plan)
        """Whether a command in the sandbox needs no asking; in this one mode only the rules say what runs."""

    def begin(self) -> None:
        """Make ready for an agent; `end` goes with it."""
        self._tidy()
        # Its commands may write in its folder for temporary files, where the settings of other agents would lie too.
        # Of a short name: sockets are put into it, whose paths may have 107 bytes (sun_path of unix(7)).
        self._temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY))
        self._noted.write_text(str(self._temporary), "utf-8", "surrogateescape")
        self.prepare()

    def end(self) -> None:
        """Clear up, once the agent and all its commands have ended."""
        self._tidy()

    def settings(self) -> dict[str, Any]:
        """Claude Code's settings for it (`sandbox` in its settings schema)."""
        inside = self._git_dir
        apart = [str(inside / name) for name in ("refs", "logs")] if self._own() else []
        return {
            "enabled": True,
            "failIfUnavailable": True,  # else commands would run outside, and unasked
            "autoAllowBashIfSandboxed": self.unasked,
            "allowUnsandboxedCommands": not self._required,
            "filesystem": {
                # A folder that is neither to be read nor to be written, but for reading and for what is listed: so a
                # writable folder can lie in one that is not. A mere `denyWrite` would close all below.
                "denyRead": apart,
                "allowRead": apart,
                "allowWrite": list(map(str, self._own())),
                "denyWrite": [str(StatePaths(inside).root), str(inside / "modules"), *self._present()],
            },
        }

    def env(self) -> dict[str, str]:
        """For the agent alone: to its git, what the sandbox masks is no file to commit, and nothing packs refs."""
        values = {"core.excludesFile": str(self._excludes), "gc.auto": "0", "maintenance.auto": "false"}
        first = int(count) if (count := os.environ.get("GIT_CONFIG_COUNT", "")).isdecimal() else 0
        env = {"GIT_CONFIG_COUNT": str(first + len(values)), "CLAUDE_CODE_TMPDIR": str(self._temporary)}
        for number, (key, value) in enumerate(values.items(), first):
            env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return env

    def prepare(self) -> None:
        """Before each command: folders that must be there to be opened or closed, and what there is to mask now."""
        for folder in (*self._own(), self._git_dir / "modules"):
            folder.mkdir(parents=True, exist_ok=True)
        if self._own():
            with suppress(FileExistsError), (self._git_dir / "packed-refs").open("x") as file:
                file.write(NO_REFS)
        masked = containment.masked(self._worktree)
        text = self._users_excludes + "".join(f"/{name}\n" for name in masked)
        if not self._excludes.exists() or self._excludes.read_text("utf-8", "surrogateescape") != text:
            self._excludes.write_text(text, "utf-8", "surrogateescape")

    def _tidy(self) -> None:
        """Remove what a sandbox has left, be it that it was killed; while commands run, it belongs there.

        An empty `config.lock` would keep everybody from changing the repository's settings.
        """
        with suppress(OSError):
            folder = Path(self._noted.read_text("utf-8", "surrogateescape"))
            if folder.name.startswith(TEMPORARY) and folder.lstat().st_uid == os.geteuid():
                shutil.rmtree(folder, ignore_errors=True)
            self._noted.unlink()
        lock = self._git_dir / "config.lock"
        left = [self._worktree / name for name in containment.stand_ins(self._worktree)]
        for path in (*left, *([lock] if containment.is_stand_in(lock) else ())):
            with suppress(OSError):
                path.unlink()

    def _own(self) -> tuple[Path, ...]:
        """Where the session's branch and its log lie; git makes a new file beside the old one to replace it.

        Nowhere in a repository that keeps its refs in tables: there is one set of files for all.
        """
        if not (self._git_dir / "refs" / "heads").is_dir():
            return ()
        return self._git_dir / self._branch.parent, self._git_dir / "logs" / self._branch.parent

    def _present(self) -> list[str]:
        """What of others is there now: parts of the git directory, and branches beside the session's own."""
        others = [path for folder in self._own() for path in folder.iterdir() if path.name != self._branch.name]
        return [str(path) for path in (*(self._git_dir / name for name in CLOSED), *others) if path.exists()]


def _users_excludes(worktree: Path) -> str:
    """What the person's own git leaves out everywhere; ours takes that file's place."""
    said = answer(git("config", "--type=path", "core.excludesFile", at=worktree, check=False))
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    try:
        text = Path(said or Path(home, "git", "ignore")).read_text("utf-8", "surrogateescape")
    except OSError:
        return ""
    return text if text.endswith("\n") or not text else text + "\n"


def sandbox_of(session: Session, setting: Setting) -> ClaudeSandbox | None:
    """The session's sandbox, or None for none. AgentError where it must have one, and can't."""
    # Who bypasses all permissions, be it after a plan, wants commands to reach the whole machine.
    bypassing = "bypassPermissions" in (session.terms.permission_mode, session.terms.after_plan)
    if session.terms.sandbox == "off" or (session.terms.sandbox == "auto" and bypassing):
        return None
    lack = containment.lack()
    if lack is None:
        return ClaudeSandbox(session, setting)
    if session.terms.sandbox == "required":
        raise AgentError(Failure(Kind.SETUP.value, f"no sandbox here: {lack.reason}", lack.remedy))
    return None
