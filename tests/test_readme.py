"""The README tells the truth: its commands exist, its recipes work, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from chatml.cli import COMMANDS, root
from chatml.config import load
from chatml.config.files import Source, yaml_data
from chatml.state.paths import StatePaths
from chatml.tasks.documents import read_document
from chatml.tasks.lists import read_list
from tests import manual
from tests.support import ROOT, TIMEOUT, Sandbox, needs
from tests.test_family import case

__all__ = ["case"]

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [(language, text) for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)]


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def shown() -> Iterator[str]:
    """Every line of shell that the README and the manual show."""
    for text in blocks("sh"):
        yield from text.splitlines()
    for text in blocks("console"):
        yield from (line[2:] for line in text.splitlines() if line.startswith("$ "))
    for text in blocks("yaml") + blocks("make"):
        yield from (line.strip().removeprefix("- run: ") for line in text.splitlines() if "chatml " in line)
    for examples in manual.EXAMPLES.values():
        for _, commands in examples:
            yield from commands.splitlines()


def calls(line: str) -> Iterator[list[str]]:
    """The arguments of every call of chatml in a line of shell, those within `$(…)` too."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.wordchars += "$%@+"
    lexer.commenters = "#"
    words: list[str] = []
    for word in [*lexer, ";"]:
        if "$(" in word:
            yield from calls(word.partition("$(")[2].rpartition(")")[0])
        if word[0] not in "();<>|&":
            words.append(word)
            continue
        yield from _call(words)
        # What follows a redirection is a file; all else begins a new command.
        words = ["redirected"] if word[0] in "<>" else []


def _call(words: list[str]) -> Iterator[list[str]]:
    if "chatml" in (names := [Path(word).name for word in words]):
        place = names.index("chatml")
        if place == 0 or words[place - 1] in ("do", "then", "if", "!"):
            yield words[place + 1 :]


CALLS = sorted({tuple(call) for line in shown() for call in calls(line)})


TABLE = README.partition("## Commands")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| `(\w+)[^|]*\|[^|]*\|(.*)\|$", TABLE, re.MULTILINE)


def test_every_command_is_shown_and_in_the_table() -> None:
    assert {call[0] for call in CALLS if call} >= set(COMMANDS)
    assert sorted(name for name, _ in ROWS) == sorted(COMMANDS)


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_command_shown_is_one_that_the_parser_takes(call: tuple[str, ...]) -> None:
    ctx = root.make_context("chatml", list(call))
    name, command, args = root.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
    assert command is not None
    command.make_context(name, list(args), parent=ctx)


def test_options_in_the_table_exist() -> None:
    for name, row in ROWS:
        command = root.get_command(click.Context(root), name)
        assert command is not None
        known = {option for param in command.params for option in param.opts}
        assert set(re.findall(r"`(-[\w-]+)", row)) <= known, name


def test_ci_runs_the_line_for_tests() -> None:
    (line,) = [line for line in shown() if line.endswith("&& .venv/bin/pytest")]
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert run[-2:] == [line, ".venv/bin/pytest -m long"]


def test_the_configuration_shown_is_valid(tmp_path: Path) -> None:
    (text,) = [text for text in blocks("yaml") if text.startswith("base:")]
    (tmp_path / "chatml").mkdir()
    (tmp_path / "chatml" / "config.yaml").write_text(text, encoding="utf-8")
    config = load(state=StatePaths(tmp_path), top=None, environ={})
    assert config.branch_prefix == "chatml/"


def test_the_settings_of_a_worktree_shown_are_valid(tmp_path: Path) -> None:
    (text,) = [text for text in blocks("yaml") if text.startswith("copy:")]
    (tmp_path / "chatml").mkdir()
    (tmp_path / "chatml" / "config.yaml").write_text(text, encoding="utf-8")
    given = load(state=StatePaths(tmp_path), top=None, environ={}).furnishing
    assert [(one.name, one.port) for one in given.services] == [("web", "web"), ("jobs", "db")]
    assert [step.command for step in given.setup] == ["npm ci", "createdb app_{slug}"]


def test_the_tasks_shown_can_be_read() -> None:
    (text,), (document,) = blocks("markdown"), blocks("yml")
    listed = read_list(text, "tasks.md")
    assert (len(listed.rows), listed.ticked, listed.problems, listed.left_out) == (2, 1, (), ())
    source = Source("tasks.yaml")
    assert len(read_document(yaml_data(document, source), source).rows) == 4


@needs("make")
def test_the_makefile_works_again_and_again(sandbox: Sandbox, case: Path) -> None:
    """What is there is left as it is, what failed is gone on with, and what is new is made."""
    (makefile,) = blocks("make")
    (sandbox.repo / "Makefile").write_text(makefile, encoding="utf-8")
    (sandbox.repo / "tasks.md").write_text("- task\n")
    chores = sandbox.repo / "chores"
    chores.mkdir()
    (chores / "tidy.md").write_text("Tidy up.\n\nAll of it.\n", encoding="utf-8")
    for name, script in (("task", "true"), ("tidy-1", "echo x >> tidied"), ("mend-1", "test -e ../right")):
        (case / name).write_text(script)
    make(sandbox, "tasks", "chores")
    (chores / "mend.md").write_text("Mend it.\n", encoding="utf-8")
    assert "mend-1 failed" in make(sandbox, "-k", "tasks", "chores", code=2)
    (sandbox.repo.with_name("app.chatml") / "right").touch()
    assert "tidied | 1 +" in make(sandbox, "tasks", "chores")
    listed = {one["name"]: one["status"] for one in sandbox.chatml("ls", "--json").json}
    assert listed == {"task": "done", "tidy-1": "done", "mend-1": "done"}
    assert len(sandbox.events("tidy-1", "message")) == 1


def make(sandbox: Sandbox, *args: str, code: int = 0) -> str:
    """What make has said; asserts its exit code."""
    done = subprocess.run(
        ["make", *args], cwd=sandbox.repo, env=sandbox.env, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert done.returncode == code, done
    return done.stdout + done.stderr


def test_the_job_for_github_is_one() -> None:
    (text,) = [text for text in blocks("yaml") if "runs-on" in text]
    job = yaml.safe_load(text)["jobs"]["changelog"]
    assert all(set(step) <= {"uses", "with", "run", "if"} for step in job["steps"])


def test_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (ROOT / target).is_file(), target


def test_the_layout_shown_is_the_real_one() -> None:
    (text,) = [text for language, text in BLOCKS if not language and text.startswith("chatml/\n")]
    named = set(re.findall(r"(?:^  |  )(\w+(?:\.py|/))  ", text))
    real = {path.name + "/" * path.is_dir() for path in (ROOT / "chatml").iterdir() if not path.name.startswith("__")}
    assert {name for name in named if name not in ("man/", "completions/")} == real
