"""Removes a session so that nothing is left behind and nothing is lost.

All of it is saved first. Then one rename takes the session's folder out of everybody's sight: before it nothing has
changed, after it the session is removed. What follows only clears up, may be repeated after a kill at any point, and
is finished by the next `rm`, `restore` or `new`: the folder, `.gone-ID`, says what is still to do, `.done-ID` that
only files are left to delete.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatml import proc
from chatml.changes import carrying
from chatml.errors import ChatmlError
from chatml.landing import landed, scratch, settling
from chatml.model import Session
from chatml.project import Project
from chatml.removal import inner, planning, safety, trash
from chatml.removal.fate import Fate, Removed
from chatml.removal.place import Place, locate
from chatml.repo import Repository
from chatml.runners import table as runners
from chatml.sessions import caller, control, family, tearing
from chatml.sessions.find import relocated
from chatml.state.locks import lock
from chatml.state.paths import DONE, GONE
from chatml.state.store import SessionStore, remove_tree, write_json
from chatml.workspace import checkout, ports, programs
from chatml.workspace.mending import mend

STARTS = 5
"""How often a worker is stopped that a message has started again, before `rm` gives up."""


# --- remove -----------------------------------------------------------------------------------------------------


def remove(
    project: Project,
    name: str,
    *,
    force: bool = False,
    keep_branch: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Removed:
    """Stop the session, take down what it runs, put all of it into the trash, and remove it.

    ChatmlError, and nothing removed, where that would lose work or the teardown fails, and `force` is not given;
    looked at before the worker is stopped and once more after, because the agent worked until then.
    """
    caller.hands_off(project, name, "rm")
    session = planning.plan(project, name, force, keep_branch)
    if session is None:
        return _remove_damaged(project, name)
    store = project.store.session(name)
    try:
        stopped = False
        for _ in range(STARTS):
            stopped = control.stop(project, name) or stopped
            complaints = _torn_down(project, store, force, say)
            with store.lock():
                if runners.alive(store, session):
                    continue  # a message came in and was taken up
                runners.of(session).end(session)  # what a worker that was killed has left
                current, place = _still(project, store, session, mending=force)
                _check_again(project, current, place, stopped, force, keep_branch)
                family.booked(project, current)
                gone = _remove(project, store, current, place, keep_branch)
                return replace(gone, complaints=complaints, children=family.removed(project, current))
    except OSError as error:
        said = f"{(error.strerror or str(error)).lower()}: {error.filename}"
        raise ChatmlError(f"can't remove '{name}': {said}", "nothing of it is lost; try again") from error
    raise ChatmlError(f"'{name}' is started again and again by new messages", "try again when nobody sends any")


def _torn_down(project: Project, store: SessionStore, force: bool, say: Callable[[str], None]) -> tuple[str, ...]:
    """Take down what the session runs; with `force`, what could not be is returned. ChatmlError without."""
    session = store.read()
    if not tearing.is_due(session):
        return ()
    try:
        return tuple(tearing.torn_down(store, checkout.relocate(session, project.repo), say))
    except ChatmlError as error:
        if not force:
            raise
        return (error.message,)


def _still(project: Project, store: SessionStore, expected: Session, mending: bool) -> tuple[Session, Place]:
    """The session as it is under its lock, if it is the one that was looked at.

    With `mending`, its worktree is first made whole where git's own folder of it is gone, so that its files are saved.
    """
    session = relocated(project, store)
    if session.id != expected.id:
        raise ChatmlError(f"session '{expected.name}' was removed just now", "there is a new one of that name")
    if mending:
        with contextlib.suppress(ChatmlError):  # then its folder stays where it is
            mend(project.repo, session)
    return session, locate(project.repo, Path(session.worktree))


def _check_again(
    project: Project, session: Session, place: Place, stopped: bool, force: bool, keep_branch: bool
) -> None:
    try:
        safety.check(project.repo, session, place, force, keep_branch)
    except ChatmlError as error:
        if not stopped:
            raise
        hint = f"it was stopped, but not removed; 'chatml resume {session.name}' lets it go on"
        raise ChatmlError(error.message, hint) from error


def _remove(project: Project, store: SessionStore, session: Session, place: Place, keep_branch: bool) -> Removed:
    """Save the session, take it out of sight and clear up; all as it was where that fails. Its lock is held."""
    tip = project.repo.tip(session.branch)
    where = _whereabouts(project.repo, session, tip)
    for one in session.furnished.services:
        programs.end(store, session, one.name)  # one that was started since
    remove_tree(store.services)
    saved = trash.save(project.repo, store, session.name, session, place)
    plan = {"name": session.name, "tip": tip if session.checkout.owns_branch and not keep_branch else None}
    write_json(store.plan, plan)
    gone = SessionStore(store.gone(session.id))
    store.folder.rename(gone.folder)
    try:
        removed = _clear(project, gone, session, plan)
    except BaseException:
        _undo(project, gone, store, session)
        raise
    assert removed.fate is not None
    alone = place.path if place.stranger else None
    fate = replace(removed.fate, landed_in=where.landed_in, also_on=where.also_on, unknown=where.unknown)
    return replace(removed, fate=fate, left_alone=alone, left_out=saved.left_out)


def _whereabouts(repository: Repository, session: Session, tip: str | None) -> Fate:
    """What the branch's commits have landed in, or else where they also are; neither where it has none."""
    where = Fate(session.branch, "kept")
    if tip is None or tip == session.base.commit:
        return where
    try:
        home = landed.landed_in(repository, session, tip)
        if home:
            return replace(where, landed_in=landed.short(home))
        other = landed.also_on(repository, session, tip)
        return replace(where, also_on=landed.short(other) if other else None)
    except ChatmlError as error:
        return replace(where, unknown=error.message)


def _clear(project: Project, gone: SessionStore, session: Session, plan: dict[str, Any]) -> Removed:
    """Remove all that a saved session had. What was done already is passed over."""
    repository, worktree = project.repo, Path(session.worktree)
    aside = worktree.with_name(GONE + session.id)
    place = locate(repository, worktree)
    if place.folder is not None:
        worktree.rename(aside)
    kept: list[Path] = []
    if place.admin is not None and (aside / ".git").is_file():
        kept = inner.take_out(aside, project.store.kept_repositories(session.id), worktree)
        # Nobody finds the folder by its path any more: what came in since is saved now, if anything did.
        trash.save(repository, gone, session.name, session, replace(place, folder=aside))
        (aside / ".git").unlink()
    carrying.let_go(repository, session)
    with contextlib.suppress(OSError, ChatmlError):  # whoever claims one next sees that this session is no more
        ports.release(session.id)
    fate = _delete_branch(repository, session, plan["tip"])
    if place.admin is not None:
        place.admin.rename(gone.admin)
        with contextlib.suppress(OSError):
            place.admin.parent.rmdir()
    done = gone.done(session.id)
    gone.folder.rename(done)
    left = _delete(done, aside)
    return Removed(session.name, fate, kept_aside=tuple(kept), not_deleted=left)


def _undo(project: Project, gone: SessionStore, store: SessionStore, session: Session) -> None:
    """Put a session back that could not be cleared away, unless it is as good as gone."""
    worktree = Path(session.worktree)
    aside = worktree.with_name(GONE + session.id)
    if os.path.lexists(aside) and not (aside / ".git").is_file():
        return  # all is in the trash, and the next one finishes
    with contextlib.suppress(OSError):
        if os.path.lexists(aside) and not os.path.lexists(worktree):
            aside.rename(worktree)
            inner.put_back(project.store.kept_repositories(session.id), worktree)
        if gone.folder.exists() and not store.folder.exists():
            (gone.plan).unlink(missing_ok=True)
            gone.folder.rename(store.folder)


def _delete_branch(repository: Repository, session: Session, tip: str | None) -> Fate:
    """Delete the branch if it is ours and where it was, and say what became of it."""
    there = repository.tip(session.branch)
    if there is None:
        return Fate(session.branch, "gone")
    if tip is None:
        return Fate(session.branch, "kept")
    for worktree in repository.worktrees():
        if worktree.branch == session.branch and worktree.path != Path(os.path.realpath(session.worktree)):
            return Fate(session.branch, "kept", f"it is checked out in {worktree.path}")
    if not repository.delete_branch(session.branch, tip):
        why = "it was moved just now" if there != tip else "git refused to delete it"
        return Fate(session.branch, "kept", why)
    section = f"branch.{session.branch}"

    def without_settings() -> bool:
        """Others may hold the lock of the configuration for a moment."""
        if trash.branch_config(repository, session.branch):
            repository.git("config", "--local", "--remove-section", section, check=False)
        return not trash.branch_config(repository, session.branch)

    proc.wait_until(without_settings, 2.0)
    return Fate(session.branch, "deleted")


def _delete(done: Path, aside: Path) -> Path | None:
    """Delete the files of a removed session; returns the folder of which something is left."""
    if os.path.lexists(aside):
        shutil.rmtree(aside, onerror=_writable)
        if os.path.lexists(aside):
            return aside
    with contextlib.suppress(OSError):
        aside.parent.rmdir()
    remove_tree(done)
    return None


def _writable(function: Any, path: str, _: Any) -> None:
    """Folders that forbid writing (a Go module cache, for one) are no reason to stop."""
    with contextlib.suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        if not os.path.islink(path):
            os.chmod(path, 0o700)
        function(path)


def _remove_damaged(project: Project, name: str) -> Removed:
    """Remove a record that can't be read, and nothing that isn't understood: worktree and branch stay."""
    store = project.store.session(name)
    with store.lock():
        planning.check_idle(store)
        trash.save(project.repo, store, name, None, None)
        done = store.done(str(uuid.uuid4()))
        store.folder.rename(done)
        remove_tree(done)
    return Removed(name)


# --- what one who was killed has left ---------------------------------------------------------------------------


def finish_interrupted(project: Project) -> list[str]:
    """Clear up after an `rm` or a `merge` that was killed; returns what could not be, and what a person has to know."""
    trouble = settling.recover(project.repo, project.store)
    try:
        scratch.clear(project.store)
    except (ChatmlError, OSError) as error:
        trouble.append(f"can't clear up after an interrupted check: {error}")
    try:
        left = [path for path in project.store.sessions.iterdir() if path.name.startswith((GONE, DONE))]
    except FileNotFoundError:
        left = []
    for folder in left:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock(SessionStore(folder).own_lock, timeout=0))
            except (ChatmlError, OSError):
                continue  # its `rm` is at work, or has just ended
            try:
                _finish(project, SessionStore(folder))
            except (ChatmlError, OSError, ValueError, KeyError) as error:
                trouble.append(f"can't finish an interrupted removal: {error}; see {folder}")
    return trouble


def _finish(project: Project, left: SessionStore) -> None:
    if left.folder.name.startswith(GONE):
        plan = json.loads((left.plan).read_text())
        _clear(project, left, left.read(plan["name"]), plan)
        return
    try:
        plan = json.loads((left.plan).read_text())
        session = left.read(plan["name"])
    except (OSError, ValueError, ChatmlError):
        remove_tree(left.folder)
    else:
        _delete(left.folder, Path(session.worktree).with_name(GONE + session.id))
