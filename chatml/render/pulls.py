"""A pull request in few words, and in a line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from chatml.model import PullRequest, parse_time
from chatml.render.ages import age

OLD = 300.0
"""Seconds after which it is said how long ago the forge was asked."""

MARKS: Mapping[str, str] = {"passing": "✓", "failing": "✗", "pending": "…"}
REVIEWS: Mapping[str, str] = {
    "approved": "approved", "changes_requested": "changes asked", "review_required": "review due",
}  # fmt: skip


def short(pull: PullRequest | None) -> str:
    """The cell of `ls`: `#12 ✓ approved`."""
    if pull is None:
        return ""
    if not pull.open:
        return f"{pull.label} {pull.state}"
    said = [f"{pull.label}", MARKS.get(pull.checks or "", ""), *_open(pull), _seen(pull)]
    return " ".join(filter(None, said))


def line(pull: PullRequest | None) -> str:
    """The line of `show`: its address, and all that is known of it."""
    if pull is None:
        return ""
    if not pull.open:
        return f"{pull.url} {pull.state}"
    checks = f"checks {pull.checks}" if pull.checks else ""
    return " ".join(filter(None, [pull.url, ", ".join(filter(None, ["open", checks, *_open(pull)])), _seen(pull)]))


def _open(pull: PullRequest) -> Iterator[str]:
    """What an open one is like, but for its checks."""
    if pull.draft:
        yield "draft"
    yield REVIEWS.get(pull.review or "", "")
    if pull.mergeable is False:
        yield "conflicts"


def _seen(pull: PullRequest) -> str:
    """How long ago that was so, where it may have changed since."""
    if pull.at is None or time.time() - parse_time(pull.at).timestamp() < OLD:
        return ""
    return f"({age(pull.at)} ago)"
