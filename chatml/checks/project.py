"""Whether one repository is ready for sessions, and what broken commands have left behind in it."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chatml import config, marking, proc
from chatml.changes.standing import WorktreeGoneError, check_standing
from chatml.checks import Diagnosis, count, ok, problem, warning
from chatml.config import Config
from chatml.errors import ChatmlError
from chatml.landing.scratch import PLACE
from chatml.model import Session, Status
from chatml.project import Project
from chatml.repo import Repository, git
from chatml.runners import table as runners
from chatml.state.locks import WorkerLock
from chatml.state.store import CorruptRecordError, Store
from chatml.text import beginning

LOW_SPACE = 1 << 30
"""Bytes of free disk below which a checkout and its build may not fit."""

NO_SPACE = 100 << 20
"""Bytes of free disk below which records and logs may not fit."""

IN_THE_MAKING = 60.0
"""Seconds for which a session's folder may be in the making: `new` and `restore` take far less."""

ENDING = 3.0
"""Seconds that the processes of a session which just ended may take to go."""


def check(project: Project, found: Sequence[Session], damaged: Sequence[CorruptRecordError]) -> Iterator[Diagnosis]:
    """All findings about a repository and its sessions, as they were found just now."""
    repository, store = project.repo, project.store
    names = {*(one.name for one in found), *(one.name for one in damaged)}
    for name, findings in (
        ("repository", _commits(repository)),
        ("identity", _identity(repository)),
        ("config", _settings(project)),
        ("state", _state(repository, store)),
        ("locks", _locks(repository)),
        ("worktrees", _space(project)),
        ("trust", _trust(repository)),
        ("sessions", _sessions(found, damaged)),
        ("worktrees", _missing_worktrees(repository, found)),
        ("leftovers", _unknown_worktrees(project, names)),
        ("leftovers", _unfinished(project)),
        ("leftovers", _orphans(store, found)),
    ):
        try:
            yield from findings
        except ChatmlError as error:
            yield problem(name, error.message, error.hint)
        except OSError as error:
            yield problem(name, f"{(error.strerror or str(error)).lower()}: {error.filename}")


def _commits(repository: Repository) -> Iterator[Diagnosis]:
    repository.resolve("HEAD")
    yield ok("repository", f"repository {repository.home}")


def _identity(repository: Repository) -> Iterator[Diagnosis]:
    repository.setting("user.email")  # a configuration that can't be read is another fault
    for which in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
        if git("var", which, at=repository.cwd, check=False).code:
            hint = "git config --global user.name 'Your Name' && git config --global user.email you@example.com"
            yield problem("identity", "git knows no name and e-mail for commits, so no agent can commit", hint)
            return
    yield ok("identity", "git knows whose name commits carry")


def _settings(project: Project) -> Iterator[Diagnosis]:
    settings = project.config
    yield from _commands(settings)
    places = sorted({place.partition(":")[0] for place in settings.origins.values()})
    yield ok("config", f"settings from {', '.join(places)}" if places else "no settings: all defaults")


def _commands(settings: Config) -> Iterator[Diagnosis]:
    """What the committed file would run, and whether it may."""
    found = settings.committed
    if found is None:
        return
    listed = "; ".join(f"{key}: {command}" for key, command in _listed(found.data))
    if found.approved:
        yield ok("commands", f"the commands of {found.file} are approved: {listed}")
    else:
        yield warning(
            "commands",
            f"{found.file} has commands that are not approved, so no session starts: {listed}",
            "see and approve them: chatml trust",
        )


def _listed(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each command that would run, in one line, by the key that it stands under."""
    for key, value in data.items():
        for one in [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else [value]:
            command = one.get("command", one) if isinstance(one, dict) else one
            yield key, beginning(" ".join(map(str, command)) if isinstance(command, list) else str(command))


def _ground(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    return path if path.exists() or path == path.parent else _ground(path.parent)


def _writable(path: Path) -> str | None:
    """The folder that can't be written in, for `path` to be made or changed."""
    ground = _ground(path)
    return None if os.access(ground, os.W_OK | os.X_OK) else str(ground)


def _worktrees_dir(project: Project) -> Path:
    """Where worktrees are made. ChatmlError for a place that is refused."""
    try:
        settings = project.config
    except ChatmlError:  # that is a finding of its own
        settings = Config()
    repository = project.repo
    return config.worktrees_dir(settings, repository.home, repository.name, repository.common_dir)


def _among_worktrees(project: Project, pattern: str) -> list[Path]:
    try:
        return sorted(_worktrees_dir(project).glob(pattern))
    except ChatmlError:  # that is a finding of its own, too
        return []


def _state(repository: Repository, store: Store) -> Iterator[Diagnosis]:
    for folder in (store.root, store.sessions, repository.common_dir / "worktrees", repository.common_dir / "refs"):
        if blocked := _writable(folder):
            yield problem("state", f"can't write in {blocked}", "check its owner and permissions, and the file system")
            return
    yield ok("state", f"state in {store.root}")


def _locks(repository: Repository) -> Iterator[Diagnosis]:
    """Take a lock twice, on a file that is there anyway and that nobody else locks."""
    first, second = (WorkerLock(repository.common_dir / "config") for _ in range(2))
    try:
        if not proc.wait_until(first.take, 1.0):
            yield warning("locks", "file locks could not be tried", "another 'chatml doctor' may be running")
        elif second.take():
            yield problem(
                "locks",
                f"file locks do nothing on the file system of {repository.common_dir}",
                "sessions need them: use a local disk, or a network file system with locks",
            )
        else:
            yield ok("locks", "file locks work")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        yield problem("locks", f"file locks don't work in {repository.common_dir}: {reason}", "use a local disk")
    finally:
        first.release()
        second.release()


def _space(project: Project) -> Iterator[Diagnosis]:
    folder = _worktrees_dir(project)
    if blocked := _writable(folder):
        yield problem("worktrees", f"can't write in {blocked}", "see 'worktrees' in the configuration")
        return
    free = shutil.disk_usage(_ground(folder)).free
    text = f"{free / (1 << 30):.1f} GiB free for worktrees in {folder}"
    if free < NO_SPACE:
        yield problem("worktrees", text, "free some space, or set 'worktrees' to another disk")
    elif free < LOW_SPACE:
        yield warning("worktrees", text, "free some space, or set 'worktrees' to another disk")
    else:
        yield ok("worktrees", text)


def _trust(repository: Repository) -> Iterator[Diagnosis]:
    try:
        from chatml.agents.claude.agent import trusts
    except ImportError:
        return  # a finding of its own, on the machine
    if trusts(repository.home):
        yield ok("trust", "trusted in Claude Code: the project's settings, hooks and MCP servers are used")
        return
    top = repository.top or repository.home
    unused = [name for name in (".claude", ".mcp.json") if (top / name).exists()]
    text = "not trusted in Claude Code: CLAUDE.md is read; settings, hooks, MCP servers are not"
    if unused:
        yield warning("trust", text, "to trust them: run 'claude' here once, and accept")
    else:
        yield ok("trust", text)


def _sessions(found: Sequence[Session], damaged: Sequence[CorruptRecordError]) -> Iterator[Diagnosis]:
    for error in damaged:
        yield problem("sessions", error.message, error.hint)
    for session in found:
        if session.status is Status.CRASHED:
            yield warning(
                "sessions", f"the worker of '{session.name}' died", f"go on with 'chatml resume {session.name}'"
            )
    each = (f"{sum(one.status is status for one in found)} {status.value}" for status in Status)
    kinds = ", ".join(text for text in each if not text.startswith("0 "))
    yield ok("sessions", count(len(found), "session") + (f": {kinds}" if kinds else ""))


def _missing_worktrees(repository: Repository, found: Sequence[Session]) -> Iterator[Diagnosis]:
    gone = {str(worktree.path) for worktree in repository.worktrees()[1:] if worktree.prunable}
    for session in found:
        try:
            check_standing(repository.common_dir, Path(session.worktree))
        except WorktreeGoneError:
            gone.discard(session.worktree)
            yield warning(
                "worktrees",
                f"the worktree of '{session.name}' is gone: {session.worktree}",
                f"make it again from its branch: chatml resume {session.name}",
            )
        except (ChatmlError, OSError) as error:
            gone.discard(session.worktree)
            yield problem("worktrees", f"'{session.name}': {error}", getattr(error, "hint", None))
    for path in sorted(gone):
        yield warning("worktrees", f"git knows a worktree that is gone: {path}", "forget it with 'git worktree prune'")


def _unknown_worktrees(project: Project, names: set[str]) -> Iterator[Diagnosis]:
    """What lies among the worktrees and belongs to no session, also not to one whose record is damaged."""
    known = {os.path.realpath(worktree.path) for worktree in project.repo.worktrees()}
    for path in _among_worktrees(project, "[!.]*"):
        place = shlex.quote(str(path))
        if path.name in names or path.name.startswith(PLACE) or not path.is_dir():
            continue  # a scratch worktree comes and goes with the command that tries something in it
        if os.path.realpath(path) in known:
            yield warning(
                "leftovers",
                f"a worktree without a session: {path}",
                f"look into it; then remove it with 'git worktree remove {place}'",
            )
        elif (path / ".git").exists() or not any(path.iterdir()):
            yield warning("leftovers", f"a folder that is no worktree of this repository: {path}", "look into it")


def _unfinished(project: Project) -> Iterator[Diagnosis]:
    """What a `new`, `restore`, `rm` or `merge` that was killed has left."""
    store = project.store
    if (store.moving.exists() or store.merging.exists()) and not WorkerLock(store.merge_lock).held():
        hint = "the next 'chatml merge', 'sync', 'send', 'new', 'rm' or 'restore' puts branch and checkout right"
        yield warning("leftovers", "a merge or sync was broken off", hint)
    made = sorted(store.sessions.glob(".new-*"))
    records = [path for start in (".gone-*", ".done-*") for path in sorted(store.sessions.glob(start))]
    gone = [*records, *_among_worktrees(project, ".gone-*")]
    for path in (*made, *gone):
        if _age(path) > IN_THE_MAKING:
            what = "the removal" if path in gone else "the making"
            hint = f"no command uses it any more: rm -rf {shlex.quote(str(path))}"
            if path in gone and records:
                hint = "the next 'chatml new', 'rm' or 'restore' finishes it"
            yield warning("leftovers", f"{what} of a session was interrupted and left {path}", hint)


def _age(path: Path) -> float:
    """Seconds since it was last changed; 0 for what is gone by now."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _orphans(store: Store, found: Sequence[Session]) -> Iterator[Diagnosis]:
    """Processes of sessions that have no worker, once those that are just ending had their time."""

    def left() -> dict[str, list[int]]:
        marked = {session.id: session for session in found if not session.leftovers}  # these are shown by `ls`
        pids: dict[str, list[int]] = {}
        for pid, marker in marking.marks().items():
            session = marked.get(marker)
            if session is not None and not runners.alive(store.session(session.name), session):
                pids.setdefault(session.name, []).append(pid)
        return pids

    if proc.wait_until(lambda: not left(), ENDING, step=0.2):
        return
    for name, pids in left().items():
        which = " ".join(map(str, sorted(pids)))
        yield warning(
            "leftovers",
            f"{count(len(pids), 'process', 'processes')} of '{name}' outlived its worker",
            f"look with 'ps {which}'; end with 'chatml stop {name}'",
        )
