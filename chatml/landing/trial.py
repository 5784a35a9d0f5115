"""Tries a command on what a merge gives: in a scratch worktree, each tree once, and keeps what it has said."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from chatml import checking, environment
from chatml.landing.scratch import Scratch, clear, commit_of_tree
from chatml.landing.triallog import TrialLog
from chatml.model import now
from chatml.repo import Repository
from chatml.state.store import Store, write_json

RESULTS = 200
"""Results that are remembered, the last ones."""

OUTPUTS = 1 << 20
"""Characters of output that are remembered with them; older results go."""

SURE = 2
"""How often a tree must have failed for its failure to be beyond doubt."""


class Ending(Enum):
    """How a command has ended on a tree."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"
    """The shell could not run it, so the command itself is at fault, not what it was tried on."""


@dataclass(frozen=True)
class Tried:
    """How one run ended."""

    tree: str
    ending: Ending
    said: str
    """In words that follow the command's name: `exited with code 1`."""
    output: str
    """Its last lines."""
    at: str
    """When it ended."""
    failures: int = 0
    """How often it has failed on this tree."""
    log: str | None = None
    """The name of the file with all of its output, in `StatePaths.trial_logs`: it may have gone since."""
    cached: bool = False
    """Whether it ran before, not just now."""

    @property
    def fails(self) -> bool:
        """Whether the tree does not pass; a command that could not be run counts as well."""
        return self.ending is not Ending.PASSED


class Trial:
    """One command, tried on one commit after the other; a context, at whose end the scratch worktree is gone.

    Whether it passed is remembered by tree and command, also for the commands that come after this one, until it is
    asked `again`. Not remembered so long are: a command that could not be run or did not end in time, which may be the
    machine's doing, and one that failed and then passed.
    """

    def __init__(
        self,
        repository: Repository,
        store: Store,
        worktrees: Path,
        command: str,
        *,
        timeout: float,
        contained: bool = False,
        fresh: bool = False,
    ) -> None:
        """`worktrees` is the folder for the scratch worktree (`config.worktrees_dir`), `timeout` in seconds.

        `contained`: in a sandbox. `fresh`: nothing that ran before counts.
        """
        self._repository, self._store, self._worktrees = repository, store, worktrees
        self.command = command
        self._timeout, self._contained = timeout, contained
        self._seen: dict[str, Tried] = {} if fresh else {key: _of_before(one) for key, one in self._read()}
        self._scratch: Scratch | None = None
        self._lasting = False
        """Whether the last run has come to its end by itself, and so says something of the tree."""

    def __enter__(self) -> Trial:
        clear(self._store)
        return self

    def __exit__(self, *_: object) -> None:
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    def run(self, commit: str, names: Sequence[str] = (), again: bool = False) -> Tried:
        """Try the command on a commit or a tree, unless that is known; `names` are the sessions that are in it.

        `again` has it tried once more where it has failed only once. Ctrl-C ends the command and all that it has
        started. ChatmlError where the commit can't be checked out.
        """
        commit, tree = self._resolved(commit)
        key = self._key(tree)
        before = self._seen.get(key)
        if before is not None and not (again and before.ending is Ending.FAILED and before.failures < SURE):
            return before
        tried = self._run(commit, tree, names)
        if tried.ending is Ending.FAILED:
            tried = replace(tried, failures=1 + (before.failures if before is not None else 0))
        self._seen[key] = replace(tried, cached=True)
        self._remember(key, tried, flaky=before is not None and tried.ending is not before.ending)
        return tried

    def _resolved(self, name: str) -> tuple[str, str]:
        """The commit and the tree that a commit or a tree is."""
        if self._repository.git("cat-file", "-t", name).text.strip() == "tree":
            name = commit_of_tree(self._repository, name)
        commit, tree = self._repository.git("rev-parse", f"{name}^{{commit}}", f"{name}^{{tree}}").text.split()
        return commit, tree

    def _run(self, commit: str, tree: str, names: Sequence[str]) -> Tried:
        if self._scratch is None:
            self._scratch = Scratch(self._repository, self._store, self._worktrees)
        said = self._scratch.hold(commit)
        log = TrialLog(self._store, self.command, tree, names, self._scratch.mark)
        if said:
            log.hear(f"{said}\n".encode("utf-8", "surrogateescape"))
        ran = checking.execute(
            self.command,
            self._scratch.place,
            environment.session_env({"CHATML_REPOSITORY": str(self._repository.home)}),
            timeout=self._timeout,
            contained=self._contained,
            cancelled=lambda: False,
            listener=log.hear,
            mark=self._scratch.mark,
        )
        ending = Ending.NOT_RUN if ran.not_run else Ending.PASSED if ran.code == 0 else Ending.FAILED
        log.ended(ran.said, ending is Ending.PASSED)
        self._lasting = ran.code is not None and ending is not Ending.NOT_RUN
        return Tried(tree, ending, ran.said, ran.output, now(), log=log.name)

    def _key(self, tree: str) -> str:
        about = "\0".join((tree, str(self._contained), self.command))
        return hashlib.sha256(about.encode("utf-8", "surrogateescape")).hexdigest()

    def _read(self) -> list[tuple[str, Tried]]:
        """What is remembered, the oldest first; nothing of what can't be understood."""
        try:
            known = json.loads(self._store.trial_results.read_text("utf-8", "surrogatepass"))
            return [(key, Tried(**{**one, "ending": Ending(one["ending"])})) for key, one in known.items()]
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            return []

    def _remember(self, key: str, tried: Tried, flaky: bool) -> None:
        """Note a result for later; a disk that can't take it is no reason to stop."""
        with contextlib.suppress(OSError), self._store.lock():
            known = dict(self._read())
            known.pop(key, None)
            if self._lasting and not flaky:
                known[key] = tried
            write_json(self._store.trial_results, {key: _plain(one) for key, one in _bounded(known)})


def _bounded(known: dict[str, Tried]) -> list[tuple[str, Tried]]:
    """The last ones of them, the oldest first."""
    kept: list[tuple[str, Tried]] = []
    room = OUTPUTS
    for key, one in reversed([*known.items()][-RESULTS:]):
        room -= len(one.output)
        if room < 0:
            break
        kept.append((key, one))
    return kept[::-1]


def _of_before(one: Tried) -> Tried:
    """What another command has seen: a failure can be doubted anew, since it may have been the machine's doing."""
    return replace(one, cached=True, failures=min(one.failures, SURE - 1))


def _plain(one: Tried) -> dict[str, Any]:
    return {**asdict(one), "ending": one.ending.value, "cached": False}
