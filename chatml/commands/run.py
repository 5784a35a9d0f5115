"""`chatml run`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.errors import ChatmlError, UsageError
from chatml.model import Session
from chatml.model.provision import url
from chatml.project import Project, open_project
from chatml.sessions import find, serving
from chatml.text import printable
from chatml.workspace import programs

TIMEOUT = 120.0
"""Seconds that services have to answer."""


@click.command()
@options.words("[NAME] [SERVICE]…", required=False)
@click.option("--stop", is_flag=True, help="End them, with all that they have started.")
@click.option("--restart", is_flag=True, help="End them first, where they run.")
@click.option("--logs", is_flag=True, help="Print what they have printed.")
@click.option("--follow", "-f", is_flag=True, help="With --logs: go on as it comes.")
@click.option("--open", "show", is_flag=True, help="Open the first one in the browser.")
@click.option(
    "--timeout",
    type=options.Seconds(),
    metavar="SECONDS",
    default=TIMEOUT,
    help="Wait so long for an answer, else exit with 124 (default: 120).",
)
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(
    at: Path,
    words: tuple[str, ...],
    stop: bool,
    restart: bool,
    logs: bool,
    follow: bool,
    show: bool,
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Start a session's services, and print where they answer.

    Services are the programs under 'run' in the configuration, as that is now; without SERVICE, all of them. Each runs
    detached in the worktree, with a log of its own, and counts as started once its port answers; where it ends before
    that, its last lines are printed. One that runs already is left alone. They are ended by --stop, and with the
    session by 'chatml rm'; 'chatml stop' leaves them running.
    """
    if stop + restart + logs > 1:
        raise UsageError("choose one of --stop, --restart and --logs")
    if follow and not logs:
        raise UsageError("--follow goes with --logs")
    if show and (stop or logs):
        raise UsageError("--open goes with neither --stop nor --logs")
    project = open_project(at)
    name, wanted = _named(project, words)
    say = output.narrator(as_json or quiet)
    if logs:
        return _print_logs(project, find.resolve(project, name), wanted, follow)
    if stop:
        session, ended = serving.stop(project, name, wanted)
        for service in ended:
            say(f"ended {service}")
        if not ended:
            say(f"no service of {name} runs")
        if as_json:
            _print_json(project, name)
        elif quiet:
            for service in ended:
                output.answer(service)
        return 0
    session, started = serving.start(project, name, wanted, restart)
    code = _await(project, session, started, timeout, say)
    urls = [found for one in started if (found := url(session.name, one.service.port)) is not None]
    if as_json:
        _print_json(project, name)
    else:
        for found in urls:
            output.answer(found)
    if show and code == 0:
        if not urls:
            raise ChatmlError("none of these services has a port, so there is nothing to open")
        click.launch(urls[0])
    return code


def _named(project: Project, words: tuple[str, ...]) -> tuple[str, list[str]]:
    """The session, and the services: inside of a worktree, its name may be left out."""
    if words:
        try:
            return find.resolve(project, words[0]).name, list(words[1:])
        except ChatmlError as error:
            try:
                here = find.resolve(project, None)
            except ChatmlError:
                raise error from None
            if words[0] not in {one.name for one in (*here.furnishing.services, *project.config.furnishing.services)}:
                raise
            return here.name, list(words)
    return find.resolve(project, None).name, []


def _await(
    project: Project, session: Session, started: list[serving.Launched], timeout: float, say: Callable[[str], None]
) -> int:
    """Wait for each of them, and tell what became of it; the worst exit code."""
    store, code = project.store.session(session.name), 0
    for one in started:
        try:
            serving.await_answer(store, session, one, timeout)
        except ChatmlError as error:
            for line in (error.output or "").splitlines():
                output.note(f"  {printable(line)}")
            code = max(code, output.complain(error))
        else:
            say(f"{one.service.name} {'runs' if one.anew else 'ran already'} (pid {one.service.pid})")
    return code


def _print_json(project: Project, name: str) -> None:
    session = find.resolve(project, name)
    output.json_answer([vars(one) for one in programs.seen(project.store.session(name), session) or ()])


def _print_logs(project: Project, session: Session, wanted: list[str], follow: bool) -> int:
    paths = project.store.session(session.name)
    if not session.furnished.services:
        raise ChatmlError(f"no service of '{session.name}' was started", f"start them: chatml run {session.name}")
    for name in wanted:
        if name not in {one.name for one in session.furnished.services}:
            raise UsageError(f"no service named '{name}' was started")
    names = wanted or [one.name for one in session.furnished.services]

    def more() -> bool:
        return follow and any(programs.runs(paths, name) for name in names)

    for line in serving.printed(project, session, names, more):
        output.answer(printable(line))
    return 0
