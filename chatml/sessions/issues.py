"""Issues of GitHub and Linear as tasks: found, bounded in size, and put into words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from chatml.agents import briefing
from chatml.errors import ChatmlError, UsageError
from chatml.forge import github, linear
from chatml.forge.gh import NoGitHubError
from chatml.model import Issue, IssueComment
from chatml.project import Project
from chatml.sessions.create import Task, clash, drafted
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


@dataclass(frozen=True)
class IssueTasks:
    """What issues come to: tasks, and what a person should know of them."""

    tasks: tuple[Task, ...]
    told: tuple[str, ...]


def task_of(project: Project, ref: str, asked: Task) -> IssueTasks:
    """The task of one issue, on the terms that were asked for; their prompt is what the person says of it.

    UsageError for what names no issue; ChatmlError where it can't be had, or has a session and no other name was
    given.
    """
    issue = _fetched(project, ref.strip())
    name = _workers(project).get(issue.ref.url.lower())
    if name is not None and asked.name is None:
        raise ChatmlError(
            f"{issue.ref.shown} of {issue.place} has a session already: '{name}'",
            f"see it with 'chatml show {name}', or make another one with --name NAME",
        )
    return IssueTasks((_task(issue, asked),), tuple(_told(issue)))


def tasks_of(project: Project, query: str, asked: Task) -> IssueTasks:
    """A task for each issue that a search finds and that has no session yet; all of them are checked.

    UsageError for an empty search; ChatmlError where one of them can't be had, or no session could be made of it.
    """
    if not query.strip():
        raise UsageError("--issues is empty", "say which ones: chatml new --issues 'label:bug'")
    found = _found(project, query.strip())
    names = _workers(project)
    tasks, told = [], [] if found else ["no open issue is found"]
    for issue in found:
        name = names.get(issue.ref.url.lower())
        if name is not None:
            told.append(f"{issue.ref.shown} has a session already: {name}")
            continue
        tasks.append(_task(issue, asked))
        told += _told(issue)
        _check(project, tasks[-1], issue)
    return IssueTasks(tuple(tasks), tuple(told))


def _check(project: Project, task: Task, issue: Issue) -> None:
    reason = clash(project, drafted(project, task, {}), task.name or "")
    if reason is not None:
        hint = f"give it another name first: chatml new --issue {issue.ref.ref} --name NAME; then call it again"
        raise ChatmlError(f"{issue.ref.shown}: {reason}", hint)


def _workers(project: Project) -> dict[str, str]:
    """The newest session of each issue, by the issue's address."""
    return {one.issue.url.lower(): one.name for one in load_all(project)[0] if one.issue is not None}


# --- where they are ---------------------------------------------------------------------------------------------


def _fetched(project: Project, ref: str) -> Issue:
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


def _task(issue: Issue, asked: Task) -> Task:
    prompt = briefing.issue(bounded(issue), asked.terms.prompt.strip())
    ref = replace(issue.ref, title=issue.ref.title[:MAX_TITLE])
    name = asked.name or slug(f"{ref.ref} {ref.title}")
    return replace(asked, terms=replace(asked.terms, prompt=prompt), name=name, issue=ref)


def _told(issue: Issue) -> list[str]:
    closed = [f"{issue.ref.shown} is closed"] if issue.closed else []
    left_out = bounded(issue).left_out
    return [*closed, *([f"{issue.ref.shown}: left out: {'; '.join(left_out)}"] if left_out else [])]


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
