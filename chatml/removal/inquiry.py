"""Finds out which sessions have landed, and remembers it with the commits that it holds for.

Those are the session's own and those of every ref where it may have landed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256

from chatml.errors import ChatmlError
from chatml.model import Session
from chatml.project import Project
from chatml.record import altered
from chatml.removal import planning
from chatml.repo import Repository
from chatml.state import landed
from chatml.state.landed import Arrival, Arrivals

FEW = 8
"""Sessions that are looked at however long that takes."""

AT_ONCE = 4
"""Sessions that are looked at beside each other."""


@dataclass(frozen=True)
class Refs:
    """Where every branch is, here and as last seen on remotes, read at once."""

    commits: dict[str, str]
    """By full names."""
    heads: tuple[str, ...]
    """What is checked out in the main checkout, and what the remotes call their default."""

    @classmethod
    def read(cls, repository: Repository) -> Refs:
        """As they are now. GitError."""
        form = "%(objectname)%00%(refname)%00%(HEAD)"
        rows = repository.git("for-each-ref", f"--format={form}", "refs/heads", "refs/remotes").text.splitlines()
        parts = [row.split("\0") for row in rows]
        heads = (name for _, name, mark in parts if mark == "*" or name.endswith("/HEAD"))
        return cls({name: commit for commit, name, _ in parts}, tuple(heads))

    def tip(self, session: Session) -> str | None:
        return self.commits.get(f"refs/heads/{session.branch}")

    def homes(self, session: Session) -> str:
        """The commits of all refs where the session may have landed, and more, in few letters."""
        into = session.landed_as.into if session.landed_as else ""
        return self._digest(session.base.ref, into)

    @cached_property
    def _digest(self) -> Callable[[str, str], str]:
        return cache(self._digested)

    def _digested(self, base: str, into: str) -> str:
        """Every ref whose last word is that of the base, wherever it is; all of them for a name such as `HEAD~2`."""
        last = {base.rpartition("/")[2], *([into.rpartition("/")[2]] if into else [])}
        relative = any(letter in base for letter in "~^:@") or base == "HEAD"
        names = {*self.heads, *(name for name in self.commits if relative or name.rpartition("/")[2] in last)}
        text = "\n".join(f"{name} {self.commits[name]}" for name in sorted(names))
        return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


# --- finding out ------------------------------------------------------------------------------------------------


class Inquiry:
    """Finds out about sessions of which nothing is known, or not any more."""

    def __init__(self, project: Project, known: Arrivals, until: float | None) -> None:
        """`until` is when there is no more time, by the monotonic clock."""
        self.project, self.known, self.until = project, known, until
        self.times = landed.times(project.store)
        self.refs = Refs.read(project.repo)

    def about(self, sessions: Sequence[Session]) -> dict[str, bool | None]:
        """What is found out about each of them; None where it is not, and where there was no time left."""
        known: dict[str, Arrival] = {}
        due = []
        for one in sessions:
            arrival = self._without_looking(one)
            if arrival is None:
                due.append(one)
            else:
                known[one.id] = arrival
        asked = self._asked(due)
        self._remember(sessions, known, asked)
        told = {**known, **asked}
        return {one.id: told[one.id].landed if one.id in told else None for one in sessions}

    def _without_looking(self, session: Session) -> Arrival | None:
        """What can be said without a look at what the session has."""
        fresh = self._fresh(session)
        if not fresh.tip:
            return fresh
        own = session.landed_as
        if fresh.tip == session.base.commit and (own is None or own.tip != fresh.tip):
            return altered(fresh, landed=False)  # it brought nothing
        before = self.known.of(session.id)
        same = before is not None and (before.tip, before.homes, before.seen) == (fresh.tip, fresh.homes, fresh.seen)
        return before if same else None

    def _fresh(self, session: Session) -> Arrival:
        """One that says nothing yet."""
        return Arrival(self.refs.tip(session) or "", self.refs.homes(session), session.changes_seen or "")

    def _asked(self, due: Sequence[Session]) -> dict[str, Arrival]:
        """What becomes of as many of these as there is time for, the likeliest to have landed first."""
        if not due:
            return {}
        ordered = sorted(due, key=lambda one: one.updated_at, reverse=True)
        ordered.sort(key=lambda one: not (one.landed_as or (one.pr and not one.pr.open)))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            asked = zip(ordered, pool.map(self._ask, ordered, map(FEW.__gt__, range(len(ordered)))), strict=True)
            return {one.id: arrival for one, arrival in asked if arrival is not None}

    def _ask(self, session: Session, in_any_case: bool) -> Arrival | None:
        if not in_any_case and self.until is not None and time.monotonic() >= self.until:
            return None
        fresh = self._fresh(session)
        try:
            found = planning.home(self.project, session)
        except (ChatmlError, OSError):
            return fresh
        if found.tip != fresh.tip:
            return None  # it moves just now
        return altered(fresh, landed=found.landed)

    def _remember(self, sessions: Sequence[Session], known: dict[str, Arrival], asked: dict[str, Arrival]) -> None:
        """Keep what was found out, but of those whose refs have moved meanwhile."""
        if asked:
            now = Refs.read(self.project.repo)
            still = {one.id for one in sessions if now.homes(one) == self.refs.homes(one)}
            asked = {session_id: arrival for session_id, arrival in asked.items() if session_id in still}
        if known or asked:
            landed.remember(self.project.store, self.times, {**known, **asked})
