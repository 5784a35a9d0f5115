"""Runs the hooks that `git merge` and `git commit` would run, for commits that are made in memory."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.landing.message import encoded
from chatml.repo import Repository, git
from chatml.text import printable

MAX_OUTPUT = 10_000
"""Characters kept of what a hook has said: its end."""


class HookError(ChatmlError):
    """A hook refused a commit."""

    def __init__(self, hook: str, output: str) -> None:
        hint = "change what it complains about, then call it again"
        super().__init__(f"the {hook} hook refused it", hint, output=printable(output)[-MAX_OUTPUT:])


@dataclass(frozen=True)
class Hooks:
    """The hooks of a repository, for commits on one branch."""

    repository: Repository
    branch: str
    top: Path | None
    """The checkout where those that look at no content run, with what else the project has there."""
    scratch: Path
    """A folder of ours for what is needed in between."""

    def message(self, text: str) -> str:
        """The message as `commit-msg` leaves it. HookError."""
        with tempfile.TemporaryDirectory(prefix="message-", dir=self.scratch) as folder:
            file = Path(folder, "COMMIT_EDITMSG")
            file.write_bytes(encoded(text))
            self._run("commit-msg", str(file), at=self.top or self.repository.common_dir)
            return file.read_bytes().decode("utf-8", "surrogateescape")

    def merge(self, tree: str) -> str:
        """The tree of a merge as `pre-merge-commit` leaves it. HookError.

        It sees index and files of that merge, in a checkout of ours: the person's has no part in it.
        """
        hook = self.repository.git("rev-parse", "--path-format=absolute", "--git-path", "hooks/pre-merge-commit")
        if not os.access(hook.text.rstrip("\n"), os.X_OK):
            return tree
        with tempfile.TemporaryDirectory(prefix="merge-", dir=self.scratch) as folder:
            admin, top = Path(folder, "git"), Path(folder, "tree")
            admin.mkdir()
            top.mkdir()
            # What git needs of a worktree's own folder (gitrepository-layout(5)); `git worktree list` knows nothing of
            # it, so that it may be on the very branch that somebody has checked out.
            (admin / "commondir").write_text(f"{self.repository.common_dir}\n")
            (admin / "HEAD").write_text(f"ref: refs/heads/{self.branch}\n")
            env = {"GIT_DIR": str(admin), "GIT_WORK_TREE": str(top), "GIT_INDEX_FILE": str(admin / "index")}
            git("read-tree", "--reset", "-u", tree, at=top, env=env)
            self._run("pre-merge-commit", at=top, env=env)
            return git("write-tree", at=top, env=env).text.strip()

    def _run(self, hook: str, *args: str, at: Path, env: dict[str, str] | None = None) -> None:
        command = ("hook", "run", "--ignore-missing", hook, "--", *args)
        # As git itself tells its hooks that no editor will open.
        done = git(*command, at=at, env={"GIT_EDITOR": ":", **(env or {})}, check=False, as_person=True)
        if done.code:
            raise HookError(hook, (done.text + done.errors).strip())


def after_merge(top: Path) -> str:
    """Run `post-merge` in a checkout that was brought up to date; what it said. It can refuse nothing any more."""
    done = git("hook", "run", "--ignore-missing", "post-merge", "--", "0", at=top, check=False, as_person=True)
    return (done.text + done.errors).strip()
