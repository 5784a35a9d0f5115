"""Writes man/ and completions/ from the program itself: `python -m tests.docs --write`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from chatml import __version__
from chatml.cli import COMMANDS, SECTIONS, root
from tests import manual
from tests.support import ROOT

SCRIPTS = {"bash": "chatml.bash", "zsh": "_chatml", "fish": "chatml.fish"}
MADE = "made by 'python -m tests.docs --write' from the program's own help"


def files() -> dict[Path, str]:
    """Every generated file: its path in the repository, and its text."""
    ctx = root.make_context("chatml", [], resilient_parsing=True)
    found = {Path("man/chatml.1"): _joined(root_page(ctx))}
    for name in COMMANDS:
        command = root.get_command(ctx, name)
        assert command is not None
        own = command.make_context(name, [], parent=ctx, resilient_parsing=True)
        found[Path(f"man/chatml-{name}.1")] = _joined(command_page(own))
    for shell, file in SCRIPTS.items():
        found[Path("completions") / file] = completion(shell)
    return found


def completion(shell: str) -> str:
    """click's own script for this shell; what it prints is read from the program at each TAB."""
    made = get_completion_class(shell)
    assert made is not None
    one = made(root, {}, "chatml", "_CHATML_COMPLETE")
    # Of a file in zsh's function path, click knows only the first call: at every second TAB nothing would come.
    first, every = "$zsh_eval_context[-1] == loadautofunc", "$funcstack[1] == _chatml"
    return (one.source_template % one.source_vars()).replace(first, every)


# --- pages, in mdoc(7) --------------------------------------------------------------------------------------------


def root_page(ctx: click.Context) -> Iterator[str]:
    yield from _head("chatml", summary(root), ctx)
    yield ".Ar command"
    yield ".Op Ar argument ..."
    yield ".Sh DESCRIPTION"
    yield from _paragraphs(manual.DESCRIPTION)
    yield "The options are:"
    yield from _options(ctx)
    yield ".Sh COMMANDS"
    for title, commands in SECTIONS.items():
        yield f".Ss {title}"
        yield ".Bl -tag -width chatml-restore"
        for name, text in commands.items():
            yield f".It Xr chatml-{name} 1"
            yield _text(text)
        yield ".El"
    yield ".Sh ENVIRONMENT"
    yield from _table(manual.ENVIRONMENT, "Ev")
    yield ".Sh FILES"
    yield from _table(manual.FILES, "Pa")
    yield ".Sh EXIT STATUS"
    yield from _table(manual.EXIT_STATUS, "Li")
    yield ".Pp"
    yield from _sentences(manual.EXIT_STATUS_NOTE)
    yield from _examples("chatml")
    yield ".Sh SEE ALSO"
    yield ".Xr git-worktree 1"


def command_page(ctx: click.Context) -> Iterator[str]:
    name = str(ctx.info_name)
    yield from _head(f"chatml-{name}", COMMANDS[name], ctx)
    yield ".Sh DESCRIPTION"
    yield from _paragraphs(inspect.cleandoc(ctx.command.help or "").split("\n\n"))
    yield "The options are:"
    yield from _options(ctx)
    yield ".Sh EXIT STATUS"
    yield "See"
    yield ".Xr chatml 1 ."
    yield from _examples(name)
    yield ".Sh SEE ALSO"
    near = next(section for section in SECTIONS.values() if name in section)
    others = ["chatml", *sorted(f"chatml-{other}" for other in near if other != name)]
    for other in others:
        yield f".Xr {other} 1" + ("" if other == others[-1] else " ,")


def _head(title: str, summary: str, ctx: click.Context) -> Iterator[str]:
    yield f'.\\" {MADE}'
    yield ".Dd $Mdocdate$"
    yield f".Dt {title.upper()} 1"
    yield f'.Os "chatml {__version__}"'
    yield ".Sh NAME"
    yield f".Nm {title}"
    yield f".Nd {_text(summary[:1].lower() + summary[1:].rstrip('.'))}"
    yield ".Sh SYNOPSIS"
    yield f".Nm {'chatml ' + str(ctx.info_name) if ctx.parent else 'chatml'}"
    params = ctx.command.get_params(ctx)
    yield from (f".Op {_flags(param, ctx)}" for param in params if isinstance(param, click.Option))
    for param in params:
        if isinstance(param, click.Argument):
            yield from _argument(param, ctx)


def _flags(param: click.Option, ctx: click.Context) -> str:
    """`Fl f , Fl -file Ar TASKS`: an option as people type it."""
    names = sorted([*param.opts, *param.secondary_opts], key=len)
    flags = " | ".join(f"Fl {_arg(name[1:])}" for name in names)
    return flags if param.is_flag or param.count else f"{flags} Ar {_value(param, ctx)}"


def _value(param: click.Option, ctx: click.Context) -> str:
    if isinstance(param.type, click.Choice):
        return str(param.name).replace("_", "-") if not param.multiple else str(param.opts[0]).lstrip("-")
    return _arg(param.make_metavar(ctx))


def _argument(param: click.Parameter, ctx: click.Context) -> Iterator[str]:
    """The arguments as the usage line has them: `[NAME]… MESSAGE` for instance."""
    for optional, marker, word, more in re.findall(r"(\[)?(-- )?(\w+)\]?(…)?", param.make_metavar(ctx)):
        yield f".{'Op ' * bool(optional)}{'Cm -- ' * bool(marker)}Ar {word}{' ...' * bool(more)}"


def _options(ctx: click.Context) -> Iterator[str]:
    yield ".Bl -tag -width Ds"
    for param in ctx.command.get_params(ctx):
        if isinstance(param, click.Option) and not param.hidden:
            yield f".It {_flags(param, ctx).replace(' | ', ' , ')}"
            yield from _sentences(param.help or "")
            if isinstance(param.type, click.Choice):
                yield _text(f"One of: {', '.join(map(str, param.type.choices))}.")
    yield ".El"


def _examples(name: str) -> Iterator[str]:
    yield ".Sh EXAMPLES"
    for explained, commands in manual.EXAMPLES[name]:
        if explained:
            yield _text(explained)
        yield ".Bd -literal -offset indent"
        yield from (_text(line) for line in commands.splitlines())
        yield ".Ed"
        yield ".Pp"


def _table(rows: Mapping[str, str], macro: str) -> Iterator[str]:
    yield ".Bl -tag -width Ds"
    for term, text in rows.items():
        yield f".It {macro} {_arg(term)}"
        yield from _sentences(text)
    yield ".El"


def _paragraphs(texts: Iterator[str] | tuple[str, ...] | list[str]) -> Iterator[str]:
    for text in texts:
        yield from _sentences(text)
        yield ".Pp"


def _sentences(text: str) -> Iterator[str]:
    """A paragraph with each sentence on a line of its own: so does roff know where they end."""
    flowing = " ".join(text.replace("\b", "").split())
    return (_text(sentence) for sentence in re.split(r"(?<=[.!?:]) (?=['\"]?[A-Z])", flowing))


def summary(command: click.Command) -> str:
    """The first sentence of a command's help."""
    return " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split())


def _text(text: str) -> str:
    """A line of text, with nothing in it that roff would act on."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("`", "'")
    return "\\&" + text if text[:1] in (".", "'") else text


def _arg(text: str) -> str:
    """A word after a macro: quoted where it has spaces, and never taken for a macro or a delimiter."""
    text = _text(text)
    return f'"{text}"' if " " in text or not text else text


def _joined(lines: Iterator[str]) -> str:
    text = "\n".join(lines) + "\n"
    # Blank paragraphs say nothing, and mandoc complains about them.
    return re.sub(r"\.Pp\n(?=\.(Sh|Ss|Bl|Bd|Pp)\b)", "", text)


def stale(root_folder: Path = ROOT) -> list[str]:
    """The generated files that are missing or not what the program says now, and those that nothing makes any more."""
    wanted = files()
    wrong = [str(path) for path, text in wanted.items() if not _same(root_folder / path, text)]
    there = {
        path.relative_to(root_folder) for folder in ("man", "completions") for path in (root_folder / folder).iterdir()
    }
    return wrong + [str(path) for path in sorted(there - set(wanted))]


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main(argv: list[str]) -> int:
    if argv != ["--write"]:
        print("usage: python -m tests.docs --write", file=sys.stderr)
        return 2
    for path, text in files().items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
