"""What became of sessions that were removed or brought back: in words, and as data for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from chatml.model import Session
from chatml.model.outcome import Outcome
from chatml.removal.fate import Fate, Removed
from chatml.removal.restoring import Restored
from chatml.text import printable

SHOWN = 3
"""Paths that are named before the rest is left out."""


def removed(one: Removed) -> Iterator[str]:
    """What became of a removed session's parts."""
    yield f"removed {one.name}; {printable(_fate(one.fate))}"
    if one.left_out:
        shown = ", ".join(one.left_out[:SHOWN]) + (", …" if len(one.left_out) > SHOWN else "")
        yield f"  not kept for restore, because git ignores it and it is large: {printable(shown)}"
    for path in one.kept_aside:
        yield f"  a git repository was in its worktree, and is kept for restore: {printable(str(path))}"
    if one.children:
        yield f"  {', '.join(one.children)}: started by its agent, go on as sessions of their own"
    if one.left_alone:
        yield f"  not its worktree, so left as it is: {printable(str(one.left_alone))}"


def restored(one: Restored) -> Iterator[str]:
    """Where a session is that is back, and what is not as it was."""
    yield f"restored {one.session.name} in {one.session.worktree}"
    if one.remark:
        yield f"  {printable(one.remark)}"


def _fate(fate: Fate | None) -> str:
    """What became of a branch, and where its commits are now."""
    if fate is None:
        return "its record was damaged, so branch and worktree stay as they are"
    became = "was gone already" if fate.became == "gone" else fate.became
    why = f": {fate.why}" if fate.why else ""
    where = f" (landed in {fate.landed_in})" if fate.landed_in else ""
    where = f" (not landed, but on {fate.also_on})" if fate.also_on else where
    where = f" ({fate.unknown})" if fate.unknown else where
    return f"branch {fate.name} {became}{why}{where}"


def of_removed(one: Removed) -> Outcome:
    """The same for scripts."""
    return Outcome(
        one.name,
        "removed",
        {
            "branch": asdict(one.fate) if one.fate else None,
            "left_out": list(one.left_out),
            "kept_aside": [str(path) for path in one.kept_aside],
            "left_alone": str(one.left_alone) if one.left_alone else None,
            "not_deleted": str(one.not_deleted) if one.not_deleted else None,
            "children": list(one.children),
        },
    )


def planned(name: str, session: Session | None) -> str:
    """What `rm` would remove; without a session, of one whose record is damaged."""
    what = f"{session.branch}, {session.worktree}" if session else "only its record, which is damaged"
    return f"would remove {name} ({what})"


def of_plan(name: str, session: Session | None) -> Outcome:
    """The same for scripts."""
    details = {"branch": session.branch, "worktree": session.worktree} if session else {}
    return Outcome(name, "would remove", {"branch": None, "worktree": None, **details})


def of_restored(one: Restored) -> Outcome:
    """A session that is back, for scripts."""
    session = one.session
    details = {"branch": session.branch, "worktree": session.worktree, "remark": one.remark}
    return Outcome(session.name, "restored", details)
