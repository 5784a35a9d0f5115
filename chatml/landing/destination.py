"""Where a branch is published: what git's settings say about pushing it, and whose repository that is.

Read where the push will run, because settings may differ by worktree. What git itself would refuse, or what says two
things, is an error that says so: never a guess.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from chatml import proc
from chatml.errors import ChatmlError, GitError
from chatml.forge import forges
from chatml.forge.door import Hub, PullRef, Words
from chatml.forge.github import GitHubRepository
from chatml.forge.gitlab import GitLabProject
from chatml.repo import git
from chatml.text import nearest

HERE = "."
"""The remote of a branch whose upstream is a branch of the same repository (git-config(1), branch.<name>.remote)."""


@dataclass(frozen=True)
class Destination:
    """What `git push` takes, and the repository on a forge that it means."""

    remote: str
    """The name of a remote, or an address."""
    repository: str
    """OWNER/NAME there, or with all groups."""
    branch: str
    """The branch's name there."""
    words: Words

    @property
    def shown(self) -> str:
        """The remote for people: an address without the password that may stand in it."""
        return without_password(self.remote)


def without_password(address: str) -> str:
    """An address that may be shown."""
    return re.sub(r"(?<=://)[^/@]*@", "", address)


def settings(at: Path, key: str) -> list[str]:
    """All values of a setting of git, the strongest last. GitError where git can't tell."""
    result = git("config", "-z", "--get-all", key, at=at, check=False)
    if result.code > 1:  # 1 is for "there is none"
        raise GitError(list(result.argv), result.code, result.text, result.errors)
    return [value for value in result.text.split("\0") if value]


def setting(at: Path, key: str) -> str | None:
    """The value that counts."""
    return next(reversed(settings(at, key)), None)


def choose(at: Path, branch: str, wanted: str | None, hub: Hub, base: str | None) -> Destination:
    """Where the branch goes; `wanted` is a remote that a person named, `base` the branch its pull request is for.

    ChatmlError, with what to do, where git's settings don't tell.
    """
    remote = choose_remote(at, branch, wanted)
    name = _repository(at, remote, hub)
    there = _branch(at, branch, remote, base if name == hub.name else None)
    return Destination(remote, name, there, hub.words)


# --- which remote -----------------------------------------------------------------------------------------------


def choose_remote(at: Path, branch: str, wanted: str | None) -> str:
    """The remote or address to push to, chosen as git does (git-config(1), remote.pushDefault)."""
    known = remotes(at)
    if wanted is not None:
        if wanted not in known:
            raise ChatmlError(f"no such remote: '{wanted}'{nearest(wanted, known)}", "see 'git remote -v'")
        return wanted
    for key in (f"branch.{branch}.pushRemote", "remote.pushDefault", f"branch.{branch}.remote"):
        configured = setting(at, key)
        if configured in (None, HERE):
            continue
        if configured in known or _is_address(at, configured):
            return configured
        raise ChatmlError(
            f"{key} names '{configured}', which is neither a remote nor an address",
            f"name a remote of 'git remote -v': git config {shlex.quote(key)} NAME",
        )
    if not known:
        raise ChatmlError("this repository has no remote to push to", "add one: git remote add origin URL")
    chosen = next((name for name in known if name == "origin" or len(known) == 1), None)
    if chosen is None:
        raise ChatmlError(
            f"which remote? there are {', '.join(known)}",
            "name it with --remote, or once and for all: git config remote.pushDefault NAME",
        )
    return chosen


def _is_address(at: Path, text: str) -> bool:
    """Whether git takes a remote that has no name for a place, by itself or through a setting (url.*.insteadOf)."""
    return bool(set(text) & set(":/")) or git("ls-remote", "--get-url", text, at=at).text.strip() != text


def remotes(at: Path) -> list[str]:
    """The names of all remotes."""
    return git("remote", at=at).text.splitlines()


def is_of(at: Path, remote: str, ref: PullRef) -> bool:
    """Whether a remote is the repository that a pull request is in, by what stands in the settings."""
    named = [found for url in settings(at, f"remote.{remote}.url") if (found := _named(url)) is not None]
    hub, host = forges.of(ref).hub(ref, at), ref.host.partition(":")[0]
    wanted = ref.repository.lower()
    return any(
        hub.named(path).lower() == wanted and _real_host(scheme, there, host, hub.words) == host
        for scheme, there, path in named
    )


# --- which repository -------------------------------------------------------------------------------------------


def hub(at: Path, remote: str) -> Hub:
    """The repository that pull requests are made in, of the forge that a push to this remote reaches.

    On GitHub that is the one that gh takes; on GitLab what `glab repo set-default` chose, else the remote `upstream`
    or `origin` where it is on the same host. ChatmlError where the forge can't be asked.
    """
    found = _gitlab(at, remote)
    if found is None:
        return GitHubRepository.find(at)
    host, path = found
    chosen = [one for one in remotes(at) if setting(at, f"remote.{one}.glab-resolved")]
    for other in (*chosen, "upstream", "origin"):
        named = _gitlab(at, other) if other in remotes(at) else None
        if named is not None and named[0] == host:
            path = named[1]
            break
    return GitLabProject.find(at, host, path)


def _gitlab(at: Path, remote: str) -> tuple[str, str] | None:
    """Host and path of the project that a remote is, where it is on a GitLab."""
    named = _place(at, remote)
    if named is None:
        return None
    scheme, host, path = named
    if not forges.is_gitlab(host, at):
        host = _ssh_host(host) if "ssh" in scheme else host
        if not forges.is_gitlab(host, at):
            return None
    return re.sub(r"^(alt)?ssh\.(?=gitlab\.com$)", "", host), path


def _place(at: Path, remote: str) -> tuple[str, str, str] | None:
    """Scheme, host and path of the first address of a remote that is none of a folder."""
    return next(filter(None, map(_named, (*_reached(at, remote), *_written(at, remote)))), None)


def _written(at: Path, remote: str) -> list[str]:
    """What stands in the settings: where git reaches it by a path on this machine (pushInsteadOf), it is what it is."""
    return settings(at, f"remote.{remote}.pushurl") or settings(at, f"remote.{remote}.url") or [remote]


def _repository(at: Path, remote: str, hub: Hub) -> str:
    """The name of the repository on the forge that a push to this remote reaches."""
    reached = _reached(at, remote)
    if len(reached) > 1:
        raise ChatmlError(
            f"'{remote}' pushes to several places: {', '.join(map(without_password, reached))}",
            "give the one for pull requests a name of its own (git remote add NAME URL), and take --remote NAME",
        )
    written, words = _written(at, remote), hub.words
    named = _place(at, remote)
    if named is not None:
        host, name = _real_host(named[0], named[1], hub.host, words), hub.named(named[2])
        if host == hub.host and name.lower() == hub.name.lower():
            return hub.name
    try:
        if named is None:
            raise ChatmlError("it is a folder")
        found = hub.other(host, name)
        if found.host != hub.host:
            raise ChatmlError(f"{words.kind}s are made on {hub.host}", f"'{words.choose}' chooses where")
    except ChatmlError as error:
        place = f"remote '{remote}' ({without_password(written[-1])})" if written != [remote] else f"'{written[-1]}'"
        raise ChatmlError(
            f"{without_password(place)} is no repository on {words.forge} that {words.tool} can see: {error.message}",
            error.hint or "choose another with --remote",
        ) from error
    return found.name


def _reached(at: Path, remote: str) -> list[str]:
    """All addresses that git pushes to for this remote, or for an address, after url.*.insteadOf and the like."""
    name: str = remote
    extra: tuple[str, ...] = ()
    if remote not in git("remote", at=at).text.splitlines():
        name, extra = "chatml.address", ("-c", f"remote.chatml.address.url={remote}")
    listed = git(*extra, "remote", "-v", at=at).text.splitlines()  # get-url knows none of a person's global settings
    return [line[len(name) + 1 : -len(" (push)")] for line in listed if line.startswith(f"{name}\t") and
            line.endswith(" (push)")]  # fmt: skip


def _named(address: str) -> tuple[str, str, str] | None:
    """Scheme, host and path of an address; None for a folder."""
    full = re.fullmatch(r"(\w[\w+.-]*)://(?:[^/@]*@)?([^/:]+)(?::\d*)?/(.+)", address)
    short = re.fullmatch(r"()(?:[^/:@]+@)?([^/:]+):(?!//)(.+)", address)
    found = full or short
    if found is None or found[1] == "file":
        return None
    path = found[3].strip("/").removesuffix(".git")
    return (found[1] or "ssh", found[2].lower(), path) if "/" in path else None


def _real_host(scheme: str, host: str, forge: str, words: Words) -> str:
    """The host that an address means: `forge` under its other names, and what ssh's own settings call it."""
    if "ssh" in scheme and host != forge:
        host = _ssh_host(host)
    return forge if host in [f"{alias}{forge}" for alias in words.aliases] else host


def _ssh_host(host: str) -> str:
    """What ssh's own settings call a host."""
    try:
        told = proc.run(["ssh", "-G", "--", host]).text
    except FileNotFoundError:
        return host
    return next((line.split()[1] for line in told.splitlines() if line.startswith("hostname ")), host).lower()


# --- which branch -----------------------------------------------------------------------------------------------


def _branch(at: Path, branch: str, remote: str, base: str | None) -> str:
    """The name that `git push` gives the branch there (git-push(1), git-config(1): push.default)."""
    if specs := settings(at, f"remote.{remote}.push"):
        return _mapped(at, branch, remote, specs)
    upstream = _upstream(at, branch, remote)
    # A branch made from the base often has it as its upstream; no pull request can come from there.
    if upstream is None or upstream in (branch, base):
        return branch
    default = setting(at, "push.default") or "simple"
    if default in ("upstream", "tracking"):
        return upstream
    if default in ("current", "matching"):
        return branch
    raise ChatmlError(
        f"git does not tell where {branch} goes: it comes from {upstream} on {without_password(remote)}",
        "to push it there: git config push.default upstream; to push it under its own name: "
        f"git config {shlex.quote(f'branch.{branch}.merge')} {shlex.quote(f'refs/heads/{branch}')}",
    )


def _mapped(at: Path, branch: str, remote: str, specs: list[str]) -> str:
    """The branch's name by the remote's own refspecs for pushing, as git itself applies them."""
    asked = (f"--config-env=branch.{branch}.pushRemote=CHATML_REMOTE", "for-each-ref", "--format=%(push:remoteref)")
    ref = git(*asked, f"refs/heads/{branch}", at=at, env={"CHATML_REMOTE": remote}).text.strip()
    if ref.startswith("refs/heads/"):
        return ref.removeprefix("refs/heads/")
    same = [spec.lstrip("+") for spec in specs]  # for those without a second half, git names none
    if not ref and any(one == ":" or one in ("HEAD", "@", branch) or fnmatch.fnmatchcase(f"refs/heads/{branch}", one)
                       for one in same):  # fmt: skip
        return branch
    if ref:
        raise ChatmlError(
            f"remote.{remote}.push sends {branch} to {ref}, and no pull request can come from there",
            "push to another with --remote",
        )
    add = f"git config --add {shlex.quote(f'remote.{remote}.push')}"
    raise ChatmlError(
        f"remote.{remote}.push ({', '.join(specs)}) leaves {branch} out",
        f"give it a place there: {add} {shlex.quote(f'refs/heads/{branch}:refs/heads/{branch}')}",
    )


def _upstream(at: Path, branch: str, remote: str) -> str | None:
    """The branch's upstream where that is a branch of the same remote, else None."""
    merges = settings(at, f"branch.{branch}.merge")
    if setting(at, f"branch.{branch}.remote") != remote or not merges:
        return None
    return merges[-1].removeprefix("refs/heads/") if merges[-1].startswith("refs/heads/") else None


def pull_request(at: Path, branch: str) -> int | None:
    """The pull request that the branch was made from, as gh and glab write it down where they may not push."""
    merge = setting(at, f"branch.{branch}.merge") or ""
    found = re.fullmatch(r"refs/(?:pull|merge-requests)/(\d+)/head", merge)
    return int(found[1]) if found else None
