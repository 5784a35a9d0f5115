"""The style and the types hold, in the program and its tests."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT, TIMEOUT

PATIENCE = 170.0
"""Seconds for the slowest of them, beside all the other tests."""


@pytest.mark.parametrize("tool", ["ruff check", "ruff format --check", "mypy"])
def test_quality(tool: str) -> None:
    command = [sys.executable, "-m", *tool.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


WAITS = {"wait", "communicate", "join", "run", "check_output"}


def _waits(path: Path) -> Iterator[ast.Call]:
    """The calls in a file that wait for a process or a thread, by their name and their object's."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WAITS:
            owner = ast.unparse(node.func.value)
            if node.func.attr in ("run", "check_output"):
                if owner == "subprocess":
                    yield node
            elif node.func.attr != "join" or not node.args:
                yield node


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.stem)
def test_no_wait_is_without_a_limit(path: Path) -> None:
    for call in _waits(path):
        limited = any(word.arg in ("timeout", None) for word in call.keywords)
        assert limited or (call.args and call.func.attr != "run"), f"{path.name}:{call.lineno}: {ast.unparse(call)}"  # type: ignore[attr-defined]


assert TIMEOUT < PATIENCE
