"""How sessions meet each other and their bases as all of them are now, and the order that follows from that."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from chatml.changes.conflicts import Due, Merger, settled
from chatml.changes.holding import Held, Known, holding
from chatml.changes.snapshot import scratch_objects
from chatml.errors import ChatmlError
from chatml.landing.proposal import proposed
from chatml.model import Session
from chatml.model.clash import Encounter, Meeting
from chatml.repo import Repository
from chatml.repo.answers import OFFLINE, answer
from chatml.repo.plumbing import NOBODY, is_relative
from chatml.state import conflicts as state
from chatml.state.conflicts import ConflictCache
from chatml.state.locks import lock
from chatml.state.store import Store
from chatml.workspace.glance import looks_the_same, recorded

AT_ONCE = 8
"""Worktrees that are looked at side by side: most of that is waiting for git."""


@dataclass(frozen=True)
class Outlook:
    """What was found."""

    sessions: tuple[Session, ...]
    """Those that were looked at, the oldest first, without what has landed."""
    pairs: tuple[Encounter, ...] = ()
    base: tuple[Encounter, ...] = ()
    """Of each session with its base."""
    ranked: tuple[str, ...] = ()
    """All sessions as they are best landed."""
    held: Mapping[str, Held] = field(default_factory=dict)
    """What they hold, by their names."""
    tips: Mapping[str, str] = field(default_factory=dict)
    """The commits that their bases are at, by their names."""
    landed: tuple[str, ...] = ()
    """The sessions that were left out because all of them has landed."""

    @property
    def order(self) -> tuple[str, ...]:
        """Those of them that bring something, or may."""
        empty = {one.a for one in self.base if one.size == 0}
        return tuple(name for name in self.ranked if name not in empty)


def look(
    repository: Repository,
    store: Store,
    sessions: Iterable[Session],
    focus: Collection[str] | None = None,
    offline: bool = False,
) -> Outlook:
    """Merge each two of these sessions, and each with its base; with `focus`, only what one of those names is in.

    No worktree, index or ref is touched. ChatmlError with a git that can't merge in memory.
    """
    ordered = sorted(sessions, key=lambda one: (one.created_at, one.name))
    cache = state.read(store)
    with scratch_objects(repository.common_dir) as env:
        env = settled(env) | (OFFLINE if offline else {})
        found = _Survey(repository, cache, env, ordered).outlook(focus)
    if cache.changed:
        _remember(store, cache)
    return found


class _Survey:
    """One look at sessions."""

    def __init__(
        self, repository: Repository, cache: ConflictCache, env: Mapping[str, str], sessions: Sequence[Session]
    ) -> None:
        self._repository, self._cache, self._env = repository, cache, env
        self._merger = Merger(repository, cache, env)
        self._tips: dict[str, str] = {}
        self._held = _all_held(repository, sessions, cache.marks, env)
        for held in self._held.values():
            if held.mark is not None and held.commit is not None and not held.recalled:
                cache.marks[held.mark] = (held.commit, held.left_out)
                cache.changed = True
        self._sessions = [one for one in sessions if not self._has_landed(one)]
        for one in sessions:
            self._note_seen(one)
        self._landed = tuple(one.name for one in sessions if one not in self._sessions)

    def outlook(self, focus: Collection[str] | None) -> Outlook:
        wanted = [one for one in self._sessions if focus is None or one.name in focus]
        pairs = [
            (a, b) for a, b in combinations(self._sessions, 2) if focus is None or a.name in focus or b.name in focus
        ]
        self._look_again(self._due(pairs, wanted))
        pair, home = self._due(pairs, wanted)
        made = iter(self._merger.encounters([one for one in (*pair, *home) if isinstance(one, Due)]))
        met, base = ([next(made) if isinstance(one, Due) else one for one in some] for some in (pair, home))
        tips = {one.name: self._tip(one) for one in self._sessions}
        ranked = tuple(_ranked(wanted, met, base))
        if focus is not None:  # it is asked for what those do to others
            met = [one if one.a in focus else one.turned() for one in met]
        return Outlook(tuple(self._sessions), tuple(met), tuple(base), ranked, self._held, tips, self._landed)

    def _due(
        self, pairs: Sequence[tuple[Session, Session]], wanted: Sequence[Session]
    ) -> tuple[list[Due | Encounter], list[Due | Encounter]]:
        """What is to be merged: the pairs, and those that are wanted with their bases; what can't be is settled."""
        return [self._pair(a, b) for a, b in pairs], [self._home(one) for one in wanted]

    def _pair(self, a: Session, b: Session) -> Due | Encounter:
        ours, theirs = self._held[a.name], self._held[b.name]
        if ours.commit is None or theirs.commit is None:
            return Encounter(a.name, b.name, Meeting.UNKNOWN, why=_why([(a, ours), (b, theirs)]))
        return Due(a.name, b.name, ours.commit, theirs.commit, self._tip(a))

    def _home(self, session: Session) -> Due | Encounter:
        own = self._held[session.name]
        if own.commit is None:
            return Encounter(session.name, session.base.ref, Meeting.UNKNOWN, why=_why([(session, own)]))
        tip = self._tip(session)
        return Due(session.name, session.base.ref, own.commit, self._with_landed(session, tip), tip, sized=True)

    def _look_again(self, due: tuple[list[Due | Encounter], list[Due | Encounter]]) -> None:
        """Have those commits made again that are only remembered, and needed now."""
        missing = self._merger.missing([one for some in due for one in some if isinstance(one, Due)])
        names = {name for one in missing for name in (one.a, one.b)}
        again = [one for one in self._sessions if one.name in names and self._held[one.name].recalled]
        self._held |= _all_held(self._repository, again, {}, self._env)

    # --- bases --------------------------------------------------------------------------------------------------

    def _tip(self, session: Session) -> str:
        """The commit that a session's base is at now; the one that it was at, where that can't be told."""
        ref, commit = session.base.ref, session.base.commit
        if ref == commit or is_relative(ref):
            return commit
        if ref not in self._tips:
            asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
            found = answer(self._repository.git(*asked, check=False))
            self._tips[ref] = (found or "").removeprefix("--end-of-options\n")  # which git before 2.43 repeats
        return self._tips[ref] or commit

    def _has_landed(self, session: Session) -> bool:
        """Whether `merge` has landed all that the session holds in its base."""
        own = session.landed_as
        return own is not None and self._held[session.name].commit == own.tip and self._is_in(own.commit, session)

    def _with_landed(self, session: Session, tip: str) -> str:
        """The base, as a commit that has what has come there of the session by another commit."""
        own = session.landed_as
        if own is None or not self._is_in(own.commit, session):
            return tip
        dates = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}
        made = ("commit-tree", f"{tip}^{{tree}}", "-p", tip, "-p", own.tip, "-m", "-")
        return self._repository.git(*made, env={**self._env, **NOBODY, **dates}).text.strip()

    def _is_in(self, commit: str, session: Session) -> bool:
        asked = ("merge-base", "--is-ancestor", commit, self._tip(session))
        return self._repository.git(*asked, check=False, env=self._env).code == 0

    def _note_seen(self, session: Session) -> None:
        """Remember what the session is, for those who only look at its record (`sessions.conflicts`)."""
        commit = self._held[session.name].commit
        if commit is not None and (said := recorded(session)) is not None and looks_the_same(session):
            self._cache.note_seen(session.id, (said, commit, self._merger.how(self._tip(session))))


def _ranked(sessions: Sequence[Session], pairs: Iterable[Encounter], base: Iterable[Encounter]) -> list[str]:
    homes = {one.a: one for one in base}
    counts = Counter(name for one in pairs if one.meeting is Meeting.CONFLICT for name in (one.a, one.b))
    counts.update(name for name, one in homes.items() if one.meeting is Meeting.CONFLICT)
    return [one.name for one in proposed(sessions, counts, {name: one.size for name, one in homes.items()})]


def in_order(repository: Repository, store: Store, sessions: Sequence[Session]) -> list[Session]:
    """The sessions as they are best landed, all of them; by what their records say where git can't merge in memory."""
    if len(sessions) < 2:
        return list(sessions)
    try:
        ranked = look(repository, store, sessions).ranked
    except ChatmlError:
        return proposed(sessions, {}, {})
    by_name = {one.name: one for one in sessions}
    return [by_name[name] for name in ranked] + [one for one in sessions if one.name not in ranked]


def _all_held(
    repository: Repository, sessions: Sequence[Session], known: Known, env: Mapping[str, str]
) -> dict[str, Held]:
    from concurrent.futures import ThreadPoolExecutor  # here alone: the names of commands are listed without

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda one: holding(repository, one, known, env), sessions)
        return {session.name: held for session, held in zip(sessions, found, strict=True)}


def _why(sides: Iterable[tuple[Session, Held]]) -> str:
    return "; ".join(f"{session.name}: {held.why}" for session, held in sides if held.commit is None)


def _remember(store: Store, cache: ConflictCache) -> None:
    """Write down what was found, beside what others have written meanwhile; a full disk is no reason to stop."""
    with contextlib.suppress(OSError, ChatmlError):
        store.root.mkdir(parents=True, exist_ok=True)
        with lock(store.conflicts_lock):
            state.write(store, state.merged(cache, state.read(store)))
