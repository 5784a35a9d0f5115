"""`chatml logs`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import conversation, options
from chatml.errors import UsageError
from chatml.project import Project, open_project
from chatml.sessions import find


@click.command()
@options.name
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until the turn ends.")
@click.option(
    "--check", "checks", is_flag=True, help="What the last checks of merged sessions printed, or all of NAME's."
)
@options.json_lines
@options.color
@click.pass_obj
def command(at: Path, name: str | None, follow: bool, checks: bool, as_json: bool) -> None:
    """Print a session's transcript.

    The whole of it: messages, answers, every tool call with its full input and output.

    With --check, what was printed by the command that 'chatml merge --check' has run on merged sessions: each run of
    the last time, or with NAME, each kept one in which that session was, also after it was removed.
    """
    project = open_project(at)
    if checks:
        if follow:
            raise UsageError(
                "--follow goes without --check", "on a terminal, 'chatml merge --check' shows how far it is"
            )
        _tell_checks(project, name, as_json)
        return
    session = find.resolve(project, name)
    conversation.transcript(project, session, follow=follow, as_json=as_json, fold=False)


def _tell_checks(project: Project, name: str | None, as_json: bool) -> None:
    """Print the runs that are kept, the oldest first. ChatmlError for a session that there is and was not."""
    from chatml.landing import triallog  # here alone, as below: the transcript needs none of it
    from chatml.render import trials

    kept = list(triallog.kept(project.store))
    if name is None:
        runs = [run for run in kept if run.trial == kept[0].trial]
    else:
        runs = [run for run in kept if name in run.names]
    if not runs:
        of = f" of {find.resolve(project, name).name}" if name else ""
        output.note(f"no check{of} is kept; 'chatml merge --check CMD' runs one")
    for run in reversed(runs):
        if as_json:
            output.json_line(trials.data(run))
            continue
        for line in trials.transcript(run):
            output.answer(output.wanted(line))
