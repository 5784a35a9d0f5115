"""Which runners there are: the table that a new one adds its row to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from chatml.errors import UsageError
from chatml.model import Session
from chatml.runners.base import Runner
from chatml.state.store import SessionStore

GROUP = "chatml.runners"
"""The entry points of packages that bring a runner: its name, and the class that is one."""

BUILT_IN: Mapping[str, str] = {"local": "chatml.runners.local:LocalRunner"}
"""Each runner, as `module:name`."""


@cache
def named(name: str) -> Runner:
    """The runner of that name. UsageError for an unknown one."""
    place = BUILT_IN.get(name) or _plugged(name)
    module, _, kind = place.partition(":")
    runner: Runner = getattr(import_module(module), kind)()
    return runner


def _plugged(name: str) -> str:
    from importlib.metadata import entry_points

    plugged = {one.name: one.value for one in entry_points(group=GROUP)}
    if name not in plugged:
        raise UsageError(f"no runner named '{name}'", f"known: {', '.join([*BUILT_IN, *plugged])}")
    return plugged[name]


def of(session: Session) -> Runner:
    """Where the session's workers run."""
    return named(session.terms.runner)


def alive(store: SessionStore, session: Session) -> bool:
    """Whether the session has a living worker."""
    return of(session).alive(store)
