"""Pushes a session's branch, and nothing else: never forced over what we did not push."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from chatml import repo
from chatml.errors import ChatmlError, reason
from chatml.landing.destination import Destination, settings, without_password
from chatml.model import Session
from chatml.text import one_line, shorten

ONLY_THIS = ("--no-follow-tags", "--recurse-submodules=no")
"""A person may have settings by which their pushes take along tags, or commits of other repositories. Other settings of
pushes (push.gpgSign, push.pushOption) say how to push, and hold here too."""


def push(session: Session, at: Path, to: Destination, commit: str, over: str | None = None) -> bool:
    """Push a commit as the session's branch, and nothing else; False where it was there already.

    From `at`, where a pre-push hook expects to be. `over` is the commit that may be replaced, if the remote still
    has it. ChatmlError that says why, and how to go on, where it is refused.
    """
    target = f"refs/heads/{to.branch}"
    lease = [f"--force-with-lease={target}:{over}"] if over else []
    # A mirror takes nothing but all there is; here it is a remote like any other.
    plain = ["-c", f"remote.{to.remote}.mirror=false"] if settings(at, f"remote.{to.remote}.mirror") else []
    argv = [*plain, "push", "--porcelain", *ONLY_THIS, *lease, to.remote, f"{commit}:{target}"]
    result = repo.git(*argv, at=at, check=False, as_person=True)
    lines = (line.split("\t") for line in result.text.splitlines())
    found = ((line[0], line[2]) for line in lines if len(line) == 3 and line[1].endswith(f":{target}"))
    flag, summary = next(found, ("", ""))
    if result.code == 0:
        return flag != "="
    if summary:
        raise _rejected(session, to, summary, result.errors)
    raise _failed(to, result.text, result.errors)


def _rejected(session: Session, to: Destination, summary: str, errors: str) -> ChatmlError:
    """Why the branch was not taken, by git's porcelain summary (git-push(1), OUTPUT)."""
    name = session.name
    there = f"{shlex.quote(to.remote)} {shlex.quote(to.branch)}"
    worktree = shlex.quote(session.worktree)
    bring_in = f"bring them in: git -C {worktree} pull --rebase {there}"
    if "stale info" in summary:
        return ChatmlError(
            f"{to.branch} on {to.shown} is not what chatml pushed last: somebody else has pushed to it",
            f"{bring_in} (to look at it first: git fetch {there})",
        )
    if summary.startswith("[rejected]"):
        rewritten = (
            f"if the branch was rewritten: chatml pr {name} --force-with-lease (replaces only what chatml pushed)"
        )
        renamed = f"or publish yours under another name: git -C {worktree} branch -m NAME"
        return ChatmlError(
            f"{to.branch} on {to.shown} has commits that are not in the session's branch",
            f"{rewritten}; else bring them in: {bring_in}"
            if session.pushed
            else f"bring them in: {bring_in}; {renamed}",
        )
    reason = summary.removeprefix("[remote rejected]").strip(" ()")
    return ChatmlError(
        f"{to.shown} refused the push: {'; '.join([reason, *_remote_words(errors)])}",
        "change what it complains about, or push elsewhere with --remote; then call it again",
    )


def _failed(to: Destination, out: str, errors: str) -> ChatmlError:
    """Why nothing could be pushed at all: the hook on this side, or no way to the remote."""
    fatal = [line.removeprefix("fatal: ") for line in errors.splitlines() if line.startswith("fatal: ")]
    if fatal:
        own = "\n".join(line for line in errors.splitlines() if not line.startswith("remote:"))
        because = "; ".join([without_password(reason(own)), *_remote_words(errors)])
        return ChatmlError(f"could not push to {to.shown}: {because}", _access_hint(errors, to))
    said = one_line(f"{out}\n{errors}".split("error: failed to push")[0])
    return ChatmlError(
        f"the pre-push hook refused the push: {shorten(said, 300) or 'it said nothing'}",
        "change what it complains about, then call it again",
    )


def _remote_words(errors: str) -> Sequence[str]:
    """What the remote's hooks and rules said, its errors if it marks some."""
    lines = [line.removeprefix("remote:").strip() for line in errors.splitlines() if line.startswith("remote:")]
    marked = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return [line for line in marked or lines if line][:3]


def _access_hint(errors: str, to: Destination) -> str:
    if re.search(r"Authentication failed|could not read (Username|Password)|Invalid username", errors):
        return f"let git use {to.words.tool}'s login: {to.words.git_login}"
    if re.search(r"returned error: 403|Permission to .* denied", errors):
        return f"you may not push there: push to a fork with --remote ('{to.words.fork}' makes one)"
    return f"see whether git reaches it: git ls-remote {shlex.quote(to.shown)}"
