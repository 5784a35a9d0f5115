"""`chatml rm`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import Each
from chatml.errors import ChatmlError, UsageError
from chatml.model import Session, Status
from chatml.model.outcome import Outcome
from chatml.project import Project, open_project
from chatml.removal import planning, removing
from chatml.removal.fate import Removed
from chatml.render import removals, rows
from chatml.sessions import find
from chatml.text import printable
from chatml.workspace.sizes import sizes, total


@click.command()
@options.names()
@click.option("--force", "-f", is_flag=True, help="Also where work would be lost; it stays recoverable.")
@click.option("--merged", is_flag=True, help="All sessions at rest whose work has landed.")
@options.everyone("All sessions.")
@click.option("--keep-branch", is_flag=True, help="Leave the branch.")
@options.dry_run("Only say what would be removed.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path,
    names: tuple[str, ...],
    force: bool,
    merged: bool,
    everyone: bool,
    keep_branch: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Remove sessions; what they held stays recoverable.

    Stops the worker, takes down what runs there (as 'chatml teardown' does), and removes worktree, branch and record.
    Refuses where that would lose work that is not committed, or commits that have not landed and are on no other
    branch, local or remote, and says which; and where the teardown fails. 'chatml restore NAME' brings a removed
    session back; ignored files of more than 1 MiB are not kept.
    """
    if (bool(names) + merged + everyone) > 1:
        raise UsageError("name sessions, or use one of --merged and --all")
    each = Each(open_project(at))
    if not dry_run:
        for sentence in removing.finish_interrupted(each.project):
            output.warning(sentence)

    counted: set[tuple[int, int]] = set()
    freeing: list[int | None] = []

    def say(line: str) -> None:
        if not (as_json or quiet):
            output.note(printable(line))

    def remove(name: str) -> Outcome:
        if dry_run:
            planned = planning.plan(each.project, name, force, keep_branch)
            if quiet and not as_json:
                output.answer(name)
            elif not as_json:
                if planned is not None:
                    freeing.append(sizes({name: Path(planned.worktree)}, counted)[name])
                output.answer(removals.planned(name, planned))
            return removals.of_plan(name, planned)
        removed = removing.remove(each.project, name, force=force, keep_branch=keep_branch, say=say)
        _tell(removed, as_json, quiet)
        return removals.of_removed(removed)

    each.do(_chosen(each, names, merged, everyone, force), remove)
    if freeing:
        output.note(f"{rows.size(total(freeing))} would be freed")
    _tell_where(each.project)
    return each.end(as_json)


def _chosen(each: Each, names: tuple[str, ...], merged: bool, everyone: bool, force: bool) -> list[str]:
    """The names of the sessions to remove."""
    if merged:
        return _landed(each, force)
    if not everyone:
        return each.named(names)
    if not force:
        return [session.name for session in _in_order(each.everyone())]
    found, damaged = find.load_all(each.project)  # with --force a damaged record is removed too
    return [session.name for session in _in_order(found)] + [error.name for error in damaged]


def _in_order(found: list[Session]) -> list[Session]:
    """Those that wait for a place first: one that is at work lets the next of them begin."""
    return sorted(found, key=lambda one: one.status is not Status.QUEUED)


def _landed(each: Each, force: bool) -> list[str]:
    """Those whose work has landed, and that hold nothing else; others of them are told."""
    chosen = []
    for session in _in_order(each.everyone()):
        try:
            reasons = planning.merged(each.project, session)
        except (ChatmlError, OSError) as error:
            each.failed(session.name, error, f"kept {session.name}")
            continue
        if reasons and not force:
            output.note(f"kept {session.name}, which has landed: {printable('; '.join(reasons))}")
            each.outcomes.append(Outcome(session.name, "kept", {"why": list(reasons)}))
        elif reasons is not None:
            chosen.append(session.name)
    return chosen


def _tell(removed: Removed, as_json: bool, quiet: bool) -> None:
    for complaint in removed.complaints:
        output.warning(f"{removed.name}: {printable(complaint)}")
    if quiet:
        if not as_json:
            output.answer(removed.name)
        return
    for line in removals.removed(removed):
        output.note(line)
    if removed.not_deleted:
        output.warning(f"could not be deleted, though all is saved: {printable(str(removed.not_deleted))}")


def _tell_where(project: Project) -> None:
    if not project.repo.cwd.exists():
        output.note(f"note: your current directory was removed too: cd {project.repo.home}")
