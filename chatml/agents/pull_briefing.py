"""What an agent is told of its pull request: what has failed there, what people say of it, what it conflicts with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from chatml.agents.briefing import author_name, from_others, quoted
from chatml.model import BaseConflict, Feedback, ReviewThread
from chatml.text import counted, one_line, shorten

MAX_FILES = 50
"""Files with conflicts that are named."""


def feedback(found: Feedback) -> str:
    """All of that as one message; whatever others wrote is marked on each of its lines."""
    kind, label, url = found.pull.kind, found.pull.label, one_line(found.pull.url)
    said = [
        f"Your branch is to be landed by {kind} {label} of {found.place}, and something is in its way: {url}\n"
        f"What follows is about its newest commit there, {found.commit[:12]}.",
        from_others(f"or printed by programs, at that {kind}", f"the {kind}"),
    ]
    said += _checks(found)
    for place, thread in enumerate(found.threads, 1):
        said += _thread(thread, f"Comment {place} of {len(found.threads)}")
    for review in found.reviews:
        said.append(f"'{author_name(review.author)}' asks for changes in general:\n\n{quoted(review.text)}")
    if found.conflict is not None:
        said += _conflict(found.conflict)
    if found.left_out:
        said.append(f"Left out here:\n\n{quoted(chr(10).join(map(one_line, found.left_out)))}")
    return "\n\n".join([*said, END])


END = """\
Look at each point yourself, find its cause, and mend what is right, with a test where that makes sense. Don't change \
what a check tests only to make it pass. Commit what you change; don't push: a person does. Say in your answer which \
points are wrong, and why."""


def _checks(found: Feedback) -> Iterator[str]:
    for place, check in enumerate(found.checks, 1):
        head = f"Check {place} of {len(found.checks)} that failed, by its name, and the last that it printed"
        yield f"{head}:\n\n{quoted(check.name)}\n\n{quoted(check.output or '(nothing)')}"


def _thread(thread: ReviewThread, head: str) -> Iterator[str]:
    line = "" if thread.line is None else f":{thread.line}"
    since = "; the line has changed since" if thread.outdated else ""
    where = f"{thread.path}{line}\n\n{thread.code}" if thread.code else f"{thread.path}{line}"
    yield f"{head} that is not resolved, by file, line and code{since}:\n\n{quoted(where)}"
    for remark in thread.remarks:
        yield f"'{author_name(remark.author)}' says of that:\n\n{quoted(remark.text)}"


def _conflict(conflict: BaseConflict) -> Iterator[str]:
    shown = [shorten(one_line(path), 200) for path in conflict.files[:MAX_FILES]]
    if more := len(conflict.files) - len(shown):
        shown.append(f"(… and {counted(more, 'file')} more)")
    files = f", in these files:\n\n{quoted(chr(10).join(shown))}" if shown else "."
    yield f"It conflicts with what its base holds by now, {conflict.commit[:12]}{files}"
    yield (
        f"Bring that in: git merge {shlex.quote(conflict.ref)}\nThis one merge is asked for. Resolve the conflicts so "
        "that what both sides wanted is kept, and commit it."
    )
