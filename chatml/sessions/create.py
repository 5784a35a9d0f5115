"""Makes a session whole, or not at all: its name, record, branch and worktree, and its first worker."""

from __future__ import annotations

import os
import re
import unicodedata
import uuid
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from chatml import config, containment
from chatml.config import AgentCommand, Config, Role
from chatml.errors import ChatmlError, GitError, UsageError
from chatml.model import Base, Session, Status, now
from chatml.project import Project
from chatml.queue import enter
from chatml.repo import Repository
from chatml.sessions.control import check_fits, check_message, start_worker
from chatml.sessions.find import load, with_places
from chatml.state import events
from chatml.state.store import SessionStore

MAX_NAME = 40


@dataclass(frozen=True)
class Order:
    """What a new session is asked for."""

    prompt: str
    config: Config
    name: str | None = None
    branch: str | None = None
    on_request: str = "wait"
    role: Role = field(default_factory=Role)
    """What is left of it once the settings have its mode and model."""
    stem: str | None = None
    """The name to take, with a number where it is taken already."""
    reviews: str | None = None
    """The `id` of the session that is to be reviewed."""


def slug(prompt: str) -> str:
    """A name made from a prompt, in any language: valid as a folder and as the last part of a ref."""
    text = unicodedata.normalize("NFC", prompt.strip().lower())
    name = ""
    for word in "".join(c if _in_word(c) else " " for c in text).split():
        longer = f"{name}-{word}" if name else word[:MAX_NAME]
        if len(longer) > MAX_NAME:
            break
        name = longer
    name = unicodedata.normalize("NFC", name) or "session"
    return f"{name}-session" if _RESERVED.fullmatch(name) else name


def _in_word(char: str) -> bool:
    """Letters, digits, and the marks without which many scripts can't be written."""
    return unicodedata.category(char)[0] in "LNM"


_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""What is no file on Windows (learn.microsoft.com, "Naming Files, Paths, and Namespaces")."""


def check_name(name: str) -> str:
    """`name` as a session's name. UsageError where it could not be a folder and a ref everywhere."""
    good = (
        0 < len(name) <= MAX_NAME
        and all(char in "_.-" or _in_word(char) for char in name)
        and not _RESERVED.fullmatch(name)
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


def create(project: Project, order: Order) -> Session:
    """Make a session and start its worker; neither the checkout nor the agent is waited for.

    ChatmlError, and nothing left behind, where that is not possible.
    """
    settings = order.config
    name = check_name(order.name) if order.name is not None else None
    draft = _draft(project, order)
    with ExitStack() as undo:
        staged = undo.enter_context(project.store.stage())
        events.post(staged, {"id": str(uuid.uuid4()), "type": "message", "text": draft.prompt})
        store = _claim(project, staged, draft, settings, name, order.stem)
        undo.callback(_forget, store)
        session = store.read()
        undo.callback(_unmake, project, session)
        start = session.base.commit if session.owns_branch else None
        try:
            with project.store.lock():  # git fails where it finds the half-made worktree of another one
                project.repo.add_worktree(Path(session.worktree), session.branch, start)
        except GitError as error:
            raise ChatmlError(error.message, _why_no_worktree(project, session)) from error
        with store.lock():
            if session.max_parallel is None:
                session = start_worker(store, session)
            else:
                session = enter(store, session, session.max_parallel)
        undo.pop_all()
        # The stage is gone, having become the session.
    if session.status is Status.QUEUED:
        project.queue.fill()
        (session,) = with_places(project, [load(project, session.name)])
    return session


def _draft(project: Project, order: Order) -> Session:
    """The record of the session to be, but for its name and what follows from that."""
    settings = order.config
    repository = project.repo
    program = _program(settings)
    _check_sandbox(settings)
    if program is not None and order.role.name is not None:
        raise UsageError(
            f"the agent '{settings.agent}' can't play a role: chatml has no say in what it may do",
            "leave --role out, or take --agent claude",
        )
    tip = None
    if order.branch is not None:
        tip = repository.tip(order.branch)
        if tip is None:
            raise ChatmlError(
                f"no such branch: '{order.branch}'", "name a local branch, or leave --branch out for a new one"
            )
        _check_free(repository, order.branch)
    if settings.base is not None:
        commit = repository.resolve(settings.base)
        # What means something else inside the worktree (HEAD~2, @{u}) would make a later diff wrong.
        base = Base(repository.ref_name(settings.base) or commit, commit)
    else:
        commit, branch = repository.checked_out()
        base = Base(branch or commit, commit)
    stamp = now()
    return Session(
        name="",
        # Who is killed while making a session that may have to wait leaves it to the queue.
        status=Status.PREPARING if settings.max_parallel is None else Status.QUEUED,
        prompt=check_fits(check_message(order.prompt), program.command if program else None),
        branch=order.branch or "",
        base=base,
        worktree="",
        agent=settings.agent,
        model=settings.model,
        permission_mode=settings.permission_mode,
        mode_after_plan=_mode_after_plan(project, order),
        on_request=order.on_request,
        notify=settings.notify,
        allow=settings.allow,
        ask=settings.ask,
        deny=settings.deny,
        sandbox=settings.sandbox,
        session_id=str(uuid.uuid4()),
        created_at=stamp,
        updated_at=stamp,
        repository=str(repository.home),
        id=str(uuid.uuid4()),
        max_turns=settings.max_turns,
        max_budget_usd=settings.max_budget_usd,
        max_parallel=settings.max_parallel,
        queued_at=None if settings.max_parallel is None else stamp,
        owns_branch=order.branch is None,
        role=order.role.name,
        instruction=order.role.instruction,
        tools=order.role.tools,
        scope=order.role.scope,
        scope_start=tip if order.role.scope else None,
        reviews=order.reviews,
        command=program.command if program else None,
        resume_command=program.resume if program else None,
    )


def _mode_after_plan(project: Project, order: Order) -> str | None:
    """The mode that a session which begins with planning would have had without."""
    if order.config.permission_mode != "plan":
        return None
    without = order.role.permission_mode or project.config.permission_mode
    return without if without != "plan" else Config.permission_mode


def _program(settings: Config) -> AgentCommand | None:
    """The command behind the chosen agent; None for the one that is built in."""
    if settings.agent == "claude":
        return None
    found = settings.agents.get(settings.agent)
    if found is None:
        known = ", ".join(["claude", *settings.agents])
        raise UsageError(
            f"no agent named '{settings.agent}'", f"known: {known}; others go under 'agents:' in the configuration"
        )
    return found


def _check_sandbox(settings: Config) -> None:
    if settings.sandbox != "required":
        return
    if settings.agent != "claude":
        raise ChatmlError(
            f"'sandbox: required' can't hold for the agent '{settings.agent}': it is a program of its own",
            "use --sandbox auto, and confine that program yourself",
        )
    if lack := containment.lack():
        raise ChatmlError(f"no sandbox here: {lack.reason}", lack.remedy)


def _check_free(repository: Repository, branch: str) -> None:
    for worktree in repository.worktrees():
        if worktree.branch == branch:
            raise ChatmlError(
                f"branch '{branch}' is checked out in {worktree.path}", "a branch can have one worktree at a time"
            )


def _claim(
    project: Project, staged: SessionStore, draft: Session, settings: Config, name: str | None, stem: str | None
) -> SessionStore:
    """Find a free name and take it, in one rename that only one of many can win."""
    folder = config.worktrees_dir(settings, project.repo.home, project.repo.name, project.repo.common_dir)
    wanted = name or stem or slug(draft.prompt)
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
    if branch is not None and project.repo.tip(branch) is not None:
        return f"a branch named '{branch}' exists already"
    if os.path.lexists(folder):
        return f"{folder} exists already"
    return None


def _why_no_worktree(project: Project, session: Session) -> str:
    parts = session.branch.split("/")
    for end in range(1, len(parts)):
        if project.repo.tip("/".join(parts[:end])):
            return f"the branch '{'/'.join(parts[:end])}' is in the way: set another branch_prefix in the configuration"
    return f"nothing was made; is {Path(session.worktree).parent} a folder that you can write?"


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
