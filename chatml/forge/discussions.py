"""What GitLab has against a merge request as it is now, bounded to what an agent can be told at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.forge import glab
from chatml.forge.cut import (
    HUNK,
    LINES,
    MAX_CHECKS,
    MAX_REVIEWS,
    OUTPUT,
    REMARK,
    REVIEW,
    beginning,
    bounded,
    ending,
    talk,
)
from chatml.forge.door import PullRef
from chatml.forge.glab import project
from chatml.forge.merge_requests import one as shown_of
from chatml.forge.merge_requests import state_of
from chatml.model import FailedCheck, Feedback, Remark, ReviewThread
from chatml.text import counted, one_line, shorten

PAGE = 100
PAGES = 10
"""Discussions that are looked through, a page of them at a time: the oldest thousand."""

FILES = 20
"""Files whose code is quoted."""


def feedback(ref: PullRef, at: Path, moment: float) -> Feedback:
    """What there is against it at that moment; see `Forge`."""
    left_out: list[str] = []
    one = shown_of(ref, at)
    pull = state_of(ref, one, moment)
    try:
        commit = one["diffHeadSha"] or ""
        checks = _checks(ref, one["headPipeline"], at, left_out) if pull.checks in ("failing", "pending") else []
        unresolved = [*_unresolved(ref, at, left_out)] if pull.open else []
        threads = bounded(_threads(ref, unresolved, commit, at), left_out)
        general = [notes for notes in unresolved if not notes[0].get("position")]
        if rest := len(general[MAX_REVIEWS:]):
            left_out.append(counted(rest, "other discussion"))
        reviews = [Remark(_login(notes[0]), _said(notes)) for notes in general[:MAX_REVIEWS]]
        place = f"{ref.repository} on GitLab"
        found = (tuple(checks), tuple(threads), tuple(reviews))
        return Feedback(pull, place, one["targetBranch"], commit, *found, left_out=tuple(left_out))
    except (LookupError, TypeError, AttributeError) as error:
        raise ChatmlError(f"glab gave no proper answer about {ref.label}: {error}", glab.INSTALL) from error


def _place(ref: PullRef) -> str:
    return f"{project(ref.repository)}/merge_requests/{ref.number}"


# --- jobs -------------------------------------------------------------------------------------------------------


def _checks(ref: PullRef, pipeline: Mapping[str, Any], at: Path, left_out: list[str]) -> list[FailedCheck]:
    """The jobs of its newest commit's pipeline that have failed and may not; the pipeline of a fork is the fork's."""
    place = project((pipeline.get("project") or {}).get("fullPath") or ref.repository)
    try:
        failed = _failed(ref, f"{place}/pipelines/{pipeline['id'].rpartition('/')[2]}", at)
    except ChatmlError as error:
        left_out.append(f"what this login may not see: {shorten(one_line(error.message), 200)}")
        return []
    if rest := failed[MAX_CHECKS:]:
        names = ", ".join(_name(job) for job in rest[:MAX_CHECKS])
        left_out.append(f"{counted(len(rest), 'other failing check')} ({names}{', …' * (len(rest) > MAX_CHECKS)})")
    return [FailedCheck(_name(job), _output(ref, place, job, at)) for job in failed[:MAX_CHECKS]]


def _failed(ref: PullRef, pipeline: str, at: Path) -> list[Mapping[str, Any]]:
    """In the order in which they ran; also what has started a pipeline of its own that failed."""
    found = []
    for kind in ("jobs", "bridges"):
        jobs = glab.ask(ref.host, f"{pipeline}/{kind}?scope[]=failed&scope[]=canceled&per_page={PAGE}", at).data
        found += [job for job in jobs if not job.get("allow_failure")]
    return sorted(found, key=lambda job: job["id"])


def _name(job: Mapping[str, Any]) -> str:
    """A job behind its stage."""
    stage, name = job.get("stage"), job.get("name") or ""
    return shorten(one_line(f"{stage} / {name}" if stage else name), 100)


def _output(ref: PullRef, place: str, job: Mapping[str, Any], at: Path) -> str:
    """What a job has printed, or where the pipeline is that it has started."""
    if "downstream_pipeline" in job:
        return f"a pipeline of its own has failed: {(job['downstream_pipeline'] or {}).get('web_url') or 'unknown'}"
    try:
        said = ending(of_trace(glab.ask(ref.host, f"{place}/jobs/{job['id']}/trace", at).text), LINES, OUTPUT)
    except ChatmlError as error:
        return f"(its log could not be had: {one_line(error.message)})"
    return said or str(job.get("failure_reason") or "")


def of_trace(trace: str) -> str:
    """A job's log without times and the marks of its sections, of each line what stood there last."""
    lines = []
    for line in re.sub(r"section_(?:start|end):\d+:[^\r\n]*\r?(?:\x1b\[0K)?", "", trace).split("\n"):
        plain = re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+Z \d\d[OE][ +]?", "", line.rstrip("\r"))
        lines.append(plain.rpartition("\r")[2])
    return "\n".join(lines)


# --- what people say --------------------------------------------------------------------------------------------


def _unresolved(ref: PullRef, at: Path, left_out: list[str]) -> Iterator[list[Mapping[str, Any]]]:
    """What people say in each discussion that can be resolved and is not."""
    page = "1"
    for _ in range(PAGES):
        answer = glab.ask(ref.host, f"{_place(ref)}/discussions?per_page={PAGE}&page={page}", at)
        for one in answer.data:
            notes = [note for note in one["notes"] if not note.get("system")]
            if any(note.get("resolvable") and not note.get("resolved") for note in notes):
                yield notes
        page = answer.headers.get("x-next-page", "")
        if not page.isdigit():
            return
    left_out.append(f"discussions beyond the first {PAGES * PAGE}")


def _threads(ref: PullRef, found: Sequence[Sequence[Mapping[str, Any]]], head: str, at: Path) -> list[ReviewThread]:
    placed = [(notes, position) for notes in found if (position := notes[0].get("position"))]
    contents = _contents(ref, [_line(position)[:2] for _, position in placed], at)
    threads = []
    for notes, position in placed:
        commit, path, number = _line(position)
        code = _quoted(contents.get((commit, path)), number)
        remarks = talk([(_login(note), str(note["body"])) for note in notes])
        if remarks:
            threads.append(ReviewThread(path, number, position.get("head_sha") != head, code, remarks))
    return threads


def _line(position: Mapping[str, Any]) -> tuple[str, str, int | None]:
    """The commit, file and line that a discussion is about; a line that is gone stands in the commit before."""
    if position.get("new_line") is None and position.get("old_line") is not None:
        return str(position["base_sha"]), str(position["old_path"]), int(position["old_line"])
    line = position.get("new_line")
    return str(position["head_sha"]), str(position.get("new_path") or position["old_path"]), line


def _contents(ref: PullRef, wanted: Sequence[tuple[str, str]], at: Path) -> dict[tuple[str, str], str]:
    """The text of files by their commit; those that can't be had are left out: the file's name and line are enough."""
    by_commit: dict[str, list[str]] = {}
    for commit, path in dict.fromkeys(wanted):
        by_commit.setdefault(commit, []).append(path)
    query = (
        "query Quoted($path:ID!,$ref:String!,$paths:[String!]!){project(fullPath:$path){"
        "repository{blobs(ref:$ref,paths:$paths){nodes{path rawTextBlob}}}}}"
    )
    found: dict[tuple[str, str], str] = {}
    for commit, paths in [*by_commit.items()][:FILES]:
        try:
            asked = {"path": ref.repository, "ref": commit, "paths": paths[:FILES]}
            blobs = (glab.graphql(query, asked, ref.host, at)[0].get("repository") or {}).get("blobs") or {}
        except ChatmlError:
            continue
        found |= {(commit, one["path"]): one.get("rawTextBlob") or "" for one in blobs.get("nodes") or ()}
    return found


def _quoted(text: str | None, line: int | None) -> str:
    """The lines of code up to the one that somebody writes about."""
    if text is None or line is None:
        return ""
    return ending("\n".join(text.split("\n")[max(0, line - HUNK) : line]), HUNK, REMARK)


def _said(notes: Sequence[Mapping[str, Any]]) -> str:
    """A discussion about the whole, its answers below it."""
    first, *rest = talk([(_login(note), str(note["body"])) for note in notes]) or (Remark("", ""),)
    return beginning("\n\n".join([first.text, *(f"{one.author}: {one.text}" for one in rest)]), REVIEW)


def _login(note: Mapping[str, Any]) -> str:
    return (note.get("author") or {}).get("username") or "ghost"
