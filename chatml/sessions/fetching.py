"""`new --fetch`: what to start from, once its upstream was fetched; never silently something else."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from chatml.errors import ChatmlError
from chatml.repo import Repository
from chatml.repo.upstream import Upstream, fetch, upstream_of
from chatml.text import counted


@dataclass(frozen=True)
class Fetched:
    """The base by its name, and the commit to start from."""

    base: str
    commit: str
    note: str | None = None
    """What a person has to know about it."""


def fetched(repository: Repository, name: str | None) -> Fetched:
    """The base, None for the branch checked out here, after its upstream was fetched.

    ChatmlError where there is nothing to fetch, where that fails, and where the two have diverged.
    """
    name = name or repository.checked_out()[1]
    if name is None:
        raise ChatmlError(
            "no branch is checked out here, so there is nothing to fetch", "name one, such as --base origin/main"
        )
    full = repository.full_name(name) or f"refs/remotes/{name}"
    if full.startswith("refs/heads/"):
        return _local(repository, name, full.removeprefix("refs/heads/"))
    for remote in sorted(repository.git("remote").text.split(), key=len, reverse=True):
        if full.startswith(start := f"refs/remotes/{remote}/"):
            fetch(repository, remote, f"refs/heads/{full.removeprefix(start)}", full)
            return Fetched(name, repository.resolve(full))
    raise ChatmlError(
        f"'{name}' is no branch, so there is nothing to fetch",
        "leave --fetch out, or name a branch, such as --base origin/main",
    )


def _local(repository: Repository, name: str, branch: str) -> Fetched:
    """The newer one of a local branch and its upstream, where one holds the other."""
    upstream = _upstream(repository, branch)
    if upstream.remote != ".":
        fetch(repository, upstream.remote, upstream.branch, upstream.ref)
        upstream = _upstream(repository, branch)
    if upstream.ahead and upstream.behind:
        raise ChatmlError(
            f"'{branch}' and '{upstream.name}' have diverged: "
            f"{counted(upstream.ahead, 'commit')} here, {upstream.behind} there",
            f"bring them together, or choose one: --base {shlex.quote(upstream.name)}, or do without --fetch",
        )
    if not upstream.behind:
        return Fetched(name, repository.resolve(f"refs/heads/{branch}"))
    note = f"'{branch}' is {counted(upstream.behind, 'commit')} behind '{upstream.name}': it starts from there"
    return Fetched(name, repository.resolve(upstream.ref), note)


def _upstream(repository: Repository, branch: str) -> Upstream:
    upstream = upstream_of(repository, branch)
    if upstream is None:
        raise ChatmlError(
            f"'{branch}' has no upstream to fetch",
            f"name a remote's branch (--base origin/{shlex.quote(branch)}), or leave --fetch out",
        )
    return upstream


def lag(repository: Repository, base: str) -> str | None:
    """How far a base is behind its upstream, as last fetched; None where it isn't. One git command at most."""
    upstream = upstream_of(repository, base)
    if upstream is None or not upstream.behind:
        return None
    ahead = f", and {upstream.ahead} ahead" if upstream.ahead else ""
    hint = "" if upstream.ahead else "; --fetch gets it"
    return (
        f"base '{base}' is {counted(upstream.behind, 'commit')} behind '{upstream.name}'{ahead} (as last fetched){hint}"
    )
