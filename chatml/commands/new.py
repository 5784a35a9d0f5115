"""`chatml new`."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from chatml import output
from chatml.commands import conversation, options, rest
from chatml.config import PERMISSION_MODES, SANDBOX_MODES, Role, role_of, scope_of, with_flags, with_role
from chatml.errors import ChatmlError, UsageError
from chatml.model import Session, Status
from chatml.project import Project, open_project
from chatml.removal import removing
from chatml.sessions.create import Order, create


@click.command()
@click.argument("prompt", required=False)
@click.option("--name", metavar="NAME", help="Name of the session (default: made from the prompt).")
@click.option(
    "--base",
    metavar="REF",
    shell_complete=options.offer("refs", "refs/heads", "refs/remotes", "refs/tags"),
    help="Start from this commit (default: the one checked out here).",
)
@click.option(
    "--branch",
    metavar="EXISTING",
    shell_complete=options.offer("refs", "refs/heads"),
    help="Work on this existing branch instead of a new one.",
)
@click.option("--agent", metavar="AGENT", shell_complete=options.offer("agents"), help="Which agent does the task.")
@click.option("--model", metavar="MODEL", help="Model that the agent uses.")
@click.option("--permission-mode", type=click.Choice(PERMISSION_MODES), help="What the agent may do without asking.")
@click.option(
    "--sandbox",
    type=click.Choice(SANDBOX_MODES),
    help="Shell commands in a sandbox: where possible (default), not without one, or never.",
)
@click.option(
    "--role",
    metavar="ROLE",
    shell_complete=options.offer("roles"),
    help="reviewer, tester, researcher, or one of your own.",
)
@click.option(
    "--scope", multiple=True, metavar="PATTERN", help="Change only such files, as in a .gitignore (repeatable)."
)
@click.option(
    "--max-turns", type=click.IntRange(min=1), metavar="N", help="Stop after N model turns of the whole session."
)
@click.option(
    "--max-budget-usd",
    type=click.FloatRange(min=0, min_open=True),
    metavar="USD",
    help="Stop once the session has cost this much.",
)
@click.option(
    "--on-request",
    type=click.Choice(["wait", "deny", "fail"]),
    default="wait",
    help="When the agent needs a person: wait for one (default), deny it, or fail.",
)
@click.option("--attach", is_flag=True, help="Look in at once.")
@click.option("--wait", is_flag=True, help="Wait until the session comes to rest.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path,
    /,
    prompt: str | None,
    name: str | None,
    branch: str | None,
    role: str | None,
    scope: tuple[str, ...],
    on_request: str,
    attach: bool,
    wait: bool,
    as_json: bool,
    quiet: bool,
    **settings: str | int | float | None,
) -> int:
    """Start a session: a worktree, a branch and an agent.

    Returns at once; the agent works on in the background. PROMPT says what to do; - reads it from standard input,
    and without one $EDITOR opens. The name is made from it: "Add rate limiting!" becomes add-rate-limiting.
    """
    if attach and (as_json or quiet or wait):
        raise UsageError("--attach goes with none of --json, --quiet and --wait")
    project = open_project(at)
    plays = role_of(project.config, role) if role is not None else Role()
    if scope:
        plays = replace(plays, scope=scope_of(scope, project.repo.top or project.repo.home))
    config = with_flags(with_role(project.config, plays), settings)
    order = Order(_prompt(prompt), config, name, branch, on_request, plays)
    for sentence in [*project.config.ignored, *removing.finish_interrupted(project)]:
        output.warning(sentence)
    session = create(project, order)
    if not (as_json or quiet):
        _tell(project, session, order, answer_follows=attach or wait)
    if attach:
        conversation.attach(project, session.name)
        return 0
    code = 0
    if wait:
        waited = rest.wait_for(project, [session.name])
        if not waited.rested:
            return waited.code  # removed meanwhile, which was told
        session, code = waited.rested[0], waited.code
    if as_json:
        output.json_answer(session.public())
    elif quiet:
        output.answer(session.name)
    elif wait:
        rest.tell(session)
    return code


def _prompt(given: str | None) -> str:
    """What to do, from the argument, standard input or the editor."""
    if given == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError("no prompt", "say what the agent shall do: chatml new \"add rate limiting\", or '-' for stdin")
    text = click.edit("\n\n# What shall the agent do? Lines that begin with '#' are left out.\n")
    if text is None:
        raise UsageError("no prompt: the editor was left without saving")
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def _tell(project: Project, session: Session, order: Order, answer_follows: bool) -> None:
    say = output.note if answer_follows else output.answer
    say(f"{output.style(session.name, err=answer_follows, bold=True)} on {session.branch} from {_base(session)}")
    if session.status is Status.QUEUED:
        output.note(f"queued as number {session.queue_place}: all places are taken")
    elif not answer_follows:
        output.note(output.style(f"see it work: chatml attach {session.name}", err=True, dim=True))
    with suppress(ChatmlError):  # the session is at work, whatever git says of this checkout
        if project.repo.top is not None and order.config.base is None and project.repo.dirty(project.repo.top):
            output.note("note: the uncommitted changes here don't come along; commit them first if they should")


def _base(session: Session) -> str:
    short = session.base.commit[:9]
    return short if session.base.ref == session.base.commit else f"{session.base.ref} ({short})"
