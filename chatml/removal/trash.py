"""Keeps what `rm` removes: one commit under refs/chatml/trash/NAME that holds all of a session.

In the tree of that commit:
    note.json   what the rest doesn't say: the branch and where it was, the files that were deleted
    session/    the session's own state: record, log, inbox
    git/        git's state of the worktree: index, reflog, a rebase or merge in progress
    index/N/    all that the index names at stage N, so that git collects none of it
    files/      every file that the checked out commit doesn't have just so, byte for byte
Its parents are the commits that only the session still knew, those of its reflog included. A session removed earlier
under the same name moves on to NAME@1, the one after it to NAME@2.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatml.changes.snapshot import FILLING
from chatml.errors import ChatmlError, GitError
from chatml.model import Session, stamp
from chatml.proc import Result
from chatml.removal.place import Place, walk
from chatml.repo import Repository, git
from chatml.repo.answers import OFFLINE, answer
from chatml.repo.plumbing import path_lines
from chatml.state.store import SessionStore

PREFIX = "refs/chatml/trash/"

SMALL = 1024 * 1024
"""Bytes up to which an ignored file or folder is kept: settings and notes are below, build results are not."""

MARK = "chatml-restoring"
"""A file in git's folder of a worktree that is just being brought back: until it is whole, it holds no work."""

NOT_KEPT = frozenset({"gitdir", "commondir", "modules", MARK})
"""What git makes anew with each worktree, and the submodules' own repositories."""

SETTINGS = {
    "GIT_AUTHOR_NAME": "chatml",
    "GIT_AUTHOR_EMAIL": "chatml@localhost",
    "GIT_COMMITTER_NAME": "chatml",
    "GIT_COMMITTER_EMAIL": "chatml@localhost",
}
"""The trash must work where no identity is configured; nobody but chatml wrote this commit."""

OPTIONS = (
    "-c", f"core.hooksPath={os.devnull}",  # nobody's hook must keep us from saving
    "-c", "core.fsync=committed,loose-object",  # the worktree is deleted right after
    "-c", "core.protectNTFS=false",  # file names that are odd only elsewhere
    "-c", "core.protectHFS=false",
)  # fmt: skip


@dataclass(frozen=True)
class Saved:
    """A session in the trash: the commit that holds it, and the ignored files that were left out."""

    commit: str
    left_out: tuple[str, ...]


def _git(repository: Repository, *args: str, index: Path | None = None, stdin: bytes | None = None) -> Result:
    env = SETTINGS | OFFLINE | ({"GIT_INDEX_FILE": str(index)} if index else {})
    common = repository.common_dir
    return git(*OPTIONS, f"--git-dir={common}", *args, at=common, env=env, stdin=stdin)


def save(repository: Repository, store: SessionStore, name: str, session: Session | None, place: Place | None) -> Saved:
    """Put all of a session under its trash ref; `session` is None for one whose record can't be read.

    Saving again what is there already changes nothing. ChatmlError where it fails: then nothing was lost yet.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=store.folder, ignore_cleanup_errors=True) as own:
            return _save(repository, store, name, session, place, Path(own))
    except GitError as error:
        raise ChatmlError(
            f"can't save all of '{name}', so it was not removed: {error.message}",
            "is a file unreadable, or the disk full?",
        ) from error


def _save(
    repository: Repository, store: SessionStore, name: str, session: Session | None, place: Place | None, own: Path
) -> Saved:
    content = {f"session/{path}": store.folder / path for path in _plain_files(store.folder)}
    entries: list[bytes] = []
    left_out: list[str] = []
    note: dict[str, Any] = {"name": name, "id": session.id if session else None}
    if session is not None:
        note["branch"], note["tip"] = session.branch, repository.tip(session.branch)
        note["config"] = branch_config(repository, session.branch)
    if place is not None and place.admin is not None:
        note["head"] = place.head()
        note["head_ref"] = answer(place.git("symbolic-ref", "--quiet", "HEAD", check=False))
        content |= {f"git/{path}": place.admin / path for path in _plain_files(place.admin)}
        entries += _index_entries(place)
        if place.folder is not None:
            present, note["deleted"], left_out = _files(place, note["head"], own)
            content |= {f"files/{path}": place.folder / path for path in present}
    commits = _commits(repository, note, content) if session is not None else []
    carried = {session.checkout.carried, session.checkout.scope_start} - {None} if session is not None else set()
    commits += sorted(commit for commit in carried if commit and rev(repository, f"{commit}^{{commit}}"))
    (own / "note.json").write_text(json.dumps(note))
    entries += _hashed(repository, {**content, "note.json": own / "note.json"}, own)
    _git(repository, "update-index", "-z", "--index-info", index=own / "tree", stdin=b"".join(entries))
    # What a sparse index names need not be here in a partial clone, and is on the remote.
    missing = ["--missing-ok"] if partial(repository) else []
    tree = _git(repository, "write-tree", *missing, index=own / "tree").text.strip()
    return Saved(_record(repository, name, note["id"], tree, commits), tuple(left_out))


def partial(repository: Repository) -> bool:
    """Whether objects may be missing here that a remote has promised (partial clones)."""
    asked = repository.git("config", "--get-regexp", r"^(remote\..*\.promisor|extensions\.partialclone)$", check=False)
    return answer(asked) is not None


def _plain_files(folder: Path) -> list[str]:
    """The files of a folder of state, but for locks, sockets and what is only there for a moment."""
    found = []
    for here, names, files in walk(folder):
        names[:] = [name for name in names if name not in NOT_KEPT and not name.startswith(".")]
        for name in files:
            path = Path(here, name)
            if path.is_file() and name not in NOT_KEPT and not name.startswith(".") and not name.endswith(".lock"):
                found.append(str(path.relative_to(folder)))
    return found


def branch_config(repository: Repository, branch: str) -> list[list[str]]:
    """What the repository's configuration says about the branch, its upstream above all: it goes with the branch."""
    lines = repository.git("config", "--local", "-z", "--list").text.split("\0")
    pairs = [line.split("\n", 1) for line in lines if "\n" in line]
    return [pair for pair in pairs if pair[0].rpartition(".")[0] == f"branch.{branch}"]


def _index_entries(place: Place) -> list[bytes]:
    entries = []
    for entry in filter(None, place.git("ls-files", "-s", "-z").stdout.split(b"\0")):
        about, path = entry.split(b"\t", 1)
        mode, sha, stage = about.split(b" ")
        entries.append(b"%s %s\tindex/%s/%s\0" % (mode, sha, stage, path))
    return entries


def _files(place: Place, head: str | None, own: Path) -> tuple[list[str], list[str], list[str]]:
    """The paths that are not as in the commit: those to keep, those deleted, and the ignored ones to leave out."""
    assert place.folder is not None
    with place.index_copy(own) as index:

        def listed(*args: str) -> list[str]:
            return [path for path in place.git(*args, index=index).text.split("\0") if path]

        base = head or place.git("hash-object", "-t", "tree", "--stdin", stdin=b"").text.strip()
        changed = listed("diff-index", "-z", "--name-only", "--no-renames", "--ignore-submodules=dirty", base)
        others = listed("ls-files", "-z", "--others", "--exclude-standard")
        # Marked as not to be looked at, so that git would not notice how they changed.
        marked = [entry[2:] for entry in listed("ls-files", "-v", "-z") if entry[0].islower() or entry[0] == "S"]
        ignored = listed("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    kept: list[str] = []
    left_out: list[str] = []
    for path in ignored:
        if path.startswith(f"{FILLING}/"):
            continue  # files of the commit, on their way to their places
        small = _small(place.folder, path)
        kept += small or ()
        left_out += [path] if small is None else []
    here = [path for path in (*changed, *others, *marked, *kept) if is_file(place.folder / path)]
    fresh = place.admin is not None and not (place.admin / "index").exists()
    deleted = [] if fresh else [path for path in (*changed, *marked) if not is_file(place.folder / path)]
    return sorted(set(here)), sorted(set(deleted)), left_out


def is_file(path: Path) -> bool:
    """Whether a file or a link stands there, not a folder and nothing else."""
    return path.is_symlink() or path.is_file()


def _small(folder: Path, path: str) -> list[str] | None:
    """The files of an ignored file or folder; None where they are large together."""
    if not path.endswith("/"):
        return [path] if is_file(folder / path) and (folder / path).lstat().st_size <= SMALL else None
    found, size = [], 0
    for here, names, files in walk(folder / path):
        if ".git" in names + files:
            names.clear()
            continue  # kept as it is, or refused
        links = [name for name in names if Path(here, name).is_symlink()]
        for one in (Path(here, name) for name in [*files, *links]):
            size += one.lstat().st_size
            if size > SMALL:
                return None
            found.append(str(one.relative_to(folder)))
    return found


def _hashed(repository: Repository, content: dict[str, Path], own: Path) -> list[bytes]:
    """Write files into git's store byte for byte, and return them as `git update-index --index-info` reads them."""
    modes, sources = [], []
    for number, path in enumerate(content.values()):
        source = path
        if path.is_symlink():
            source = own / f"link-{number}"
            source.write_bytes(os.fsencode(os.readlink(path)))
        modes.append("120000" if path.is_symlink() else "100755" if path.stat().st_mode & 0o100 else "100644")
        sources.append(source)
    (own / "empty").touch()  # what git notes for a file that is only announced (git add -N)
    quoted = path_lines([*sources, own / "empty"])
    shas = _git(repository, "hash-object", "-w", "--no-filters", "--stdin-paths", stdin=quoted).text.split()
    return [
        b"%s %s\t%s\0" % (mode.encode(), sha.encode(), os.fsencode(name))
        for mode, sha, name in zip(modes, shas, content, strict=False)
    ]


def _commits(repository: Repository, note: dict[str, Any], content: dict[str, Path]) -> list[str]:
    """The commits that would be lost with the session: where it stands, and what its reflogs and git's notes name."""
    named: set[str] = set()
    for path, source in content.items():
        if path.startswith("git/") and path != "git/index":
            named |= set(re.findall(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40})\b", source.read_bytes().decode("latin-1")))
    log = ""
    if note["tip"]:
        log = _git(repository, "rev-list", "--walk-reflogs", f"refs/heads/{note['branch']}", "--").text
    listed = "".join(f"{sha}\n" for sha in sorted(named | set(log.split())))
    told = _git(repository, "cat-file", "--batch-check", stdin=listed.encode()).text.splitlines()
    known = [line.split()[0] for line in told if " commit " in line]
    ends = [sha for sha in (note["tip"], note.get("head")) if sha]
    asked = "".join(f"{sha}\n" for sha in known + [f"^{sha}" for sha in ends])
    only_there = set(_git(repository, "rev-list", "--stdin", stdin=asked.encode()).text.split()) if known else set()
    return list(dict.fromkeys([*ends, *(sha for sha in known if sha in only_there)]))


def _record(repository: Repository, name: str, session_id: str | None, tree: str, parents: Iterable[str]) -> str:
    """Put the saved tree under the trash ref of that name, and what was there from another session on to a number."""
    ref = PREFIX + name
    before = rev(repository, f"{ref}^{{commit}}")
    same = before is not None and session_id is not None and note_of(repository, before).get("id") == session_id
    if same and before is not None and rev(repository, f"{before}^{{tree}}") == tree:
        return before
    chain = [arg for parent in parents for arg in ("-p", parent)]
    commit = _git(repository, "commit-tree", tree, *chain, "-m", f"chatml: removed session {name}").text.strip()
    steps = f"update {ref} {commit} {before or '0' * len(commit)}\n"
    if before is not None and not same:
        numbers = [int(one.rpartition("@")[2]) for one in refs(repository) if one.startswith(f"{name}@")]
        steps += f"create {ref}@{max(numbers, default=0) + 1} {before}\n"
    _git(repository, "update-ref", "--stdin", stdin=steps.encode())
    return commit


def rev(repository: Repository, name: str) -> str | None:
    """The object that `name` means in the repository, or None."""
    return answer(repository.git("rev-parse", "--verify", "--quiet", name, check=False))


def note_of(repository: Repository, commit: str) -> dict[str, Any]:
    """The note in a commit of the trash; empty where it can't be read."""
    raw = repository.git("cat-file", "blob", f"{commit}:note.json", check=False)
    try:
        note = json.loads(raw.stdout)
    except ValueError:
        note = {}
    return note if isinstance(note, dict) else {}


def refs(repository: Repository) -> dict[str, str]:
    """What is in the trash, NAME or NAME@NUMBER, with the time of its removal (ISO 8601), newest first."""
    form = "--format=%(committerdate:unix) %(refname)"
    found = [line.split(" ", 1) for line in repository.git("for-each-ref", form, PREFIX).text.splitlines()]

    def age(one: list[str]) -> tuple[int, float]:
        return int(one[0]), float(one[1].partition("@")[2] or "inf")

    return {ref.removeprefix(PREFIX): stamp(int(when)) for when, ref in sorted(found, key=age, reverse=True)}


def drop(repository: Repository, label: str, commit: str) -> None:
    """Take a session out of the trash."""
    _git(repository, "update-ref", "-d", PREFIX + label, commit)
