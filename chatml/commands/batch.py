"""Many sessions by one call of `new`: what is to be made, as it is made, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chatml import output
from chatml.commands import rest
from chatml.errors import ChatmlError
from chatml.model import Issue, Session, Status
from chatml.project import Project
from chatml.removal import removing
from chatml.removal.homecoming import with_landed
from chatml.render.rows import base_text
from chatml.sessions import find, tasks
from chatml.sessions.control import check_message
from chatml.sessions.fetching import lag
from chatml.sessions.names import check_name, slug, with_number
from chatml.sessions.parts import Portion, apart, planned_apart
from chatml.sessions.planning import Given, Planned
from chatml.sessions.running import with_programs
from chatml.tasks import STDIN, BadTasksError, TaskList, TaskRow, copies, read_each, read_file, unreadable
from chatml.text import columns, printable

WOULD_MAKE, WOULD_RESUME = "would make", "would resume"
"""What `--dry-run` says of those that are not there yet, and of those that would be gone on with."""


@dataclass(frozen=True)
class Origin:
    """Where the tasks come from: one of a file, a table, a number of the same, and a search for issues."""

    file: str | None = None
    each: str | None = None
    number: int | None = None
    issues: str | None = None
    name: str | None = None
    """What `--name` says: of a table's tasks, with their fields; of the same, what comes before the number."""


@dataclass(frozen=True)
class Wanted:
    """What the command line says of how to make them, and what to print."""

    dry_run: bool
    retry: bool
    wait: bool
    as_json: bool
    quiet: bool


def run(project: Project, origin: Origin, prompt: str, given: Given, wanted: Wanted) -> int:
    """Make what is not there, or only say what would be made; returns the exit code."""
    try:
        listed, found = _listed(project, origin, prompt)
        parts = planned_apart(apart(project, origin.file, listed), given, found)
    except BadTasksError as error:
        return _tell_problems(error)
    for part in parts:
        for sentence in [*part.listed.left_out, *part.plan.left_out]:
            output.warning(sentence)
        for sentence in () if wanted.quiet else part.plan.told:
            output.note(printable(sentence))
    if wanted.dry_run:
        answers = [one for part in parts for one in _named(part, parts, wanted, _tell_plan(part, wanted))]
        return _answered(answers, 0, wanted)
    became = [(part, _carried_out(part, len(parts) > 1, wanted)) for part in parts]
    code = max(_told_failures(made) for _, made in became)
    if wanted.wait:
        code = max(code, _wait(became, wanted))
    if wanted.quiet and not wanted.as_json:
        for _, made in became:
            for one in made:
                if one.failure is None:
                    output.tell(one.name)
    answers = (
        [one for part, made in became for one in _named(part, parts, wanted, _as_json(part.project, made))]
        if wanted.as_json
        else []
    )
    return _answered(answers, code, wanted)


def _named(
    part: Portion, parts: Sequence[Portion], wanted: Wanted, answers: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What scripts are told; of several repositories, also of which one."""
    where = {"repository": str(part.project.repo.home)} if len(parts) > 1 else {}
    return [{**one, **where} for one in answers] if wanted.as_json else []


def _answered(answers: list[dict[str, Any]], code: int, wanted: Wanted) -> int:
    if wanted.as_json:
        output.json_answer(answers)
    return code


def _carried_out(part: Portion, several: bool, wanted: Wanted) -> list[tasks.Made]:
    """Make the tasks of one repository; each is told as it is made."""
    if several and not (wanted.quiet or wanted.as_json):
        output.note(output.style(f"{part.project.repo.home}:", err=True, dim=True))
    for sentence in removing.finish_interrupted(part.project):
        output.warning(sentence)
    became = _make(part.project, part.plan.tasks, wanted)
    if not (wanted.as_json or wanted.quiet):
        _sum_up(part.project, part.listed, became, part.plan.tasks)
    return became


def _told_failures(became: Sequence[tasks.Made]) -> int:
    """Tell what could not be made, each reason once; the exit code."""
    failures = [one.failure for one in became if one.failure is not None]
    for failure in {failure.message: failure for failure in failures}.values():
        output.complain(failure)
    if failures:
        names = ", ".join(one.name for one in became if one.failure is not None)
        output.error(f"not made: {names}", "the same command goes on with these")
    return 1 if failures else 0


def _listed(project: Project, origin: Origin, prompt: str) -> tuple[TaskList, Mapping[str, Issue]]:
    """The tasks, and the issues that were found where they are such, by what the tasks call them."""
    if origin.file is not None:
        return read_file(origin.file, _stdin(origin.file)), {}
    if origin.each is not None:
        return read_each(origin.each, prompt, origin.name, _stdin(origin.each)), {}
    if origin.issues is not None:
        from chatml.sessions import issues  # here alone: it loads what asks a forge

        found = {issue.ref.shown: issue for issue in issues.search(project, origin.issues)}
        rows = (TaskRow(prompt, "--issues", number, issue=ref) for number, ref in enumerate(found, 1))
        return TaskList(tuple(rows), without="no open issue is found"), found
    stem = check_name(origin.name) if origin.name is not None else slug(check_message(prompt))
    return copies(prompt, [with_number(stem, number) for number in range(1, (origin.number or 0) + 1)]), {}


def _stdin(path: str) -> bytes | None:
    """What is on standard input, where the path means that. BadTasksError where it can't be read."""
    if path != "-":
        return None
    try:
        return sys.stdin.buffer.read() if sys.stdin is not None else b""
    except OSError as error:
        raise BadTasksError((unreadable(STDIN, error),)) from error


def _tell_problems(error: BadTasksError) -> int:
    """The one report of all that is wrong; returns the exit code."""
    for problem in error.problems:
        output.error(problem.message, problem.hint)
    output.note(error.message)
    return error.exit_code


def _tell_plan(part: Portion, wanted: Wanted) -> list[dict[str, Any]]:
    """Name, base and order of each; what is there already is said to be, and what would be gone on with."""
    project, planned = part.project, part.plan.tasks
    outcomes = {one.name: _outcome(project, one, wanted.retry) for one in planned}
    numbered = [*enumerate(planned, 1)]
    if wanted.as_json:
        return [_plan_json(number, one, outcomes[one.name]) for number, one in numbered]
    if wanted.quiet:
        for one in planned:
            output.answer(one.name)
    elif planned:
        rows = [_plan_row(number, one, outcomes[one.name]) for number, one in numbered]
        output.answer(output.wanted(columns(rows)))
    else:
        output.note(part.listed.without)
    return []


def _outcome(project: Project, one: Planned, retry: bool) -> str:
    if not one.there:
        return WOULD_MAKE
    return WOULD_RESUME if tasks.to_resume(project, one, retry) else tasks.THERE


def _plan_row(number: int, one: Planned, outcome: str) -> list[str]:
    notes = [f"after {', '.join(one.after)}"] if one.after and not one.there else []
    notes += [f"there already: {one.session.status.value}"] if one.there else []
    notes += ["would be gone on with"] if outcome == WOULD_RESUME else []
    return [str(number), one.name, f"from {base_text(one.session)}", ", ".join(notes)]


def _plan_json(number: int, one: Planned, outcome: str) -> dict[str, Any]:
    base = {"ref": one.session.base.ref, "commit": one.session.base.commit}
    there = one.session.status.value if one.there else None
    plan_of = {"order": number, "name": one.name, "base": base, "after": list(one.after), "there": there}
    return {**plan_of, "outcome": outcome}


def _make(project: Project, planned: Sequence[Planned], wanted: Wanted) -> list[tasks.Made]:
    """Make them; each is told at once, and on a terminal how far it is."""
    became = []
    with output.progress() as show:
        for number, one in enumerate(tasks.carry_out(project, planned, wanted.retry), 1):
            became.append(one)
            if not (wanted.as_json or wanted.quiet) and one.session is not None and one.word != tasks.THERE:
                show("")
                what = "goes on" if one.word == tasks.RESUMED else f"from {base_text(one.session)}"
                output.tell(f"{output.style(one.name, bold=True)} on {one.session.branch} {what}")
            show(f"{number} of {len(planned)}")
    return became


def _sum_up(project: Project, listed: TaskList, became: Sequence[tasks.Made], planned: Sequence[Planned]) -> None:
    counts = {word: sum(one.word == word for one in became) for word in (tasks.MADE, tasks.RESUMED, tasks.THERE)}
    names = {tasks.MADE: "made", tasks.RESUMED: "gone on with", tasks.THERE: "there already"}
    parts = [f"{number} {names[word]}" for word, number in counts.items() if number]
    parts += [f"{listed.ticked} ticked off"] if listed.ticked else []
    if parts or all(one.failure is None for one in became):
        output.note(", ".join(parts) or listed.without)
    new = [one.session for one in became if one.word == tasks.MADE and one.session is not None]
    queued = [session for session in _now(project, new) if session.status is Status.QUEUED]
    if placed := sum(session.seen.queue_place is not None for session in queued):
        output.note(f"{placed} queued: all places are taken")
    if later := len(queued) - placed:
        output.note(f"{later} queued until others are done")
    with suppress(ChatmlError, OSError):  # they are at work, whatever git says of this checkout
        _tell_of_bases(project, [one for one in planned if one.name in {session.name for session in new}])


def _tell_of_bases(project: Project, made: Sequence[Planned]) -> None:
    """What the sessions that were made don't have, of what is here and of what is upstream of their bases."""
    here = any(one.task.base is None and one.task.carried is None for one in made)
    if here and project.repo.top is not None and project.repo.dirty(project.repo.top):
        output.note("note: the uncommitted changes here don't come along; --with-changes takes them")
    as_they_are = [one for one in made if one.task.branch is None and one.task.start is None]
    for base in dict.fromkeys(one.session.base.ref for one in as_they_are):
        if lags := lag(project.repo, base):
            output.note(f"note: {lags}")


def _now(project: Project, sessions: Iterable[Session]) -> list[Session]:
    """The sessions as they are now, those that wait with their place; without any that are gone."""
    found = []
    for session in sessions:
        with suppress(ChatmlError, OSError):
            found.append(find.load(project, session.name))
    return find.with_places(project, found)


def _wait(became: Sequence[tuple[Portion, Sequence[tasks.Made]]], wanted: Wanted) -> int:
    """Wait until all are at rest, and tell of each how it ended."""
    places = [(part.project, rest.Waited([one.name for one in made if one.failure is None])) for part, made in became]
    code = rest.wait_in(places)
    for session in [session for _, waited in places for session in waited.rested]:
        if not (wanted.as_json or wanted.quiet):
            output.note(f"{session.name}: {session.status.value}")
            if session.status is not Status.DONE:
                rest.tell(session)
    return code


def _as_json(project: Project, became: Sequence[tasks.Made]) -> list[dict[str, Any]]:
    sessions = _now(project, [one.session for one in became if one.session is not None])
    public = {session.name: session.public() for session in with_landed(project, with_programs(project, sessions))}
    return [_one_json(one, public.get(one.name)) for one in became]


def _one_json(one: tasks.Made, public: dict[str, Any] | None) -> dict[str, Any]:
    error = {"message": one.failure.message, "hint": one.failure.hint} if one.failure else None
    return {**(public or {"name": one.name, "error": error}), "outcome": one.word}
