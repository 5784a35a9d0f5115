"""`chatml rm`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output, sessions
from chatml.commands import completing
from chatml.errors import ChatmlError, UsageError
from chatml.model import Status
from chatml.removal import planning, removing
from chatml.text import printable


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

    Stops the worker, removes worktree, branch and record. Refuses where that would lose work that is not committed,
    or commits that have not landed and are on no other branch, local or remote, and says which. 'chatml restore
    NAME' brings a removed session back; ignored files of more than 1 MiB are not kept.
    """
    if (bool(names) + merged + all_of_them) > 1:
        raise UsageError("name sessions, or use one of --merged and --all")
    project = sessions.open_project(at)
    if not dry_run:
        for sentence in removing.finish_interrupted(project):
            output.warning(sentence)
    chosen, code = _chosen(project, names, merged, all_of_them, force)
    for name in chosen:
        try:
            if dry_run:
                _tell_plan(project, name, force, keep_branch, quiet)
            else:
                _tell(removing.remove(project, name, force=force, keep_branch=keep_branch), quiet)
        except (ChatmlError, OSError) as error:
            code = max(code, output.complain(error))
    _tell_where(project)
    return code


def _chosen(
    project: sessions.Project, names: tuple[str, ...], merged: bool, all_of_them: bool, force: bool
) -> tuple[list[str], int]:
    """The names of the sessions to remove, and the exit code so far."""
    if not (merged or all_of_them):
        return list(dict.fromkeys(names)) or [sessions.resolve(project, None).name], 0
    found, damaged = sessions.load_all(project)
    found.sort(key=lambda one: one.status is not Status.QUEUED)  # one that is at work lets the next of them begin
    if all_of_them and force:
        return [session.name for session in found] + [one.name for one in damaged], 0
    code = max(map(output.complain, damaged), default=0)
    if all_of_them:
        return [session.name for session in found], code
    chosen = []
    for session in found:
        try:
            reasons = planning.merged(project, session)
        except (ChatmlError, OSError) as error:
            code = max(code, output.complain(error, f"kept {session.name}"))
            continue
        if reasons and not force:
            output.note(f"kept {session.name}, which has landed: {printable('; '.join(reasons))}")
        elif reasons is not None:
            chosen.append(session.name)
    return chosen, code


def _tell_plan(project: sessions.Project, name: str, force: bool, keep_branch: bool, quiet: bool) -> None:
    session = planning.plan(project, name, force, keep_branch)
    what = f"{session.branch}, {session.worktree}" if session else "only its record, which is damaged"
    output.answer(name if quiet else f"would remove {name} ({what})")


def _tell(removed: removing.Removed, quiet: bool) -> None:
    if quiet:
        output.answer(removed.name)
        return
    output.note(f"removed {removed.name}; {printable(removed.fate)}")
    if removed.left_out:
        shown = ", ".join(removed.left_out[:3]) + (", …" if len(removed.left_out) > 3 else "")
        output.note(f"  not kept for restore, because git ignores it and it is large: {printable(shown)}")
    for path in removed.kept_aside:
        output.note(f"  a git repository was in its worktree, and is kept for restore: {printable(str(path))}")
    if removed.not_deleted:
        output.warning(f"could not be deleted, though all is saved: {printable(str(removed.not_deleted))}")


def _tell_where(project: sessions.Project) -> None:
    if not project.repo.cwd.exists():
        output.note(f"note: your current directory was removed too: cd {project.repo.home}")
