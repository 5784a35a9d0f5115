"""What Claude Code itself has written down of a conversation: which messages it took, and what it has counted.

After a crash only this tells whether a message was taken, since the CLI confirms one no sooner than the model answers.
Layout as measured with Claude Code 2.1.329: `projects/*/ID.jsonl` under its configuration folder, an entry a line.
"""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path


def config_dir() -> Path:
    """Where Claude Code keeps its own files."""
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")


class ClaudeTranscript:
    """The conversation under one id; empty where there is none (yet)."""

    def __init__(self, session_id: str | None) -> None:
        found = list(config_dir().glob(f"projects/*/{session_id}.jsonl")) if session_id else []
        self.path = found[0] if found else None

    def holds(self, message_id: str) -> bool:
        """Whether the agent has read this message, at the start of a turn or in the middle of one."""
        return any(self._find(f'"{key}":"{message_id}"') is not None for key in ("uuid", "source_uuid"))

    def cost(self) -> float | None:
        """US dollars that the CLI counts on from when it resumes; it writes them down only when it ends in order.

        None where that can't be told.
        """
        line = self._find('{"type":"cost-state"')
        if line is None:
            return 0.0
        try:
            return float(json.loads(line)["totalCostUSD"])
        except (ValueError, KeyError, TypeError):
            return None

    def _find(self, text: str) -> bytes | None:
        """The last line that has this text, from there on; never inside of a value, where quotes are escaped."""
        if self.path is None or not self.path.stat().st_size:
            return None
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content.rfind(text.encode())
            if start < 0:
                return None
            content.seek(start)
            return content.readline()


def is_plan(target: str) -> bool:
    """Whether a real path is a plan of plan mode, which go into a folder of Claude Code's own."""
    return target.startswith(os.path.realpath(config_dir() / "plans") + os.sep)
