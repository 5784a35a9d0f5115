"""`chatml init`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from chatml import output
from chatml.agents import skill
from chatml.commands import options
from chatml.config import COMMITTED
from chatml.config.living import has_git
from chatml.errors import ChatmlError, UsageError
from chatml.project import open_project


@click.command()
@click.option(
    "--skill", "for_agents", is_flag=True, help="Write the skill file, by which agents know how to use chatml."
)
@click.option("--print", "only_print", is_flag=True, help="Print what would be written, and write nothing.")
@click.option("--force", "-f", is_flag=True, help="With --skill: replace a file that says something else.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, for_agents: bool, only_print: bool, force: bool, as_json: bool, quiet: bool) -> None:
    """Write chatml's files for this project into the checkout.

    Looks at what the project is (npm, pnpm, yarn, bun, uv, poetry, pip, cargo, go, bundler, composer, gradle, make,
    docker compose, .env.example, devcontainer.json), and writes a .chatml.yaml with comments, to edit: how a worktree
    is set up, run and torn down. One that is there is never replaced.

    --skill writes .claude/skills/chatml/SKILL.md instead, which Claude Code shows to its agents: how to start, watch
    and land sessions from within one. 'chatml help agents' prints the same. A file that is there and says something
    else is left as it is, unless you add --force.
    """
    if force and not for_agents:
        raise UsageError("--force goes with --skill", f"a {COMMITTED} that is there is never replaced")
    project = open_project(at)
    top = project.repo.top
    if top is None:
        raise ChatmlError(
            "there is no checkout here to write into", "call it in a checkout, or in a session's worktree"
        )
    path = _inside(top, top / (skill.PATH if for_agents else COMMITTED))
    text = skill.HEAD + skill.TEXT if for_agents else _settings(top)
    if only_print:
        if as_json:
            output.json_answer({"path": str(path), "outcome": "printed", "text": text})
        else:
            output.answer(text, newline=False)
        return
    if not for_agents and os.path.lexists(path):
        raise ChatmlError(f"{path} is there, and is never replaced", "see what would be written: chatml init --print")
    outcome = _write(path, text, force)
    if as_json:
        output.json_answer({"path": str(path), "outcome": outcome})
        return
    output.answer(str(path))
    if not quiet:
        output.note(_next(for_agents, outcome))


def _next(for_agents: bool, outcome: str) -> str:
    """What to do with what was written."""
    if outcome == "the same":
        return "it was there already"
    if for_agents:
        return "commit it, so that agents in other worktrees have it too"
    return "edit it, approve its commands (chatml trust), and commit it"


def _settings(top: Path) -> str:
    from chatml.config import proposing  # here alone: --skill needs no look at the project
    from chatml.repo import git

    return proposing.document(top, lambda name: git("check-ignore", "-q", "--", name, at=top, check=False).code == 0)


def _inside(top: Path, path: Path) -> Path:
    """`path`, where no link on its way leads out of the checkout. ChatmlError where one does."""
    real = Path(os.path.realpath(path))
    home = Path(os.path.realpath(top))
    if not real.is_relative_to(home) or has_git(real.relative_to(home).parts):
        raise ChatmlError(f"{path} leads out of the checkout, to {real}", "remove the link, and call this again")
    return path


def _write(path: Path, text: str, force: bool) -> str:
    """What became of the file: `written`, or `the same`. ChatmlError where it says something else."""
    try:
        before = path.read_bytes()
    except FileNotFoundError:
        before = None
    if before == text.encode():
        return "the same"
    if before is not None and not force:
        raise ChatmlError(f"{path} is there, and says something else", "to replace it: chatml init --skill --force")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return "written"
