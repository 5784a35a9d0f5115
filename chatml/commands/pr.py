"""`chatml pr`."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

import click

from chatml import output
from chatml.agents import pull_briefing
from chatml.commands import options
from chatml.errors import UsageError
from chatml.landing import opened, pull, pull_fix, pull_merge
from chatml.landing.order import Order
from chatml.model import Feedback
from chatml.project import Project, open_project
from chatml.sessions import control, find, watching
from chatml.sessions.caller import hands_off
from chatml.text import one_line


@click.command()
@options.name
@click.option("--title", help="Title (default: the only commit's subject, else made from the prompt).")
@click.option("--body", metavar="TEXT", help="Description; - reads standard input (default: made from the session).")
@click.option("--draft", is_flag=True, help="Open it as a draft.")
@click.option(
    "--base",
    metavar="BRANCH",
    shell_complete=options.offer("refs", "refs/heads"),
    help="Branch to merge into (default: what the session started from).",
)
@click.option("--remote", metavar="NAME", help="Remote to push to (default: as git push would choose).")
@click.option("--commit", metavar="MESSAGE", help="Commit everything uncommitted first, as you, with your hooks.")
@click.option(
    "--force-with-lease",
    "replace_pushed",
    is_flag=True,
    help="Replace what chatml pushed before, unless somebody else has pushed since.",
)
@click.option("--force", is_flag=True, help="Publish although something can't come along; merge all the same.")
@click.option("--merge", "merge", is_flag=True, help="Merge it on its forge; nothing here is removed.")
@click.option("--squash", "method", flag_value="squash", help="With --merge: as one commit (default).")
@click.option("--no-ff", "method", flag_value="merge", help="With --merge: with a merge commit.")
@click.option("--rebase", "method", flag_value="rebase", help="With --merge: its commits, one by one.")
@click.option("--fix", is_flag=True, help="Send its agent what fails, what reviewers say, and conflicts.")
@click.option("--watch", is_flag=True, help="Do that again and again, and push, until it is merged or may be.")
@click.option("--web", is_flag=True, help="Show it in the browser.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path,
    /,
    name: str | None,
    merge: bool,
    method: str | None,
    fix: bool,
    watch: bool,
    web: bool,
    as_json: bool,
    quiet: bool,
    **asked: object,
) -> int:
    """Push the branch and open the pull request.

    Prints its address. One that is open already is found: new commits are pushed to it, and its title, body and
    base change only where you give them. While the agent is at work, what it has committed so far is pushed.

    What can't come along, such as the files of a repository inside the worktree, is named, and nothing is published
    without --force.

    The description is the agent's last answer, then the list of commits where there are several, then your
    repository's pull request template. Needs gh, logged in, and on GitLab, where it is a merge request, glab. The
    repository that it is made in is the one that they take ('gh repo set-default' or 'glab repo set-default' chooses
    another).

    --merge merges it there as it is: with checks that pass, without a conflict, and with all that the session has.
    Branch and worktree stay, until 'chatml rm'.

    --fix makes one message of what is in its way now, and sends that to the agent, marked as written by others:
    failing checks of the newest commit with the last that they printed, comments that are not resolved with their
    line, conflicts with the base. Then 'chatml pr NAME' pushes what the agent has committed.

    --watch does both by itself, in the background: until the pull request is merged, closed, or green and approved.
    'chatml ls' shows what it waits for, 'chatml stop' ends it, and the session's limits hold.
    """
    order = _order(asked)
    if method is not None and not merge:
        raise UsageError("--squash, --no-ff and --rebase go with --merge")
    chosen = [option for option, given in (("--merge", merge), ("--fix", fix), ("--watch", watch)) if given]
    if len(chosen) > 1:
        raise UsageError(f"choose one of {' and '.join(chosen)}")
    if chosen:
        _alone(chosen[0], replace(order, force=order.force and not merge), web)
    project = open_project(at)
    session = find.resolve(project, name)
    hands_off(project, session.name, "pr")
    store = control.locate(project, session.name)
    session = find.load(project, session.name)
    work = pull.Work(project.repo, store, session, order, output.narrator(quiet))
    if merge:
        return _merged(work, method, as_json)
    if fix:
        return _sent(project, work, as_json)
    if watch:
        return _watched(project, work, as_json)
    hub, pr, created = pull.land(work)
    if as_json:
        output.json_answer({**asdict(pr), "created": created})
    else:
        output.answer(pr.url)
    if web:
        hub.browse(pr.number)
    return 0


def _merged(work: pull.Work, method: str | None, as_json: bool) -> int:
    pr, commit = pull_merge.merge(work, method)
    if as_json:
        output.json_answer({**asdict(pr), "created": False, "commit": commit})
    else:
        output.answer(pr.url)
    return 0


def _sent(project: Project, work: pull.Work, as_json: bool) -> int:
    found = pull_fix.gather(work)
    label, what = found.pull.label, pull_fix.told(found)
    message = None
    if found.any:
        message = control.send(project, work.session.name, pull_briefing.feedback(found), about=pull_fix.keys(found))
    if message is None:
        pending = "; checks are still running" if found.pull.checks == "pending" else ""
        work.tell(f"nothing to fix on {label}{pending}")
    else:
        work.tell(f"sent to {work.session.name}, about {label}: {what}")
    for one in found.left_out:
        work.tell(f"left out: {one_line(one)}")
    if as_json:
        output.json_answer({**asdict(found.pull), "created": False, "fix": _fix(found, message)})
    else:
        output.answer(found.pull.url)
    return 0


def _watched(project: Project, work: pull.Work, as_json: bool) -> int:
    name = work.session.name
    began = watching.watch(project, name)
    work.tell(f"{'looks' if began else 'already looks'} after it; 'chatml ls' shows what it waits for")
    pr = opened.reference(work)
    if as_json:
        output.json_answer({**(asdict(work.session.pr) if work.session.pr else {}), "created": False, "watching": True})
    else:
        output.answer(pr.url)
    return 0


def _fix(found: Feedback, message: str | None) -> dict[str, object]:
    """What was sent, as the contract shows it."""
    return {
        "message": message,
        "checks": [check.name for check in found.checks],
        "comments": len(found.threads) + len(found.reviews),
        "conflicts": found.conflict is not None,
        "left_out": list(found.left_out),
    }


def _alone(option: str, order: Order, web: bool) -> None:
    """UsageError where something is asked for that is for opening a pull request."""
    if order != Order() or web:
        raise UsageError(f"{option} goes without what is for opening one", "call it first without that")


def _order(asked: dict[str, object]) -> Order:
    """The options as an order. UsageError for a text that is empty."""
    for option in ("title", "base", "remote", "commit"):
        text = asked[option]
        if isinstance(text, str) and not text.strip():
            raise UsageError(f"--{option} is empty")
    if asked["body"] == "-":
        asked["body"] = sys.stdin.buffer.read().decode("utf-8", "replace")
    if isinstance(asked["title"], str):
        asked["title"] = one_line(asked["title"])
    return Order(**asked)  # type: ignore[arg-type]
