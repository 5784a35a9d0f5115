"""What a child process inherits of this one's environment: left out by these lists, all else is the person's own.

| of who starts a session | in the session |
| --- | --- |
| git's words to its hook, alias or `rebase --exec`: repository, index, editor, reflog action, quarantine | no |
| author and date of a commit whose hook calls; any fixed date | no |
| a person's exported identity and settings of git: `GIT_AUTHOR_NAME`, `GIT_SSH_COMMAND`, `GIT_CONFIG_COUNT`, … | yes |
| what make, npm, pre-commit and husky tell their children about a run | no |
| a coding agent around it; another session around it | no |
| where it was started: `PWD`, `OLDPWD` | no |
| `PATH`, `VIRTUAL_ENV`, `SSH_AUTH_SOCK`, keys, proxies, `TERM`, locale, settings of chatml, everything else | yes |

A trailing star stands for any ending.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping

MARKER = "CHATML_SESSION_ID"
"""Environment variable that every process of a session inherits, whatever it detaches from."""

CHECK = "CHATML_CHECK_ID"
"""Environment variable that every process of one run of a session's check inherits."""

SERVICE = "CHATML_SERVICE_ID"
"""Environment variable that every process of a session's service inherits: `ID-OF-SESSION:SERVICE`."""

GIT_LOCAL = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
)
"""What ties a git process to one repository (`git rev-parse --local-env-vars`, without GIT_CONFIG_COUNT: that
carries a person's settings); a hook sets them, and they would win over the directory that we name."""

DATES = ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE")

GIT_TOLD = (
    *("GIT_EXEC_PATH", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_MERGE_AUTOEDIT", "GIT_PAGER_IN_USE"),
    *("GIT_REFLOG_ACTION", "GIT_CHERRY_PICK_HELP", "GIT_QUARANTINE_PATH", "GIT_PUSH_*", "GITHEAD_*", *DATES),
    *("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"),
)
"""What git tells the programs that it runs about the command that it is at; from anybody else, a person's settings."""

AUTHOR = {"GIT_AUTHOR_NAME": "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL": "GIT_COMMITTER_EMAIL"}
"""What a commit sets for its hooks, to whoever its author is; and what it leaves as the person has exported it."""

MAKE_TOLD = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MAKE_TERMOUT", "MAKE_TERMERR")
"""What make tells the programs that it runs: a job server that is gone when the session works, goals, options."""

AGENT = (
    "CLAUDECODE",
    "CLAUDE_PID",
    "CLAUDE_EFFORT",
    "CLAUDE_AGENT_SDK_VERSION",
    "CLAUDE_CODE_CHILD_NOTES_DIR",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_EXECPATH",
    "CLAUDE_CODE_MESSAGING_SOCKET",
    "CLAUDE_CODE_MESSAGING_TOKEN",
    "CLAUDE_CODE_SESSION_ATTENDED",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_CODE_TMPDIR",
    "AI_AGENT",
)
"""What a coding agent tells its own children about itself; a session started from there is not one of them."""

SESSION = (
    *(MARKER, CHECK, SERVICE),
    *("CHATML_NAME", "CHATML_STATUS", "CHATML_MESSAGE", "CHATML_WORKTREE", "CHATML_BRANCH", "CHATML_REPOSITORY"),
    *("CHATML_REQUEST", "CHATML_REQUEST_ID", "CHATML_REQUEST_KIND", "CHATML_NOTIFIER"),
    *("CHATML_SLUG", "CHATML_REPO", "CHATML_PORT"),
)
"""What chatml tells the programs of one session about it; another one started from there has its own."""

LIVED_IN = ("CHATML_BASE", "CHATML_PORT_*", "COMPOSE_PROJECT_NAME")
"""The same, where they are a session's: elsewhere these are a person's settings."""

RUN = (
    *("PRE_COMMIT", "PRE_COMMIT_FROM_REF", "PRE_COMMIT_TO_REF", "PRE_COMMIT_SOURCE", "PRE_COMMIT_ORIGIN"),
    *("PRE_COMMIT_REMOTE_*", "PRE_COMMIT_COMMIT_*", "PRE_COMMIT_CHECKOUT_TYPE", "PRE_COMMIT_IS_SQUASH_MERGE"),
    *("PRE_COMMIT_LOCAL_BRANCH", "PRE_COMMIT_REMOTE_BRANCH", "PRE_COMMIT_REWRITE_COMMAND", "PRE_COMMIT_PRE_REBASE_*"),
    *("husky_skip_init", "HUSKY_GIT_PARAMS", "HUSKY_GIT_STDIN"),
    *("npm_lifecycle_*", "npm_package_*", "npm_command", "npm_execpath", "npm_node_execpath"),
    *("npm_config_local_prefix", "INIT_CWD"),
    *("PWD", "OLDPWD"),
)
"""What other programs tell about the run that a session was started in, and where that was."""


def clean_env(extra: Mapping[str, str] | None = None, drop: Iterable[str] = ()) -> dict[str, str]:
    """This process's environment without what belongs to a surrounding git command and without `drop`, plus `extra`."""
    env = _without(os.environ, GIT_LOCAL)
    if _called_by_git():
        by_commit = "GIT_AUTHOR_DATE" in env
        env = _without(env, GIT_TOLD)
        if by_commit:
            env = _without(env, AUTHOR)
            env |= {mine: env[same] for mine, same in AUTHOR.items() if same in env}
    return {**_without(env, drop), **(extra or {})}


def session_env(extra: Mapping[str, str] | None = None, drop: Iterable[str] = ()) -> dict[str, str]:
    """What is handed on to a session, or to a program that has nothing to do with who calls; plus `extra`."""
    left_out = [*AGENT, *SESSION, *RUN, *DATES, *drop]
    if "CHATML_WORKTREE" in os.environ:
        left_out += LIVED_IN
    if "MAKELEVEL" in os.environ:
        left_out += MAKE_TOLD
    if "CLAUDECODE" in os.environ:
        left_out += ["GIT_EDITOR"]  # `true`, so that its commands never wait for one
    return clean_env(extra, left_out)


def _called_by_git() -> bool:
    """Whether git has started this process, as a hook or otherwise: it then says where its programs are, and more."""
    return "GIT_EXEC_PATH" in os.environ and any(name in os.environ for name in GIT_LOCAL)


def _without(env: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    exact = set(patterns)
    starts = tuple(pattern[:-1] for pattern in exact if pattern.endswith("*"))
    return {name: value for name, value in env.items() if name not in exact and not name.startswith(starts)}


@contextlib.contextmanager
def outside_of_git() -> Iterator[None]:
    """While this lasts, this process's own environment is clean of a surrounding git command; for one thread only."""
    before = dict(os.environ)
    clean = clean_env()
    for name in before.keys() - clean.keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)
