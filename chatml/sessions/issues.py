"""Issues of GitHub and Linear as tasks: found, bounded in size, and put into words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from chatml.agents import briefing
from chatml.errors import ChatmlError, UsageError
from chatml.forge import github, linear
from chatml.forge.gh import NoGitHubError
from chatml.model import Issue, IssueComment, IssueRef, Session
from chatml.project import Project
from chatml.sessions.create import Task
from chatml.sessions.find import load_all
from chatml.sessions.names import slug
from chatml.text import counted

MAX_ISSUES = 50
"""Issues that one search may find: more of them are rather a search that went wrong."""

MAX_TITLE = 300
MAX_BODY = 20_000
MAX_COMMENTS = 10_000
"""Characters given to an agent; with all of four bytes each, the task still fits into one argument of a program."""

MAX_LABELS = 20
MAX_LABEL = 100

OVERHEAD = 100
"""Characters that a comment takes beside its text."""

LINEAR = "linear:"
"""What a search of Linear's begins with."""


T = TypeVar("T")


def task_of(project: Project, ref: str, asked: Task) -> tuple[Task, tuple[str, ...]]:
    """The task of one issue, on the terms that were asked for; their prompt is what the person says of it.

    Also what a person should know of the issue. UsageError for what names none; ChatmlError where it can't be had, or
    has a session and no other name was given.
    """
    issue = lookup(project, ref)
    worker = next(iter(workers(project).get(key_of(issue.ref), [])), None)
    if worker is not None and asked.name is None:
        raise ChatmlError(
            f"{issue.ref.shown} of {issue.place} has a session already: '{worker.name}'",
            f"see it with 'chatml show {worker.name}', or make another one with --name NAME",
        )
    return made_of(issue, asked), told(issue)


def search(project: Project, query: str) -> list[Issue]:
    """The issues that a search finds. UsageError for an empty one; ChatmlError where they can't be had."""
    if not query.strip():
        raise UsageError("--issues is empty", "say which ones: chatml new --issues 'label:bug'")
    return _found(project, query.strip())


def workers(project: Project) -> dict[str, list[Session]]:
    """The sessions of each issue, by its key, the newest first."""
    found: dict[str, list[Session]] = defaultdict(list)
    for session in reversed(load_all(project)[0]):
        if session.issue is not None:
            found[key_of(session.issue)].append(session)
    return found


def key_of(ref: IssueRef) -> str:
    """What tells an issue from all others."""
    return ref.url.lower()


# --- where they are ---------------------------------------------------------------------------------------------


def lookup(project: Project, ref: str) -> Issue:
    """The issue that is meant. UsageError for what names none; ChatmlError where it can't be had."""
    ref = ref.strip()
    at = project.repo.top or project.repo.home
    if here := re.fullmatch(r"#?(\d{1,10})", ref):
        return github.issue(at, int(here[1]))
    if elsewhere := re.fullmatch(r"(\w[\w.-]*/[\w.-]+)#(\d{1,10})", ref):
        return github.issue(at, int(elsewhere[2]), elsewhere[1])
    if re.fullmatch(r"[A-Za-z]\w*-\d{1,10}", ref):
        return linear.issue(ref.upper())
    if page := re.match(r"https?://linear\.app/[\w-]+/issue/([A-Za-z]\w*-\d{1,10})(?![\w-])", ref):
        return linear.issue(page[1].upper())
    if page := re.match(r"https?://([\w.-]+/\w[\w.-]*/[\w.-]+)/(?:issues|pull)/(\d{1,10})(?!\w)", ref):
        return github.issue(at, int(page[2]), page[1])
    raise UsageError(f"no issue: '{ref}'", "its number (12), OWNER/REPO#12, its address, or ENG-123 for one of Linear")


def _found(project: Project, query: str) -> list[Issue]:
    if query.startswith(LINEAR):
        return _from_linear(query.removeprefix(LINEAR).strip())
    try:
        return _few(github.issues(project.repo.top or project.repo.home, query, MAX_ISSUES))
    except NoGitHubError:
        if not linear.has_key():
            raise
        return _from_linear(query)


def _from_linear(term: str) -> list[Issue]:
    return [linear.issue(identifier) for identifier in _few(linear.search(term, MAX_ISSUES))]


def _few(found: list[T]) -> list[T]:
    if len(found) > MAX_ISSUES:
        raise ChatmlError(f"more than {MAX_ISSUES} issues are found", "narrow the search: each would be a session")
    return found


# --- what becomes of them ---------------------------------------------------------------------------------------


def name_of(issue: Issue) -> str:
    """What its session is called, unless it was given a name."""
    return slug(f"{issue.ref.ref} {issue.ref.title[:MAX_TITLE]}")


def made_of(issue: Issue, asked: Task) -> Task:
    """The task of an issue, on these terms; their prompt is what the person says of it."""
    prompt = briefing.issue(bounded(issue), asked.terms.prompt.strip())
    ref = replace(issue.ref, title=issue.ref.title[:MAX_TITLE])
    return replace(asked, terms=replace(asked.terms, prompt=prompt), name=asked.name or name_of(issue), issue=ref)


def told(issue: Issue) -> tuple[str, ...]:
    """What a person should know of it."""
    closed = [f"{issue.ref.shown} is closed"] if issue.closed else []
    left_out = bounded(issue).left_out
    return (*closed, *([f"{issue.ref.shown}: left out: {'; '.join(left_out)}"] if left_out else []))


def bounded(issue: Issue) -> Issue:
    """The issue in a size that an agent can be given, and what that leaves out: old comments rather than new ones."""
    title, body, comments = issue.ref.title[:MAX_TITLE], issue.body[:MAX_BODY], _newest(issue.comments)
    ends = [(issue.ref.title, title, "title"), (issue.body, body, "text")]
    if comments:
        ends.append((issue.comments[-1].text, comments[-1].text, "last comment"))
    cut = [_cut(len(whole) - len(kept), "character", f" of its {what}") for whole, kept, what in ends]
    cut.append(_cut(len(issue.comments) - len(comments), "older comment"))
    cut.append(_cut(len(issue.labels) - MAX_LABELS, "label"))
    return replace(
        issue,
        ref=replace(issue.ref, title=title),
        body=body,
        labels=tuple(label[:MAX_LABEL] for label in issue.labels[:MAX_LABELS]),
        comments=comments,
        left_out=(*issue.left_out, *filter(None, cut)),
    )


def _cut(number: int, noun: str, of: str = "") -> str:
    return counted(number, noun) + of if number > 0 else ""


def _newest(comments: Sequence[IssueComment]) -> tuple[IssueComment, ...]:
    """The newest comments that fit, in their order; of the very last one, what fits."""
    room = MAX_COMMENTS
    kept: list[IssueComment] = []
    for comment in reversed(comments):
        if len(comment.text) > room and kept:
            break
        kept.append(replace(comment, text=comment.text[:room]))
        room -= len(comment.text) + OVERHEAD
    return tuple(reversed(kept))
