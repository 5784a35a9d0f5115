"""`chatml summary`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import Each
from chatml.errors import UsageError
from chatml.project import open_project
from chatml.render import rows, summary
from chatml.sessions.summary import summarize
from chatml.text import encodable


@click.command()
@options.names()
@click.option("--markdown", is_flag=True, help="Print Markdown, for the summary of a CI job.")
@options.as_json
@options.color
@click.pass_obj
def command(at: Path, names: tuple[str, ...], markdown: bool, as_json: bool) -> int:
    """Sum up what came of sessions, and what to do next.

    Of each: the first paragraph of its last answer, its changes and commits, the tests that its agent ran, with their
    outcome, its cost, and the time from its start until it came to rest. Warns of files that several of them have
    changed. At the end stands the next command for each, to be copied. Without NAME, all sessions.
    """
    if markdown and as_json:
        raise UsageError("choose one of --json and --markdown")
    each = Each(open_project(at))
    found = each.sessions(names)
    if names and not found and not as_json:
        return each.code  # none of those is there, which was told
    summaries = summarize(each.project, rows.by_need(found))
    if as_json:
        output.json_answer([one.to_json() for one in summaries])
    elif markdown:
        output.answer(encodable("\n".join(summary.markdown(summaries))))
    elif summaries:
        width = output.width() if sys.stdout.isatty() else None
        output.answer(output.wanted("\n".join(summary.page(summaries, width))))
    elif sys.stdout.isatty():
        output.note('no sessions; start one: chatml new "what to do"')
    return each.code
