"""What two sides do to the same files: a merge of all that they hold, made in memory and shown as git shows changes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from chatml import repo
from chatml.changes.compare import ALIKE, EXACT_ENV, SETTLED, compare
from chatml.changes.crossing import Crossing, Party, Workbench
from chatml.changes.snapshot import beside
from chatml.model import Session
from chatml.repo import Repository, git
from chatml.repo.answers import answer, holds
from chatml.repo.plumbing import is_relative

HEAD = "%C(yellow)%s%C(reset)%+b"
"""Above the changes of each part, what it is."""


@dataclass(frozen=True)
class Between:
    """What two sides do to the same files, in parts, for as long as it is looked at.

    The parts are commits that are on no branch, each on top of where the two have parted.
    """

    at: Path
    """Where git runs: the paths are relative to it."""
    env: Mapping[str, str]
    since: str
    """Where the two have parted."""
    parts: tuple[str, ...]
    """What conflicts, then what each of the two does where they merge cleanly; only those that there are."""
    whole: Callable[[], str]
    """Makes a commit with all of it, as it is merged."""
    paths: tuple[str, ...] = ()
    """Only these, as git's pathspecs; none for all."""
    notes: tuple[str, ...] = ()
    """What a person has to know about it, a sentence each."""

    def differs(self) -> bool:
        """Whether there is anything to show. GitError for a path that git doesn't take."""
        return bool(self._shown)

    def show_usual(self, *form: str) -> int:
        """Have git itself print it as the person's settings have it, through their pager; returns git's exit code."""
        if "--name-only" in form:
            return repo.show("diff", *form, self.since, self.whole(), "--", *self.paths, at=self.at, env=self.env)
        settled = ("--no-show-signature", "--encoding=UTF-8", f"--format=format:{HEAD}%n")
        return repo.show("show", *settled, *form, *self._shown, "--", *self.paths, at=self.at, env=self.env)

    def show_exact(self, *form: str) -> int:
        """The same, whatever the person's settings."""
        if "--name-only" in form:
            return self._show_exact(*form, self.since, self.whole())
        for number, part in enumerate(self._shown):
            head = f"--format=tformat:{'%n' if number else ''}{HEAD}"
            if code := self._show_exact("--always", "--encoding=UTF-8", head, *form, part):
                return code
        return 0

    def _show_exact(self, *args: str) -> int:
        command = (*SETTLED, "diff-tree", "-r", *ALIKE, *args, "--", *self.paths)
        return repo.show(*command, at=self.at, env={**self.env, **EXACT_ENV})

    @cached_property
    def _shown(self) -> list[str]:
        """The parts that have something at the paths; all, without any: a conflict may leave nothing that differs."""
        return [part for part in self.parts if not self.paths or self._is_changed(part)]

    def _is_changed(self, part: str) -> bool:
        command = (*SETTLED, "diff-tree", "-r", *ALIKE, "--quiet", self.since, part, "--", *self.paths)
        return not holds(git(*command, at=self.at, env=self.env, check=False))


@contextlib.contextmanager
def between(
    repository: Repository,
    session: Session,
    other: Session,
    start: Path | None = None,
    paths: tuple[str, ...] = (),
    only_conflicts: bool = False,
) -> Iterator[Between]:
    """What two sessions do to the same files, since they have parted. `start` and `paths`, and errors, as of `compare`.

    ChatmlError too with a git that can't merge in memory, and for two without a common history.
    """
    with (
        compare(repository, session, start, paths) as ours,
        compare(repository, other) as theirs,
        beside(repository.common_dir, ours.now, theirs.now) as env,
    ):
        bench = Workbench(repository, env)
        sides = (bench.party(session, ours), bench.party(other, theirs))
        met = Crossing(bench, sides, _tip(repository, session))
        env = {**ours.now.env, **env}
        conflicts = met.conflicts(f"Conflicts of {session.name} and {other.name}", _only(met, ours.at, env, paths))
        clean = () if only_conflicts else met.clean()
        shared = met.disputed | ({path for change in met.shared for path in change} if clean else set())
        notes = [f"{one.name}: {note}" for one, held in ((session, ours), (other, theirs)) for note in held.notes]
        notes += met.newer(session, ours, other, shared)
        notes += met.newer(other, theirs, session, shared)
        shown = (*conflicts, *clean)
        yield Between(ours.at, env, met.since, shown, partial(met.whole, shared), paths, tuple(notes))


@contextlib.contextmanager
def with_base(
    repository: Repository, session: Session, start: Path | None = None, paths: tuple[str, ...] = ()
) -> Iterator[Between]:
    """What conflicts between a session and its base as that is now. Errors as of `between`."""
    with compare(repository, session, start, paths) as held, beside(repository.common_dir, held.now) as env:
        bench = Workbench(repository, env)
        tip = _tip(repository, session)
        known = [tip, *_landed(repository, session, tip)]
        base = Party(session.base.ref, bench.commit(f"{tip}^{{tree}}", known, session.base.ref))
        met = Crossing(bench, (base, bench.party(session, held)), tip)
        env = {**held.now.env, **env}
        shown = met.conflicts(f"Conflicts of {session.name} with {base.label}", _only(met, held.at, env, paths))
        yield Between(held.at, env, met.since, shown, partial(met.whole, met.disputed), paths, held.notes)


def _only(met: Crossing, at: Path, env: Mapping[str, str], paths: tuple[str, ...]) -> Set[str] | None:
    """The names of what conflicts at these paths; None for all. GitError for a path that git doesn't take."""
    if not paths or not met.disputed:
        return None
    form = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-relative", "--ignore-submodules=none")
    found = git(*form, met.since, met.whole(met.disputed), "--", *paths, at=at, env=env).text
    return set(found.split("\0"))


def _tip(repository: Repository, session: Session) -> str:
    """Where the session's base is now; where it was, if that can't be told any more."""
    ref, commit = session.base.ref, session.base.commit
    if ref == commit or is_relative(ref):
        return commit
    asked = ("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    return answer(repository.git(*asked, check=False)) or commit


def _landed(repository: Repository, session: Session, tip: str) -> Iterator[str]:
    """The session's own commit of which the base has all, though by another commit."""
    own = session.landed_as
    if own is not None and repository.git("merge-base", "--is-ancestor", own.commit, tip, check=False).code == 0:
        yield own.tip
