"""`chatml demo`."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.errors import ChatmlError
from chatml.model import Session, Status
from chatml.project import Project, open_project
from chatml.render import rows
from chatml.scripted import sample
from chatml.scripted.stage import Stage, stage
from chatml.sessions import find

FOLDER = "chatml-demo"

PAUSE = 0.7
"""Seconds before each answer of the model on a terminal, where a person follows; elsewhere there is no pause."""

TIMEOUT = 180.0
"""Seconds that the three sessions may take: many times what they need on a slow machine."""

LOOK = 0.2
"""Seconds between two looks at the sessions."""

LINGER = 3
"""Pauses for which a person gets to see the moment in which to redirect."""

ARRIVAL = 0.5
"""Seconds that a message gets to arrive before the agent goes on: more than twice what it takes."""


@click.command()
@click.option("--dir", "folder", metavar="PATH", default=FOLDER, show_default=True, help="Where to make it.")
@click.option("--play", is_flag=True, help="Then open a shell in it, with the scripted model; in an old one at once.")
@click.option("--rm", "remove", is_flag=True, help="Remove it again at the end, if all went well.")
@options.color
@click.pass_obj
def command(at: Path, folder: str, play: bool, remove: bool) -> int:
    """Try it without a key: three sessions on a sample.

    Makes a small sample repository and has three agents work on it in parallel. Only the model is a script, served on
    this machine; git, Claude Code and chatml are real. Needs no key and no network, and leaves the folder for you to
    play with. Exit code 0 means that everything worked: it is the test of an installation, too.
    """
    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    with stage(Path(os.path.normpath(at / folder)), PAUSE if live else 0.0) as on:
        try:
            if not (play and on.exists()):
                Tour(on, folder, live).run(goodbye=not (play or remove))
            if play:
                output.note(f"a shell in {on.repo} with the scripted model; leave it with 'exit'")
                on.shell()
        except KeyboardInterrupt:
            output.note("\nstopping the sessions" + (f"; the demo stays in {folder}" if on.exists() else ""))
            raise
    if remove:
        on.remove()
        output.note(f"removed {folder}")
    return 0


class Tour:
    """A morning's work, step by step, and the check that each step really did what it should."""

    def __init__(self, on: Stage, shown: str, live: bool) -> None:
        self._on = on
        self._shown = shown
        self._live = live

    def run(self, goodbye: bool) -> None:
        """ChatmlError where something did not go as it should."""
        self._on.make()
        output.answer("A sample project, and a script on this machine in place of the model: no key, no")
        output.answer("network, invented costs. All the rest is real: git, Claude Code and chatml.")
        output.answer()
        self._type(f"cd {shlex.quote(os.path.join(self._shown, sample.NAME))}")
        project = open_project(self._on.repo)

        self._head("Start three tasks. Each gets a branch, a worktree and an agent of its own.")
        for task in sample.TASKS:
            self._chatml("new", task.prompt)
        self._head("Watch them work. One meets an overloaded service, and tries again by itself.")
        self._watch(project, self._need_a_person)
        self._check(project, ended=False)
        self._head("One has a question, and stands first. Answer it: it goes on at once.")
        self._chatml("answer", sample.GUIDE.name, "1")
        self._head("Redirect another one in the middle of its work, and see how it takes that.")
        self._chatml("send", sample.DATES.name, sample.REDIRECT)
        time.sleep(ARRIVAL)
        self._on.api.release(sample.HOLD)
        self._chatml("attach", sample.DATES.name)
        self._head("Wait for the rest.")
        self._watch(project, lambda _: False)
        self._check(project, ended=True)

        self._head("Review what it would bring to main.")
        self._chatml("diff", sample.DATES.name, "--stat")
        self._chatml("diff", sample.DATES.name, "--", "todo")
        self._head("Land one, and clean up after it.")
        self._git("merge", f"chatml/{sample.CRASH.name}")
        self._chatml("rm", sample.CRASH.name)
        self._chatml("ls")
        if goodbye:
            self._goodbye()

    def _need_a_person(self, found: list[Session]) -> bool:
        asks = any(one.name == sample.GUIDE.name and one.status is Status.WAITING for one in found)
        holds = bool(self._on.api.holding[sample.HOLD])
        return asks and holds and all(one.status is not Status.PREPARING for one in found)

    def _watch(self, project: Project, enough: Callable[[list[Session]], bool]) -> None:
        """Show `ls` until it is enough, or until all sessions are at rest: in place, or once, then."""
        if not self._live:
            self._wait(project, enough, lambda _: None)
            self._chatml("ls")
            return
        self._type("chatml ls --watch")
        with output.in_place() as draw:
            self._wait(project, enough, lambda found: draw(output.wanted(rows.session_table(found, output.width()))))

    def _wait(
        self, project: Project, enough: Callable[[list[Session]], bool], show: Callable[[list[Session]], None]
    ) -> None:
        began = time.monotonic()
        enough_since: float | None = None
        while True:
            found, _ = find.load_all(project)
            show(found)
            now = time.monotonic()
            if enough_since is None and enough(found):
                enough_since = now
            seen = enough_since is not None and now >= enough_since + LINGER * self._on.pause
            if seen or all(session.status.at_rest for session in found) or now > began + TIMEOUT:
                return
            time.sleep(LOOK)

    def _check(self, project: Project, ended: bool) -> None:
        """ChatmlError unless every session goes well, or ended so, with exactly the changes that it should make."""
        for task in sample.TASKS:
            session = find.resolve(project, task.name)
            failure = find.failure_of(session)
            well = session.status is Status.DONE and session.changes == task.changes
            bad = session.status.needs_person and session.status is not Status.WAITING
            if not well and (ended or bad):
                reason = failure.message if failure else f"its changes are {rows.changes(session) or 'none'}"
                raise ChatmlError(
                    f"{task.name} is {session.status.value}, and not as it should be: {reason}",
                    f"see 'chatml doctor', and 'chatml -C {self._on.repo} logs {task.name}'",
                )

    def _goodbye(self) -> None:
        self._head(f"All as it should be. The rest is yours, in {self._shown}:")
        cd = f"cd {shlex.quote(os.path.join(self._shown, sample.NAME))}"
        place = "" if self._shown == FOLDER else f" --dir {shlex.quote(self._shown)}"
        for what, how in (
            ("look around: ls, attach, diff, logs, rm, restore", cd),
            ("also new and send, answered by the script", f"chatml demo --play{place}"),
            ("remove it", f"rm -rf {shlex.quote(self._shown)}"),
            ("in a repository of yours, with a real model", 'chatml new "what to do"'),
        ):
            output.answer(f"  {what:<50}{output.style(how, bold=True)}")

    def _head(self, text: str) -> None:
        self._rest()
        output.answer(f"\n{output.style(text, fg='cyan')}\n")
        self._rest()

    def _rest(self) -> None:
        """Give the eyes time to follow."""
        sys.stdout.flush()
        time.sleep(self._on.pause)

    def _type(self, line: str) -> None:
        """Show a command as a person types it."""
        output.answer(output.style("$ ", dim=True) + output.style("", bold=True, reset=False), newline=False)
        try:
            for char in line if self._live else [line]:
                output.answer(char, newline=False)
                sys.stdout.flush()
                time.sleep(self._on.pause / 40)
        finally:
            output.answer(output.style(""))
        sys.stdout.flush()

    def _chatml(self, *args: str) -> None:
        self._type(_typed("chatml", args))
        self._succeeded(_typed("chatml", args), self._on.run(*args))

    def _git(self, *args: str) -> None:
        self._type(_typed("git", args))
        self._succeeded(_typed("git", args), self._on.git(*args))

    def _succeeded(self, line: str, code: int) -> None:
        if code in (130, -signal.SIGINT):
            raise KeyboardInterrupt
        if code:
            raise ChatmlError(f"'{line}' ended with exit code {code}", "see 'chatml doctor'")


def _typed(program: str, args: Sequence[str]) -> str:
    """The command line as a person would quote it."""
    return " ".join([program, *(f'"{arg}"' if " " in arg else arg for arg in args)])
