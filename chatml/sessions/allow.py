"""Writes down what a person allows for good in this repository."""

from __future__ import annotations

from collections.abc import Sequence

from chatml.config import approvals
from chatml.project import Project
from chatml.state import store


def allow_for_all(project: Project, rules: Sequence[str]) -> None:
    """Allow these rules in all sessions that are started from now on. ChatmlError where the file is damaged."""
    with project.store.lock():
        path = project.store.approvals
        store.write_json(path, approvals.with_rules(path, rules))
