"""`chatml init`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from chatml import output
from chatml.agents import skill
from chatml.commands import options
from chatml.config.living import has_git
from chatml.errors import ChatmlError, UsageError
from chatml.project import open_project


@click.command()
@click.option(
    "--skill", "for_agents", is_flag=True, help="Write the skill file, by which agents know how to use chatml."
)
@click.option("--force", "-f", is_flag=True, help="Replace a file that says something else.")
@options.as_json
@options.quiet
@options.color
@click.pass_obj
def command(at: Path, for_agents: bool, force: bool, as_json: bool, quiet: bool) -> None:
    """Write chatml's files for this project into the checkout.

    --skill writes .claude/skills/chatml/SKILL.md, which Claude Code shows to its agents: how to start, watch and land
    sessions from within one. 'chatml help agents' prints the same. A file that is there and says something else is
    left as it is, unless you add --force.
    """
    if not for_agents:
        raise UsageError("nothing to write: say what", "chatml init --skill")
    top = open_project(at).repo.top
    if top is None:
        raise ChatmlError(
            "there is no checkout here to write into", "call it in a checkout, or in a session's worktree"
        )
    path = _inside(top, top / skill.PATH)
    outcome = _write(path, skill.HEAD + skill.TEXT, force)
    if as_json:
        output.json_answer({"path": str(path), "outcome": outcome})
        return
    output.answer(str(path))
    if not quiet:
        said = {
            "written": "commit it, so that agents in other worktrees have it too",
            "the same": "it was there already",
        }
        output.note(said[outcome])


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
