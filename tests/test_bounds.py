"""What Claude Code does by itself stays in the session: no worktree of its own, and every tool decided by name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from chatml.agents import briefing
from chatml.agents.claude import tools
from tests.faults import Serve, logged
from tests.support import TIMEOUT, Sandbox

COMMIT = {"Bash": {"command": "touch sub.txt; git add sub.txt; git commit -qm sub"}}
SUBAGENT: dict[str, Any] = {"SUBTASK": [[COMMIT], "Committed."]}


def delegate(**how: str) -> dict[str, Any]:
    """A call of the Agent tool."""
    return {"Agent": {"description": "sub", "prompt": "SUBTASK", "subagent_type": "general-purpose", **how}}


def boxed(sandbox: Sandbox) -> None:
    """A person's agent that asks by its definition for a worktree of its own."""
    agents = sandbox.home / ".claude" / "agents"
    agents.mkdir(parents=True)
    text = "---\nname: boxed\ndescription: works apart\nisolation: worktree\n---\nYou work apart.\n"
    (agents / "boxed.md").write_text(text)


def settings(sandbox: Sandbox, **values: Any) -> None:
    """The person's own settings of Claude Code."""
    folder = sandbox.home / ".claude"
    folder.mkdir(exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(values))


def main_is_untouched(sandbox: Sandbox) -> bool:
    """Whether there is nothing in the main checkout, and no branch but main and the session's."""
    branches = sandbox.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    return branches == ["chatml/t", "main"] and sandbox.git("status", "--porcelain", "--ignored") == ""


@pytest.mark.parametrize("isolation", ["worktree", "remote"])
@pytest.mark.parametrize("mode", ["acceptEdits", "bypassPermissions"])
def test_a_subagent_gets_no_place_of_its_own(sandbox: Sandbox, serve: Serve, isolation: str, mode: str) -> None:
    """The model is told why, and starts it again: then its work is the session's."""
    serve({**SUBAGENT, "*": [[delegate(isolation=isolation)], [delegate()], "Done."]})
    sandbox.chatml("new", "do it", "--name", "t", "--permission-mode", mode, "--wait")
    refused, *rest = logged(sandbox, "t", "tool_result")
    assert not refused["ok"]
    assert briefing.NO_ISOLATION in refused["output"]
    assert all(one["ok"] for one in rest)
    assert main_is_untouched(sandbox)
    session = sandbox.session("t")
    assert (session["changes"]["files"], session["changes"]["commits"]) == (1, 1)
    assert (Path(session["worktree"]) / "sub.txt").exists()


def test_an_agent_whose_definition_isolates_it_is_refused(sandbox: Sandbox, serve: Serve) -> None:
    boxed(sandbox)
    serve({**SUBAGENT, "*": [[delegate(subagent_type="boxed")], "Done."]})
    sandbox.chatml("new", "do it", "--name", "t", "--wait")
    (refused,) = logged(sandbox, "t", "tool_result")
    assert not refused["ok"]
    assert briefing.NO_WORKTREE in refused["output"]
    assert main_is_untouched(sandbox)


def test_nothing_is_done_in_another_folder_whoever_made_it(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    """A person's own hook makes Claude Code's worktrees elsewhere."""
    boxed(sandbox)
    make = f"git worktree add -q --detach {tmp_path}/else >&2 && echo {tmp_path}/else"
    settings(sandbox, hooks={"WorktreeCreate": [{"hooks": [{"type": "command", "command": make}]}]})
    serve({**SUBAGENT, "*": [[delegate(subagent_type="boxed")], "Done."]})
    sandbox.chatml("new", "do it", "--name", "t", "--permission-mode", "bypassPermissions", "--wait")
    refused = logged(sandbox, "t", "tool_result")[0]
    assert briefing.not_here(str(tmp_path / "else"), sandbox.session("t")["worktree"]) in refused["output"]
    assert not (tmp_path / "else" / "sub.txt").exists()
    assert main_is_untouched(sandbox)


def test_nothing_is_done_elsewhere_where_hooks_are_switched_off(sandbox: Sandbox, serve: Serve) -> None:
    boxed(sandbox)
    settings(sandbox, disableAllHooks=True)
    serve({**SUBAGENT, "*": [[delegate(subagent_type="boxed")], "Done."]})
    sandbox.chatml("new", "do it", "--name", "t", "--wait")
    assert not list(sandbox.repo.rglob("sub.txt"))
    assert "sub" not in sandbox.git("log", "--all", "--format=%s").split()


def offered(sandbox: Sandbox, **options: Any) -> list[str]:
    """The tools that Claude Code says it has, asked with nobody's settings but these."""
    import claude_agent_sdk as sdk

    async def allow(*_: Any) -> sdk.PermissionResultAllow:
        return sdk.PermissionResultAllow()

    async def ask() -> list[str]:
        asked = sdk.ClaudeAgentOptions(cwd=sandbox.repo, env=sandbox.env, can_use_tool=allow, **options)
        async with sdk.ClaudeSDKClient(asked) as client:
            await client.query("hello")
            async for message in client.receive_messages():
                if isinstance(message, sdk.SystemMessage) and message.subtype == "init":
                    return [str(tool) for tool in message.data["tools"]]
        raise AssertionError("it ended before it said what it has")

    return asyncio.run(asyncio.wait_for(ask(), TIMEOUT))


@pytest.mark.long
def test_every_tool_that_claude_code_has_is_decided(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": ["Hello."]})
    everything = set(offered(sandbox))
    assert {"Bash", "EnterWorktree", "ScheduleWakeup"} < everything
    assert everything <= tools.KEPT | set(tools.REFUSED), "decide about the new ones in chatml.agents.claude.tools"
    assert set(offered(sandbox, disallowed_tools=list(tools.REFUSED))) == everything - set(tools.REFUSED)


def test_an_unknown_tool_is_a_persons_to_allow(tmp_path: Path) -> None:
    def decided(tool: str, *allow: str, unasked: bool = False) -> Any:
        bounds = tools.Bounds(tmp_path, allow, unasked)
        call: Any = {"tool_name": tool, "tool_input": {}, "cwd": str(tmp_path)}

        async def ask() -> Any:
            return await bounds.matchers()[0].hooks[0](call, None, {"signal": None})

        answer = asyncio.run(ask())
        return answer.get("hookSpecificOutput", {}).get("permissionDecision")

    assert decided("LaunchRocket") == "ask"
    assert decided("LaunchRocket", "LaunchRocket") is None
    assert decided("LaunchRocket", unasked=True) is None
    assert decided("mcp__rockets__launch") is decided("Bash") is None
