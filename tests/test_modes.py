"""What each permission mode lets run, asks about and denies, without a sandbox: the table, row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.calls import bash, writing
from tests.faults import Serve
from tests.support import Sandbox, thinned

MODES = ("default", "acceptEdits", "plan", "dontAsk", "bypassPermissions", "auto")

A, ASK, D, NO = "runs", "asks", "denied", "no such call"


OPTIONS = [{"label": label, "description": label} for label in ("A", "B")]
QUESTION = {"question": "Which?", "header": "Which", "multiSelect": False, "options": OPTIONS}

TABLE: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # call                           default acceptEdits plan dontAsk bypass auto
    "look": (bash("ls"), (A, A, A, A, A, A)),
    "read": ({"Read": {"file_path": "{cwd}/README.md"}}, (A, A, A, A, A, A)),
    "shell writes": (bash("echo x > shell.txt"), (ASK, A, ASK, D, A, A)),
    "program": (bash("python3 -c 1"), (ASK, ASK, ASK, D, A, D)),
    "commit": (bash("git commit -q --allow-empty -m x"), (A, A, ASK, A, A, A)),
    "git elsewhere": (bash("git -C {app} commit -q --allow-empty -m x"), (ASK, ASK, ASK, D, A, D)),
    "shell removes outside": (bash("rm -rf {out}/gone"), (ASK, ASK, ASK, D, A, D)),
    "read outside": ({"Read": {"file_path": "{out}/note"}}, (ASK, ASK, ASK, D, A, A)),
    "write": (writing("{cwd}/new.txt"), (ASK, A, D, D, A, A)),
    "edit": ({"Edit": {"file_path": "{cwd}/README.md", "old_string": "s", "new_string": "S"}}, (ASK, A, D, D, A, A)),
    "write outside": (writing("{out}/new.txt"), (ASK, ASK, D, D, A, ASK)),
    "write through a link": (writing("{cwd}/link/new.txt"), (ASK, ASK, D, D, A, ASK)),
    "write a hook": (writing("{app}/.git/hooks/pre-commit"), (ASK, ASK, D, D, A, D)),
    "write settings": (writing("{cwd}/.claude/settings.json"), (ASK, ASK, D, D, A, D)),
    "fetch": ({"WebFetch": {"url": "http://127.0.0.1:9/", "prompt": "read"}}, (ASK, ASK, ASK, D, A, D)),
    "question": ({"AskUserQuestion": {"questions": [QUESTION]}}, (ASK, ASK, ASK, D, ASK, ASK)),
    "plan": ({"ExitPlanMode": {}}, (NO, NO, ASK, NO, NO, NO)),
    "move away": ({"EnterWorktree": {"name": "x"}}, (NO, NO, NO, NO, NO, NO)),
}


def outcome(name: str, event: dict[str, Any]) -> str:
    """What became of a call, by what the agent was told."""
    output = event["output"]
    if "obody can" in output:  # the session has orders that nobody is there: what would be asked says so
        return ASK
    if "No such tool" in output or "not in plan mode" in output:
        return NO
    if event["ok"] or (name == "fetch" and "Unable to verify" in output):
        return A
    refused = ("denied", "plan mode", "hook error", "permission")
    return D if any(word in output.lower() for word in refused) else output


@pytest.mark.parametrize("mode", thinned(MODES, 3))
def test_what_runs_what_is_asked_and_what_is_denied(sandbox: Sandbox, serve: Serve, tmp_path: Path, mode: str) -> None:
    out = tmp_path / "out"
    (out / "gone").mkdir(parents=True)
    (out / "note").write_text("x")
    sandbox.repo.joinpath("link").symlink_to(out)
    sandbox.commit("a link")
    text = {"app": str(sandbox.repo), "out": str(out)}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(each) for key, each in value.items()}
        if isinstance(value, str):
            for key, path in text.items():
                value = value.replace(f"{{{key}}}", path)
        return value

    calls = {name: filled(call) for name, (call, _) in TABLE.items()}
    serve({"*": [*([call] for call in calls.values()), "Tried all."]})
    sandbox.chatml("new", "try", "-q", "--name", "t", "--wait", "--on-request", "deny", "--permission-mode", mode)
    assert sandbox.session("t")["result"] == "Tried all."
    results = [event for event in sandbox.events("t") if event["type"] == "tool_result"]
    found = {name: outcome(name, event) for name, event in zip(calls, results, strict=True)}
    assert found == {name: row[MODES.index(mode)] for name, (_, row) in TABLE.items()}
    assert (out / "gone").exists() == (found["shell removes outside"] != A)
    assert (out / "new.txt").exists() == (found["write outside"] == A)
    assert (sandbox.repo / ".git" / "hooks" / "pre-commit").exists() == (found["write a hook"] == A)
    assert sandbox.git("log", "--format=%s", "-1") == ("x" if found["git elsewhere"] == A else "a link")
    assert not Path(sandbox.session("t")["worktree"], ".claude", "worktrees").exists()
