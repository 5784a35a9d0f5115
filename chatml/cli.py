"""The root command: a lazy table of subcommands, the error boundary, the exit codes."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chatml import __version__, output
from chatml.errors import ChatmlError
from chatml.state import locks
from chatml.text import nearest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SECTIONS: dict[str, dict[str, str]] = {
    "Start and watch": {
        "new": "Start a session: a worktree, a branch and an agent.",
        "ls": "List sessions and what each is doing.",
        "attach": "Look into a session live, and talk to it.",
        "show": "Show one session: what it does and needs.",
        "logs": "Print a session's transcript.",
        "cost": "Show what sessions have cost.",
        "wait": "Wait until sessions come to rest.",
    },
    "Steer": {
        "send": "Send a message to a session's agent.",
        "unsend": "List messages that no agent has read, or take them back.",
        "approve": "Approve what an agent asks for: a call, or its plan.",
        "deny": "Deny what an agent asks for; it reads why.",
        "answer": "Answer an agent's question.",
        "stop": "Stop a session's agent; keep everything.",
        "resume": "Go on with an interrupted turn.",
    },
    "Review and land": {
        "summary": "Sum up what came of sessions, and what to do next.",
        "diff": "Show a session's changes.",
        "review": "Have another agent review a session's changes.",
        "path": "Print the path of a session's worktree.",
        "conflicts": "Tell which sessions don't merge with each other.",
        "sync": "Bring sessions up to their base as it is now.",
        "merge": "Land sessions in their base, here and now.",
        "pr": "Push the branch and open the pull request.",
    },
    "Live in a worktree": {
        "setup": "Set up a session's worktree again.",
        "run": "Start a session's services, and print where they answer.",
        "exec": "Run a command in a session's worktree.",
        "try": "Show a session's state in the main checkout.",
        "teardown": "Take down what a session's worktree has running.",
    },
    "Clean up": {
        "rm": "Remove sessions; what they held stays recoverable.",
        "restore": "Bring back a removed session.",
    },
    "Help": {
        "help": "Show the help of a command, or the page for agents.",
        "init": "Write chatml's files for this project into the checkout.",
        "trust": "Show the commands of the project's .chatml.yaml, and approve them.",
        "doctor": "Check that everything chatml needs is there.",
        "demo": "Try it without a key: three sessions on a sample.",
    },
}
"""Every subcommand with its one-line help, by the section of the help that it stands in."""

COMMANDS = {name: text for section in SECTIONS.values() for name, text in section.items()}

EXIT_BUG = 70
"""`EX_SOFTWARE` of sysexits.h."""


class LazyGroup(click.Group):
    """A group that imports a subcommand only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"chatml.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no such command '{args[0]}'{nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Subcommands from the table: completing one imports none of them."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return found + super(click.Group, self).shell_complete(ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


def _directories(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="COMMAND [ARGS]…",
)
@click.option("-C", "at", metavar="PATH", default=".", shell_complete=_directories, help="Run as if started in PATH.")
@click.version_option(__version__, prog_name="chatml", message="%(prog)s %(version)s")
@click.pass_context
def root(ctx: click.Context, at: str) -> None:
    """Run coding agents in parallel, each in its own git worktree.

    `chatml new "add rate limiting"` makes a session and returns; `chatml ls` shows what every agent does and which
    one needs you. Try it without a key: `chatml demo`.
    """
    locks.on_wait = _tell_wait
    ctx.obj = Path(at).absolute()


def _tell_wait(path: Path) -> None:
    output.note(f"waiting for another chatml command, which holds {path}")


def main() -> None:
    """Run the command line; never returns."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        output.silence_stdout()
    except OSError as error:
        code = output.complain(ChatmlError(f"could not write the output: {error.strerror}"))
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code; the one place where errors become messages."""
    try:
        result = root.main(argv, prog_name="chatml", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        output.error(_usage(error), _usage_hint(error, argv))
        return 2
    except click.ClickException as error:
        output.error(_lower(error.format_message()))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except (ChatmlError, OSError) as error:
        return output.complain(error)
    except Exception:  # noqa: BLE001 - the boundary: a bug is reported as one
        return _report_bug()
    return result if isinstance(result, int) else 0


def _usage_hint(error: click.UsageError, argv: list[str]) -> str | None:
    if error.ctx is None:
        return None
    path = error.ctx.command_path
    text = next((word for word in argv if word.startswith("-") and len(word.split()) > 1), None)
    if isinstance(error, click.NoSuchOption) and text is not None:
        rest = [word for word in argv if word != text]
        return f"a text that begins with '-' goes behind '--': {shlex.join(['chatml', *rest, '--', text])}"
    return f"see '{path} --help'"


def _usage(error: click.UsageError) -> str:
    """What click says, in the words of our own messages."""
    if isinstance(error, click.NoSuchOption) and error.option_name is not None:
        return f"no such option '{error.option_name}'{nearest(error.option_name, error.possibilities or ())}"
    return _lower(error.format_message())


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".")


def _report_bug() -> int:
    """One line for the person; the traceback goes to a file."""
    import tempfile
    import traceback

    text = f"chatml {__version__}, Python {sys.version}\n{traceback.format_exc()}"
    last = text.strip().splitlines()[-1]
    try:
        handle, path = tempfile.mkstemp(prefix="chatml-bug-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        output.error(f"this is a bug in chatml: {last}", f"please report it with {path}")
    except OSError:
        output.error(f"this is a bug in chatml: {last}")
    return EXIT_BUG
