"""`chatml exec`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chatml import output
from chatml.commands import options
from chatml.commands.each import Each
from chatml.errors import ChatmlError, UsageError
from chatml.model.outcome import Outcome
from chatml.project import open_project
from chatml.sessions import executing, find
from chatml.sessions.caller import hands_off
from chatml.text import printable

SHELL = "such as: chatml exec NAME -- make test"


class _Verbatim(click.Command):
    """Keeps what stands before the first `--` apart from what comes after it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta["chatml.exec"] = tuple(args[place + 1 :])
            args = args[:place]
        return super().parse_args(ctx, args)


@click.command(cls=_Verbatim, options_metavar="[OPTIONS]")
@options.names(metavar="[NAME]… -- COMMAND [ARG]…")
@options.everyone("In the worktrees of all sessions.")
@options.as_json
@options.color
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], everyone: bool, as_json: bool) -> int:
    """Run a command in a session's worktree.

    With the session's own environment: CHATML_NAME, CHATML_PORT and so on. Its input, output, exit code and signals
    are the command's. In several sessions it runs side by side, without an input, each line behind the session's
    name; the worst exit code is returned. 126 and 127 say that it could not be run, as in a shell. With --json, what
    it has printed is in the answer.
    """
    at: Path = ctx.obj
    argv: tuple[str, ...] = ctx.meta.get("chatml.exec", ())
    if not argv:
        raise UsageError("no command: it goes behind '--'", SHELL)
    each = Each(open_project(at))
    if not everyone and len(names) <= 1 and not as_json:
        session = find.resolve(each.project, names[0] if names else None)
        hands_off(each.project, session.name, "exec", own=True)
        executing.become(session, argv)
    chosen = each.chosen(names, everyone, lambda found: found)
    sessions = []
    for name in chosen:
        try:
            hands_off(each.project, name, "exec", own=True)
            sessions.append(find.resolve(each.project, name))
        except (ChatmlError, OSError) as error:
            each.failed(name, error)
    said: dict[str, tuple[list[str], list[str]]] = {one.name: ([], []) for one in sessions}
    width = max((len(one.name) for one in sessions), default=0)

    def tell(name: str, line: bytes, error: bool) -> None:
        text = line.decode("utf-8", "replace")
        if as_json:
            said[name][error].append(text)
            return
        shown = f"{output.style(f'{name:<{width}} |', err=error, dim=True)} {printable(text.rstrip(chr(13)))}"
        output.note(shown) if error else output.tell(shown)

    worst = each.code
    for name, ended in executing.everywhere(sessions, argv, tell).items():
        if isinstance(ended, ChatmlError):
            each.failed(name, ended, about=name)
            worst = max(worst, ended.exit_code)
        else:
            worst = max(worst, ended)
            out, err = ("".join(f"{line}\n" for line in lines) for lines in said[name])
            each.outcomes.append(Outcome(name, "ended", {"code": ended, "stdout": out, "stderr": err}))
    each.end(as_json)
    sys.stdout.flush()
    return worst
