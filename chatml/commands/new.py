"""`chatml new`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from chatml import output
from chatml.commands import options, rest
from chatml.config import flag, role_of, scope_of, terms_of
from chatml.config.keys import KEYS
from chatml.errors import ChatmlError, UsageError
from chatml.model import Session, Status
from chatml.project import Project, open_project
from chatml.removal import removing
from chatml.render import rows
from chatml.sessions.create import Task, create
from chatml.sessions.fetching import fetched, lag
from chatml.sessions.running import with_processes


def _settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each setting that says how it is asked for."""
    for name, key in reversed([*KEYS.items()]):
        if key.help is not None:
            command = click.option(
                f"--{name.replace('_', '-')}",
                type=click.Choice(key.words) if key.words else None,
                metavar=None if key.words else key.metavar or name.upper(),
                shell_complete=options.offer("agents") if name == "agent" else None,
                help=key.help,
            )(command)
    return command


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
@click.option("--with-changes", is_flag=True, help="Take along what is uncommitted here.")
@click.option("--fetch", is_flag=True, help="Fetch the base first, and start from what was fetched.")
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
    "--after",
    multiple=True,
    metavar="NAME",
    shell_complete=options.offer("names"),
    help="Start once that session is done, from what it has committed (repeatable).",
)
@_settings
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
    base: str | None,
    branch: str | None,
    with_changes: bool,
    fetch: bool,
    role: str | None,
    scope: tuple[str, ...],
    after: tuple[str, ...],
    attach: bool,
    wait: bool,
    as_json: bool,
    quiet: bool,
    **settings: str | None,
) -> int:
    """Start a session: a worktree, a branch and an agent.

    Returns at once; the agent works on in the background. PROMPT says what to do; - reads it from standard input,
    and without one $EDITOR opens. The name is made from it: "Add rate limiting!" becomes add-rate-limiting.
    """
    if attach and (as_json or quiet or wait):
        raise UsageError("--attach goes with none of --json, --quiet and --wait")
    project = open_project(at)
    flags = {**settings, "scope": scope_of(scope, project.repo.top or project.repo.home) if scope else None}
    flags["after"] = tuple(dict.fromkeys(after)) or None
    plays = role_of(project.config, role) if role is not None else None
    terms = terms_of(project.config, {**flags, "prompt": _prompt(prompt)}, plays)
    task = Task(terms, name, flag("base", base) if base is not None else project.config.base, branch=branch)
    for sentence in [*project.config.ignored, *removing.finish_interrupted(project)]:
        output.warning(sentence)
    if with_changes:
        if base is not None or branch is not None or after or fetch:
            raise UsageError(
                "--with-changes goes with none of --base, --branch, --after and --fetch",
                "what is uncommitted belongs to what is checked out here",
            )
        task = _with_changes(project, task)
    elif fetch:
        task = _fetched(project, task, output.narrator(as_json or quiet))
    session = create(project, task)
    if not (as_json or quiet):
        _tell(project, session, task, answer_follows=attach or wait)
    if attach:
        from chatml.commands import conversation  # here alone: it loads what a transcript and a prompt need

        conversation.attach(project, session.name)
        return 0
    code = 0
    if wait:
        waited = rest.wait_for(project, [session.name])
        if not waited.rested:
            return waited.code  # removed meanwhile, which was told
        session, code = waited.rested[0], waited.code
    if as_json:
        (session,) = with_processes([session])
        output.json_answer(session.public())
    elif quiet:
        output.answer(session.name)
    elif wait:
        rest.tell(session)
    return code


def _with_changes(project: Project, task: Task) -> Task:
    """The task, from what is checked out here and with what is uncommitted; what can't come along is told."""
    from chatml.changes import carrying  # here alone: comparing is heavy, and this is rare

    if project.repo.top is None:
        raise ChatmlError("there are no changes to take along: this repository is bare", "leave --with-changes out")
    carried, left_out = carrying.pick_up(project.repo.top)
    for sentence in left_out:
        output.warning(f"left out: {sentence}")
    return replace(task, base=None, carried=carried)


def _fetched(project: Project, task: Task, say: Callable[[str], None]) -> Task:
    """The task, once its base was fetched."""
    if task.branch is not None:
        raise UsageError("--fetch goes without --branch", "a branch that exists is worked on as it is")
    found = fetched(project.repo, task.base)
    if found.note is not None:
        say(found.note)
    return replace(task, base=found.base, start=found.commit)


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


def _tell(project: Project, session: Session, task: Task, answer_follows: bool) -> None:
    say = output.note if answer_follows else output.answer
    say(f"{output.style(session.name, err=answer_follows, bold=True)} on {session.branch} from {_base(session)}")
    if session.status is Status.QUEUED:
        output.note(rows.queued(session))
    elif not answer_follows:
        output.note(output.style(f"see it work: chatml attach {session.name}", err=True, dim=True))
    with suppress(ChatmlError):  # the session is at work, whatever git says of this checkout
        top = project.repo.top
        if top is not None and task.base is None and task.carried is None and project.repo.dirty(top):
            output.note("note: the uncommitted changes here don't come along; --with-changes takes them")
    with suppress(ChatmlError, OSError):
        if task.branch is None and task.start is None and (lags := lag(project.repo, session.base.ref)):
            output.note(f"note: {lags}")


def _base(session: Session) -> str:
    short = session.base.commit[:9]
    return short if session.base.ref == session.base.commit else f"{session.base.ref} ({short})"
