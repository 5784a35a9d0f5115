"""Where the parts of a repository lie, in whatever layout; and why there is none at a place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from chatml.errors import ChatmlError, NotARepositoryError, reason
from chatml.repo.answers import answer
from chatml.repo.plumbing import MINIMUM_GIT, git, version


def home(common_dir: Path, noted: Callable[[], Iterable[Path]]) -> Path:
    """The main checkout of a git directory; where it has none, the folder whose `.git` it is, or else itself.

    `noted` are the folders that somebody has noted as the main checkout: of a separate git directory, git itself does
    not know the way back. Only one that leads here is taken. GitError where the settings can't be read.
    """
    if configured := _configured(common_dir):
        return (common_dir / configured).resolve()
    for folder in (common_dir.parent, *noted()):
        if _leads_to(folder / ".git", common_dir):
            return folder
    return common_dir


def name_of(home: Path) -> str:
    """The name of the repository that has its main checkout there, as its folder has it."""
    return home.name.removesuffix(".git").lstrip(".") or "repo"


def _configured(common_dir: Path) -> str | None:
    """Where the repository's own settings say that its checkout is: that of a submodule, above all."""
    for name in ("config", "config.worktree"):
        with suppress(OSError):
            if b"worktree" in (common_dir / name).read_bytes().lower():  # mostly not: no need to ask git
                asked = git(f"--git-dir={common_dir}", "config", "--get", "core.worktree", at=common_dir, check=False)
                return answer(asked)
    return None


def named_by(link: Path) -> Path:
    """What a `.git` file names, absolute or from its own folder (gitrepository-layout(5)). OSError without one."""
    return Path(link.parent, os.fsdecode(link.read_bytes()).removeprefix("gitdir: ").rstrip("\n"))


def _leads_to(link: Path, git_dir: Path) -> bool:
    """Whether a `.git`, a folder or a file, is or names this git directory."""
    try:
        if link.is_file():
            link = named_by(link)
        return os.path.samefile(link, git_dir)
    except OSError:
        return False


def why_none(start: Path, errors: str) -> ChatmlError:
    """Why git finds no repository at a place."""
    number = version()
    found = f"git {'.'.join(map(str, number))}"
    if number < MINIMUM_GIT:
        return ChatmlError(f"{found} is too old", hint="chatml needs git 2.31 or later")
    if "dubious ownership" in errors:
        return ChatmlError(
            "this repository belongs to another user, so git refuses it",
            hint=f"if you trust it: git config --global --add safe.directory {start}",
        )
    if any((folder / ".git").exists() or (folder / "HEAD").is_file() for folder in (start, *start.parents)):
        return ChatmlError(
            f"git can't use the repository here: {reason(errors)}",
            hint=f"this is {found}: does the repository need a newer one? or is it damaged?",
        )
    return NotARepositoryError(
        f"not a git repository: {start}", hint="go into one, name one with -C PATH, or make one with 'git init'"
    )
