"""`chatml rm`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, removal, sessions
from chatml.commands import completing
from chatml.errors import ChatmlError, UsageError


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1, shell_complete=completing.names())
@click.option("--force", "-f", is_flag=True, help="Also where work would be lost; it stays recoverable.")
@click.option("--merged", is_flag=True, help="All sessions at rest whose work has landed.")
@click.option("--all", "all_of_them", is_flag=True, help="All sessions.")
@click.option("--keep-branch", is_flag=True, help="Leave the branch.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be removed.")
@output.quiet_option
@output.color_option
@click.pass_obj
def command(
    at: Path,
    names: tuple[str, ...],
    force: bool,
    merged: bool,
    all_of_them: bool,
    keep_branch: bool,
    dry_run: bool,
    quiet: bool,
) -> int:
    """Remove sessions; what they held stays recoverable.

    Stops the worker, removes worktree, branch and record. Refuses where that would lose work that is not committed
    or has not landed, and says which. 'chatml restore NAME' brings a removed session back.
    """
    if (bool(names) + merged + all_of_them) > 1:
        raise UsageError("name sessions, or use one of --merged and --all")
    project = sessions.open_project(at)
    code = 0
    for name in _chosen(project, names, merged, all_of_them):
        try:
            if dry_run:
                session = sessions.resolve(project, name)
                if not force:
                    removal.check(project, session, keep_branch)
                output.answer(name if quiet else f"would remove {name} ({session.branch}, {session.worktree})")
            else:
                _tell(removal.remove(project, name, force=force, keep_branch=keep_branch), quiet)
        except ChatmlError as error:
            output.error(error.message, error.hint)
            code = max(code, error.exit_code)
    return code


def _chosen(project: sessions.Project, names: tuple[str, ...], merged: bool, all_of_them: bool) -> list[str]:
    if not (merged or all_of_them):
        return list(dict.fromkeys(names)) or [sessions.resolve(project, None).name]
    found, damaged = sessions.load_all(project)
    for one in damaged:
        output.error(one.message, one.hint)
    return [session.name for session in found if all_of_them or removal.is_merged(project, session)]


def _tell(removed: removal.Removed, quiet: bool) -> None:
    if quiet:
        output.answer(removed.name)
        return
    output.note(f"removed {removed.name}; branch {removed.branch} {removed.branch_fate}")
    if removed.not_saved:
        shown = ", ".join(removed.not_saved[:3]) + (", …" if len(removed.not_saved) > 3 else "")
        output.note(f"  not kept for restore, because git ignores it and it is large: {output.printable(shown)}")
