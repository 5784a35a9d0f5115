"""A branch's upstream: how far apart the two are as last fetched, and fetching it, with nobody there to be asked."""

from __future__ import annotations

import os
import re
import shlex
import time

from chatml.errors import ChatmlError, reason
from chatml.record import record
from chatml.repo import Repository
from chatml.repo.plumbing import git

LIMIT = 60.0
"""Seconds that a fetch may take."""


@record(frozen=True)
class Upstream:
    """What a local branch follows, and how many commits each has that the other has not."""

    name: str
    """As people write it: `origin/main`."""
    ref: str
    remote: str
    """The remote's name; `.` for this repository."""
    branch: str
    """The full ref that the remote has."""
    ahead: int
    behind: int


def upstream_of(repository: Repository, branch: str) -> Upstream | None:
    """The upstream of a local branch; None for one without, or for what is no branch. One git command at most."""
    if b"[branch " not in (repository.common_dir / "config").read_bytes():
        return None  # git keeps them there
    parts = ("", ":short", ":remotename", ":remoteref", ":track,nobracket")
    form = "%00".join(f"%(upstream{part})" for part in parts)
    found = repository.git("for-each-ref", f"--format={form}", f"refs/heads/{branch}").text.rstrip("\n").split("\0")
    if len(found) != len(parts) or not found[0]:
        return None
    ref, name, remote, there, track = found
    counts = {word: int(number) for word, number in re.findall(r"(ahead|behind) (\d+)", track)}
    return Upstream(name, ref, remote, there, counts.get("ahead", 0), counts.get("behind", 0))


def fetch(repository: Repository, remote: str, branch: str, ref: str) -> None:
    """Bring `ref` to where the remote's `branch` is now, both full refs. ChatmlError where that fails or takes long."""
    until = time.monotonic() + LIMIT
    said = f"could not fetch {branch.removeprefix('refs/heads/')} of {remote}"
    hint = f"see whether it works by hand: git fetch {shlex.quote(remote)}; or leave --fetch out"
    command = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")
    try:
        # Where the command was called: a remote may be a path from there.
        done = git(
            *command, "--", remote, f"+{branch}:{ref}",
            at=repository.cwd, env=_unasked(repository), check=False, cancelled=lambda: time.monotonic() >= until,
        )  # fmt: skip
    except TimeoutError:
        raise ChatmlError(f"{said}: it took longer than {LIMIT:.0f} s", hint) from None
    if done.code:
        raise ChatmlError(f"{said}: {reason(done.errors)}", hint)


def _unasked(repository: Repository) -> dict[str, str]:
    """Environment in which no program asks for a password or a passphrase."""
    env = {"SSH_ASKPASS": ""}
    if "GIT_SSH" in os.environ and "GIT_SSH_COMMAND" not in os.environ:
        return env
    ssh = os.environ.get("GIT_SSH_COMMAND") or repository.setting("core.sshCommand") or "ssh"
    if re.match(r"(\S*/)?ssh(\s|$)", ssh):  # another program may have other options
        env["GIT_SSH_COMMAND"] = f"{ssh} -o BatchMode=yes"
    return env
