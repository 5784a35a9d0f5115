"""Tool calls, as a script of the model has them."""

from __future__ import annotations

from typing import Any


def bash(command: str, **more: Any) -> dict[str, Any]:
    """Runs a command."""
    return {"Bash": {"command": command, **more}}


def writing(path: str, text: str = "x\n") -> dict[str, Any]:
    """Writes a file; `{cwd}` in the path is the session's worktree."""
    return {"Write": {"file_path": path, "content": text}}
