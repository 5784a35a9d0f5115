"""The only place that prints: messages, tables, JSON, colour, the pager."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from chatml.errors import ChatmlError, of_machine
from chatml.text import encodable, paint, plain, printable

_color: str = "auto"


def set_color(when: str) -> None:
    """Remember what `--color` said, for all that is printed from now on."""
    global _color
    _color = when


def chosen_color() -> str:
    """What `--color` said: auto, always or never."""
    return _color


def use_color(err: bool = False) -> bool:
    """Whether to print colours: by `--color`, else NO_COLOR (no-color.org) and FORCE_COLOR, else on a terminal."""
    if _color != "auto":
        return _color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    stream = sys.stderr if err else sys.stdout
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def style(text: str, *, err: bool = False, **how: Any) -> str:
    """`text` in colours where colours are wanted."""
    return paint(text, **how) if use_color(err) else text


def wanted(painted: str) -> str:
    """What a renderer has painted, without its colours where none are wanted on stdout."""
    return painted if use_color() else plain(painted)


def answer(text: str = "", newline: bool = True) -> None:
    """Print what the command was asked for, on stdout; a reader that closes the pipe ends the command, no error."""
    try:
        click.echo(text, nl=newline, color=True)
    except BrokenPipeError:
        silence_stdout()
        raise click.exceptions.Exit(0) from None


def tell(text: str) -> None:
    """As `answer`, where the work goes on though nobody reads any more."""
    with contextlib.suppress(click.exceptions.Exit):
        answer(text)


def ring() -> None:
    """Ring the terminal's bell."""
    click.echo("\a", nl=False)


def silence_stdout() -> None:
    """Keep the interpreter from complaining about a closed pipe when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """Tell what happens, on stderr."""
    click.echo(text, err=True, color=True)


def narrator(quiet: bool) -> Callable[[str], None]:
    """`note`, or with `quiet` one that says nothing."""
    return (lambda text: None) if quiet else note  # noqa: ARG005


def warning(text: str) -> None:
    note(f"{style('warning:', err=True, fg='yellow')} {text}")


def error(message: str, hint: str | None = None) -> None:
    """One line that says what is wrong, and one that says what to do about it, on stderr."""
    note(f"{style('error:', err=True, fg='red', bold=True)} {_joined(message)}")
    if hint:
        note(f"{style('hint:', err=True, fg='cyan')} {_joined(hint)}")


def complain(failure: ChatmlError | OSError, about: str = "") -> int:
    """Tell an expected failure, ours or the machine's, and of what; returns the exit code that it ends with."""
    if isinstance(failure, OSError):
        failure = of_machine(failure)
    error(f"{about}: {failure.message}" if about else failure.message, failure.hint)
    return failure.exit_code


def _joined(text: str) -> str:
    """`text` on one line, whatever a name or a path in it holds."""
    return " ".join(printable(text).splitlines())


def json_answer(data: Any) -> None:
    """Print one JSON document on stdout: readable on a terminal, one line elsewhere."""
    indent = 2 if sys.stdout.isatty() else None
    # Lone surrogates (undecodable file names) can't be encoded: they go out as JSON escapes.
    answer(encodable(json.dumps(data, ensure_ascii=False, indent=indent)))


def json_line(data: Any) -> None:
    """Print one JSON document on a line of its own, at once."""
    answer(encodable(json.dumps(data, ensure_ascii=False)))


def width() -> int:
    """Columns to print into: the terminal's, $COLUMNS, or 80."""
    import shutil

    return shutil.get_terminal_size((80, 24)).columns


def table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """Rows, painted or not, as plain columns, two spaces apart, without trailing spaces."""
    from tabulate import tabulate

    # The headers go in as a row: as headers they would get two columns of padding each.
    text = tabulate([headers, *rows], tablefmt="plain", disable_numparse=True)
    return wanted("\n".join(line.rstrip() for line in text.splitlines()))


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A function that shows how far something is, on one line of stderr; nothing where that is no terminal."""
    terminal = sys.stderr.isatty()

    def show(text: str) -> None:
        if terminal:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True, color=True)

    try:
        yield show
    finally:
        show("")


@contextlib.contextmanager
def screen() -> Iterator[Callable[[str], None]]:
    """A function that redraws its text in place, on the terminal's alternate screen; Ctrl-C leaves it.

    Lines that are too long are cut by the terminal.
    """
    click.echo("\x1b[?1049h\x1b[?25l\x1b[?7l", nl=False)
    try:
        yield lambda text: click.echo(
            "\x1b[H" + "".join(f"\x1b[2K{line}\n" for line in text.splitlines()) + "\x1b[J", nl=False
        )
    finally:
        click.echo("\x1b[?7h\x1b[?25h\x1b[?1049l", nl=False)


@contextlib.contextmanager
def in_place() -> Iterator[Callable[[str], None]]:
    """A function that draws its text over the one it drew before, within the normal flow of the terminal."""
    drawn = 0

    def draw(text: str) -> None:
        nonlocal drawn
        lines = text.splitlines()
        up = f"\x1b[{drawn}A" if drawn else ""
        click.echo(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", nl=False, color=True)
        drawn = len(lines)

    click.echo("\x1b[?25l", nl=False)
    try:
        yield draw
    finally:
        click.echo("\x1b[?25h", nl=False)
