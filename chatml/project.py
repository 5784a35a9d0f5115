"""One repository and its sessions, as seen from one directory."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from chatml.repo import Repository
from chatml.state.store import Store

if TYPE_CHECKING:
    from chatml.config import Config
    from chatml.queue import Queue


class Project:
    """The repository, the state of its sessions, and their settings: those are loaded once somebody asks."""

    def __init__(self, repo: Repository, store: Store) -> None:
        self.repo = repo
        self.store = store

    @cached_property
    def config(self) -> Config:
        from chatml import config

        return config.load(state=self.store, top=self.settings_top)

    def reload(self) -> None:
        """Have the settings read anew by whoever asks next."""
        self.__dict__.pop("config", None)

    @property
    def settings_top(self) -> Path | None:
        """The checkout whose committed file counts: in a session's worktree that of the main checkout.

        What an agent writes there changes nothing until it is on a branch of the person's.
        """
        top = self.repo.top
        if top is None or top == self.repo.home or not self._is_a_sessions(top):
            return top
        return self.repo.home if (self.repo.home / ".git").exists() else None

    def _is_a_sessions(self, top: Path) -> bool:
        """Whether that is the worktree of a session, which is called as it is."""
        try:
            raw = self.store.session(top.name).raw()
        except OSError:
            return False
        return f'"worktree":{json.dumps(str(top), ensure_ascii=False)}'.encode("utf-8", "surrogatepass") in raw

    @cached_property
    def queue(self) -> Queue:
        from chatml.queue import Queue

        return Queue(self.store, self._max_parallel)

    def _max_parallel(self) -> int | None:
        from chatml import config

        return config.max_parallel(state=self.store, top=self.settings_top)


def open_project(start: Path) -> Project:
    """The project that `start` lies in. ChatmlError outside of a repository."""
    repository = Repository.discover(start)
    store = Store(repository.common_dir)
    repository.noted = store.repositories
    return Project(repository, store)
