"""The manual pages say what the program says, and are well-formed."""

from __future__ import annotations

import subprocess

import click
import pytest

from chatml.cli import COMMANDS, root
from tests import docs, manual
from tests.support import ROOT, TIMEOUT, needs


def test_manual_and_completions_are_current() -> None:
    assert docs.stale() == [], "write them anew: python -m tests.docs --write"


@pytest.mark.parametrize("name", COMMANDS)
def test_one_line_help_is_the_commands_own(name: str) -> None:
    """The root lists it without loading the command: the two must not drift apart."""
    command = root.get_command(click.Context(root), name)
    assert command is not None
    assert docs.summary(command) == COMMANDS[name]


def test_every_option_says_what_it_does() -> None:
    ctx = click.Context(root)
    silent = [
        f"{name} {param.opts[0]}"
        for name in COMMANDS
        for param in (root.get_command(ctx, name) or root).params
        if isinstance(param, click.Option) and not param.help
    ]
    assert silent == []


def test_every_command_has_examples() -> None:
    assert set(manual.EXAMPLES) == {"chatml", *COMMANDS}


@needs("mandoc")
def test_pages_are_well_formed() -> None:
    pages = sorted(str(page) for page in (ROOT / "man").glob("*.1"))
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *pages],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stdout) == (0, "")
