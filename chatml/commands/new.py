"""`chatml new`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from chatml import output
from chatml.commands import options, rest
from chatml.config import check_retries, flag, role_of, scope_of, terms_of
from chatml.config.keys import KEYS
from chatml.errors import ChatmlError, UsageError
from chatml.model import Session, Status
from chatml.project import Project, open_project
from chatml.removal import removing
from chatml.removal.homecoming import with_landed
from chatml.render import rows
from chatml.sessions import trusting
from chatml.sessions.create import Task, create
from chatml.sessions.fetching import lag
from chatml.sessions.outset import Outset, check_together
from chatml.sessions.running import with_programs
from chatml.text import printable


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
@click.option("-f", "--file", metavar="FILE", type=click.Path(), help="Start a session for each task of a list.")
@click.option("--each", metavar="TABLE", type=click.Path(), help="Start one for each row; PROMPT has its {field}s.")
@click.option("-n", "number", metavar="N", type=click.IntRange(1), help="Start N of the same: NAME-1, NAME-2, …")
@click.option("--dry-run", is_flag=True, help="Of many: print name, base and order of each; make nothing.")
@click.option("--retry", is_flag=True, help="Of many: start anew those that failed.")
@click.option("--issue", metavar="REF", help="Work on this issue: 12, OWNER/REPO#12, its address, or ENG-123 (Linear).")
@click.option("--issues", metavar="QUERY", help="A session for each open issue that this search of the forge's finds.")
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
@click.option("--trust", is_flag=True, help="Approve the commands of the project's .chatml.yaml first.")
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
    file: str | None,
    each: str | None,
    number: int | None,
    dry_run: bool,
    retry: bool,
    issue: str | None,
    issues: str | None,
    name: str | None,
    base: str | None,
    branch: str | None,
    with_changes: bool,
    fetch: bool,
    role: str | None,
    scope: tuple[str, ...],
    after: tuple[str, ...],
    trust: bool,
    attach: bool,
    wait: bool,
    as_json: bool,
    quiet: bool,
    **settings: str | None,
) -> int:
    """Start a session: a worktree, a branch and an agent.

    Returns at once; the agent works on in the background. PROMPT says what to do; - reads it from standard input,
    and without one $EDITOR opens. The name is made from it: "Add rate limiting!" becomes add-rate-limiting.

    With -f, --each, -n or --issues it starts many. FILE is a list as people write it, or else, by its suffix, YAML or
    JSON, where a task can say each option by its name; - reads a list from standard input. TABLE is .csv or .jsonl; on
    standard input (-) it is JSON lines where it begins with a {, and CSV otherwise. Options hold for all tasks that
    don't say otherwise. All is checked before anything is made, and the same command again makes only what is not
    there.

    With --issue the task is an issue of GitHub (through gh) or Linear (with LINEAR_API_KEY), what others wrote there
    marked as theirs; PROMPT adds your own words, and 'chatml pr' closes it. --issues takes GitHub's search syntax,
    or linear:TEXT.
    """
    if attach and (as_json or quiet or wait):
        raise UsageError("--attach goes with none of --json, --quiet and --wait")
    many = _many(prompt, file=file, each=each, number=number, issues=issues)
    if many is not None and issue is not None:
        raise UsageError(f"{many} goes without --issue", "call new once for each, or say 'issue' in a YAML file")
    if many is None and (dry_run or retry):
        raise UsageError(f"{'--dry-run' if dry_run else '--retry'} goes with -f, --each, -n or --issues")
    check_together(with_changes=with_changes, fetch=fetch, base=base, branch=branch, after=after)
    _check_single(many, attach=attach, branch=branch, name=name if file is not None or issues is not None else None)
    project = open_project(at)
    if trust:
        _approve(project)
    patterns = scope_of(scope, project.repo.top or project.repo.home) if scope else None
    ref = flag("base", base) if base is not None else None
    before = tuple(dict.fromkeys(after))
    if many is not None:
        from chatml.commands import batch  # here alone, as what it takes: most calls make one
        from chatml.sessions.planning import Given

        given = Given(settings, ref, role, patterns, before, with_changes=with_changes, fetch=fetch)
        origin = batch.Origin(file=file, each=each, number=number, issues=issues, name=name)
        wanted = batch.Wanted(dry_run=dry_run, retry=retry, wait=wait, as_json=as_json, quiet=quiet)
        own_words = _prompt(prompt, needed=issues is None) if file is None else ""
        return batch.run(project, origin, own_words, given, wanted)
    plays = role_of(project.config, role) if role is not None else None
    own_words = _prompt(prompt, needed=issue is None)
    terms = terms_of(
        project.config, {**settings, "scope": patterns, "after": before or None, "prompt": own_words}, plays
    )
    check_retries(terms, said=settings.get("retries") is not None)
    task = Task(terms, name, ref if ref is not None else project.config.base, branch)
    for sentence in removing.finish_interrupted(project):
        output.warning(sentence)
    outset = Outset(project)
    task = outset.of(task, with_changes=with_changes, fetch=fetch)
    for sentence in outset.left_out:
        output.warning(sentence)
    say = output.narrator(as_json or quiet)
    for sentence in outset.told:
        say(sentence)
    if issue is not None:
        from chatml.sessions.issues import task_of  # here alone: it loads what asks a forge

        task, told = task_of(project, issue, task)
        for sentence in () if quiet else told:
            output.note(printable(sentence))
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
        (session,) = with_landed(project, with_programs(project, [session]))
        output.json_answer(session.public())
    elif quiet:
        output.answer(session.name)
    elif wait:
        rest.tell(session)
    return code


def _approve(project: Project) -> None:
    """Approve what the committed file would run, and say by what it is known."""
    found = project.config.committed
    if found is not None and not found.for_good:
        trusting.approve(project, found)
        output.note(f"approved the commands of {found.file}: {found.digest}")


def _many(
    prompt: str | None, *, file: str | None, each: str | None, number: int | None, issues: str | None
) -> str | None:
    """The option that asks for many sessions. UsageError for two of them, and for one that lacks its prompt."""
    options = (("-f", file), ("--each", each), ("-n", number), ("--issues", issues))
    found = [name for name, value in options if value is not None]
    if len(found) > 1:
        raise UsageError(f"choose one of {' and '.join(found)}")
    if file is not None and prompt is not None:
        raise UsageError("-f takes no prompt: each task in FILE has its own")
    if each == prompt == "-":
        raise UsageError("standard input can't be both the table and the prompt", "name a file: --each bugs.csv -")
    if each is not None and prompt is None:
        raise UsageError("--each needs a prompt", "such as: --each bugs.csv 'Fix {title}, see {url}'")
    return found[0] if found else None


def _check_single(many: str | None, **given: object) -> None:
    """UsageError for an option that is for one session, where many are asked for."""
    for option, value in given.items() if many is not None else ():
        if value:
            raise UsageError(f"--{option.replace('_', '-')} is for one session, and {many} makes many")


def _prompt(given: str | None, needed: bool) -> str:
    """What to do, from the argument, standard input or, where it is needed, the editor."""
    if given == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    if given is not None or not needed:
        return given or ""
    if not sys.stdin.isatty():
        raise UsageError("no prompt", "say what the agent shall do: chatml new \"add rate limiting\", or '-' for stdin")
    text = click.edit("\n\n# What shall the agent do? Lines that begin with '#' are left out.\n")
    if text is None:
        raise UsageError("no prompt: the editor was left without saving")
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def _tell(project: Project, session: Session, task: Task, answer_follows: bool) -> None:
    say = output.note if answer_follows else output.tell
    name = output.style(session.name, err=answer_follows, bold=True)
    say(f"{name} on {session.branch} from {rows.base_text(session)}")
    if session.status is Status.QUEUED:
        output.note(rows.queued(session))
    elif not answer_follows:
        output.note(output.style(f"see it work: chatml attach {session.name}", err=True, dim=True))
    with suppress(ChatmlError):  # the session is at work, whatever git says of this checkout
        top = project.repo.top
        if top is not None and task.base is None and task.carried is None and project.repo.dirty(top):
            output.note("note: the uncommitted changes here don't come along; --with-changes takes them")
    with suppress(ChatmlError, OSError):
        fetched_now = task.start is not None and task.carried is None
        if task.branch is None and not fetched_now and (lags := lag(project.repo, session.base.ref)):
            output.note(f"note: {lags}")
