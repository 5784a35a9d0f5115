"""Runs git: in one place for all calls, with the environment and the settings that our own calls need."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from chatml import environment, proc
from chatml.errors import ChatmlError
from chatml.repo.answers import answer, failed

MINIMUM_GIT = (2, 31)
"""First git with `rev-parse --path-format` (release notes of 2.31); all else that is used is older."""


PLAIN = {
    "color.ui": "false",
    "core.quotePath": "false",
    "diff.ignoreSubmodules": "none",
    "i18n.logOutputEncoding": "UTF-8",
    "log.showSignature": "false",
    "status.showUntrackedFiles": "normal",
    # What would have git see or do something else than is asked for.
    "core.ignoreStat": "false",  # a checkout of ours would hide what is changed after it
    "submodule.recurse": "false",  # a worktree's submodules are not there yet
    # What would leave something behind: a daemon or a hook's work, a shared index, a refusal.
    "core.fsmonitor": "false",
    "core.splitIndex": "false",
    "core.safecrlf": "false",
}
"""Settings under which our own calls run, whatever the person's: no answer may depend on how somebody likes to look at
things. What decides about content (filters, line ends, ignored files, merge drivers), names (identity, signing) and
hooks stays theirs."""

_PLAIN = tuple(word for key, value in PLAIN.items() for word in ("-c", f"{key}={value}"))

NOBODY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "chatml"), ("EMAIL", "chatml@localhost"))
}
"""Environment in which git makes a commit where no identity is configured."""

UNCOMMITTED = ("status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=none")
"""Says something where there is work in no commit. As options, because submodule.NAME.ignore wins over a setting."""


def git(
    *args: str,
    at: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    check: bool = True,
    cancelled: Callable[[], bool] | None = None,
    as_person: bool = False,
) -> proc.Result:
    """Run git in the directory `at`, whatever GIT_* a surrounding hook has set. GitError where it fails.

    `as_person` for what git does in the person's name, with all settings, also those that its hooks would inherit.
    """
    # GIT_OPTIONAL_LOCKS: our looking around must never make the agent's own git command fail on index.lock.
    settings = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", **(env or {})}
    try:
        argv = ["git", "-C", str(at), *(() if as_person else _PLAIN), *args]
        result = proc.run(argv, env=environment.clean_env(settings), stdin=stdin, cancelled=cancelled)
    except FileNotFoundError as error:
        raise ChatmlError("git is not installed, or not in PATH", hint="install git 2.31 or later") from error
    if check and result.code:
        raise failed(result)
    return result


def path_lines(paths: Iterable[Path]) -> bytes:
    """Paths as git reads them line by line (`--stdin-paths`), whatever is in them."""

    def quoted(path: Path) -> bytes:
        return os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")

    return b"".join(b'"%s"\n' % quoted(path) for path in paths)


def version() -> tuple[int, ...]:
    """The version of the git that runs."""
    text = git("version", at=Path("/")).text
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def show(*args: str, at: Path, env: Mapping[str, str]) -> int:
    """Run git for the person to look at, with the terminal or pipe of this process; returns its exit code."""
    return proc.attach(["git", "-C", str(at), *args], env=environment.clean_env({"GIT_OPTIONAL_LOCKS": "0", **env}))


def merge_base(at: Path, ours: str, base_ref: str, base_commit: str, env: Mapping[str, str] | None = None) -> str:
    """Where the session's branch left its base as the base is now, or as it was recorded, whichever is newer.

    The recorded one is, where it holds more than the base: what the session's predecessors have brought. GitError
    where git can't tell.
    """
    # Of three commits, it is that of the first and a merge of the others (git-merge-base(1)).
    both = [] if is_relative(base_ref) or base_ref == base_commit else [(base_ref, base_commit), (base_ref,)]
    for others in (*both, (base_commit,)):
        result = git("merge-base", "--end-of-options", ours, *others, at=at, env=env, check=False)
        if result.code == 0:
            return result.text.split("\n")[0]
        if result.code > 1 and len(others) == 1 and _is_there(others[0], at, env):
            raise failed(result)
    return base_commit


def is_relative(ref: str) -> bool:
    """Whether it names something else by now than where a session was started: HEAD, HEAD~2, @{upstream}."""
    return re.search(r"^@$|^[A-Z_]*HEAD$|[~^:]|@\{", ref) is not None


def _is_there(name: str, at: Path, env: Mapping[str, str] | None) -> bool:
    """Whether there is such a ref, also one whose commit is missing."""
    asked = git("rev-parse", "--verify", "--quiet", "--end-of-options", name, at=at, env=env, check=False)
    return answer(asked) is not None
