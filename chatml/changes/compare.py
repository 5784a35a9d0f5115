"""What a session would bring to its base: in numbers, file by file, and as git shows it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from chatml import repo
from chatml.changes import inner
from chatml.changes.scope import named, outside
from chatml.changes.snapshot import Snapshot, State, snapshot, snapshot_of
from chatml.changes.standing import WorktreeGoneError
from chatml.model import Base, Changes, FileChange, Session
from chatml.repo import Repository, git
from chatml.repo.answers import holds

SETTLED = ("-c", "diff.suppressBlankEmpty=false")
"""Plumbing reads few of the person's settings; this and `ALIKE` close those that it does read."""

ALIKE = (
    "-M", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none", "--submodule=short", "--no-relative",
    f"-O{os.devnull}", "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip
"""Options of plumbing for a diff that is the same for everybody."""

EXACT = (*SETTLED, "diff-index", "--cached", *ALIKE)
"""Such a diff with what the index holds."""

EXACT_ENV = {"GIT_DIFF_OPTS": ""}
"""A context of -u0 set there would win over any option, and `git apply` refuses that."""

PATCH = ("-p", "--binary", "--full-index")
"""All that `git apply` needs."""

STATUS = {"A": "added", "M": "modified", "D": "deleted", "R": "renamed", "C": "copied", "T": "type-changed"}
"""Git's letters (git-diff(1), --diff-filter) in the words of the JSON contract."""


@dataclass(frozen=True)
class Comparison:
    """A session held still beside its base, for as long as it is looked at."""

    at: Path
    """Where git runs: the paths are relative to it."""
    since: str
    """The merge base with the base as it is now."""
    now: Snapshot
    top: Path | None = None
    """The worktree; None where it is gone, or only what is committed counts."""
    paths: tuple[str, ...] = ()
    """Only these, as git's pathspecs; none for all."""
    notes: tuple[str, ...] = ()
    """What a person has to know about what is compared, a sentence each."""
    strayed: tuple[str, ...] = ()
    """The changed paths that are out of the session's scope."""

    def differs(self) -> bool:
        """Whether there is any change. GitError for a path that git doesn't take."""
        result = git(*EXACT, "--quiet", *self._sides, at=self.at, env=self.now.env, check=False)
        return not holds(result)

    def exact(self, *form: str) -> bytes:
        """The changes in the form of these options (`PATCH`, `--stat`, …), whatever the person's settings."""
        return git(*EXACT, *form, *self._sides, at=self.at, env={**self.now.env, **EXACT_ENV}).stdout

    def show_exact(self, *form: str) -> int:
        """Have git itself print what `exact` returns; returns git's exit code."""
        return repo.show(*EXACT, *form, *self._sides, at=self.at, env={**self.now.env, **EXACT_ENV})

    def usual(self, *form: str) -> str:
        """The changes as the person's settings have them."""
        return git("diff", "--cached", *form, *self._sides, at=self.at, env=self.now.env, as_person=True).text

    def show_usual(self, *form: str) -> int:
        """Have git itself print what `usual` returns, through the person's pager; returns git's exit code."""
        return repo.show("diff", "--cached", *form, *self._sides, at=self.at, env=self.now.env)

    @cached_property
    def files(self) -> list[FileChange]:
        """Every changed path, in path order."""
        return [
            FileChange(path, old, status, *counts, self._head == self.since or bool({path, old} & self.uncommitted))
            for status, old, path, counts, _ in self._entries
        ]

    @cached_property
    def nested(self) -> list[str]:
        """The changed paths that are repositories of their own, and no submodules: git takes none of their files."""
        return inner.nested(self.at, self.now, self._links)

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """What of the worktree can't come along with the changes, a sentence each."""
        return tuple(inner.left_out(self.top, self.now, self._links, self.nested))

    @property
    def _links(self) -> dict[str, str]:
        return {path: commit for _, _, path, _, commit in self._entries if commit is not None}

    @cached_property
    def _entries(self) -> list[Entry]:
        return list(_parse(self.exact("--raw", "--numstat", "-z")))

    @cached_property
    def changes(self) -> Changes:
        """The same in numbers."""
        started = self._head == self.since
        commits = "0" if started else self._ask("rev-list", "--count", f"{self.since}..{self._head}")
        return Changes(
            len(self.files),
            sum(file.insertions or 0 for file in self.files),
            sum(file.deletions or 0 for file in self.files),
            int(commits),
            bool(self.files if started else self.uncommitted),
            len(self.left_out),
        )

    @cached_property
    def commits(self) -> list[tuple[str, str]]:
        """Each commit that the base doesn't have, oldest first: its id and its subject."""
        if self._head == self.since:
            return []
        said = self._ask("rev-list", "--reverse", "--format=%s", f"{self.since}..{self._head}").split("\n")
        return [(head.removeprefix("commit "), subject) for head, subject in zip(said[::2], said[1::2], strict=False)]

    @cached_property
    def uncommitted(self) -> frozenset[str | None]:
        """The paths that differ from the commit checked out."""
        return frozenset(self.names(self._head))

    def names(self, since: str) -> list[str]:
        """The paths that differ from a commit, of a rename both: needs nobody's content, so fetches nothing."""
        form = ("--cached", "--name-only", "-z", "--no-renames", "--ignore-submodules=none")
        return [name for name in self._ask("diff-index", *form, since, "--", *self.paths).split("\0") if name]

    def _ask(self, *args: str) -> str:
        return git(*args, at=self.at, env=self.now.env).text

    @property
    def _head(self) -> str:
        return self.now.head or self.since

    @property
    def _sides(self) -> tuple[str, ...]:
        return (self.since, "--", *self.paths)


Entry: TypeAlias = tuple[str, str | None, str, tuple[int | None, int | None], str | None]
"""A changed path: status, old path, path, lines added and removed; and the commit, where it is another repository."""


def _parse(output: bytes) -> Iterator[Entry]:
    """What `--raw --numstat -z` says."""
    fields = iter(output.decode("utf-8", "surrogateescape").split("\0"))
    entries, counts = [], {}
    for field in fields:
        if field.startswith(":"):
            _, mode, _, commit, letters = field.split(" ")
            letter, link = letters[0], commit if mode == "160000" else None
            old = next(fields) if letter in "RC" else None
            entries.append((STATUS[letter], old, next(fields), link))
        elif field:
            added, removed, path = field.split("\t", 2)
            if not path:  # a rename: both names follow as fields of their own
                next(fields)
                path = next(fields)
            counts[path] = (None, None) if added == "-" else (int(added), int(removed))
    for status, old, path, link in entries:
        yield status, old, path, counts.get(path, (0, 0)), link


@contextlib.contextmanager
def compare(
    repository: Repository,
    session: Session,
    start: Path | None = None,
    paths: tuple[str, ...] = (),
    offline: bool = False,
) -> Iterator[Comparison]:
    """The session's changes as they are now, to be asked for within the block; `offline`, nothing is fetched for it.

    `paths` are relative to `start` where that lies in the worktree, else to the worktree's top. What the branch
    holds, where the worktree is gone. ChatmlError where that is gone too, or where something else stands there.
    """
    worktree = Path(session.worktree)
    with contextlib.ExitStack() as stack:
        try:
            now = stack.enter_context(snapshot(repository.common_dir, worktree, offline))
        except WorktreeGoneError as error:
            if repository.tip(session.branch) is None:
                raise
            held = stack.enter_context(committed(repository, session, paths, offline))
            yield _noted(session, held, f"{error.message}; this is what its branch holds")
        else:
            at = start if start is not None and _inside(start, worktree) else worktree
            comparison = Comparison(at, _since(at, session.base, now), now, worktree, paths)
            yield _noted(session, comparison, *_elsewhere(session, now))


@contextlib.contextmanager
def committed(
    repository: Repository, session: Session, paths: tuple[str, ...] = (), offline: bool = False
) -> Iterator[Comparison]:
    """What the session's branch holds, without its worktree. GitError where the branch is gone."""
    at = repository.common_dir
    tip = repository.git("rev-parse", "--verify", f"refs/heads/{session.branch}^{{commit}}").text.strip()
    with snapshot_of(tip, at, offline) as now:
        yield Comparison(at, _since(at, session.base, now), now, None, paths)


def _since(at: Path, base: Base, now: Snapshot) -> str:
    """The merge base with the base as it is now."""
    return repo.merge_base(at, now.head or base.commit, base.ref, base.commit, now.env)


def _noted(session: Session, comparison: Comparison, *notes: str) -> Comparison:
    """The comparison with what a person has to know about it."""
    left_out = (f"left out: {sentence}" for sentence in comparison.left_out)
    return _fenced(session, replace(comparison, notes=(*notes, *left_out)))


def _fenced(session: Session, comparison: Comparison) -> Comparison:
    """The comparison with what is out of the session's scope, and a note about it."""
    out = _strayed(session, comparison)
    if not out:
        return comparison
    note = f"out of the session's scope ({', '.join(session.terms.scope)}): {named(out)}"
    return replace(comparison, notes=(*comparison.notes, note), strayed=tuple(out))


def strayed(common_dir: Path, session: Session) -> list[str]:
    """The paths that the session has changed out of its scope, as its worktree is now. ChatmlError without one."""
    worktree = Path(session.worktree)
    with snapshot(common_dir, worktree) as now:
        return _strayed(session, Comparison(worktree, _since(worktree, session.base, now), now))


def _strayed(session: Session, comparison: Comparison) -> list[str]:
    if not session.terms.scope:
        return []
    out = outside(session.terms.scope, comparison.names(comparison.since))
    if out and session.checkout.scope_start is not None:
        own = comparison.names(session.checkout.scope_start)
        out = [path for path in out if path in own]
    return out


def _inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _elsewhere(session: Session, now: Snapshot) -> tuple[str, ...]:
    where = f"on '{now.branch}'" if now.branch else "on no branch"
    return () if now.branch == session.branch else (f"its worktree is {where}, not on '{session.branch}'",)


def measure(common_dir: Path, worktree: Path, base: Base) -> Changes:
    """All that is in the worktree, in numbers, against the merge base with the base as it is now.

    Fetches nothing: GitError where a partial clone lacks what it takes. Other errors as of `snapshot`.
    """
    return measure_files(common_dir, worktree, base).changes


@dataclass(frozen=True)
class Measured:
    """What a session would bring to its base, and what stands there."""

    changes: Changes
    paths: list[str]
    """The changed paths in their order."""
    state: State | None
    """None where nobody asked for it: it is one more question to git."""


def measure_files(common_dir: Path, worktree: Path, base: Base, with_state: bool = False) -> Measured:
    """The same as `measure`, with the paths, and with what the worktree holds where that is wanted."""
    with snapshot(common_dir, worktree, offline=True) as now:
        found = Comparison(worktree, _since(worktree, base, now), now, worktree)
        return _measured(found, with_state)


def measure_branch(common_dir: Path, tip: str, base: Base, with_state: bool = False) -> Measured:
    """The same for what a branch holds whose worktree is gone."""
    with snapshot_of(tip, common_dir, offline=True) as now:
        return _measured(Comparison(common_dir, _since(common_dir, base, now), now), with_state)


def _measured(found: Comparison, with_state: bool) -> Measured:
    state = found.now.state(found.at) if with_state else None
    return Measured(found.changes, [file.path for file in found.files], state)
