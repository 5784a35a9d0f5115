"""Repositories inside a worktree: what is in them that can't come along with the session's changes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from chatml.changes.snapshot import Snapshot
from chatml.proc import Result
from chatml.repo import git
from chatml.repo.answers import OFFLINE
from chatml.repo.plumbing import UNCOMMITTED


def nested(at: Path, now: Snapshot, links: Mapping[str, str]) -> list[str]:
    """The paths, of those at which git keeps only a commit's id, that are no submodules: nobody could fetch these."""
    if not links:
        return []
    asked = ("config", "-z", "--blob", ":.gitmodules", "--get-regexp", r"^submodule\..*\.path$")
    known = {entry.partition("\n")[2] for entry in git(*asked, at=at, env=now.env, check=False).text.split("\0")}
    return [path for path in links if path not in known]


def left_out(top: Path | None, now: Snapshot, links: Mapping[str, str], alone: list[str]) -> Iterator[str]:
    """What can't come along, a sentence each; `links` are changed ones with their commits, `alone` those `nested`.

    `top` is the worktree; None where it is gone.
    """
    yield from now.left_out
    for path, commit in links.items():
        if path in alone:
            yield f"the files of '{path}', a repository of its own"
        elif top and (top / path / ".git").exists():
            ahead = _inside(top / path, "rev-list", "--max-count=1", commit, "--not", "--remotes")
            if ahead.code:
                yield f"the commit {commit[:9]} of the submodule '{path}', which is not there"
            elif ahead.stdout:
                yield f"the commits of the submodule '{path}' that none of its remotes has"
    if top is not None and (top / ".gitmodules").is_file():
        yield from _in_submodules(top, now, alone)


def _in_submodules(top: Path, now: Snapshot, alone: list[str]) -> Iterator[str]:
    """Files that git overlooks, because they lie where a submodule belongs: only its commit is part of the changes."""
    for entry in git("ls-files", "-z", "--stage", at=top, env=now.env).text.split("\0"):
        path = entry.partition("\t")[2]
        inner = top / path
        if not entry.startswith("160000 ") or not inner.is_dir() or path in alone:
            continue
        if not (inner / ".git").exists():
            if any(inner.iterdir()):
                yield f"the files in '{path}', a submodule that is not checked out"
            continue
        status = _inside(inner, *UNCOMMITTED)
        if status.code:
            yield f"what is not committed in the submodule '{path}', where git could not look"
        elif status.stdout:
            yield f"what is not committed in the submodule '{path}'"


def _inside(inner: Path, *args: str) -> Result:
    """Run git in an inner repository; no program that its own settings name, and nothing is fetched."""
    return git("-c", f"core.hooksPath={os.devnull}", *args, at=inner, env=OFFLINE, check=False)
