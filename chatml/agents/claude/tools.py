"""Which of Claude Code's own tools a session has, each decided by name; and that none of them works elsewhere.

All that Claude Code can do by itself, beside the commands that a model has it run, as measured with 2.1.332. Work must
lie in the session's worktree, where it is counted, reviewed and saved, and end with its turn, after which nobody
listens. What breaks that is taken away, or refused with a reason that the model can act on:

- tools: `KEPT` and `REFUSED` below; one that is in neither list, from a later version, is a person's to allow
- worktrees of its own (`isolation` of the Agent tool, in a call or in an agent's definition): refused, by `SETTINGS`
- any call from another folder than the worktree, whatever brought the agent there (such as a `WorktreeCreate` hook of
  the person's own): refused
- background commands and subagents, workflows, schedules of `.claude/scheduled_tasks.json`: off, by `ENV`
- its memory (`~/.claude/projects/*/memory`, shared with the person's own conversations): read, and written with a
  yes, like all that lies outside; its plans (`~/.claude/plans`) belong to the conversation and are written unasked
- hooks, plugins, agents, skills and MCP servers: the person's own work as they do in their own Claude Code; a
  repository's only where the person has trusted it there (`agent.trusts`)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import claude_agent_sdk as sdk
from claude_agent_sdk.types import HookContext, HookInput, HookJSONOutput

from chatml.agents import briefing

KEPT = frozenset(
    (
        *("Bash", "PowerShell", "Read", "Write", "Edit", "MultiEdit", "NotebookEdit", "NotebookRead"),
        *("Glob", "Grep", "LS", "LSP"),  # some builds have them, others search through Bash
        *("Agent", "Task"),  # two names of one tool: a subagent works beside its parent, in the same worktree
        *("TaskStop", "TodoWrite", "TaskCreate", "TaskGet", "TaskList", "TaskUpdate", "TaskOutput"),
        *("Skill", "ToolSearch", "ReportFindings", "StructuredOutput", "DeferredToolPlaceholder"),
        *("WebFetch", "WebSearch"),
        *("AskUserQuestion", "EnterPlanMode", "ExitPlanMode"),  # a person's to answer
        *("ListMcpResourcesTool", "ReadMcpResourceTool", "ReadMcpResourceDirTool", "WaitForMcpServers"),
    )
)
"""The tools that a session has, under the rules and the mode that it has."""

REFUSED = (
    *("EnterWorktree", "ExitWorktree"),  # would move the agent out of its session's worktree
    *("CronCreate", "CronDelete", "CronList", "ScheduleWakeup"),  # would outlive the turn that the worker lives for
    *("Monitor", "Workflow"),  # go on in the background
    *("ListAgents", "SendMessage"),  # talk to other sessions, and to the person's own, where nobody sees it
    *("TeamCreate", "TeamDelete"),  # the same, for teams
    *("RemoteTrigger", "Artifact", "DesignSync"),  # work and publish in the cloud
)
"""The tools that a session doesn't have."""

ENV = {
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_CRON": "1",
    "CLAUDE_CODE_DISABLE_WORKFLOWS": "1",
}
"""What keeps Claude Code itself from work that a worker would not wait for."""

UNKNOWN = "this tool of Claude Code is not known to chatml"

SETTINGS: Mapping[str, Any] = {
    "hooks": {
        "WorktreeCreate": [{"hooks": [{"type": "command", "command": f"echo '{briefing.NO_WORKTREE}' >&2; exit 2"}]}]
    }
}
"""Refuses each worktree that Claude Code would make; an agent's definition that asks for one shows in no call."""


class Bounds:
    """Keeps each tool call to the session's worktree and to known tools."""

    def __init__(self, worktree: Path, allow: Sequence[str], unasked: bool) -> None:
        """`allow` holds the tools that a person has allowed by name; with `unasked`, any unknown one runs."""
        self._worktree = os.path.realpath(worktree)
        self._allow = allow
        self._unasked = unasked

    def matchers(self) -> list[sdk.HookMatcher]:
        """The hooks for PreToolUse."""
        return [sdk.HookMatcher(hooks=[self._check], on_failure="block")]

    async def _check(self, hook_input: HookInput, tool_use_id: str | None, context: HookContext) -> HookJSONOutput:
        del tool_use_id, context
        data: Mapping[str, Any] = dict(hook_input)
        tool, place = str(data["tool_name"]), os.path.realpath(data["cwd"])
        if place != self._worktree and not place.startswith(self._worktree + os.sep):
            return verdict("deny", briefing.not_here(place, self._worktree))
        if tool in ("Agent", "Task") and data["tool_input"].get("isolation"):
            return verdict("deny", briefing.NO_ISOLATION)
        known = tool in KEPT or tool.startswith("mcp__") or tool in self._allow
        return {} if known or self._unasked else verdict("ask", UNKNOWN)


def verdict(decision: Literal["ask", "deny"], reason: str) -> HookJSONOutput:
    """What a hook for PreToolUse answers: `deny`, or `ask` for what no rule may allow but a person."""
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": decision,
            "permissionDecisionReason": reason,
        }
    }
