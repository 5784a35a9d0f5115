"""`chatml trust`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.config import COMMITTED
from chatml.errors import ChatmlError
from chatml.project import open_project
from chatml.sessions import trusting
from chatml.sessions.caller import persons_only


@click.command()
@click.option("--yes", "-y", is_flag=True, help="Approve without asking.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, yes: bool, as_json: bool, quiet: bool) -> int:
    """Show the commands of the project's .chatml.yaml, and approve them.

    A committed file comes from other people: what it would run (setup, run, teardown, checks, notify, agents) runs
    only once you have approved its exact text in this repository. Where something has changed since, the difference
    is shown. On a terminal it asks; elsewhere it only shows, and --yes approves. In CI, the digest that it prints
    goes into CHATML_TRUST.
    """
    project = open_project(at)
    found = project.config.committed
    if found is None:
        if as_json:
            output.json_answer({"file": None, "sha256": None, "approved": None, "commands": None})
        else:
            output.note(f"no commands to approve: {COMMITTED} has none, or isn't there")
        return 0
    for_good = found.for_good
    if not (as_json or quiet):
        from chatml.render import trust  # here alone: it loads YAML

        for line in trust.page(found):
            output.answer(output.wanted(line))
    if not for_good and (yes or (not as_json and _asked(found.file))):
        trusting.approve(project, found)
        for_good = True
        if not (as_json or quiet):
            output.note("approved in this repository, until it changes")
    elif for_good and not (as_json or quiet):
        output.note("approved already")
    if as_json:
        answer = {"file": found.file, "sha256": found.digest, "approved": for_good, "commands": dict(found.data)}
        output.json_answer(answer)
        return 0
    if quiet:
        output.answer(found.digest)
    if not for_good:
        persons_only(project, trusting.REFUSED)
        raise ChatmlError("not approved", "approve it with: chatml trust --yes")
    return 0


def _asked(file: str) -> bool:
    """Whether a person at a terminal says yes."""
    if not sys.stdin.isatty():
        return False
    return click.confirm(f"may chatml run these commands of {file} on this machine?", default=False, err=True)
