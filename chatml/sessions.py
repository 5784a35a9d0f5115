"""The life of a session: create, find, reconcile with what is true, send, stop, resume."""

from __future__ import annotations

import os
import re
import signal
import unicodedata
import uuid
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from chatml import config, events, proc, workspace
from chatml.agents.base import GO_ON
from chatml.config import AgentCommand, Config
from chatml.errors import ChatmlError, GitError, UsageError
from chatml.landing.changes import measure
from chatml.model import Base, Failure, Session, Status, now
from chatml.repo import Repository
from chatml.runners import local
from chatml.store import CorruptRecordError, SessionStore, Store

MAX_NAME = 40
MAX_MESSAGE = 1_000_000
"""Characters of one message: beyond it no model reads it anyway, and a file is the better place."""

STOP_GRACE = 15.0
"""Seconds that a worker has to end: the SDK alone takes up to 6.5 s to disconnect in the middle of a turn."""


@dataclass(frozen=True)
class Project:
    """One repository and its sessions, as seen from one directory."""

    repo: Repository
    store: Store

    @cached_property
    def config(self) -> Config:
        return config.load(state_dir=self.store.root, top=self.repo.top)


@dataclass(frozen=True)
class Order:
    """What a new session is asked for."""

    prompt: str
    config: Config
    name: str | None = None
    branch: str | None = None


def open_project(start: Path) -> Project:
    """The project that `start` lies in. ChatmlError outside of a repository."""
    repository = Repository.discover(start)
    return Project(repository, Store(repository.common_dir))


# --- create -----------------------------------------------------------------------------------------------------


def check_message(text: str) -> str:
    """`text` as a message to an agent. UsageError where it is empty, too long or not text."""
    if not text.strip():
        raise UsageError("the message is empty", "say what the agent shall do")
    if "\0" in text:
        raise UsageError("the message contains a NUL character", "it must be text")
    if odd := re.search(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]", text):
        what = "is not valid UTF-8" if odd[0] >= "\ud800" else f"contains the control character {odd[0]!r}"
        raise UsageError(f"the message {what}", "it must be text; put anything else into a file and name that file")
    if len(text) > MAX_MESSAGE:
        raise UsageError(
            f"the message has {len(text):,} characters, more than {MAX_MESSAGE:,}",
            "put it into a file and name that file",
        )
    return text.strip()


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
        store = _claim(project, staged, draft, settings, name)
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
            session = start_worker(store, session)
        undo.pop_all()
        # The stage is gone, having become the session.
    return session


def _draft(project: Project, order: Order) -> Session:
    """The record of the session to be, but for its name and what follows from that."""
    settings = order.config
    repository = project.repo
    program = _program(settings)
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
        status=Status.PREPARING,
        prompt=check_message(order.prompt),
        branch=order.branch or "",
        base=base,
        worktree="",
        agent=settings.agent,
        model=settings.model,
        permission_mode=settings.permission_mode,
        session_id=str(uuid.uuid4()),
        created_at=stamp,
        updated_at=stamp,
        repository=str(repository.home),
        id=str(uuid.uuid4()),
        max_turns=settings.max_turns,
        max_budget_usd=settings.max_budget_usd,
        owns_branch=order.branch is None,
        command=program.command if program else None,
        resume_command=program.resume if program else None,
    )


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


def _check_free(repository: Repository, branch: str) -> None:
    for worktree in repository.worktrees():
        if worktree.branch == branch:
            raise ChatmlError(
                f"branch '{branch}' is checked out in {worktree.path}", "a branch can have one worktree at a time"
            )


def _claim(project: Project, staged: SessionStore, draft: Session, settings: Config, name: str | None) -> SessionStore:
    """Find a free name and take it, in one rename that only one of many can win."""
    folder = config.worktrees_dir(settings, project.repo.home, project.repo.name, project.repo.common_dir)
    wanted = name or slug(draft.prompt)
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
    from chatml.store import remove_tree

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


# --- find and reconcile -----------------------------------------------------------------------------------------


def load(project: Project, name: str) -> Session:
    """The session as it is now: an active record without a living worker is a crashed one. FileNotFoundError."""
    store = project.store.session(name)
    session = store.read()
    if session.status.active and not store.worker_lock.held():
        session = store.read()  # it may have come to rest between the two looks
        if session.status.active and not store.worker_lock.held():
            return replace(session, status=Status.CRASHED, pid=None)
    return session


def load_all(project: Project) -> tuple[list[Session], list[CorruptRecordError]]:
    """All sessions, oldest first, and the records that can't be read."""
    found, damaged = [], []
    for name in project.store.names():
        try:
            found.append(load(project, name))
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed meanwhile
        except CorruptRecordError as error:
            damaged.append(error)
    return sorted(found, key=lambda session: (session.created_at, session.name)), damaged


def recount(project: Project, found: Sequence[Session], every: bool = False) -> list[Session]:
    """The sessions with their changes as they are now: counted again, in parallel, where a person was at them.

    A living worker counts by itself. Those at rest are counted again where the worktree looks different from
    outside, or `every` one of them.
    """
    stale = [one for one in found if not one.status.active and (every or _stale(one))]
    if not stale:
        return list(found)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        counted = dict(
            zip((one.name for one in stale), pool.map(lambda one: _counted(project, one), stale), strict=True)
        )
    return [counted.get(one.name, one) for one in found]


def _stale(session: Session) -> bool:
    seen = workspace.glance(session)
    return seen is not None and seen != session.changes_seen


def _counted(project: Project, session: Session) -> Session:
    """The session with its changes counted anew, also in its record; as it was where that is not possible."""
    try:
        changes = measure(Path(session.worktree), session.base.ref, session.base.commit)
        seen = workspace.glance(session)
        if changes != session.changes or seen != session.changes_seen:
            project.store.session(session.name).update(
                lambda now_: replace(now_, changes=changes, changes_seen=seen) if now_.id == session.id else now_
            )
    except (ChatmlError, OSError):
        return session
    return replace(session, changes=changes, changes_seen=seen)


def resolve(project: Project, name: str | None) -> Session:
    """The session of that name, or the one in whose worktree the command was called."""
    if name is None:
        return _here(project)
    try:
        session = load(project, name)
        if session.repository != str(project.repo.home) and not project.store.session(name).worker_lock.held():
            _mend(project, name)
            session = load(project, name)
        return session
    except (FileNotFoundError, NotADirectoryError, ValueError):
        from chatml.output import nearest

        raise ChatmlError(
            f"no session named '{name}'{nearest(name, project.store.names())}", "see 'chatml ls'"
        ) from None


def _mend(project: Project, name: str) -> None:
    """Find the session's worktree again, after its repository was moved."""
    store = project.store.session(name)
    with store.lock():
        _relocated(project, store)


def _here(project: Project) -> Session:
    top = project.repo.top
    if top is not None:
        for session in load_all(project)[0]:
            if os.path.realpath(session.worktree) == os.path.realpath(top):
                return session
    raise UsageError("no session named", "name one (see 'chatml ls'), or go into a session's worktree")


# --- send, stop, resume -----------------------------------------------------------------------------------------


def start_worker(store: SessionStore, session: Session) -> Session:
    """Start the session's worker if none lives; the caller holds the session's lock."""
    if not store.worker_lock.take():
        return session
    try:
        ready = replace(session, status=Status.PREPARING, stopping=False, request=None, pid=None)
        if ready != session:  # a new session was born ready
            ready = replace(ready, updated_at=now())
            store.write(ready)
        started = replace(ready, pid=local.start(store, session.id))
    finally:
        store.worker_lock.release()
    with suppress(OSError):  # the worker lives, and writes it down itself
        store.write(started)
    return started


def send(project: Project, name: str, text: str, interrupt: bool = False) -> str:
    """Put a message into the session's inbox and see that a worker reads it; returns the message's id."""
    text = check_message(text)
    store = _existing(project, name)
    message = {"id": str(uuid.uuid4()), "type": "message", "text": text}
    first = [{"id": str(uuid.uuid4()), "type": "interrupt"}] if interrupt else []
    with store.lock():
        session = _relocated(project, store)
        with events.posted(store, *first, message):
            start_worker(store, session)
    return message["id"]


def _existing(project: Project, name: str) -> SessionStore:
    resolve(project, name)
    return project.store.session(name)


def _relocated(project: Project, store: SessionStore) -> Session:
    """The record, mended if the repository was moved; the caller holds the session's lock."""
    try:
        session = store.read()
    except FileNotFoundError:
        raise ChatmlError(f"session '{store.name}' was removed just now") from None
    here = workspace.relocate(session, project.repo)
    if here != session:
        store.write(here)
    return here


def locate(project: Project, name: str) -> SessionStore:
    """The session's files, once its record says where the worktree is now, also after the repository was moved."""
    store = _existing(project, name)
    with store.lock():
        _relocated(project, store)
    return store


def pending(store: SessionStore) -> list[str]:
    """The ids of the messages that no agent has taken yet."""
    taken = {event.data.get("id") for event in events.read(store.events) if event.type == "message"}
    sent = (entry["id"] for entry in events.Inbox(store).take() if entry.get("type") == "message")
    return [i for i in sent if i not in taken]


def resume(project: Project, name: str) -> bool:
    """Go on with the interrupted turn; False where there is nothing to go on with."""
    store = _existing(project, name)
    with store.lock():
        session = _relocated(project, store)
        if store.worker_lock.held():
            return False
        if not pending(store):
            if session.status is Status.DONE:
                return False
            events.post(store, {"id": str(uuid.uuid4()), "type": "message", "text": GO_ON, "auto": True})
        start_worker(store, session)
    return True


def stop(project: Project, name: str) -> bool:
    """End the session's turn and worker, and keep everything; False where it was at rest already."""
    store = _existing(project, name)
    with store.lock():
        session = store.read()
        alive = store.worker_lock.held()
        if alive:
            store.write(replace(session, stopping=True))
    if alive:
        end_worker(store, session)
    with store.lock():
        session = store.read()
        if session.status.active or session.status is Status.QUEUED:
            store.write(session.moved_to(Status.STOPPED, activity=None, request=None, pid=None, stopping=False))
            return True
    return alive


def end_worker(store: SessionStore, session: Session) -> None:
    """End a living worker: ask, then kill, then what it has left."""
    asked: set[int] = set()

    def ended() -> bool:
        if not store.worker_lock.held():
            return True
        pid = store.read().pid  # not yet known while the worker is being started
        if pid is not None and pid not in asked and proc.is_marked(pid, session.id):
            asked.add(pid)
            _signal(pid, signal.SIGTERM)
        return False

    if not proc.wait_until(ended, STOP_GRACE):
        for pid in asked:
            _signal(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        proc.wait_until(lambda: not store.worker_lock.held(), STOP_GRACE)
    proc.sweep(session.id)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def failure_of(session: Session) -> Failure | None:
    """Why a session is not going on, also for one that crashed."""
    if session.status is Status.CRASHED:
        return Failure("internal", "its worker ended without a word", f"go on with 'chatml resume {session.name}'")
    return session.error


def summary(sessions: Sequence[Session]) -> dict[Status, int]:
    """How many sessions are in which status."""
    counts: dict[Status, int] = {}
    for session in sessions:
        counts[session.status] = counts.get(session.status, 0) + 1
    return counts
