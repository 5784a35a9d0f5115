"""`chatml diff`."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from chatml import output
from chatml.changes import compare
from chatml.changes.between import Between, between, with_base
from chatml.changes.compare import Comparison
from chatml.commands import options
from chatml.errors import ChatmlError, UsageError
from chatml.model import Base, Session
from chatml.project import Project, open_project
from chatml.sessions import find
from chatml.text import one_line, printable

WATCH_EVERY = 0.5
"""Seconds between two looks of `--watch`; ten times as long as a look takes, where that is more."""

CLOSED_PIPE = 128 + 13
"""How git ends when nobody reads on: by SIGPIPE."""

CTRL_C = 128 + 2
"""How git ends when the person has enough: by SIGINT."""


class PathsCommand(click.Command):
    """A command whose optional NAME comes before `--`, and PATHs after it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:end])
        if ctx.params["paths"]:
            raise click.UsageError(f"unexpected '{ctx.params['paths'][0]}'; PATHs come after '--'", ctx)
        ctx.params["paths"] = tuple(args[end + 1 :])
        return rest


@click.command(cls=PathsCommand)
@options.name
@click.argument("paths", metavar="[-- PATH…]", nargs=-1)
@click.option(
    "--with",
    "other",
    metavar="OTHER",
    shell_complete=options.offer("names"),
    help="What it and another session do to the same files.",
)
@click.option("--conflicts", is_flag=True, help="Only what conflicts: with OTHER, or else with its base.")
@click.option("--stat", is_flag=True, help="Only how much changed in each file.")
@click.option("--name-only", is_flag=True, help="Only the names of the changed files.")
@click.option("-w", "--watch", is_flag=True, help="Redraw in place as the changes change.")
@options.as_json
@options.color
@click.pass_obj
def command(
    at: Path,
    /,
    name: str | None,
    paths: tuple[str, ...],
    other: str | None,
    conflicts: bool,
    stat: bool,
    name_only: bool,
    watch: bool,
    as_json: bool,
) -> int:
    """Show a session's changes.

    Committed, staged, unstaged and untracked, against the merge base with the session's base as it is now, in git's
    own format. On a terminal with your git
    colours, pager and diff settings; elsewhere a complete patch that 'git apply' takes. PATHs are relative to where
    you stand in the session's worktree, or else to its top.

    --with and --conflicts merge in memory all that two sessions hold, or a session and its base as it is now, and
    touch neither. What conflicts is shown as git would leave it, with conflict markers, against where the two have
    parted; of a file that merges cleanly, what each of them changes. Needs git 2.38 or later.
    """
    if stat + name_only + as_json > 1:
        raise UsageError("choose one of --stat, --name-only and --json")
    beside = "--with" if other is not None else "--conflicts" if conflicts else None
    if beside and (watch or as_json):
        raise UsageError(f"{beside} goes without {'--watch' if watch else '--json'}")
    if watch and (as_json or not sys.stdout.isatty()):
        raise UsageError("--watch needs a terminal, without --json")
    form = ("--stat",) if stat else ("--name-only",) if name_only else ()
    if watch:
        return _watch(at, name, paths, form)
    project = open_project(at)
    session = find.resolve(project, name)
    if other is not None:
        return _with(project, session, find.resolve(project, other), at, paths, form, conflicts)
    if conflicts:
        with with_base(project.repo, session, at, paths) as found:
            return _tell(found, form, f"{session.name} does not conflict with {session.base.ref}")
    with compare.compare(project.repo, session, at, paths) as comparison:
        for sentence in comparison.notes:
            output.warning(one_line(sentence))
        if as_json:
            output.json_answer(_public(session.name, session.base, comparison))
            return 0
        if not comparison.differs():
            if sys.stdout.isatty():
                output.note(f"no changes against {session.base.ref}")
            return 0
        return _show(comparison, form)


def _with(
    project: Project,
    session: Session,
    other: Session,
    at: Path,
    paths: tuple[str, ...],
    form: tuple[str, ...],
    conflicts: bool,
) -> int:
    if session.name == other.name:
        raise UsageError(f"'{other.name}' is that session itself", "name another one after --with")
    with between(project.repo, session, other, at, paths, only_conflicts=conflicts) as found:
        nothing = "do not conflict" if conflicts else "change no file in common"
        return _tell(found, form, f"{session.name} and {other.name} {nothing}")


def _tell(found: Between, form: tuple[str, ...], nothing: str) -> int:
    for sentence in found.notes:
        output.warning(one_line(sentence))
    if found.differs():
        return _show(found, form)
    output.note(nothing + (" there" if found.paths else ""))
    return 0


def _show(shown: Comparison | Between, form: tuple[str, ...]) -> int:
    """Let git print the changes: as the person likes it on a terminal, exact elsewhere."""
    terminal = sys.stdout.isatty()
    if terminal:
        code = shown.show_usual(*form, *_color(terminal))
    else:
        code = shown.show_exact(*(form or compare.PATCH), *_color(terminal))
    code = code if code >= 0 else 128 - code  # ended by a signal, as shells have it
    if code in (0, CLOSED_PIPE):
        return 0
    if code == CTRL_C:
        return code
    raise ChatmlError(f"git could not show the changes (exit code {code})", "git itself said why: see above")


def _color(terminal: bool) -> tuple[str, ...]:
    """What to tell git about colours: on a terminal nothing, for its settings to decide, unless the person says."""
    chosen = output.chosen_color()
    if chosen == "auto" and terminal and not os.environ.get("NO_COLOR"):
        return ()
    # FORCE_COLOR does not count: many a CI sets it, and a coloured patch is none.
    return ("--color=always",) if chosen == "always" else ("--no-color",)


def _public(name: str, base: Base, comparison: Comparison) -> dict[str, object]:
    return {
        "name": name,
        "base": asdict(base),
        "merge_base": comparison.since,
        "files": [{**asdict(file), "binary": file.insertions is None} for file in comparison.files],
        "changes": asdict(comparison.changes),
        "out_of_scope": list(comparison.strayed),
    }


def _watch(at: Path, name: str | None, paths: tuple[str, ...], form: tuple[str, ...]) -> int:
    """Redraw the changes whenever they are others, until Ctrl-C."""
    color = "--color=always" if output.use_color() else "--no-color"
    shown = None
    with output.screen() as draw:
        while True:
            began = time.monotonic()
            project = open_project(at)
            session = find.resolve(project, name)
            with compare.compare(project.repo, session, at, paths) as comparison:
                text = comparison.usual(*form, color) or f"no changes against {session.base.ref}"
            view = _fitting([*comparison.notes, *text.rstrip("\n").split("\n")])
            if view != shown:
                draw(view)
                shown = view
            time.sleep(max(WATCH_EVERY, 10 * (time.monotonic() - began)))


def _fitting(lines: list[str]) -> str:
    """As many lines as the terminal shows, harmless to it; the last one says how many there are below."""
    height = shutil.get_terminal_size().lines - 1
    if len(lines) > height:
        lines = [*lines[: height - 1], f"… {len(lines) - height + 1} lines more"]
    return "\n".join(_harmless(line) for line in lines)


def _harmless(line: str) -> str:
    """A line with git's colours, and nothing else that a terminal would act on."""
    texts = re.split(r"(\x1b\[[\d;]*m)", line)
    return "".join(text if index % 2 else printable(text) for index, text in enumerate(texts))
