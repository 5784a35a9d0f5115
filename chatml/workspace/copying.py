"""Brings ignored files of the main checkout into a worktree: copied, or shared by a link."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from chatml import proc
from chatml.changes.snapshot import FILLING
from chatml.errors import ChatmlError, Kind
from chatml.repo import Repository, git
from chatml.state.store import Store, remove_tree
from chatml.workspace.checkout import give_all

INCLUDE = ".worktreeinclude"
"""The file of patterns that other tools share (gitignore syntax)."""

AT_ONCE = 500
"""Paths that one `cp` is given: far below what the system lets a program have as arguments."""


def copy(
    source: Path, worktree: Path, patterns: Sequence[str], avoided: Iterable[Path], cancelled: Callable[[], bool]
) -> list[str]:
    """Copy what is both ignored in `source` and listed, and not in the worktree yet; returns what a person has to know.

    Listed by the patterns or by its `.worktreeinclude`. Nothing is followed or written through a link, nothing
    replaced, and neither a `.git` nor a worktree (`avoided`) comes along. Made aside and moved into place whole.
    OSError or ChatmlError of kind `setup` where that fails, TimeoutError once `cancelled` says so.
    """
    found, left = _listed(source, patterns)
    paths = list(_apart(source, found, {os.path.realpath(path) for path in avoided}))
    if paths:
        aside = worktree / FILLING
        try:
            remove_tree(aside)
            (aside / "files").mkdir(parents=True)
            (aside / ".gitignore").write_text("*\n")
            _copy_all(source, paths, aside / "files", cancelled)
            _without_git(aside / "files")
            give_all(aside / "files", worktree)
        finally:
            remove_tree(aside)
    return [f"not copied, because git does not ignore it: {path}" for path in left]


def _listed(source: Path, patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is both ignored and listed, folders by one path; and what is listed, but neither ignored nor tracked."""
    form = ("ls-files", "-z", "--others", "--ignored", "--directory")
    chosen = [f"--exclude={pattern}" for pattern in patterns]
    include = source / INCLUDE
    if include.is_file():
        chosen.insert(0, f"--exclude-from={include}")
    if not chosen:
        return [], []
    wanted = _paths(git(*form, *chosen, at=source).stdout)
    if not wanted:
        return [], []
    ignored = set(_paths(git(*form, "--exclude-standard", at=source).stdout))
    below: dict[str, list[str]] = {}
    for path in ignored:
        for above in _above(path):
            below.setdefault(above, []).append(path)
    found: dict[str, None] = {}
    left = []
    for path in wanted:
        if path in ignored or any(above in ignored for above in _above(path)):
            found[path] = None
        elif path in below:
            found.update(dict.fromkeys(sorted(below[path])))
        elif not path.startswith(".chatml"):
            left.append(path)
    return [*found], left


def _paths(raw: bytes) -> list[str]:
    return [os.fsdecode(path) for path in raw.split(b"\0") if path]


def _above(path: str) -> Iterator[str]:
    """The folders that a path lies in, each with its slash."""
    parts = path.rstrip("/").split("/")
    return ("/".join(parts[:end]) + "/" for end in range(1, len(parts)))


def _apart(source: Path, paths: Iterable[str], avoided: set[str]) -> Iterator[str]:
    """The paths without what is to be avoided: a folder with such a thing in it by what else is there."""
    for path in paths:
        real = os.path.realpath(source / path)
        if real in avoided or os.path.basename(path.rstrip("/")).casefold() == ".git":
            continue
        if path.endswith("/") and any(other.startswith(f"{real}/") for other in avoided):
            with os.scandir(source / path) as entries:
                inner = [f"{path}{one.name}{'/' if one.is_dir(follow_symlinks=False) else ''}" for one in entries]
            yield from _apart(source, inner, avoided)
        else:
            yield path.rstrip("/")


def _copy_all(source: Path, paths: Sequence[str], aside: Path, cancelled: Callable[[], bool]) -> None:
    """By cp(1): it keeps modes, times and links, and shares the blocks where the file system can."""
    options = ["-Rpc"] if sys.platform == "darwin" else ["-a", "--reflink=auto"]
    folders: dict[str, list[str]] = {}
    for path in paths:
        if os.path.lexists(source / path):
            folders.setdefault(os.path.dirname(path), []).append(path)
    for folder, inside in folders.items():
        (aside / folder).mkdir(parents=True, exist_ok=True)
        for start in range(0, len(inside), AT_ONCE):
            some = inside[start : start + AT_ONCE]
            argv = ["cp", *options, "--", *(str(source / path) for path in some), str(aside / folder)]
            done = proc.run(argv, cancelled=cancelled)
            if done.code:
                why = done.errors.strip().splitlines()[-1:] or [f"exit code {done.code}"]
                raise ChatmlError(f"'copy' failed: {why[0]}", "see 'copy' in the configuration", Kind.SETUP)
    for folder in sorted(folders, key=len, reverse=True):
        if folder:
            shutil.copystat(source / folder, aside / folder)


def _without_git(folder: Path) -> None:
    """Take out what makes a folder a repository or a worktree."""
    for here, names, files in os.walk(folder):
        for name in [name for name in names if name.casefold() == ".git"]:
            names.remove(name)
            remove_tree(Path(here, name))
        for name in files:
            if name.casefold() == ".git":
                Path(here, name).unlink()


def link(repository: Repository, source: Path, worktree: Path, paths: Sequence[str]) -> list[str]:
    """Share paths of the main checkout with the worktree by links; returns what a person has to know.

    What stands there already stays. A link that git would take for a change is left out by `info/exclude`.
    """
    told = []
    for path in paths:
        target, there = source / path, worktree / path
        if not os.path.lexists(target):
            told.append(f"not linked, because it is not in {source}: {path}")
        elif os.path.lexists(there):
            if os.path.realpath(there) != os.path.realpath(target):
                told.append(f"not linked, because something stands there: {path}")
        else:
            there.parent.mkdir(parents=True, exist_ok=True)
            if not Path(os.path.realpath(there.parent)).is_relative_to(os.path.realpath(worktree)):
                raise ChatmlError(f"{path} leads out of the worktree", "take it from 'link'", Kind.SETUP)
            there.symlink_to(target)
            _hide(repository, worktree, path)
    return told


def _hide(repository: Repository, worktree: Path, path: str) -> None:
    """Have git leave the link out: a pattern such as `node_modules/` is for folders alone (gitignore(5))."""
    if git("check-ignore", "-q", "--", path, at=worktree, check=False).code != 1:
        return
    exclude = repository.common_dir / "info" / "exclude"
    line = f"/{path}"
    with Store(repository.common_dir).lock():
        exclude.parent.mkdir(exist_ok=True)
        text = exclude.read_text("utf-8", "surrogateescape") if exclude.exists() else ""
        if line not in text.splitlines():
            newline = "" if not text or text.endswith("\n") else "\n"
            exclude.write_text(f"{text}{newline}{line}\n", "utf-8", "surrogateescape")
