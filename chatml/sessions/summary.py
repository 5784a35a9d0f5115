"""What came of sessions: what each did, changed and ran, what several have changed, and what to do next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from itertools import combinations
from typing import Any

from chatml.changes.compare import Comparison, compare
from chatml.errors import ChatmlError, Kind, of_machine
from chatml.landing import describe, landed
from chatml.model import Session, Status, now, parse_time
from chatml.model.event import Event, StatusChanged, ToolCall, ToolResult
from chatml.project import Project
from chatml.record import record
from chatml.sessions import find
from chatml.sessions.conflicts import with_conflicts
from chatml.sessions.recount import filled, recount
from chatml.sessions.running import with_services
from chatml.sessions.tested import RanTests, runs_of
from chatml.state import log

AT_ONCE = 8
"""Sessions that are looked at side by side: most of that is waiting for git."""

MORE: Mapping[str, str] = {Kind.BUDGET.value: "--max-budget-usd +2", Kind.MAX_TURNS.value: "--max-turns +10"}
"""What a session needs to go on that has used up a limit."""


@record(frozen=True)
class Summary:
    """One session, and what came of it so far."""

    session: Session
    """With its changes as they are now; `not_counted` says why they could not be found out."""
    commits: tuple[tuple[str, str], ...] | None = None
    """The ids and subjects of its commits, oldest first; None where that could not be found out."""
    paths: frozenset[str] | None = None
    """All that it has changed, of what it renamed both names; None where that could not be found out."""
    tests: tuple[RanTests, ...] | None = None
    """None where its log can't be read."""
    duration_s: float | None = None
    """Seconds from its first worker's start until it last came to rest, or until now; None where none has started."""
    landed: bool = False
    """Whether all that it has committed is known to have landed."""
    pushed: bool = False
    """Whether its pull request has all that it has committed."""
    notes: tuple[str, ...] = ()
    """What a person has to know about it, a sentence each."""
    head: str | None = None
    """The commit that it is at."""
    loose: frozenset[str | None] = frozenset()
    """The paths of which something is not committed."""
    built_on: frozenset[str] = frozenset()
    """Of one that came after others: the tips of all branches that it has in it."""
    here: bool = False
    """Whether there is no remote for `pr`: then it lands here."""
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The paths that others of these sessions have changed too, each with the names of all that did."""

    @property
    def result(self) -> str | None:
        """The first paragraph of the agent's last answer."""
        return first_paragraph(self.session.result)

    @property
    def check(self) -> Mapping[str, Any] | None:
        """The command that had to pass, and whether it did, as in the contract; None without one."""
        known: Mapping[str, Any] | None = self.session.public().get("check")
        return known

    @property
    def next(self) -> str:
        """The command that goes on from here."""
        return shlex.join(["chatml", *_next(self)])

    def to_json(self) -> dict[str, Any]:
        public = self.session.public()
        commits = None if self.commits is None else [{"commit": i, "subject": text} for i, text in self.commits]
        return {
            "name": self.session.name,
            "status": public["status"],
            "result": self.result,
            "commits": commits,
            "changes": public["changes"],
            "tests": None if self.tests is None else [dict(vars(one)) for one in self.tests],
            "check": self.check,
            "cost_usd": public["cost_usd"],
            "duration_s": self.duration_s,
            "conflicts": public["conflicts"],
            "shared_files": None if self.paths is None else {path: list(names) for path, names in self.shared.items()},
            "url": self.session.pr.url if self.session.pr else None,
            "next": self.next,
            "services": public["services"],
        }


def summarize(project: Project, found: Sequence[Session]) -> list[Summary]:
    """What came of these sessions, in their order."""
    from concurrent.futures import ThreadPoolExecutor  # here alone: the names of commands are listed without

    placed = with_services(project, find.with_places(project, found))
    sessions = with_conflicts(project, recount(project, placed))
    look = _Look(project)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        summaries = list(pool.map(look.summary, sessions))
    shared = shared_paths(summaries)
    return [
        replace(one, shared={path: names for path, names in shared.items() if one.session.name in names})
        for one in summaries
    ]


def shared_paths(summaries: Iterable[Summary]) -> dict[str, tuple[str, ...]]:
    """The paths that several of them have changed, in their order, with the names of these sessions.

    One that came after another, and has in it all that the other did to a path, doesn't clash with it there.
    """
    found: dict[str, list[Summary]] = {}
    for one in summaries:
        for path in one.paths or ():
            found.setdefault(path, []).append(one)
    shared = ((path, _clashing(path, found[path])) for path in sorted(found) if len(found[path]) > 1)
    return {path: names for path, names in shared if names}


def _clashing(path: str, changed_by: Sequence[Summary]) -> tuple[str, ...]:
    """Those of the sessions that have changed a path beside another one."""
    names: set[str] = set()
    for one, other in combinations(changed_by, 2):
        if not (_has(one, other, path) or _has(other, one, path)):
            names |= {one.session.name, other.session.name}
    return tuple(sorted(names))


def _has(one: Summary, other: Summary, path: str) -> bool:
    """Whether a session has in it all that another one did to a path."""
    return other.head in one.built_on and path not in other.loose


def first_paragraph(answer: str | None) -> str | None:
    """The first paragraph of an answer that is no heading; None without an answer."""
    paragraphs = [one for one in re.split(r"\n[ \t]*\n", (answer or "").strip()) if one.strip()]
    bodies = [re.sub(r"\A#{1,6} .*\n?", "", one).strip() for one in paragraphs]
    return next(filter(None, [*bodies, *paragraphs]), None)


# --- one session ------------------------------------------------------------------------------------------------


class _Look:
    """One look at sessions of a project, from several threads."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._here = False
        with suppress(ChatmlError):  # what git can't be asked is told of each session
            self._here = not project.repo.git("remote").text and project.repo.setting("remote.pushDefault") is None
        self._news: dict[tuple[str, str], bool] = {}
        """Whether there is anything new where sessions land, by their base and the commit that they have left it at."""

    def summary(self, session: Session) -> Summary:
        """What came of the session, as far as that can be found out."""
        summary = self._looked_back(session)
        if not filled(session):
            return replace(summary, commits=(), paths=frozenset())
        if session.seen.not_counted is not None:
            return summary
        try:
            with compare(self.project.repo, session, offline=True) as comparison:
                return self._measured(summary, comparison)
        except (ChatmlError, OSError) as error:
            failure = of_machine(error) if isinstance(error, OSError) else error
            unknown = replace(session, changes=None, check=session.check and session.check.seen(None)).with_seen(
                not_counted=failure.message, not_counted_hint=failure.hint
            )
            return replace(summary, session=unknown)

    def _looked_back(self, session: Session) -> Summary:
        """What the session's log tells."""
        path = self.project.store.session(session.name).events
        try:
            events = log.only(path, StatusChanged, ToolCall, ToolResult)
        except OSError as error:
            return Summary(session, notes=(f"its log can't be read: {of_machine(error).message}",))
        return Summary(session, tests=runs_of(events, session.worktree), duration_s=duration(session, events))

    def _measured(self, summary: Summary, comparison: Comparison) -> Summary:
        head = comparison.now.head
        session = _as_it_stands(summary.session, comparison)
        return replace(
            summary,
            session=session,
            head=head,
            loose=comparison.uncommitted,
            built_on=self._built_on(session, head),
            here=self._here,
            commits=tuple(comparison.commits),
            paths=frozenset(comparison.names(comparison.since)),
            notes=(*summary.notes, *comparison.notes),
            landed=self._landed(summary.session, comparison),
            pushed=head is not None and head == summary.session.pushed,
        )

    def _built_on(self, session: Session, head: str | None) -> frozenset[str]:
        if head is None or not session.terms.after:
            return frozenset()
        tips = self.project.repo.git("for-each-ref", "--format=%(objectname)", f"--merged={head}", "refs/heads/")
        return frozenset(tips.text.split())

    def _landed(self, session: Session, comparison: Comparison) -> bool:
        """Whether what it has committed is known to have landed; only asked where the next step depends on it."""
        head, since = comparison.now.head, comparison.since
        if session.status is not Status.DONE or head in (None, since) or not comparison.files:
            return False
        key = (session.base.ref, since)
        try:
            if key not in self._news:
                self._news[key] = landed.news(self.project.repo, session, since)
            return self._news[key] and landed.landed_in(self.project.repo, session, head or since) is not None
        except ChatmlError:
            return False  # could not be found out: then it is still to be landed


def _as_it_stands(session: Session, comparison: Comparison) -> Session:
    checked = session.check and session.check.seen(comparison.now.state(comparison.at))
    return replace(session, changes=comparison.changes, check=checked)


def duration(session: Session, events: Iterable[Event]) -> float | None:
    """Seconds from the first worker's start until the session last came to rest, or until now; None before."""
    changes = [(event.time, event.what.status) for event in events if isinstance(event.what, StatusChanged)]
    if not changes:
        return None
    start = next((time for time, status in changes if status == Status.PREPARING.value), session.created_at)
    end = changes[-1][0]
    if session.status.active:
        end = now()
    elif session.status is Status.CRASHED:
        end = max(end, session.updated_at)  # nobody wrote down when it ended: this is the last sign of life
    return max(0.0, round((parse_time(end) - parse_time(start)).total_seconds(), 3))


# --- what to do next --------------------------------------------------------------------------------------------


def _next(summary: Summary) -> list[str]:
    """The words of the next command, behind `chatml`: answer, fix, land, remove; look on where it is at work."""
    session = summary.session
    name = session.name
    if session.status is Status.WAITING and session.requests:
        first = session.requests[0]
        if first.kind == "question":
            return ["attach", name]  # shows what can be answered, and takes the answer
        return ["approve", name, *(["--id", first.id] if len(session.requests) > 1 else [])]
    if session.status is Status.FAILED:
        return _fix(session)
    if session.status in (Status.CRASHED, Status.STOPPED):
        return ["resume", name]
    if session.status is not Status.DONE:
        return ["resume" if session.seen.stuck else "attach", name]
    return _land(summary)


def _fix(session: Session) -> list[str]:
    kind = session.error.kind if session.error else None
    if kind == Kind.SCOPE.value:
        return ["diff", session.name]
    if kind == Kind.CHECK.value:
        return ["show", session.name]
    return ["resume", session.name, *MORE.get(kind or "", "").split()]


def _land(summary: Summary) -> list[str]:
    session, counted = summary.session, summary.session.changes
    name, state = session.name, session.pr.state if session.pr else None
    if counted is None:
        return ["show", name]  # says why it could not be found out what it has changed
    if counted.left_out:
        return ["diff", name]  # names what can be neither landed nor removed
    how = "merge" if summary.here else "pr"
    if counted.uncommitted:
        return [how, name, "--commit", describe.title(session, ())]
    if not counted.files or summary.landed or state == "merged":
        return ["rm", name]
    return [how, name, *(["--web"] if state == "open" and summary.pushed and not summary.here else [])]
