"""What a checkout held before a session was tried in it: kept whole under a ref, before anything moves."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chatml.repo import Repository, git
from chatml.repo.answers import answer
from chatml.repo.plumbing import NOBODY, path_lines

KEPT = "refs/chatml/try/state"
SHOWN = "refs/chatml/try/shown"
EDITS = "refs/chatml/try/edits/"
"""Where a person's edits are kept, each time under the next number."""


@dataclass(frozen=True)
class RawFile:
    """A path of the checkout as it lay on the disk, whatever git's filters make of it; without a blob, nothing."""

    mode: int = 0
    """`st_mode` of stat(2)."""
    blob: str | None = None


@dataclass(frozen=True)
class KeptState:
    """All that has to come back."""

    commit: str
    """The commit under the ref."""
    files: str
    """A commit of all that git sees in the checkout, untracked files too."""
    head: str
    """What the file HEAD held."""
    head_commit: str
    index: bytes | None
    raw: Mapping[str, RawFile] = field(default_factory=dict)
    """Every path that was touched, or that git's filters might bring back otherwise."""
    modes: Mapping[str, int] = field(default_factory=dict)
    """The modes of all other files, where they are not `PLAIN`: git itself keeps but one bit of them."""
    folders: Mapping[str, int] = field(default_factory=dict)
    """The modes of folders that something was taken out of."""
    made: tuple[str, ...] = ()
    """Folders that were not there before."""


def raw_files(top: Path, paths: Iterable[str]) -> dict[str, RawFile]:
    """These paths as they lie on the disk, their content written to the repository. OSError, GitError."""
    found: dict[str, RawFile] = {}
    files: list[str] = []
    for path in paths:
        try:
            about = os.lstat(top / path)
        except (FileNotFoundError, NotADirectoryError):
            found[path] = RawFile()
            continue
        if stat.S_ISREG(about.st_mode):
            files.append(path)
            found[path] = RawFile(about.st_mode)
        elif stat.S_ISLNK(about.st_mode):
            found[path] = RawFile(about.st_mode, _blob(top, os.fsencode(os.readlink(top / path))))
        else:
            found[path] = RawFile()  # a folder: no file was there
    told = path_lines(top / path for path in files)
    blobs = git("hash-object", "-w", "--no-filters", "--stdin-paths", at=top, stdin=told).text.split()
    for path, blob in zip(files, blobs, strict=True):
        found[path] = replace(found[path], blob=blob)
    return found


PLAIN = (0o644, 0o755)
"""The modes that git gives to files, and to programs."""


def odd_modes(top: Path, paths: Iterable[str]) -> dict[str, int]:
    """The modes of those of these files whose mode is not a plain one."""
    found = {}
    for path in paths:
        with suppress(OSError):
            about = os.lstat(top / path)
            if stat.S_ISREG(about.st_mode) and stat.S_IMODE(about.st_mode) not in PLAIN:
                found[path] = stat.S_IMODE(about.st_mode)
    return found


def folders_of(top: Path, paths: Iterable[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Of all folders above these paths: the modes of those that are there, and those that are not, outermost first."""
    modes: dict[str, int] = {}
    missing: dict[str, None] = {}
    for path in paths:
        parts = path.split("/")
        for end in range(1, len(parts)):
            folder = "/".join(parts[:end])
            try:
                about = os.lstat(top / folder)
            except (FileNotFoundError, NotADirectoryError):
                missing[folder] = None
            else:
                if stat.S_ISDIR(about.st_mode):
                    modes[folder] = stat.S_IMODE(about.st_mode)
                else:
                    missing[folder] = None
    return modes, tuple(missing)


def keep(repository: Repository, top: Path, state: KeptState, before: str | None) -> KeptState:
    """Keep it under the ref, in place of the state `before`; the state with its commit.

    GitError where another one is there.
    """
    note = {
        "head": state.head,
        "head_commit": state.head_commit,
        "files": state.files,
        "raw": {path: [one.mode, one.blob] for path, one in state.raw.items()},
        "modes": dict(state.modes),
        "folders": dict(state.folders),
        "made": list(state.made),
    }
    entries = [f"100644 blob {_blob(top, json.dumps(note).encode('utf-8', 'surrogatepass'))}\tnote.json"]
    if state.index is not None:
        entries.append(f"100644 blob {_blob(top, state.index)}\tindex")
    blobs = sorted({one.blob for one in state.raw.values() if one.blob is not None})
    raw = git(
        "mktree", "-z", at=top, stdin="".join(f"100644 blob {one}\t{one}\0" for one in blobs).encode()
    ).text.strip()
    entries.append(f"040000 tree {raw}\traw")
    entries.append(f"040000 tree {_tree(repository, state.files)}\tfiles")
    tree = git("mktree", "-z", at=top, stdin="".join(f"{one}\0" for one in sorted(entries)).encode()).text.strip()
    env = {**NOBODY, "GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}
    parents = (word for commit in dict.fromkeys((state.head_commit, state.files)) for word in ("-p", commit))
    words = ("commit-tree", tree, *parents, "-m", "What was here before a session was tried")
    commit = git(*words, at=top, env=env).text.strip()
    repository.git("update-ref", KEPT, commit, before or "0" * len(commit))
    return replace(state, commit=commit)


def kept(repository: Repository) -> KeptState | None:
    """What is kept; None where nothing is."""
    commit = answer(repository.git("rev-parse", "--verify", "--quiet", KEPT, check=False))
    if commit is None:
        return None
    note: dict[str, Any] = json.loads(
        repository.git("cat-file", "blob", f"{commit}:note.json").stdout.decode("utf-8", "surrogatepass")
    )
    index = repository.git("cat-file", "blob", f"{commit}:index", check=False)
    return KeptState(
        commit,
        note["files"],
        note["head"],
        note["head_commit"],
        index.stdout if index.code == 0 else None,
        {path: RawFile(mode, blob) for path, (mode, blob) in note["raw"].items()},
        note["modes"],
        note["folders"],
        tuple(note["made"]),
    )


def forget(repository: Repository) -> None:
    """What was kept is back: a person's edits stay under their refs."""
    for ref in (KEPT, SHOWN):
        repository.git("update-ref", "-d", ref, check=False)


def edits(repository: Repository) -> dict[int, str]:
    """The commits of a person's edits that are kept, by their numbers."""
    listed = repository.git("for-each-ref", "--format=%(refname) %(objectname)", EDITS.rstrip("/")).text
    found = (line.removeprefix(EDITS).split() for line in listed.splitlines())
    return {int(number): commit for number, commit in found if number.isdecimal()}


def _blob(top: Path, content: bytes) -> str:
    return git("hash-object", "-w", "--no-filters", "--stdin", at=top, stdin=content).text.strip()


def _tree(repository: Repository, commit: str) -> str:
    return repository.git("rev-parse", f"{commit}^{{tree}}").text.strip()
