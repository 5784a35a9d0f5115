"""Sessions as rows of `ls`, and their parts in few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chatml.model import Session, Status
from chatml.render import pulls
from chatml.render.ages import age as age
from chatml.text import columns, display_width, one_line, paint, shorten

STATUS_COLORS: Mapping[Status, str] = {
    Status.QUEUED: "white",
    Status.PREPARING: "cyan",
    Status.RUNNING: "blue",
    Status.WAITING: "yellow",
    Status.DONE: "green",
    Status.FAILED: "red",
    Status.STOPPED: "magenta",
    Status.CRASHED: "red",
}

LEAST_ACTIVITY = 16
"""Columns that `ls` keeps for what a session does, however narrow the terminal."""

NO_SIZES: Mapping[str, int | None] = {}

WIDE = 120
"""Columns of a terminal in which `ls` shows whole addresses."""

LONGEST_NAME = 16
"""Columns for the name of a session in the row of another one."""


def base_text(session: Session) -> str:
    """What it starts from: `main (1234abcde)`, or the commit alone."""
    short = session.base.commit[:9]
    return short if session.base.ref == session.base.commit else f"{session.base.ref} ({short})"


def changes(session: Session) -> str:
    """`3 files +120 -4`, a star while some of it is uncommitted, what can't come along; `?` where nobody could look."""
    counted = session.changes
    if session.seen.not_counted is not None:
        return "?"
    if counted is None or (not counted.files and not counted.uncommitted and not counted.left_out):
        return ""
    noun = "file" if counted.files == 1 else "files"
    star = " *" if counted.uncommitted else ""
    left_out = f" ({counted.left_out} left out)" if counted.left_out else ""
    return f"{counted.files} {noun} +{counted.insertions} -{counted.deletions}{star}{left_out}"


def size(number: int | None) -> str:
    """`1.2 GiB`; `?` where it could not be found out."""
    if number is None:
        return "?"
    amount, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{number} B" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def address(session: Session, brief: bool = False) -> str:
    """Where its first service answers that runs; `brief`: `:4100`, whose host is the session's name."""
    for one in session.seen.services or ():
        if one.url is not None and one.status == "running":
            return f":{one.port}" if brief else one.url
    return ""


def conflicts(session: Session) -> str:
    """`other`, or `other +2`: the sessions with which it is known not to merge."""
    first, *more = session.conflicts or ("",)
    return shorten(one_line(first), LONGEST_NAME) + (f" +{len(more)}" if more else "")


def activity(session: Session) -> str:
    """What the session is doing or needs, in one line."""
    if session.status is Status.QUEUED and session.seen.queue_place:
        text = f"number {session.seen.queue_place} in the queue"
    elif session.status is Status.WAITING and session.requests:
        text = need(session)
    elif session.status is Status.CRASHED:
        text = f"worker died; chatml resume {session.name}"
    elif session.error is not None and session.status is Status.FAILED:
        text = f"{session.error.kind}: {session.error.message}"
    elif session.activity:
        text = session.activity
    elif session.status is Status.STOPPED:
        text = f"chatml resume {session.name}"
    else:
        denied = f"[{session.exchange.denied} denied] " if session.exchange.denied else ""
        text = denied + (session.result or session.terms.prompt).strip().partition("\n")[0]
    left = f"[{len(session.seen.processes)} still running] " if session.seen.processes else ""
    return one_line(left + text)


def queued(session: Session) -> str:
    """Why a session that was started does not begin yet."""
    if session.seen.queue_place is None and session.activity:
        return f"queued: {one_line(session.activity)}"
    return f"queued as number {session.seen.queue_place}: all places are taken"


NEEDS: Mapping[str, str] = {"permission": "may it?", "question": "asks:", "plan": "plan ready:"}


def need(session: Session) -> str:
    """What a waiting session needs of a person, in one line."""
    first, *more = session.requests
    return f"{NEEDS.get(first.kind, 'needs:')} {first.summary}" + (f" (and {len(more)} more)" if more else "")


def verdict(session: Session) -> str:
    """What the check says of the session as it stands there; nothing where it says nothing of that.

    It has passed on what stands there, it would have to run again for that, or nobody could look: `✓`, `(check due)`,
    `✓?`. One that has failed stays so until it runs again.
    """
    if session.check is None or session.status not in (Status.DONE, Status.FAILED):
        return ""
    if session.check.ok is False:
        return "✗"
    return PASSED[session.check.current] if session.check.ok and session.status is Status.DONE else ""


PASSED: Mapping[bool | None, str] = {True: "✓", False: "(check due)", None: "✓?"}
"""What is shown of a check that has passed: by whether it has seen what stands there now."""


def status(session: Session) -> str:
    """`done ✓, landed`: where it is, what its check says, and whether all that it has is in its base."""
    checked = f"{session.status.value} {mark}" if (mark := verdict(session)) else session.status.value
    return f"{checked}, landed" if session.seen.landed else checked


def by_need(sessions: Sequence[Session]) -> list[Session]:
    """Those that need a person first, then the active ones, then the rest; newest first, but the queue in its order."""
    rank = {Status.WAITING: 0, Status.FAILED: 1, Status.CRASHED: 1, Status.RUNNING: 2, Status.PREPARING: 2}
    rank[Status.QUEUED] = 3
    newest = sorted(sessions, key=lambda session: session.created_at, reverse=True)
    return sorted(newest, key=lambda session: (rank.get(session.status, 4), session.seen.queue_place or len(newest)))


def families(sessions: Sequence[Session]) -> list[tuple[int, Session]]:
    """Each session behind its parent, with the number of those above it; a family stands where its neediest would."""
    ordered = by_need(sessions)
    above: dict[tuple[str | None, str | None], Session] = {(one.name, one.id): one for one in ordered}
    below: dict[tuple[str | None, str | None], list[Session]] = {}
    for one in ordered:
        below.setdefault((one.family.parent, one.family.parent_id), []).append(one)
    found: list[tuple[int, Session]] = []
    placed: set[int] = set()

    def place(one: Session, depth: int) -> None:
        if id(one) not in placed:
            placed.add(id(one))
            found.append((depth, one))
            for child in below.get((one.name, one.id), ()):
                place(child, depth + 1)

    for one in ordered:
        first, seen = one, {one.name}
        while (parent := above.get((first.family.parent, first.family.parent_id))) and parent.name not in seen:
            first = parent
            seen.add(first.name)
        place(first, 0)
    return found


def session_table(
    sessions: Sequence[Session],
    width: int | None,
    repositories: bool = False,
    sizes: Mapping[str, int | None] = NO_SIZES,
) -> str:
    """The rows of `ls`, painted, fitted into so many columns; None for a pipe, where nothing is cut.

    With `repositories`, each says which one it is of; `sizes` are those of worktrees in bytes, by the session's id.

    Not by tabulate, which takes longer to load than all the rest of `ls`.
    """
    headers = ["NAME", "STATUS", "ACTIVITY", "CHANGES", "CONFLICTS", "COST", "AGE", "PR", "URL", "SIZE", "REPOSITORY"]
    rows = [
        [
            f"{'  ' * (depth - 1)}└ {session.name}" if depth else session.name,
            status(session),
            activity(session),
            changes(session),
            conflicts(session),
            f"${session.spent_usd:.2f}" if session.spent_usd else "",
            age(session.created_at),
            pulls.short(session.pr),
            address(session, brief=width is not None and width < WIDE),
            size(sizes[session.id]) if session.id in sizes else "",
            Path(session.repository).name if repositories else "",
        ]
        for depth, session in families(sessions)
    ]
    # A column that says nothing takes no room.
    kept = [i for i, _ in enumerate(headers) if i < 3 or any(row[i] for row in rows)]
    headers, rows = [headers[i] for i in kept], [[row[i] for i in kept] for row in rows]
    if width is not None:
        _fit(headers, rows, width)
    return columns([headers, *map(_painted, rows)])


def _fit(headers: list[str], rows: list[list[str]], width: int) -> None:
    """Shorten the activity, and where that's not enough the names, until a row fits."""
    widths = [max(display_width(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    gaps = 2 * (len(widths) - 1)
    spare = width - gaps - sum(widths) + widths[2]
    room = min(widths[2], max(LEAST_ACTIVITY, spare))
    name = min(widths[0], max(8, widths[0] + width - gaps - sum(widths) + widths[2] - room))
    for row in rows:
        row[0], row[2] = shorten(row[0], name), shorten(row[2], room)


def _painted(row: list[str]) -> list[str]:
    row[1] = paint(row[1], fg=STATUS_COLORS[Status(row[1].partition(" ")[0].rstrip(","))])
    return row
