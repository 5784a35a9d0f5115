"""How sessions meet: which ones are looked at, and whether a command passes on all that go together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatml.changes.snapshot import commit_of
from chatml.errors import ChatmlError, UsageError
from chatml.landing import describe, outlook
from chatml.landing.culprits import Names
from chatml.landing.merge import Maker, Mode, Offer
from chatml.landing.outlook import Outlook
from chatml.landing.trial import Ending
from chatml.model import Session
from chatml.project import Project
from chatml.sessions import offers
from chatml.sessions.offers import Reason
from chatml.sessions.recount import recount
from chatml.sessions.stacking import Stacker
from chatml.sessions.vetting import Testing, Vetting, cannot_run, trial_of


def look(project: Project, everyone: Sequence[Session], named: Sequence[Session]) -> Outlook:
    """Merge the sessions that are named with each other, a single one with all others, and each with its base.

    Without any, all that bring something. ChatmlError with a git that can't merge in memory.
    """
    if len(named) > 1:
        return outlook.look(project.repo, project.store, recount(project, named))
    sessions = offers.candidates(project, everyone, None)
    focus = {one.name for one in named} or None
    sessions += [one for one in named if one.name not in {other.name for other in sessions}]
    return outlook.look(project.repo, project.store, recount(project, sessions), focus)


@dataclass(frozen=True)
class Checked:
    """What became of a command that was run on the merge of all that merges."""

    command: str
    names: Names
    """The sessions that are in it."""
    left_out: Names
    """Those that don't merge with the ones before them."""
    said: str
    """How it ended, in words that follow the command's name."""
    output: str
    """The last lines of where it failed, with the fewest sessions."""
    base: str
    base_fails: bool = False
    culprits: tuple[Names, ...] = ()
    """The smallest sets of sessions that make it fail: single ones, or such as fail only together."""

    @property
    def ok(self) -> bool:
        return not self.base_fails and not self.culprits


def check(project: Project, found: Outlook, command: str, tell: Callable[[Testing], None]) -> Checked | None:
    """Run a command on the merge of all that merges, in the order to land them, and find out who makes it fail.

    None where nothing is to be merged. `tell` hears of each run. UsageError where they started from several branches,
    ChatmlError where the command can't be run.
    """
    by_name = {one.name: one for one in found.sessions}
    sessions = [by_name[name] for name in found.order]
    if not sessions:
        return None
    bases = sorted({one.base.ref for one in sessions})
    if len(bases) > 1:
        raise UsageError(f"they started from several branches: {', '.join(bases)}", "name the sessions of one of them")
    tip = found.tips[sessions[0].name]
    stacker = Stacker(Maker(project.repo, Mode.SQUASH, bases[0]))
    made, left = stacker.stacked([(one, _offer(project, one, bases[0])) for one in sessions], tip)
    if not made:
        return None
    names = tuple(one.session.name for one in made)
    with trial_of(project, [one.session for one in made], command) as trial:
        reasons, tried = Vetting(trial, stacker, bases[0], tell).search(tip, made)
    told = tried[reasons.culprits[0].names] if reasons.culprits else tried[() if reasons.base_fails else names]
    if reasons.base_fails and told.ending is Ending.NOT_RUN:
        raise cannot_run(told, "the check can't be run")
    return Checked(
        command,
        names,
        tuple(one.name for one in left if one.reason is not Reason.EMPTY),
        told.said,
        told.output if told.fails else "",
        bases[0],
        reasons.base_fails,
        tuple(one.names for one in reasons.culprits),
    )


def _offer(project: Project, session: Session, base: str) -> Offer:
    """All that the session holds now, committed or not."""
    top = Path(session.worktree)
    try:
        tip = commit_of(project.repo.common_dir, top)[0]
    except (ChatmlError, OSError):  # its branch counts where its worktree is gone
        tip = project.repo.tip(session.branch) or session.base.commit
    known = tuple(offers.known(project, session, base))
    return Offer(session.name, session.branch, tip, describe.title(session, ()), known)
