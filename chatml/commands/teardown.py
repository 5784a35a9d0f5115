"""`chatml teardown`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import Each
from chatml.errors import ChatmlError
from chatml.model.outcome import Outcome
from chatml.project import open_project
from chatml.sessions import tearing
from chatml.text import printable


@click.command()
@options.names()
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, names: tuple[str, ...], as_json: bool, quiet: bool) -> int:
    """Take down what a session's worktree has running.

    Ends its services, runs the commands under 'teardown' as they were approved for it, and removes the containers and
    networks of its compose project. 'chatml rm' does the same first. The session and its files stay; 'chatml setup
    --all' sets it up anew.
    """
    each = Each(open_project(at))
    say = output.narrator(as_json or quiet)

    def tear_down(name: str) -> Outcome:
        left = tearing.tear_down(each.project, name, lambda line: say(printable(line)))
        if left:
            raise ChatmlError(f"{name}: {'; '.join(left)}", "see to that, and call it again")
        say(f"tore down {name}")
        return Outcome(name, "torn down")

    each.do(each.named(names), tear_down)
    return each.end(as_json)
