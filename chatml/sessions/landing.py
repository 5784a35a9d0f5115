"""Lands sessions: makes their commits, one on top of the other, and moves the branch there in one step."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from chatml.agents import briefing, merge_briefing
from chatml.errors import ChatmlError
from chatml.landing import advance, settling
from chatml.landing.advance import Advanced, InTheWayError, MovedError
from chatml.landing.checkout import checkout_of
from chatml.landing.hooks import Hooks
from chatml.landing.merge import Edit, Maker, Mode, Offer
from chatml.landing.move import Mark
from chatml.model import Landed, Session
from chatml.project import Project
from chatml.sessions import control, vetting
from chatml.sessions.offers import Left, LeftError, Reason, in_order, offer, target
from chatml.sessions.stacking import Stacked, Stacker
from chatml.sessions.vetting import BaseFailsError, Testing, Vetting
from chatml.state.locks import lock

PATIENCE = 600.0
"""Seconds to wait for another `merge` in this repository: hooks and checks may take minutes."""

TRIES = 5
"""How often commits are made anew because somebody else has moved the branch."""


@dataclass(frozen=True)
class Course:
    """What the person asked for."""

    mode: Mode = Mode.SQUASH
    into: str | None = None
    commit: str | None = None
    """The message under which uncommitted work is committed first."""
    dry_run: bool = False
    edit: Edit | None = None
    check: str | None = None
    """The command that must pass on what is to land."""


@dataclass(frozen=True)
class Landing:
    """What became of the sessions that were to land."""

    into: str
    order: tuple[str, ...]
    landed: tuple[Stacked, ...] = ()
    left: tuple[Left, ...] = ()
    flaky: tuple[tuple[str, ...], ...] = ()
    """The sets of sessions whose check failed once, and then passed; an empty one for the branch itself."""
    advanced: Advanced | None = None


@dataclass
class _Train:
    """The sessions that are on their way onto one branch, and those that fell off."""

    project: Project
    into: str
    stacker: Stacker
    waiting: list[tuple[Session, Offer]]
    left: list[Left] = field(default_factory=list)
    vetting: Vetting | None = None

    def settled(self, tip: str, dry_run: bool) -> tuple[list[Stacked], list[Left]]:
        """The commits of those that can land on top of `tip`, as they pass the check; and why the others can't."""
        failing: list[Left] = []
        while True:
            gone = {one.name for one in failing}
            made, left = self.stacker.stacked([pair for pair in self.waiting if pair[0].name not in gone], tip)
            if made and (dry_run or self.vetting):
                blocked = advance.blocked(self.project.repo, self.project.store, self.into, tip, made[-1].commit)
                if blocked is not None:
                    self.without_those_in(blocked, made)
                    continue
            more = self.vetting.failing(tip, made) if made and self.vetting else []
            if not more:
                return made, [*self.left, *failing, *left]
            failing += more

    def without_those_in(self, blocked: InTheWayError, made: Sequence[Stacked]) -> None:
        """Leave those out that would touch what a person has in these files. ChatmlError where it is none of them."""
        paths = set(blocked.paths)
        for one in made:
            form = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--ignore-submodules=none")
            touched = set(self.project.repo.git(*form, one.onto, one.commit).text.split("\0"))
            if files := sorted(path for path in paths if _meets(path, touched)):
                hint = f"commit or move them there: {shlex.join(['git', '-C', str(blocked.checkout.top), 'status'])}"
                self.left.append(Left(one.session.name, Reason.DIRTY, blocked.message, hint, tuple(files), own=False))
        gone = {one.name for one in self.left}
        if not gone & {one.session.name for one in made}:
            raise blocked
        self.waiting = [pair for pair in self.waiting if pair[0].name not in gone]


def _meets(path: str, touched: set[str]) -> bool:
    """Whether the path is one of those, or above or below one."""
    return any(path == one or one.startswith(f"{path}/") or path.startswith(f"{one}/") for one in touched if one)


def land(
    project: Project, sessions: Sequence[Session], course: Course, tell: Callable[[Testing], None] = lambda _: None
) -> Landing:
    """Land the sessions in one branch; those that can't are left as they are, and the rest still lands.

    `tell` hears of each run of the check. ChatmlError, and nothing landed, where there is no branch that they could
    land in, where it can't be moved, or fails the check by itself.
    """
    project.store.root.mkdir(parents=True, exist_ok=True)
    with lock(project.store.merge_lock, PATIENCE):
        settling.ended(project.repo, project.store)
        into = target(project, sessions, course.into)
        ordered = in_order(project, sessions)
        waiting, left = _offered(project, ordered, into, course)
        try:
            with _train(project, into, waiting, course, tell) as train:
                train.left = left
                done, advanced, fell = _through(train, course.dry_run)
                flaky = tuple(train.vetting.flaky) if train.vetting else ()
        finally:
            settling.clear(project.store)
    order = tuple(one.name for one in ordered)
    return Landing(into, order, tuple(done), tuple(fell), flaky, advanced)


def _offered(
    project: Project, ordered: Sequence[Session], into: str, course: Course
) -> tuple[list[tuple[Session, Offer]], list[Left]]:
    """What each brings, and which of them bring nothing now."""
    waiting, left = [], []
    for session in ordered:
        try:
            waiting.append((session, offer(project, session, into, course.commit, course.dry_run)))
        except LeftError as error:
            left.append(error.left)
    return waiting, left


@contextlib.contextmanager
def _train(
    project: Project,
    into: str,
    waiting: list[tuple[Session, Offer]],
    course: Course,
    tell: Callable[[Testing], None],
) -> Iterator[_Train]:
    """The train before it sets off; at its end, nothing is left of where its check has run."""
    checkout = checkout_of(project.repo, into)
    home = project.repo.home if project.repo.home != project.repo.common_dir else None
    hooks = Hooks(project.repo, into, checkout.top if checkout else home, settling.rooms(project.store))
    rough = Stacker(Maker(project.repo, course.mode, into))
    stacker = rough if course.dry_run else Stacker(Maker(project.repo, course.mode, into, hooks, course.edit))
    train = _Train(project, into, stacker, waiting)
    if course.check is None or not waiting:
        yield train
        return
    with vetting.trial_of(project, [session for session, _ in waiting], course.check) as trial:
        train.vetting = Vetting(trial, rough, into, tell)
        yield train


def _through(train: _Train, dry_run: bool) -> tuple[list[Stacked], Advanced | None, list[Left]]:
    """Make the commits and move the branch, again where it was moved meanwhile."""
    for _ in range(TRIES):
        tip = train.project.repo.tip(train.into)
        if tip is None:
            raise ChatmlError(f"the branch {train.into} was deleted just now", "say where to land with --into BRANCH")
        try:
            made, left = train.settled(tip, dry_run)
        except BaseFailsError:
            if train.project.repo.tip(train.into) == tip:
                raise
            continue
        if not made and train.project.repo.tip(train.into) != tip:
            continue  # what they failed with is not there any more
        if dry_run or not made:
            return made, None, left
        try:
            return made, put(train.project, train.into, tip, made), left
        except InTheWayError as blocked:
            train.without_those_in(blocked, made)
        except MovedError:
            continue
    raise ChatmlError(f"{train.into} is moved again and again by somebody else", "try again when it stands still")


def put(project: Project, into: str, old: str, made: Sequence[Stacked]) -> Advanced:
    """Land commits that are made already, the first of them on top of `old`: exactly these, or none.

    The caller holds the lock of merges. Errors as of `advance`.
    """
    marks = [Mark(one.session.name, one.session.id, Landed(one.commit, into, one.offer.tip)) for one in made]
    why = f"chatml merge: {', '.join(one.session.name for one in made)}"
    return advance.advance(project.repo, project.store, into, old, made[-1].commit, why, marks)


def resolve(project: Project, landing: Landing, tell: Callable[[str], None]) -> None:
    """Send each session that was left out what went wrong, where its agent can do something about it. ChatmlError."""
    tip = project.repo.tip(landing.into) or ""
    for one in landing.left:
        if not one.own or one.reason in (Reason.EMPTY, Reason.RUNNING):
            continue
        control.send(project, one.name, _told(landing.into, tip, one))
        tell(one.name)


def _told(into: str, tip: str, left: Left) -> str:
    """What the agent of a session is told that was left out."""
    if left.failed is not None:
        failed = left.failed
        return merge_briefing.unfit(into, tip, failed.command, failed.said, left.output or "", failed.together)
    return {
        Reason.CONFLICT: briefing.conflicts(into, tip, left.files),
        Reason.CHECK: briefing.refused(into, left.why, left.output or ""),
        Reason.DIRTY: briefing.uncommitted(into, left.files),
    }[left.reason]
