"""`chatml doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from chatml import output
from chatml.checks import Diagnosis, Level, count, machine, problem, project
from chatml.commands import options
from chatml.errors import ChatmlError, NotARepositoryError
from chatml.project import open_project
from chatml.sessions import find
from chatml.text import one_line

COLORS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


@click.command()
@options.as_json
@options.color
@click.pass_obj
def command(at: Path, as_json: bool) -> int:
    """Check that everything chatml needs is there.

    Looks at this machine and, within a repository, at its settings, sessions and leftovers; changes nothing, and
    uses no network. Exit code 1 if there is a problem; warnings are allowed.
    """
    found = []
    for finding in _check(at):
        found.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        output.json_answer([finding.to_json() for finding in found])
    else:
        output.note(_summary(found))
    return 1 if any(finding.level is Level.PROBLEM for finding in found) else 0


def _check(at: Path) -> Iterator[Diagnosis]:
    on_machine = list(machine.check())
    yield from on_machine
    try:
        here = open_project(at)
        found, damaged = find.load_all(here)
    except NotARepositoryError:
        return
    except OSError as error:
        yield problem("state", f"{(error.strerror or str(error)).lower()}: {error.filename}")
        return
    except ChatmlError as error:
        if error.message not in {finding.message for finding in on_machine}:
            yield problem("repository", error.message, error.hint)
        return
    yield from project.check(here, found, damaged)


def _print(finding: Diagnosis) -> None:
    level = output.style(f"{finding.level.value:<9}", fg=COLORS[finding.level])
    output.answer(level + one_line(finding.message))
    if finding.hint:
        output.answer(" " * 9 + output.style(one_line(finding.hint), fg="cyan"))


def _summary(found: list[Diagnosis]) -> str:
    problems, warnings = (sum(one.level is level for one in found) for level in (Level.PROBLEM, Level.WARNING))
    text = f"{count(problems, 'problem')}, {count(warnings, 'warning')}" if problems or warnings else "all is well"
    inside = any(one.check == "repository" for one in found)
    return text + ("" if inside else "; not in a repository, so only the machine was checked")
