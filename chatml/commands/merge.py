"""`chatml merge`."""

from __future__ import annotations

from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import Each, tell_runs
from chatml.errors import ChatmlError, UsageError
from chatml.landing.merge import Mode
from chatml.model import Session
from chatml.project import open_project
from chatml.removal import removing
from chatml.render import landings, removals
from chatml.sessions import find, landing, offers
from chatml.sessions.caller import hands_off
from chatml.sessions.landing import Course, Landing
from chatml.sessions.offers import Left, Reason
from chatml.text import printable


@click.command()
@options.names()
@options.everyone("All sessions at rest that have something to bring.")
@click.option(
    "--into",
    metavar="BRANCH",
    shell_complete=options.offer("refs", "refs/heads"),
    help="Branch to land in (default: what the sessions started from).",
)
@click.option("--squash", "mode", flag_value="squash", default="squash", help="One commit for each (default).")
@click.option("--ff", "mode", flag_value="ff", help="Only move the branch forward.")
@click.option("--no-ff", "mode", flag_value="no-ff", help="A merge commit for each.")
@click.option("--rebase", "mode", flag_value="rebase", help="Each of their commits anew, one on top of the other.")
@click.option("--commit", metavar="MESSAGE", help="Commit everything uncommitted first, as you, with your hooks.")
@click.option("--edit", is_flag=True, help="Change each message in your editor first.")
@click.option(
    "--check",
    metavar="CMD",
    help="Land only what passes this command, run on the merge of all; leave out those with which it fails.",
)
@click.option("--resolve", is_flag=True, help="Send each that is left out what went wrong; its agent mends it.")
@click.option("--rm", "remove", is_flag=True, help="Remove what has landed; it stays recoverable.")
@options.dry_run("Only say what would land, in which order, and what conflicts.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path,
    /,
    names: tuple[str, ...],
    everyone: bool,
    into: str | None,
    mode: str,
    commit: str | None,
    edit: bool,
    check: str | None,
    resolve: bool,
    remove: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Land sessions in their base, here and now.

    Of sessions at rest, the work comes onto the branch that they started from: one after the other, and a session that
    comes after others behind those. The branch moves once, to exactly the commits that were made; where it is checked
    out, that checkout is brought along. Nothing of yours is touched: a session that would change a file in which you
    have uncommitted work is left out, as one is that conflicts, and the rest still lands. Nothing is pushed.

    The author of a squashed commit is who wrote the session's commits; it names the session (Chatml-Session:). Your
    hooks commit-msg, pre-merge-commit and post-merge run, and commits are signed where commit.gpgSign says so.

    With --check, all that merges is tried first, as it would land, in a clean checkout of its own. Where the command
    fails, it is found out by further runs which sessions make it fail, alone or only together with others; those are
    left out, and the rest lands. A failure is tried once more, and called flaky if it passes then. --dry-run runs the
    check too. 'chatml logs --check' shows what each run has printed.

    Exit code 1 where something was left that you named, or that conflicts or fails. Needs git 2.38 or later.
    """
    _check(commit, check, edit, mode, dry_run and (resolve or remove))
    each = Each(open_project(at))
    for sentence in removing.finish_interrupted(each.project):
        output.warning(printable(sentence))
    sessions = _chosen(each, names, everyone, into)
    if not sessions:
        if as_json:
            output.json_answer({"into": into, "order": [], "landed": [], "left": [], "flaky": []})
        output.narrator(quiet)("nothing to land")
        return each.code
    course = Course(Mode(mode), into, commit, dry_run, _in_editor if edit else None, check)
    with output.progress() as show:
        done = landing.land(each.project, sessions, course, tell_runs(show, quiet))
    if not quiet:
        for unsure in done.flaky:
            output.note(landings.flaky(unsure, done.into, check or ""))
    _tell(done, dry_run, as_json, quiet, everyone)
    if as_json:
        output.json_answer(landings.data(done, dry_run))
    say = output.narrator(quiet)
    if resolve:
        landing.resolve(each.project, done, lambda name: say(f"told {name} what went wrong"))
    if remove:
        _remove(each, done, say_all=not quiet)
    return max([each.code, *(_code(one, everyone) for one in done.left)])


def _check(commit: str | None, check: str | None, edit: bool, mode: str, acting: bool) -> None:
    if commit is not None and not commit.strip():
        raise UsageError("--commit is empty")
    if check is not None and not check.strip():
        raise UsageError("--check is empty")
    if edit and mode not in ("squash", "no-ff"):
        raise UsageError(f"--edit goes without --{mode}", "its commits keep their messages")
    if acting:
        raise UsageError("--dry-run goes with neither --resolve nor --rm")


def _chosen(each: Each, names: tuple[str, ...], everyone: bool, into: str | None) -> list[Session]:
    """The sessions to land. ChatmlError for one that isn't there, or that is not the caller's to land."""
    if everyone and names:
        raise UsageError("--all takes no names")
    if everyone:
        return offers.candidates(each.project, each.everyone(), into)
    sessions = [find.resolve(each.project, name) for name in each.named(names)]
    for session in sessions:
        hands_off(each.project, session.name, "merge")
    return sessions


def _tell(done: Landing, dry_run: bool, as_json: bool, quiet: bool, everyone: bool) -> None:
    for one in done.landed if not as_json else ():
        line = landings.would_land(one, done.into) if dry_run else landings.landed(one, done.into)
        output.tell(one.session.name if quiet else line)
    for left in done.left:
        if everyone and left.reason is Reason.EMPTY:
            continue
        first, *said = landings.left(left)
        output.note(first)
        for line in said:
            output.note(line)
        if left.hint:
            output.note(f"{output.style('hint:', err=True, fg='cyan')} {printable(left.hint)}")
    if not done.landed and everyone and not quiet and all(one.reason is Reason.EMPTY for one in done.left):
        output.note("nothing to land")
    if done.advanced is not None and done.advanced.remark and not quiet:
        output.note(printable(done.advanced.remark))


def _code(left: Left, everyone: bool) -> int:
    """The exit code that a session makes which was left: what is only not due yet is no failure among all."""
    return 0 if left.reason is Reason.EMPTY or (everyone and left.reason is Reason.RUNNING) else 1


def _remove(each: Each, done: Landing, say_all: bool) -> None:
    for one in done.landed:
        try:
            removed = removing.remove(each.project, one.session.name)
        except (ChatmlError, OSError) as error:
            each.code = max(each.code, output.complain(error, f"kept {one.session.name}"))
            continue
        for line in removals.removed(removed) if say_all else ():
            output.note(line)


def _in_editor(name: str, text: str) -> str:
    """What the person makes of a message; as it is where they change nothing. ChatmlError without an editor."""
    comments = (
        f"\n# The message for '{name}'. Lines that begin with # are left out; without any other,\n# nothing lands.\n"
    )
    after = click.edit(text + comments, extension=".gitcommit")
    return text if after is None else after
