"""The house rules that a reader relies on: who imports whom, and what a fast command must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import chatml
from tests.support import TIMEOUT, Sandbox

PACKAGE = Path(chatml.__file__).parent

LEVELS = [
    {"environment", "errors", "guard", "pipes", "record", "text", "typed"},
    {"model", "plugins", "proc"},
    {"containment", "marking"},
    {"checking", "state", "repo"},
    {"config"},
    {"terminal", "tasks"},
    {"changes"},
    {"workspace", "runners", "agents", "notify", "forge"},
    {"landing", "predecessors"},
    {"queue", "trying"},
    {"project"},
    {"sessions", "worker", "checks", "scripted"},
    {"removal"},
    {"output", "render"},
    {"commands"},
    {"cli"},
]
"""Modules (or packages) by level, the lowest first: each may import those of lower levels, and inside its package."""

DOORS = {
    "git": {"repo"},
    "yaml": {"config"},
    "subprocess": {"proc"},
    "claude_agent_sdk": {"agents"},
    "filelock": {"state"},
    "click": {"cli", "commands", "output"},
    "tabulate": {"output"},
}
"""The only modules that may import each heavy dependency."""

SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")


def top(path: Path) -> str:
    """The part of the house that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """All modules that a file imports anywhere, by their full name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def level(part: str) -> int:
    return next(number for number, parts in enumerate(LEVELS) if part in parts)


@pytest.mark.parametrize("path", [p for p in SOURCES if top(p) != "__init__"], ids=lambda p: p.stem)
def test_imports_point_downwards(path: Path) -> None:
    here = top(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "chatml" or len(parts) < 2 or parts[1] in (here, "__version__"):
            continue
        assert level(parts[1]) < level(here), f"{path.name} imports {name}"


def test_each_name_of_a_class_has_one_meaning() -> None:
    homes: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(path.name)
    assert not {name: places for name, places in homes.items() if len(places) > 1}


def test_no_modules_import_each_other_in_a_ring() -> None:
    """Also within a folder, and wherever in a module the import stands: each has its place below or above."""
    graph: dict[str, set[str]] = {}
    modules = {"chatml." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in SOURCES}
    for module, path in modules.items():
        wanted = imports(path)
        graph[module] = {other for other in modules if any(f"{name}.".startswith(f"{other}.") for name in wanted)} - {
            module
        }
    TopologicalSorter(graph).prepare()


SHARED = {"batch", "completion", "conversation", "decisions", "each", "options", "rest"}
"""The modules among the commands that are none, but serve several."""


def test_no_command_imports_another() -> None:
    for path in (PACKAGE / "commands").glob("*.py"):
        others = {name.split(".")[2] for name in imports(path) if name.startswith("chatml.commands.")}
        assert others <= SHARED, f"{path.name} imports {others - SHARED}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_each_heavy_dependency_has_one_door(path: Path) -> None:
    for name in imports(path):
        allowed = DOORS.get(name.split(".")[0])
        assert allowed is None or top(path) in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_only_the_command_line_prints(path: Path) -> None:
    """All else returns data: what is rendered from it is painted text, which the screen takes as it can."""
    if any(name == "chatml.output" or name.startswith("chatml.output.") for name in imports(path)):
        assert top(path) in {"cli", "commands"}, path


def test_every_module_says_what_it_is_for_and_stays_one_room() -> None:
    for path in SOURCES:
        text = path.read_text("utf-8")
        assert ast.get_docstring(ast.parse(text)), path
        assert len(text.splitlines()) <= 300, path


@pytest.mark.parametrize("args", [["--help"], ["ls"], ["ls", "--json"], ["path", "x"]], ids=" ".join)
def test_a_fast_command_loads_no_heavy_dependency(sandbox: Sandbox, args: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "chatml", *args],
        cwd=sandbox.repo,
        env=sandbox.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    loaded = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "chatml.cli" in loaded
    assert not loaded & {"claude_agent_sdk", "git", "yaml", "asyncio", "filelock"}
