"""Makes a session whole, or not at all: its name, record, branch and worktree, and its first worker."""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from chatml import config
from chatml.errors import ChatmlError, GitError, UsageError
from chatml.model import Base, Checkout, Furnishing, IssueRef, Predecessor, Queueing, Session, Status, Terms, now
from chatml.model.entry import Message
from chatml.project import Project
from chatml.repo import Repository
from chatml.sessions import everywhere, family, living, trusting
from chatml.sessions.control import start_worker
from chatml.sessions.find import load, resolve, with_places
from chatml.sessions.fitting import checked
from chatml.sessions.names import check_name, numbered, slug
from chatml.state import inbox
from chatml.state.store import SessionStore
from chatml.workspace import ports


@dataclass(frozen=True)
class Task:
    """What one session is to do, before it is made."""

    terms: Terms
    name: str | None = None
    base: str | None = None
    """The ref to start from; None for what is checked out where the command was called."""
    branch: str | None = None
    """An existing branch to work on; None for a new one."""
    start: str | None = None
    """The commit to start from, where that is newer than the one which `base` names."""
    carried: str | None = None
    """The commit of what is uncommitted where the command was called, to be taken along (`carrying.pick_up`)."""
    stem: str | None = None
    """The name to take, with a number where it is taken already."""
    issue: IssueRef | None = None
    """The issue that it was made of."""


def create(project: Project, task: Task) -> Session:
    """Make a session and start its worker; neither the checkout nor the agent is waited for.

    ChatmlError, and nothing left behind, where that is not possible.
    """
    session = make(project, task, drafted(project, task, {}))
    if session.status is Status.QUEUED:
        project.queue.fill()
        (session,) = with_places(project, [load(project, session.name)])
    return session


def make(project: Project, task: Task, draft: Session, checked: bool = False) -> Session:
    """Make the session that was drafted. Its worker is started, unless it has to queue: `queue.fill` has to follow.

    With `checked` there was no `clash` just now: what has come since then is found all the same, but told less well.
    ChatmlError, and nothing left behind, where that is not possible.
    """
    # Not before: of many that are made at once, one may come after another.
    draft = draft.with_queueing(predecessors=_before(project, draft.terms.after))
    everywhere.note(project)
    with ExitStack() as undo:
        staged = undo.enter_context(project.store.stage())
        inbox.post(staged, Message(draft.terms.prompt))
        with family.adopted(project, _born(draft)) as child:
            store = _claim(project, staged, child, task, checked)
            undo.callback(_forget, store)
        session = store.read()
        undo.callback(family.given_back, project, session)
        session = _with_ports(project, store, session, undo)
        undo.callback(_unmake, project, session)
        if session.checkout.carried is not None:
            from chatml.changes import carrying  # here alone: comparing is heavy, and this is rare

            carrying.keep(project.repo, session)
            undo.callback(carrying.let_go, project.repo, session)
        start = session.base.commit if session.checkout.owns_branch else None
        try:
            with project.store.lock():  # git fails where it finds the half-made worktree of another one
                project.repo.add_worktree(Path(session.worktree), session.branch, start)
        except GitError as error:
            hint = f"nothing was made; is {Path(session.worktree).parent} a folder that you can write?"
            raise ChatmlError(error.message, hint) from error
        with store.lock():
            if session.status is Status.QUEUED:
                store.worker_lock.release()  # from here on the queue may start it
            else:
                session = start_worker(store, session)
        undo.pop_all()
        # The stage is gone, having become the session.
    return session


def _with_ports(project: Project, store: SessionStore, session: Session, undo: ExitStack) -> Session:
    """The session with the ports that it needs, claimed for it."""
    if not session.furnishing.ports:
        return session
    undo.callback(ports.release, session.id)
    with store.lock():
        return living.with_ports(project, store, session)


def _born(draft: Session) -> Session:
    """The draft as of now: sessions stand in the order in which they were made."""
    stamp = now()
    queued_at = stamp if draft.status is Status.QUEUED else None
    return replace(draft.with_queueing(queued_at=queued_at), created_at=stamp, updated_at=stamp)


def drafted(project: Project, task: Task, bases: dict[str | None, Base]) -> Session:
    """The record of the session to be, but for what follows from a name that is not free. ChatmlError, UsageError.

    `bases` are those that were resolved already, by their ref.
    """
    if task.name is not None:
        check_name(task.name)
    trusting.check(project)
    repository = project.repo
    terms = checked(project, task.terms)
    tip = None
    if task.branch is not None and terms.after:
        raise UsageError(
            "--after goes without --branch: a new branch starts from what those sessions have brought",
            "leave one of them out",
        )
    if task.branch is not None:
        tip = repository.tip(task.branch)
        if tip is None:
            raise ChatmlError(
                f"no such branch: '{task.branch}'", "name a local branch, or leave --branch out for a new one"
            )
        _check_free(repository, task.branch)
    if task.base not in bases:
        bases[task.base] = base_of(repository, task.base)
    stamp = now()
    base = replace(bases[task.base], commit=task.start) if task.start else bases[task.base]
    queued = terms.max_parallel is not None or bool(terms.after)
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
        queueing=Queueing(queued_at=stamp if queued else None),
        checkout=Checkout(owns_branch=task.branch is None, scope_start=tip or task.carried, carried=task.carried),
        issue=task.issue,
        # Who only reads needs nothing of that.
        furnishing=Furnishing() if terms.reads_only else project.config.furnishing,
    )


def _before(project: Project, names: Iterable[str]) -> tuple[Predecessor, ...]:
    """The sessions of these names, each once. ChatmlError for one that isn't there."""
    found = (resolve(project, name) for name in dict.fromkeys(names))
    return tuple(Predecessor(session.name, session.id) for session in found)


def base_of(repository: Repository, ref: str | None) -> Base:
    """What a session starts from; None for what is checked out here. ChatmlError where there is no such commit."""
    if ref is None:
        commit, branch = repository.checked_out()
        return Base(branch or commit, commit)
    commit = repository.resolve(ref)
    # What means something else inside the worktree (HEAD~2, @{u}) would make a later diff wrong.
    return Base(repository.ref_name(ref) or commit, commit)


def _check_free(repository: Repository, branch: str) -> None:
    for worktree in repository.worktrees():
        if worktree.branch == branch:
            raise ChatmlError(
                f"branch '{branch}' is checked out in {worktree.path}", "a branch can have one worktree at a time"
            )


def _claim(project: Project, staged: SessionStore, draft: Session, task: Task, checked: bool) -> SessionStore:
    """Find a free name and take it, in one rename that only one of many can win."""
    name = task.name
    wanted = name or task.stem or slug(draft.terms.prompt)
    for candidate in [wanted] if name else (numbered(wanted, number) for number in count(1)):
        reason = None if checked else clash(project, draft, candidate)
        if reason is None:
            branch, worktree = _branch(project, draft, candidate), str(_folder(project, candidate))
            staged.write(replace(draft, name=candidate, branch=branch, worktree=worktree))
            try:
                return project.store.claim(staged, candidate)
            except FileExistsError:
                reason = f"a session named '{candidate}' exists already"
        if name:
            raise ChatmlError(reason, "choose another --name, or see 'chatml ls'")
    raise AssertionError("unreachable: the numbers never end")


def clash(project: Project, draft: Session, name: str, known: dict[str, list[str]] | None = None) -> str | None:
    """Why the session can't have that name as things are; None where it can.

    `known` are branches that were listed already, by the first part of their names. ChatmlError where no other name
    gets around that.
    """
    branch = _branch(project, draft, name) if draft.checkout.owns_branch else None
    if branch is not None and known is not None and (first := branch.partition("/")[0]) not in known:
        known[first] = project.repo.beside(branch)
    beside = known[branch.partition("/")[0]] if branch is not None and known is not None else None
    return _taken(project, name, branch, beside, _folder(project, name))


def _branch(project: Project, draft: Session, name: str) -> str:
    return draft.branch or project.config.branch_prefix + name


def _folder(project: Project, name: str) -> Path:
    repo = project.repo
    return config.worktrees_dir(project.config, repo.home, repo.name, repo.common_dir) / name


def _taken(project: Project, name: str, branch: str | None, beside: list[str] | None, folder: Path) -> str | None:
    if project.store.session(name).folder.exists():
        return f"a session named '{name}' exists already"
    if branch is not None and (other := project.repo.in_the_way(branch, beside)) is not None:
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
    if session.checkout.owns_branch:
        project.repo.delete_branch(session.branch, session.base.commit)
    with suppress(OSError):
        Path(session.worktree).parent.rmdir()
