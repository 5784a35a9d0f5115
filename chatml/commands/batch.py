"""Many sessions by one call of `new`: what is to be made, as it is made, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chatml import output
from chatml.commands import rest
from chatml.errors import ChatmlError
from chatml.model import Session, Status
from chatml.project import Project
from chatml.removal import removing
from chatml.render.rows import base_text
from chatml.sessions import find, tasks
from chatml.sessions.control import check_message
from chatml.sessions.names import check_name, slug, with_number
from chatml.sessions.running import with_processes
from chatml.sessions.tasks import Given
from chatml.tasks import BadTasksError, TaskList, copies, read_each, read_file
from chatml.text import columns


@dataclass(frozen=True)
class Origin:
    """Where the tasks come from: one of a file, a table, and a number of the same."""

    file: str | None = None
    each: str | None = None
    number: int | None = None
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
        listed = _listed(origin, prompt)
        planned = tasks.plan(project, listed, given)
    except BadTasksError as error:
        return _tell_problems(error)
    for sentence in [*project.config.ignored, *listed.left_out]:
        output.warning(sentence)
    if wanted.dry_run:
        _tell_plan(planned, wanted)
        return 0
    for sentence in removing.finish_interrupted(project):
        output.warning(sentence)
    became = _make(project, planned, wanted)
    if not (wanted.as_json or wanted.quiet):
        _sum_up(project, listed, became, planned)
    failures = [one.failure for one in became if one.failure is not None]
    for failure in {failure.message: failure for failure in failures}.values():
        output.complain(failure)
    if failures:
        names = ", ".join(one.name for one in became if one.failure is not None)
        output.error(f"not made: {names}", "the same command goes on with these")
    code = 1 if failures else 0
    if wanted.wait:
        code = max(code, _wait(project, [one.name for one in became if one.failure is None], wanted))
    if wanted.as_json:
        output.json_answer(_as_json(project, became))
    elif wanted.quiet:
        for one in became:
            if one.failure is None:
                output.tell(one.name)
    return code


def _listed(origin: Origin, prompt: str) -> TaskList:
    if origin.file is not None:
        return read_file(origin.file, sys.stdin.buffer.read() if origin.file == "-" else None)
    if origin.each is not None:
        return read_each(origin.each, prompt, origin.name)
    stem = check_name(origin.name) if origin.name is not None else slug(check_message(prompt))
    return copies(prompt, [with_number(stem, number) for number in range(1, (origin.number or 0) + 1)])


def _tell_problems(error: BadTasksError) -> int:
    """The one report of all that is wrong; returns the exit code."""
    for problem in error.problems:
        output.error(problem.message, problem.hint)
    output.note(error.message)
    return error.exit_code


def _tell_plan(planned: Sequence[tasks.Planned], wanted: Wanted) -> None:
    """Name, base and order of each; what is there already is said to be."""
    if wanted.as_json:
        output.json_answer([_plan_json(number, one) for number, one in enumerate(planned, 1)])
    elif wanted.quiet:
        for one in planned:
            output.answer(one.name)
    elif planned:
        output.answer(output.wanted(columns([_plan_row(number, one) for number, one in enumerate(planned, 1)])))
    else:
        output.note("nothing to do")


def _plan_row(number: int, one: tasks.Planned) -> list[str]:
    after = f"after {', '.join(one.row.after)}" if one.row.after else ""
    note = f"there already: {one.session.status.value}" if one.there else after
    return [str(number), one.name, f"from {base_text(one.session)}", note]


def _plan_json(number: int, one: tasks.Planned) -> dict[str, Any]:
    base = {"ref": one.session.base.ref, "commit": one.session.base.commit}
    there = one.session.status.value if one.there else None
    return {"order": number, "name": one.name, "base": base, "after": list(one.row.after), "there": there}


def _make(project: Project, planned: Sequence[tasks.Planned], wanted: Wanted) -> list[tasks.Made]:
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


def _sum_up(project: Project, listed: TaskList, became: Sequence[tasks.Made], planned: Sequence[tasks.Planned]) -> None:
    counts = {word: sum(one.word == word for one in became) for word in (tasks.MADE, tasks.RESUMED, tasks.THERE)}
    names = {tasks.MADE: "made", tasks.RESUMED: "gone on with", tasks.THERE: "there already"}
    parts = [f"{number} {names[word]}" for word, number in counts.items() if number]
    parts += [f"{listed.ticked} ticked off"] if listed.ticked else []
    if parts or all(one.failure is None for one in became):
        output.note(", ".join(parts) or "nothing to do")
    new = [one.session for one in became if one.word == tasks.MADE and one.session is not None]
    queued = [session for session in _now(project, new) if session.status is Status.QUEUED]
    if placed := sum(session.seen.queue_place is not None for session in queued):
        output.note(f"{placed} queued: all places are taken")
    if later := len(queued) - placed:
        output.note(f"{later} queued until others are done")
    here = any(one.task.base is None and not one.there for one in planned)
    with suppress(ChatmlError):  # they are at work, whatever git says of this checkout
        if new and here and project.repo.top is not None and project.repo.dirty(project.repo.top):
            output.note("note: the uncommitted changes here don't come along")


def _now(project: Project, sessions: Iterable[Session]) -> list[Session]:
    """The sessions as they are now, those that wait with their place; without any that are gone."""
    found = []
    for session in sessions:
        with suppress(ChatmlError, OSError):
            found.append(find.load(project, session.name))
    return find.with_places(project, found)


def _wait(project: Project, names: Sequence[str], wanted: Wanted) -> int:
    """Wait until all are at rest, and tell of each how it ended."""
    waited = rest.wait_for(project, names)
    if not (wanted.as_json or wanted.quiet):
        for session in waited.rested:
            output.note(f"{session.name}: {session.status.value}")
            if session.status is not Status.DONE:
                rest.tell(session)
    return waited.code


def _as_json(project: Project, became: Sequence[tasks.Made]) -> list[dict[str, Any]]:
    sessions = _now(project, [one.session for one in became if one.session is not None])
    public = {session.name: session.public() for session in with_processes(sessions)}
    return [_one_json(one, public.get(one.name)) for one in became]


def _one_json(one: tasks.Made, public: dict[str, Any] | None) -> dict[str, Any]:
    error = {"message": one.failure.message, "hint": one.failure.hint} if one.failure else None
    return {**(public or {"name": one.name, "error": error}), "outcome": one.word}
