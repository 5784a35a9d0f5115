"""Keeps Claude's file tools to the session's scope, in every permission mode."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import claude_agent_sdk as sdk
from claude_agent_sdk.types import HookContext, HookInput, HookJSONOutput

from chatml.agents import briefing
from chatml.agents.claude.tools import verdict
from chatml.agents.claude.transcript import is_plan
from chatml.changes.scope import outside
from chatml.model import Session
from chatml.model.terms import FILE_TOOLS


class Fence:
    """Refuses what a file tool would change out of scope; nobody is asked about it."""

    def __init__(self, session: Session, worktree: Path) -> None:
        self._session = session
        self._top = os.path.realpath(worktree)

    def matchers(self) -> list[sdk.HookMatcher]:
        """The hooks for PreToolUse; none without a scope."""
        if not self._session.terms.scope:
            return []
        return [sdk.HookMatcher(matcher="|".join(FILE_TOOLS), hooks=[self._check], on_failure="block")]

    async def _check(self, hook_input: HookInput, tool_use_id: str | None, context: HookContext) -> HookJSONOutput:
        del tool_use_id, context
        data: Mapping[str, Any] = dict(hook_input)
        named = data["tool_input"].get("file_path") or data["tool_input"].get("notebook_path") or ""
        # By its real path: a link within the scope may lead out of it.
        target = os.path.realpath(os.path.join(self._top, named))
        if target.startswith(self._top + os.sep):
            path = os.path.relpath(target, self._top)
            if not await asyncio.to_thread(outside, self._session.terms.scope, [path]):
                return {}
        elif self._session.terms.permission_mode != "bypassPermissions" or is_plan(target):
            return {}  # asked about, like everything else outside of the worktree
        return verdict("deny", briefing.file_out_of_scope(self._session.terms.scope))
