"""Makes a session whole, or not at all: its name, record, branch and worktree, and its first worker."""

from __future__ import annotations

import os
import shlex
import unicodedata
import uuid
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from chatml import config, containment
from chatml.agents import table
from chatml.errors import ChatmlError, GitError, UsageError
from chatml.model import Base, Session, Status, Terms, now
from chatml.model.entry import Message
from chatml.project import Project
from chatml.queue import enter
from chatml.repo import Repository
from chatml.runners import table as runners
from chatml.sessions import family
from chatml.sessions.control import check_fits, check_message, start_worker
from chatml.sessions.find import load, with_places
from chatml.state import inbox
from chatml.state.store import SessionStore

MAX_NAME = 40


@dataclass(frozen=True)
class Task:
    """What one session is to do, before it is made."""

    terms: Terms
    name: str | None = None
    base: str | None = None
    """The ref to start from; None for what is checked out where the command was called."""
    branch: str | None = None
    """An existing branch to work on; None for a new one."""
    stem: str | None = None
    """The name to take, with a number where it is taken already."""


def slug(prompt: str) -> str:
    """A name made from a prompt, in any language: valid as a folder and as the last part of a ref."""
    text = unicodedata.normalize("NFC", prompt.strip().lower())
    name = ""
    for word in "".join(c if _in_word(c) else " " for c in text).split():
        longer = f"{name}-{word}" if name else word[:MAX_NAME]
        if len(longer) > MAX_NAME:
            break
        name = longer
    return unicodedata.normalize("NFC", name) or "session"


def _in_word(char: str) -> bool:
    """Letters, digits, and the marks without which many scripts can't be written."""
    return unicodedata.category(char)[0] in "LNM"


def check_name(name: str) -> str:
    """`name` as a session's name. UsageError where it could not be a folder and a ref everywhere."""
    good = (
        0 < len(name) <= MAX_NAME
        and all(char in "_.-" or _in_word(char) for char in name)
        and name[0] not in ".-"
        and not name.endswith((".", ".lock"))
        and ".." not in name
        and name == unicodedata.normalize("NFC", name)
    )
    if not good:
        raise UsageError(
            f"not a valid name: {name!r}",
            f"letters, digits, '-', '_' and '.', not first; at most {MAX_NAME} characters",
        )
    return name


def create(project: Project, task: Task) -> Session:
    """Make a session and start its worker; neither the checkout nor the agent is waited for.

    ChatmlError, and nothing left behind, where that is not possible.
    """
    name = check_name(task.name) if task.name is not None else None
    draft = _draft(project, task)
    with ExitStack() as undo:
        staged = undo.enter_context(project.store.stage())
        inbox.post(staged, Message(draft.terms.prompt))
        with family.adopted(project, draft) as child:
            store = _claim(project, staged, child, name, task.stem)
            undo.callback(_forget, store)
        session = store.read()
        undo.callback(family.given_back, project, session)
        undo.callback(_unmake, project, session)
        start = session.base.commit if session.owns_branch else None
        try:
            with project.store.lock():  # git fails where it finds the half-made worktree of another one
                project.repo.add_worktree(Path(session.worktree), session.branch, start)
        except GitError as error:
            hint = f"nothing was made; is {Path(session.worktree).parent} a folder that you can write?"
            raise ChatmlError(error.message, hint) from error
        with store.lock():
            if session.terms.max_parallel is None:
                session = start_worker(store, session)
            else:
                session = enter(store, session, session.terms.max_parallel)
        undo.pop_all()
        # The stage is gone, having become the session.
    if session.status is Status.QUEUED:
        project.queue.fill()
        (session,) = with_places(project, [load(project, session.name)])
    return session


def _draft(project: Project, task: Task) -> Session:
    """The record of the session to be, but for its name and what follows from that."""
    repository = project.repo
    terms = _checked(project, task.terms)
    tip = None
    if task.branch is not None:
        tip = repository.tip(task.branch)
        if tip is None:
            raise ChatmlError(
                f"no such branch: '{task.branch}'", "name a local branch, or leave --branch out for a new one"
            )
        _check_free(repository, task.branch)
    if task.base is not None:
        commit = repository.resolve(task.base)
        # What means something else inside the worktree (HEAD~2, @{u}) would make a later diff wrong.
        base = Base(repository.ref_name(task.base) or commit, commit)
    else:
        commit, branch = repository.checked_out()
        base = Base(branch or commit, commit)
    stamp = now()
    queued = terms.max_parallel is not None
    return Session(
        name="",
        # Who is killed while making a session that may have to wait leaves it to the queue.
        status=Status.QUEUED if queued else Status.PREPARING,
        terms=terms,
        branch=task.branch or "",
        base=base,
        worktree="",
        session_id=str(uuid.uuid4()),
        created_at=stamp,
        updated_at=stamp,
        model=terms.model,
        repository=str(repository.home),
        id=str(uuid.uuid4()),
        queued_at=stamp if queued else None,
        owns_branch=task.branch is None,
        scope_start=tip,
    )


def _checked(project: Project, asked: Terms) -> Terms:
    """The terms, with the program behind an agent that is one. ChatmlError where they can't hold here."""
    program = project.config.agents.get(asked.agent)
    terms = replace(asked, command=program.command, resume_command=program.resume) if program else asked
    traits = table.row_of(terms, project.config.agents).traits
    if terms.role is not None and not traits.sandboxed:
        raise UsageError(
            f"the agent '{terms.agent}' can't play a role: chatml has no say in what it may do",
            "leave --role out, or take --agent claude",
        )
    if terms.sandbox == "required" and not traits.sandboxed:
        raise ChatmlError(
            f"'sandbox: required' can't hold for the agent '{terms.agent}': it is a program of its own",
            "use --sandbox auto, and confine that program yourself",
        )
    runners.named(terms.runner)
    if terms.sandbox == "required" and (lack := containment.lack()):
        raise ChatmlError(f"no sandbox here: {lack.reason}", lack.remedy)
    return replace(terms, prompt=check_fits(check_message(terms.prompt), terms.command))


def _check_free(repository: Repository, branch: str) -> None:
    for worktree in repository.worktrees():
        if worktree.branch == branch:
            raise ChatmlError(
                f"branch '{branch}' is checked out in {worktree.path}", "a branch can have one worktree at a time"
            )


def _claim(project: Project, staged: SessionStore, draft: Session, name: str | None, stem: str | None) -> SessionStore:
    """Find a free name and take it, in one rename that only one of many can win."""
    settings = project.config
    folder = config.worktrees_dir(settings, project.repo.home, project.repo.name, project.repo.common_dir)
    wanted = name or stem or slug(draft.terms.prompt)
    for candidate in [wanted] if name else _numbered(wanted):
        branch = draft.branch or settings.branch_prefix + candidate
        reason = _taken(project, candidate, branch if draft.owns_branch else None, folder / candidate)
        if reason is None:
            staged.write(replace(draft, name=candidate, branch=branch, worktree=str(folder / candidate)))
            try:
                return project.store.claim(staged, candidate)
            except FileExistsError:
                reason = f"a session named '{candidate}' exists already"
        if name:
            raise ChatmlError(reason, "choose another --name, or see 'chatml ls'")
    raise AssertionError("unreachable: the numbers never end")


def _numbered(wanted: str) -> Iterable[str]:
    yield wanted
    number = 2
    while True:
        end = f"-{number}"
        yield wanted[: MAX_NAME - len(end)].rstrip("-") + end
        number += 1


def _taken(project: Project, name: str, branch: str | None, folder: Path) -> str | None:
    if project.store.session(name).folder.exists():
        return f"a session named '{name}' exists already"
    if branch is not None and (other := project.repo.in_the_way(branch)) is not None:
        if other == branch:
            return f"a branch named '{branch}' exists already"
        if branch.startswith(f"{other}/"):
            raise _blocked(branch, other)  # no other name gets around that
        return f"the branch '{other}' exists, so there can't be one named '{branch}'"
    if os.path.lexists(folder):
        return f"{folder} exists already"
    return None


def _blocked(branch: str, other: str) -> ChatmlError:
    return ChatmlError(
        f"the branch '{other}' exists, so there can't be one named '{branch}'",
        "set another 'branch_prefix' in the configuration (CHATML_BRANCH_PREFIX=ai/ for once), "
        f"or rename that branch: git branch -m {shlex.quote(other)} NAME",
    )


def _forget(store: SessionStore) -> None:
    from chatml.state.store import remove_tree

    remove_tree(store.folder)
    store.worker_lock.release()


def _unmake(project: Project, session: Session) -> None:
    """Undo a worktree and branch that nobody has used yet."""
    with project.store.lock():
        project.repo.git("worktree", "remove", "--force", session.worktree, check=False)
    if session.owns_branch:
        project.repo.delete_branch(session.branch, session.base.commit)
    with suppress(OSError):
        Path(session.worktree).parent.rmdir()
