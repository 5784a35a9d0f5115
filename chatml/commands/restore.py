"""`chatml restore`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, render, sessions
from chatml.commands import completing
from chatml.errors import ChatmlError
from chatml.removal import removing, restoring
from chatml.text import printable


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1, shell_complete=completing.removed())
@output.quiet_option
@output.color_option
@click.pass_obj
def command(at: Path, names: tuple[str, ...], quiet: bool) -> int:
    """Bring back a removed session.

    Branch, worktree with its uncommitted files, conversation and record. Without NAME, lists what can come back, the
    newest first; of several removed under one name, the older ones are NAME@1, NAME@2 and so on. They are kept as
    refs/chatml/trash/NAME; to forget one for good: git update-ref -d refs/chatml/trash/NAME
    """
    project = sessions.open_project(at)
    for sentence in removing.finish_interrupted(project):
        output.warning(sentence)
    if not names:
        for name, when in restoring.restorable(project):
            output.answer(name if quiet else f"{name}\tremoved {render.age(when)} ago")
    code = 0
    for name in dict.fromkeys(names):
        try:
            restored = restoring.restore(project, name)
        except (ChatmlError, OSError) as error:
            code = max(code, output.complain(error))
        else:
            _tell(restored, quiet)
    return code


def _tell(restored: restoring.Restored, quiet: bool) -> None:
    session = restored.session
    if quiet:
        output.answer(session.name)
        return
    output.note(f"restored {session.name} in {session.worktree}")
    if restored.remark:
        output.note(f"  {printable(restored.remark)}")
