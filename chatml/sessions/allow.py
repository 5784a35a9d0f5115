"""Writes down what a person allows for good in this repository."""

from __future__ import annotations

from collections.abc import Sequence

from chatml.config import approvals
from chatml.project import Project
from chatml.state import store


def allow_for_all(project: Project, rules: Sequence[str]) -> None:
    """Allow these rules in all sessions that are started from now on. ChatmlError where the file is damaged."""
    with project.store.lock():
        folder = project.store.root
        store.write_json(folder / approvals.NAME, approvals.with_rules(folder, rules))
