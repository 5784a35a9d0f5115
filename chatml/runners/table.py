"""Which runners there are: the table that a new one adds its row to."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache

from chatml import plugins
from chatml.errors import UsageError
from chatml.model import Session
from chatml.runners.base import Runner
from chatml.state.store import SessionStore

GROUP = "chatml.runners"
"""The entry points of packages that bring a runner: its name, and the class that is one."""

BUILT_IN: Mapping[str, str] = {"local": "chatml.runners.local:LocalRunner"}
"""Each runner, as `module:name`."""


def known() -> Mapping[str, str]:
    """Each runner that there is, by its name: those of other packages as well."""
    return {**plugins.plugged(GROUP), **BUILT_IN}


@cache
def named(name: str) -> Runner:
    """The runner of that name. UsageError for an unknown one."""
    rows = known() if name not in BUILT_IN else BUILT_IN
    if name not in rows:
        raise UsageError(f"no runner named '{name}'", f"known: {', '.join(sorted(rows))}")
    runner: Runner = plugins.load(rows[name])()
    return runner


def together() -> AbstractContextManager[None]:
    """Where many workers are started at once: those of this machine share what has to be loaded."""
    from chatml.runners.local import LocalRunner

    local = named("local")
    assert isinstance(local, LocalRunner)
    return local.together()


def of(session: Session) -> Runner:
    """Where the session's workers run. UsageError where the package that brought it is gone."""
    try:
        return named(session.terms.runner)
    except UsageError as error:
        hint = f"'{session.name}' needs the package that brings it: install that, and call this again"
        raise UsageError(error.message, hint) from error


def alive(store: SessionStore, session: Session) -> bool:
    """Whether the session has a living worker."""
    return of(session).alive(store)


def looked_after(store: SessionStore, session: Session) -> tuple[Session, bool]:
    """The record, read anew where its worker has gone, and whether it has crashed: active without a living worker."""
    if not session.status.active or alive(store, session):
        return session, False
    session = store.read()  # it may have come to rest between the two looks
    return session, session.status.active and not alive(store, session)
