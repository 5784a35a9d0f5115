"""All git: finding the repository, refs, worktrees, and the exact changes of one through a temporary index."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from chatml import proc
from chatml.errors import ChatmlError, GitError, NotARepositoryError

MINIMUM_GIT = (2, 31)
"""First git with `rev-parse --path-format` (release notes of 2.31); all else that is used is older."""


def git(
    *args: str,
    at: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    check: bool = True,
    cancelled: Callable[[], bool] | None = None,
) -> proc.Result:
    """Run git in the directory `at`, whatever GIT_* a surrounding hook has set. GitError where it fails."""
    # GIT_OPTIONAL_LOCKS: our looking around must never make the agent's own git command fail on index.lock.
    settings = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", **(env or {})}
    try:
        result = proc.run(["git", "-C", str(at), *args], env=proc.clean_env(settings), stdin=stdin, cancelled=cancelled)
    except FileNotFoundError as error:
        raise ChatmlError("git is not installed, or not in PATH", hint="install git 2.31 or later") from error
    if check and result.code:
        raise GitError(list(result.argv), result.code, result.text, result.errors)
    return result


def version() -> tuple[int, ...]:
    """The version of the git that runs."""
    text = git("version", at=Path("/")).text
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


@dataclass(frozen=True)
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
            if version() < MINIMUM_GIT:
                found = ".".join(map(str, version()))
                raise ChatmlError(f"git {found} is too old", hint="chatml needs git 2.31 or later")
            if "dubious ownership" in result.errors:
                raise ChatmlError(
                    "this repository belongs to another user, so git refuses it",
                    hint=f"if you trust it: git config --global --add safe.directory {start}",
                )
            raise NotARepositoryError(
                f"not a git repository: {start}", hint="go into one, name one with -C PATH, or make one with 'git init'"
            )
        if len(paths) != (3 if result.code else 4):
            raise ChatmlError("the path of this repository contains a line break", hint="rename that folder")
        top = Path(paths[2]) if result.code == 0 else None
        return cls(start, Path(paths[0]), Path(paths[1]), top)

    def git(self, *args: str, check: bool = True, stdin: bytes | None = None) -> proc.Result:
        """Run git on the repository itself, not on any worktree: works from inside a deleted one too."""
        return git(f"--git-dir={self.common_dir}", *args, at=self.common_dir, check=check, stdin=stdin)

    @cached_property
    def home(self) -> Path:
        """The folder that stands for the repository: its main checkout, or the bare repository itself."""
        if self.top is not None and self.git_dir == self.common_dir:
            return self.top
        if self.common_dir.name == ".git":
            return self.common_dir.parent
        config = git(
            "config", "--file", str(self.common_dir / "config"), "core.worktree", at=self.common_dir, check=False
        )
        if config.code == 0:
            return (self.common_dir / config.text.strip()).resolve()
        return self.common_dir

    @property
    def name(self) -> str:
        """The repository's name, as its folder has it."""
        return self.home.name.removesuffix(".git").lstrip(".") or "repo"

    def resolve(self, ref: str) -> str:
        """The commit that `ref` names, as seen from where the command was called. ChatmlError if there is none."""
        if ref.startswith("-"):
            raise ChatmlError(f"not a commit: '{ref}'")
        result = git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", at=self.cwd, check=False
        )
        if result.code:
            if ref == "HEAD":
                raise _unborn()
            raise ChatmlError(f"not a commit: '{ref}'", hint="a branch, tag or commit that 'git rev-parse' understands")
        return result.text.strip()

    def ref_name(self, ref: str) -> str | None:
        """`ref` as a name that means the same in every worktree; None for what is no branch, tag or other ref."""
        full = git("rev-parse", "--symbolic-full-name", ref, at=self.cwd, check=False).text.strip()
        if not full.startswith("refs/"):
            return None
        return ref if full.endswith(f"/{ref}") else full.removeprefix("refs/heads/")

    def checked_out(self) -> tuple[str, str | None]:
        """The commit checked out where the command was called, and its branch if any. ChatmlError without a commit."""
        result = git("rev-parse", "HEAD^{commit}", "--abbrev-ref", "HEAD", at=self.cwd, check=False)
        if result.code:
            raise _unborn()
        commit, branch = result.text.splitlines()
        return commit, None if branch == "HEAD" else branch

    def tip(self, branch: str) -> str | None:
        """The commit of a local branch, or None."""
        result = self.git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", check=False)
        return result.text.strip() if result.code == 0 else None

    def setting(self, key: str) -> str | None:
        """A value of the person's or the repository's git configuration, or None."""
        result = self.git("config", "--get", key, check=False)
        return result.text.rstrip("\n") if result.code == 0 else None

    def short_refs(self, *places: str) -> list[str]:
        """The refs under these places, as people write them; the symbolic ones (`origin/HEAD`) left out."""
        form = "--format=%(if)%(symref)%(then)%(else)%(refname:short)%(end)"
        return self.git("for-each-ref", form, *places).text.split()

    def dirty(self, at: Path) -> bool:
        """Whether a worktree has uncommitted or untracked files."""
        return bool(git("status", "--porcelain", "-z", at=at).stdout)

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

    def add_worktree(self, path: Path, branch: str, commit: str | None) -> None:
        """Register a worktree without its files; `commit` makes the branch, None takes the existing one.

        --no-track, because many at once would else fail on the lock of the shared configuration.
        """
        new = ["--no-track", "-b", branch] if commit else []
        self.git("worktree", "add", "--quiet", "--no-checkout", *new, "--", str(path), commit or branch)

    def delete_branch(self, branch: str, expected: str) -> bool:
        """Delete a branch if it still is where we last saw it."""
        return self.git("update-ref", "-d", f"refs/heads/{branch}", expected, check=False).code == 0


def _unborn() -> ChatmlError:
    return ChatmlError("this repository has no commit yet", hint="make a first one: git commit --allow-empty -m init")


def post_checkout(worktree: Path, cancelled: Callable[[], bool] | None = None) -> str:
    """Run the repository's post-checkout hook on a worktree that has just got its files; returns what it said."""
    commit = head(worktree)
    # `git worktree add` runs this hook too; people use it to make their worktrees habitable.
    hook = git(
        "hook", "run", "--ignore-missing", "post-checkout", "--", "0" * len(commit), commit, "1",
        at=worktree, check=False, cancelled=cancelled,
    )  # fmt: skip
    known = "is not a git command" not in hook.errors  # git before 2.36 has no `hook run`
    return (hook.text + hook.errors).strip() if known else ""


def head(worktree: Path) -> str:
    """The commit checked out in a worktree."""
    return git("rev-parse", "HEAD", at=worktree).text.strip()


def merge_base(at: Path, ours: str, base_ref: str, base_commit: str) -> str:
    """Where the session's branch left its base as the base is now; the recorded commit if the ref is gone."""
    # HEAD, HEAD~2, @{upstream}: in the session's worktree they name something else than where it was started.
    relative = re.search(r"^@$|^[A-Z_]*HEAD$|[~^:]|@\{", base_ref)
    for other in (base_commit,) if relative else (base_ref, base_commit):
        result = git("merge-base", "--end-of-options", ours, other, at=at, check=False)
        if result.code == 0:
            return result.text.split("\n")[0]
    return base_commit


def show(*args: str, at: Path, env: Mapping[str, str]) -> int:
    """Run git for the person to look at, with the terminal or pipe of this process; returns its exit code."""
    return proc.attach(["git", "-C", str(at), *args], env=proc.clean_env({"GIT_OPTIONAL_LOCKS": "0", **env}))
