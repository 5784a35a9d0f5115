"""Word to a person who looks elsewhere: by their own command, else by the desktop's notifier where there is one."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from contextlib import suppress
from pathlib import Path

from chatml import environment, proc
from chatml.model import Request, Session, Status
from chatml.notify import aside

OFF = "off"
"""The value of `notify` by which nothing is told at all."""

TIMEOUT = 10.0
"""Seconds that the command has, and all that it starts."""

OUTPUT = 4096
"""Bytes of what the command prints that go to the session's worker.log; the rest is left out."""

LINE = 500
"""Characters of a text in the command's environment."""

HEADLINES = {
    Status.WAITING: "{} needs you",
    Status.DONE: "{} is done",
    Status.FAILED: "{} failed",
    Status.CRASHED: "{} crashed",
    Status.QUEUED: "{} is stuck",
}

APPLESCRIPT = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)


def tell(session: Session, log: Path, request: Request | None = None) -> None:
    """Say that the session needs a person for this request, is done, failed or crashed: its status says which.

    One that is queued waits for what won't be done by itself: its activity says for what.

    Waits for nothing and never raises: what becomes of the command hurts and delays nobody.
    """
    argv = _argv(session, request)
    if argv is None:
        return
    home = Path(session.repository)
    with suppress(OSError, ValueError):
        pid = proc.spawn_detached(
            [sys.executable, "-I", "-S", aside.__file__, str(TIMEOUT), str(OUTPUT), *argv],
            cwd=home if home.is_dir() else log.parent,
            # Without the session's mark, by which its next worker would end the command as a leftover.
            env=environment.session_env(_facts(session, request)),
            output=log,
        )
        # A worker may live for days after this: it keeps no dead child around.
        threading.Thread(target=_reap, args=(pid,), daemon=True).start()


def _argv(session: Session, request: Request | None) -> list[str] | None:
    """What is to run; None for nothing."""
    if session.terms.notify == OFF:
        return None
    if session.terms.notify is not None:
        return ["/bin/sh", "-c", session.terms.notify]
    import html

    title, body = HEADLINES[session.status].format(session.name), _message(session, request)
    if sys.platform == "darwin":
        script = [word for line in APPLESCRIPT for word in ("-e", line)]
        return None if "SSH_CONNECTION" in os.environ else ["osascript", *script, f"chatml: {title}", body]
    if _desktop() and shutil.which("notify-send"):
        return ["notify-send", "--app-name=chatml", "--", title, html.escape(body, quote=False)]
    return None


def _desktop() -> bool:
    """Whether this process was started from a desktop."""
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"))


def _facts(session: Session, request: Request | None) -> dict[str, str]:
    return {
        "CHATML_NAME": session.name,
        "CHATML_STATUS": session.status.value,
        "CHATML_REQUEST": _line(request.summary) if request else "",
        "CHATML_REQUEST_ID": request.id if request else "",
        "CHATML_REQUEST_KIND": request.kind if request else "",
        "CHATML_MESSAGE": _message(session, request),
        "CHATML_WORKTREE": session.worktree,
        "CHATML_BRANCH": session.branch,
        "CHATML_REPOSITORY": session.repository,
    }


def _message(session: Session, request: Request | None) -> str:
    """What there is to say, in one line."""
    if request is not None:
        return _line(request.summary)
    if session.status is Status.DONE:
        return _line((session.result or "").strip().partition("\n")[0])
    if session.status is Status.QUEUED:
        return _line(session.activity or "")
    return _line(session.error.message if session.error else "")


def _line(text: str) -> str:
    """Text as a variable can hold it, and a terminal show: one printable line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:LINE]


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
