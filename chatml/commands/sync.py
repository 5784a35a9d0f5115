"""`chatml sync`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import Each
from chatml.model.outcome import FAILED, Outcome
from chatml.project import open_project
from chatml.removal import removing
from chatml.sessions import resolving, syncing
from chatml.sessions.basing import SyncConflictError, Target
from chatml.sessions.resolving import HandedOver
from chatml.sessions.syncing import Synced, Way
from chatml.text import beginning, counted, listed, one_line, printable
from chatml.workspace import steps


@click.command()
@options.names()
@options.everyone("All sessions at rest.")
@click.option("--rebase", "way", flag_value="rebase", default="rebase", help="Make its commits anew (default).")
@click.option("--merge", "way", flag_value="merge", help="Merge the base into it.")
@click.option("--resolve", is_flag=True, help="Give a conflict to its agent, as a merge in its worktree.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path, names: tuple[str, ...], everyone: bool, way: str, resolve: bool, as_json: bool, quiet: bool
) -> int:
    """Bring sessions up to their base as it is now.

    Of a session at rest, each commit is made anew on top of its base, with its author and its message; with --merge,
    the base is merged into it. What is not committed comes along, staged or not. All of it moves in one step: where
    anything conflicts, branch and worktree stay as they are, and the files are named. Nothing is fetched.

    With --resolve, the agent gets what conflicts: the base is merged into its worktree, with conflict markers, and a
    message names the files. 'chatml show' tells when that is done.

    Exit code 1 where something conflicts. Needs git 2.38 or later.
    """
    each = Each(open_project(at))
    for sentence in removing.finish_interrupted(each.project):
        output.warning(printable(sentence))

    def say(line: str, name: str) -> None:
        if not as_json:
            output.tell(name if quiet else line)

    def sync(name: str) -> Outcome:
        done: Synced | HandedOver | None = resolving.again(each.project, name) if resolve else None
        try:
            done = done or syncing.sync(each.project, name, Way(way))
        except SyncConflictError as error:
            if not resolve or error.uncommitted:
                each.code = max(each.code, output.complain(error))
                return Outcome(name, FAILED, _details(error.target, files=error.files), error)
            done = resolving.resolve(each.project, name, Way(way))
        if isinstance(done, HandedOver):
            each.code = max(each.code, 1)
            say(
                f"gave {name} the conflict with {one_line(done.target.name)}: {listed([*map(one_line, done.files)])}",
                name,
            )
            return Outcome(name, "resolving", _details(done.target, files=done.files))
        if done.moved or not quiet:
            say(_line(done), name)
        if done.moved and (due := steps.due(done.session)) and not (as_json or quiet):
            output.note(f"its setup is due again ({beginning(due[0].command)}): chatml setup {name}")
        return Outcome(name, "synced" if done.moved else "up to date", _details(done.target, done.commits))

    each.do(each.chosen(names, everyone, lambda found: syncing.candidates(each.project, found, Way(way))), sync)
    return each.end(as_json)


def _line(done: Synced) -> str:
    name, base = done.session.name, f"{one_line(done.target.name)} {done.target.tip[:7]}"
    if not done.moved:
        return f"{name} is up to date"
    along = " with its uncommitted work" if done.uncommitted else ""
    if done.way is Way.MERGE:
        return f"synced {name}: merged {base}{along}"
    return f"synced {name}: {counted(done.commits, 'commit')} onto {base}{along}"


def _details(target: Target, commits: int = 0, files: tuple[str, ...] = ()) -> dict[str, object]:
    return {"base": target.name, "onto": target.tip, "commits": commits, "files": list(files)}
