"""`chatml restore`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import Each
from chatml.model.outcome import Outcome
from chatml.project import Project, open_project
from chatml.removal import removing, restoring
from chatml.render import removals, rows


@click.command()
@options.names(of="removed")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, names: tuple[str, ...], as_json: bool, quiet: bool) -> int:
    """Bring back a removed session.

    Branch, worktree with its uncommitted files, conversation and record. Without NAME, lists what can come back, the
    newest first; of several removed under one name, the older ones are NAME@1, NAME@2 and so on. They are kept as
    refs/chatml/trash/NAME; to forget one for good: git update-ref -d refs/chatml/trash/NAME
    """
    project = open_project(at)
    for sentence in removing.finish_interrupted(project):
        output.warning(sentence)
    if not names:
        _list(project, as_json, quiet)
        return 0
    each = Each(project)

    def restore(name: str) -> Outcome:
        restored = restoring.restore(project, name)
        _tell(restored, as_json, quiet)
        return removals.of_restored(restored)

    each.do(each.named(names), restore)
    return each.end(as_json)


def _list(project: Project, as_json: bool, quiet: bool) -> None:
    found = restoring.restorable(project)
    if as_json:
        output.json_answer([{"name": name, "removed_at": when} for name, when in found])
    for name, when in found if not as_json else ():
        output.answer(name if quiet else f"{name}\tremoved {rows.age(when)} ago")


def _tell(restored: restoring.Restored, as_json: bool, quiet: bool) -> None:
    if not quiet:
        for line in removals.restored(restored):
            output.note(line)
    elif not as_json:
        output.answer(restored.session.name)
