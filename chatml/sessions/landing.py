"""Lands sessions: makes their commits, one on top of the other, and moves the branch there in one step."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chatml.agents import briefing
from chatml.errors import ChatmlError, GitError
from chatml.landing import advance, settling
from chatml.landing.advance import Advanced, InTheWayError, MovedError
from chatml.landing.checkout import checkout_of
from chatml.landing.hooks import HookError, Hooks
from chatml.landing.merge import Edit, Maker, Mode, NotForwardError, NothingNewError, Offer
from chatml.landing.move import Mark
from chatml.model import Landed, Session
from chatml.project import Project
from chatml.repo.merging import MergeConflictError
from chatml.sessions import control
from chatml.sessions.offers import Left, LeftError, Reason, in_order, offer, target
from chatml.state.locks import lock

PATIENCE = 600.0
"""Seconds to wait for another `merge` in this repository: hooks may take minutes."""

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


@dataclass(frozen=True)
class Stacked:
    """A session's work as a commit on top of another one, on no branch yet."""

    session: Session
    offer: Offer
    onto: str
    commit: str


@dataclass(frozen=True)
class Landing:
    """What became of the sessions that were to land."""

    into: str
    order: tuple[str, ...]
    landed: tuple[Stacked, ...] = ()
    left: tuple[Left, ...] = ()
    flaky: tuple[str, ...] = ()
    """The sessions whose check failed once, and then passed."""
    advanced: Advanced | None = None


@dataclass
class _Train:
    """The sessions that are on their way onto one branch, and those that fell off."""

    project: Project
    maker: Maker
    waiting: list[tuple[Session, Offer]]
    left: list[Left] = field(default_factory=list)

    def made(self, onto: str) -> tuple[list[Stacked], list[Left]]:
        """The commits of all that can be made, each on top of the one before; and which sessions can't."""
        done: list[Stacked] = []
        left: list[Left] = []
        tips: dict[str, str] = {}
        for session, one in self.waiting:
            known = (*one.known, *(tips[name] for name in session.terms.after if name in tips))
            try:
                commit = self.maker.make(Offer(one.name, one.branch, one.tip, one.title, known), onto)
            except (MergeConflictError, NothingNewError, NotForwardError, HookError, GitError) as error:
                left.append(_left(one.name, self.maker.into, error))
                continue
            done.append(Stacked(session, one, onto, commit))
            tips[one.name], onto = one.tip, commit
        return done, left

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


def land(project: Project, sessions: Sequence[Session], course: Course) -> Landing:
    """Land the sessions in one branch; those that can't are left as they are, and the rest still lands.

    ChatmlError, and nothing landed, where there is no branch that they could land in, or it can't be moved.
    """
    project.store.root.mkdir(parents=True, exist_ok=True)
    with lock(project.store.merge_lock, PATIENCE):
        settling.ended(project.repo, project.store)
        into = target(project, sessions, course.into)
        checkout = checkout_of(project.repo, into)
        ordered = in_order(project, sessions)
        waiting, left = [], []
        for session in ordered:
            try:
                waiting.append((session, offer(project, session, into, course.commit, course.dry_run)))
            except LeftError as error:
                left.append(error.left)
        home = project.repo.home if project.repo.home != project.repo.common_dir else None
        hooks = Hooks(project.repo, into, checkout.top if checkout else home, settling.rooms(project.store))
        maker = Maker(project.repo, course.mode, into, None if course.dry_run else hooks, course.edit)
        try:
            done, advanced, fell = _through(_Train(project, maker, waiting, left), into, course.dry_run)
        finally:
            settling.clear(project.store)
    return Landing(into, tuple(one.name for one in ordered), tuple(done), tuple(fell), advanced=advanced)


def _through(train: _Train, into: str, dry_run: bool) -> tuple[list[Stacked], Advanced | None, list[Left]]:
    """Make the commits and move the branch, again where it was moved meanwhile."""
    for _ in range(TRIES):
        tip = train.project.repo.tip(into)
        if tip is None:
            raise ChatmlError(f"the branch {into} was deleted just now", "say where to land with --into BRANCH")
        made, left = train.made(tip)
        if not made:
            return [], None, [*train.left, *left]
        try:
            if dry_run:
                blocked = advance.blocked(train.project.repo, train.project.store, into, tip, made[-1].commit)
                if blocked is not None:
                    raise blocked
                return made, None, [*train.left, *left]
            return made, put(train.project, into, tip, made), [*train.left, *left]
        except InTheWayError as blocked:
            train.without_those_in(blocked, made)
        except MovedError:
            continue
    raise ChatmlError(f"{into} is moved again and again by somebody else", "try again when it stands still")


def put(project: Project, into: str, old: str, made: Sequence[Stacked]) -> Advanced:
    """Land commits that are made already, the first of them on top of `old`: exactly these, or none.

    The caller holds the lock of merges. Errors as of `advance`.
    """
    marks = [Mark(one.session.name, one.session.id, Landed(one.commit, into, one.offer.tip)) for one in made]
    why = f"chatml merge: {', '.join(one.session.name for one in made)}"
    return advance.advance(project.repo, project.store, into, old, made[-1].commit, why, marks)


def _left(name: str, into: str, error: ChatmlError) -> Left:
    """Why no commit could be made."""
    if isinstance(error, MergeConflictError):
        hint = f"let its agent resolve it: chatml merge --resolve {name}"
        return Left(name, Reason.CONFLICT, f"it conflicts with {into}", hint, tuple(error.files))
    if isinstance(error, NothingNewError):
        return Left(name, Reason.EMPTY, error.message)
    if isinstance(error, HookError):
        return Left(name, Reason.CHECK, error.message, error.hint, output=error.output)
    return Left(name, Reason.CONFLICT, error.message, error.hint)


def resolve(project: Project, landing: Landing, tell: Callable[[str], None]) -> None:
    """Send each session that was left out what went wrong, where its agent can do something about it. ChatmlError."""
    tip = project.repo.tip(landing.into) or ""
    for one in landing.left:
        if not one.own or one.reason in (Reason.EMPTY, Reason.RUNNING):
            continue
        text = {
            Reason.CONFLICT: briefing.conflicts(landing.into, tip, one.files),
            Reason.CHECK: briefing.refused(landing.into, one.why, one.output or ""),
            Reason.DIRTY: briefing.uncommitted(landing.into, one.files),
        }[one.reason]
        control.send(project, one.name, text)
        tell(one.name)
