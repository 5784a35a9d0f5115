"""Pushes a session's branch: to the remote that git would choose, never forced over what we did not push."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from chatml import repo
from chatml.errors import ChatmlError, reason
from chatml.model import Session
from chatml.repo import Repository
from chatml.text import nearest, one_line, shorten


def choose_remote(repository: Repository, branch: str, wanted: str | None) -> str:
    """The remote to push to, chosen as git does (git-config(1), remote.pushDefault). ChatmlError where none is."""
    known = repository.git("remote").text.splitlines()
    if not known:
        raise ChatmlError("this repository has no remote to push to", "add one: git remote add origin URL")
    if wanted is not None and wanted not in known:
        raise ChatmlError(f"no such remote: '{wanted}'{nearest(wanted, known)}", "see 'git remote -v'")
    keys = (f"branch.{branch}.pushRemote", "remote.pushDefault", f"branch.{branch}.remote")
    configured = next((name for name in (repository.setting(key) for key in keys) if name in known), None)
    chosen = wanted or configured or next((name for name in known if name == "origin" or len(known) == 1), None)
    if chosen is None:
        raise ChatmlError(
            f"which remote? there are {', '.join(known)}",
            "name it with --remote, or once and for all: git config remote.pushDefault NAME",
        )
    return chosen


def address(repository: Repository, remote: str) -> str:
    """Which repository a remote pushes to. Not `get-url --push`: pushInsteadOf only says how to reach it."""
    explicit = repository.setting(f"remote.{remote}.pushurl")
    return explicit or repository.git("remote", "get-url", remote).text.strip()


def push(session: Session, at: Path, remote: str, commit: str, over: str | None = None) -> bool:
    """Push a commit as the session's branch; False where it was there already.

    From `at`, where a pre-push hook expects to be. `over` is the commit that may be replaced, if the remote still
    has it. ChatmlError that says why, and how to go on, where it is refused.
    """
    target = f"refs/heads/{session.branch}"
    lease = [f"--force-with-lease={target}:{over}"] if over else []
    to = f"{commit}:{target}"
    result = repo.git("push", "--porcelain", *lease, remote, to, at=at, check=False, as_person=True)
    lines = (line.split("\t") for line in result.text.splitlines())
    flag, summary = next(((line[0], line[2]) for line in lines if len(line) == 3 and target in line[1]), ("", ""))
    if result.code == 0:
        return flag != "="
    if summary:
        raise _rejected(session, remote, summary, result.errors)
    raise _failed(remote, result.text, result.errors)


def _rejected(session: Session, remote: str, summary: str, errors: str) -> ChatmlError:
    """Why the branch was not taken, by git's porcelain summary (git-push(1), OUTPUT)."""
    name, branch = session.name, session.branch
    if "stale info" in summary:
        return ChatmlError(
            f"{branch} on {remote} is not what chatml pushed last: somebody else has pushed to it",
            f"look at it first: git fetch {remote} && git log {branch}..{remote}/{branch}",
        )
    if summary.startswith("[rejected]"):
        return ChatmlError(
            f"{branch} on {remote} has commits that are not in the session's branch",
            f"if the branch was rewritten: chatml pr {name} --force-with-lease (replaces only what chatml pushed); "
            f"else bring them in: chatml send {name} 'rebase your branch on {remote}/{branch}'",
        )
    reason = summary.removeprefix("[remote rejected]").strip(" ()")
    return ChatmlError(
        f"{remote} refused the push: {'; '.join([reason, *_remote_words(errors)])}",
        "change what it complains about, or push elsewhere with --remote; then call it again",
    )


def _failed(remote: str, out: str, errors: str) -> ChatmlError:
    """Why nothing could be pushed at all: the hook on this side, or no way to the remote."""
    fatal = [line.removeprefix("fatal: ") for line in errors.splitlines() if line.startswith("fatal: ")]
    if fatal:
        own = "\n".join(line for line in errors.splitlines() if not line.startswith("remote:"))
        because = "; ".join([reason(own), *_remote_words(errors)])
        return ChatmlError(f"could not push to {remote}: {because}", _access_hint(errors, remote))
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


def _access_hint(errors: str, remote: str) -> str:
    if re.search(r"Authentication failed|could not read (Username|Password)|Invalid username", errors):
        return "let git use gh's login: gh auth setup-git"
    if re.search(r"returned error: 403|Permission to .* denied", errors):
        return "you may not push there: push to a fork with --remote ('gh repo fork --remote' makes one)"
    return f"see whether git reaches it: git ls-remote {remote}"
