"""`chatml help`."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from chatml import output
from chatml.errors import UsageError
from chatml.text import nearest

AGENTS = "agents"
"""The page that is no command's."""


def _offered(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    return [CompletionItem(name) for name in _topics(ctx) if name.startswith(incomplete)]


def _topics(ctx: click.Context) -> list[str]:
    group = ctx.find_root().command
    return [*(group.list_commands(ctx) if isinstance(group, click.Group) else ()), AGENTS]


@click.command()
@click.argument("topic", metavar="[COMMAND|agents]", required=False, shell_complete=_offered)
@click.pass_context
def command(ctx: click.Context, topic: str | None) -> None:
    """Show the help of a command, or the page for agents.

    'chatml help new' is 'chatml new --help'. 'chatml help agents' is how an agent starts and steers sessions: the
    text of the skill file that 'chatml init --skill' writes.
    """
    root = ctx.find_root()
    if topic is None:
        output.answer(root.get_help())
    elif topic == AGENTS:
        from chatml.agents import skill

        output.answer(skill.TEXT.rstrip("\n"))
    else:
        found = root.command.get_command(root, topic) if isinstance(root.command, click.Group) else None
        if found is None:
            raise UsageError(f"no help on '{topic}'{nearest(topic, _topics(ctx))}", "see 'chatml help'")
        output.answer(found.make_context(topic, [], parent=root, resilient_parsing=True).get_help())
