"""Repositories: which one a folder lies in, where its main checkout is, its refs and its worktrees."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path

from chatml import proc
from chatml.errors import ChatmlError
from chatml.record import record
from chatml.repo import layout
from chatml.repo.answers import answer, failed
from chatml.repo.plumbing import MINIMUM_GIT, UNCOMMITTED, git, merge_base, show, version

__all__ = ["MINIMUM_GIT", "Repository", "Worktree", "git", "merge_base", "show", "version"]


@record(frozen=True)
class Worktree:
    """One entry of `git worktree list`."""

    path: Path
    head: str | None
    branch: str | None
    locked: bool
    prunable: bool


class Repository:
    """One repository, seen from a directory in any of its worktrees; keeps nothing open."""

    def __init__(self, cwd: Path, git_dir: Path, common_dir: Path, top: Path | None) -> None:
        self.cwd = cwd
        self.git_dir = git_dir
        self.common_dir = common_dir
        self.top = top
        self.noted: Callable[[], Iterable[Path]] = tuple
        """Where its main checkout was noted to be."""

    @classmethod
    def discover(cls, start: Path) -> Repository:
        """The repository that `start` lies in. ChatmlError outside of one, or with a git that is too old."""
        if not start.is_dir():
            raise ChatmlError(f"no such directory: {start}", hint="name one that exists with -C PATH")
        result = git(
            "rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir", "--show-toplevel",
            at=start, check=False,
        )  # fmt: skip
        paths = result.text.split("\n")
        if paths[0] == "--path-format=absolute" or (result.code and len(paths) < 3):  # an old git repeats it
            raise layout.why_none(start, result.errors)
        if len(paths) != (3 if result.code else 4):
            raise ChatmlError("the path of this repository contains a line break", hint="rename that folder")
        top = Path(paths[2]) if result.code == 0 else None
        return cls(start, Path(paths[0]), Path(paths[1]), top)

    def git(
        self, *args: str, check: bool = True, stdin: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> proc.Result:
        """Run git on the repository itself, not on any worktree: works from inside a deleted one too."""
        return git(f"--git-dir={self.common_dir}", *args, at=self.common_dir, check=check, stdin=stdin, env=env)

    @cached_property
    def home(self) -> Path:
        """The folder that stands for the repository, the same seen from everywhere in it (`layout.home`)."""
        if self.top is not None and self.git_dir == self.common_dir:
            return self.top
        return layout.home(self.common_dir, self.noted)

    @property
    def name(self) -> str:
        """The repository's name, as its folder has it."""
        return layout.name_of(self.home)

    def resolve(self, ref: str) -> str:
        """The commit that `ref` names, as seen from where the command was called. ChatmlError if there is none."""
        if ref.startswith("-"):
            raise ChatmlError(f"not a commit: '{ref}'")
        result = git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", at=self.cwd, check=False
        )
        # 128 without a word: what a reflog doesn't reach back to (main@{9}).
        found = answer(result) if result.stderr or result.code < 2 else None
        if found is None:
            if ref == "HEAD":
                raise self._unborn()
            raise ChatmlError(f"not a commit: '{ref}'", hint="a branch, tag or commit that 'git rev-parse' understands")
        return found

    def ref_name(self, ref: str) -> str | None:
        """`ref` as a name that means the same in every worktree; None for what is no branch, tag or other ref."""
        full = self.full_name(ref)
        if full is None:
            return None
        return ref if full.endswith(f"/{ref}") else full.removeprefix("refs/heads/")

    def full_name(self, ref: str) -> str | None:
        """The full name of the ref that `ref` means where the command was called; None for what is no ref."""
        command = ("rev-parse", "--verify", "--quiet", "--symbolic-full-name", ref)
        full = answer(git(*command, at=self.cwd, check=False)) or ""
        return full if full.startswith("refs/") else None

    def checked_out(self) -> tuple[str, str | None]:
        """The commit checked out where the command was called, and its branch if any. ChatmlError without a commit."""
        result = git("rev-parse", "HEAD^{commit}", "--abbrev-ref", "HEAD", at=self.cwd, check=False)
        if result.code:
            self.resolve("HEAD")
            raise failed(result)
        commit, branch = result.text.splitlines()
        return commit, None if branch == "HEAD" else branch

    def _unborn(self) -> ChatmlError:
        """Why there is no commit checked out, and what to start from instead."""
        found = self.git("for-each-ref", "--count=1", "--sort=-committerdate", "--format=%(refname)", "refs/heads")
        if not found.text:
            return ChatmlError(
                "this repository has no commit yet", hint="make a first one: git commit --allow-empty -m init"
            )
        branch = git("symbolic-ref", "--short", "HEAD", at=self.cwd, check=False).text.strip()
        other = shlex.quote(found.text.strip().removeprefix("refs/heads/"))
        return ChatmlError(
            f"the branch checked out here, {branch}, has no commit yet",
            hint=f"name what to start from, as in: chatml new --base {other} PROMPT",
        )

    def tip(self, branch: str) -> str | None:
        """The commit of a local branch, None where there is no such branch. GitError where that can't be found out."""
        return answer(self.git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", check=False))

    def setting(self, key: str) -> str | None:
        """A value of the person's or the repository's git configuration, or None. GitError where it can't be read."""
        return answer(self.git("config", "--get", key, check=False))

    def short_refs(self, *places: str) -> list[str]:
        """The refs under these places, as people write them; the symbolic ones (`origin/HEAD`) left out."""
        form = "--format=%(if)%(symref)%(then)%(else)%(refname:short)%(end)"
        return self.git("for-each-ref", form, *places).text.split()

    def beside(self, branch: str) -> list[str]:
        """The branches with the same first part."""
        first = branch.partition("/")[0]
        listed = self.git("for-each-ref", "--format=%(refname)", f"refs/heads/{first}").text.splitlines()
        return [line.removeprefix("refs/heads/") for line in listed]

    def in_the_way(self, branch: str, beside: Iterable[str] | None = None) -> str | None:
        """A branch beside which there can't be one of this name: the same, or one where either is the other's folder.

        The shortest, so that one above it, which no other last part gets around, comes first. `beside` are the
        branches with the same first part, where they are known already.
        """
        parts = branch.split("/")
        above = {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
        names = self.beside(branch) if beside is None else beside
        return min((name for name in names if name in above or name.startswith(f"{branch}/")), key=len, default=None)

    @staticmethod
    def dirty(at: Path) -> bool:
        """Whether a worktree has uncommitted or untracked files, whatever of that the person likes to see."""
        return bool(git(*UNCOMMITTED, at=at).stdout)

    def worktrees(self) -> list[Worktree]:
        """All registered worktrees, the main one first."""
        found = []
        end = "\0"
        listed = self.git("worktree", "list", "--porcelain", "-z", check=False)
        if listed.code:  # git before 2.36 doesn't know -z: all but paths with a newline
            end, listed = "\n", self.git("worktree", "list", "--porcelain")
        for block in listed.text.split(end * 2):
            entry = dict(line.partition(" ")[::2] for line in block.split(end) if line)
            if "worktree" in entry:
                found.append(
                    Worktree(
                        Path(entry["worktree"]),
                        entry.get("HEAD"),
                        entry["branch"].removeprefix("refs/heads/") if "branch" in entry else None,
                        "locked" in entry,
                        "prunable" in entry,
                    )
                )
        return found

    def merge_base(self, ours: str, base_ref: str, base_commit: str) -> str:
        """The same as the function, asked of the repository itself, which some git settings let be only when named."""
        return merge_base(self.common_dir, ours, base_ref, base_commit, {"GIT_DIR": str(self.common_dir)})

    def add_worktree(self, path: Path, branch: str, commit: str | None) -> None:
        """Register a worktree without its files; `commit` makes the branch, None takes the existing one.

        --no-track, because many at once would else fail on the lock of the shared configuration. With reflogs, whatever
        the person's setting: they tell what was made there, and git goes on with one that is there.
        """
        new = ["--no-track", "-b", branch] if commit else []
        self.git(
            "-c",
            "core.logAllRefUpdates=true",
            "worktree",
            "add",
            "--quiet",
            "--no-checkout",
            *new,
            "--",
            str(path),
            commit or branch,
        )

    def delete_branch(self, branch: str, expected: str) -> bool:
        """Delete a branch if it still is where we last saw it."""
        return self.git("update-ref", "-d", f"refs/heads/{branch}", expected, check=False).code == 0


def post_checkout(worktree: Path, cancelled: Callable[[], bool] | None = None) -> str:
    """Run the repository's post-checkout hook on a worktree that has just got its files; returns what it said."""
    commit = head(worktree)
    # `git worktree add` runs this hook too; people use it to make their worktrees habitable.
    hook = git(
        "hook", "run", "--ignore-missing", "post-checkout", "--", "0" * len(commit), commit, "1",
        at=worktree, check=False, cancelled=cancelled, as_person=True,
    )  # fmt: skip
    known = "is not a git command" not in hook.errors  # git before 2.36 has no `hook run`
    return (hook.text + hook.errors).strip() if known else ""


def head(worktree: Path) -> str:
    """The commit checked out in a worktree."""
    return git("rev-parse", "HEAD", at=worktree).text.strip()
