"""What Claude may do: each tool call runs, is refused, or waits for a person's word."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import claude_agent_sdk as sdk
from claude_agent_sdk.types import HookContext, HookInput, HookJSONOutput, PermissionRuleValue

from chatml.agents.base import Ask, Denied, Setting, Signal, Withdrawn, summarize
from chatml.agents.claude.git_line import may_do_harm
from chatml.agents.claude.sandbox import ClaudeSandbox
from chatml.agents.claude.scope import Fence
from chatml.agents.claude.tools import Bounds, verdict
from chatml.agents.claude.transcript import is_plan
from chatml.model import Reply, Session
from chatml.model.terms import FILE_TOOLS

GIT_RULES = tuple(
    f"Bash(git {verb}:*)" for verb in ("add", "commit", "status", "diff", "log", "show", "restore --staged", "mv", "rm")
)
"""What a coherent commit takes: allowed by rule, because a session must be able to commit without asking."""

READING_RULES = tuple(f"Bash(git {verb}:*)" for verb in ("status", "diff", "log", "show", "blame", "merge-base"))
"""What an agent that only reads needs of git."""

TAKING_BACK = "Bash(git restore:*)"
"""How an agent with a scope takes back what it changed outside: its file tools don't reach there."""

KINDS = {"AskUserQuestion": "question", "ExitPlanMode": "plan"}
"""The tools by which an agent asks something else than a permission."""

NOBODY = (
    "This needs a person's permission and nobody can be asked right now. Go on without it, and say so in your answer."
)
NOT_ALLOWED = "Permission denied: here only that runs which a rule allows. Go on without it, and say so in your answer."
NO_ANSWER = "Nobody can be asked right now. Decide yourself, and say in your answer what you assumed."
NO_PLAN = "Nobody can approve a plan right now. End your turn with the plan as your answer."
SAYS_NOTHING = "This command requires approval"
"""The reason that Claude Code gives where no rule says anything."""

REFUSED = "The person denied this. Go on without it, or end your turn and say what you need."
PLANNING = "You are in plan mode: change no file yet. Write your plan, and call ExitPlanMode to have it approved."


class Gate:
    """Decides about tool calls, with a person's help where that is needed."""

    def __init__(
        self, session: Session, setting: Setting, sandbox: ClaudeSandbox | None, tell: Callable[[Signal], None]
    ) -> None:
        """`tell` takes what is asked, refused and withdrawn, to be passed on among the agent's signals."""
        self._sandbox = sandbox
        self._session = session
        self._setting = setting
        self._tell = tell
        self._open: dict[str, asyncio.Future[Reply]] = {}
        self._decided = list(setting.decided)
        self._allow = list(session.terms.allow)
        self.mode = session.terms.permission_mode
        """The permission mode as it is now: an agent can enter and leave plan mode by itself."""
        self.said = ""
        """The last text of the agent: where it asks about a plan that it wrote nowhere else, this is it."""

    @property
    def allowed(self) -> list[str]:
        """The rules of ours for what runs without asking, from the start."""
        return [] if self._session.terms.permission_mode == "plan" else list(self._git_rules)

    @property
    def _git_rules(self) -> tuple[str, ...]:
        """What the agent may do with git without asking, once it may begin; in the sandbox no rule is needed."""
        if self._session.terms.reads_only:
            return READING_RULES
        if self._sandbox is not None and self._sandbox.unasked:
            return ()
        return (*GIT_RULES, TAKING_BACK) if self._session.terms.scope else GIT_RULES

    @property
    def rules(self) -> dict[str, list[str]]:
        """The person's rules, as Claude Code's settings take them; it applies deny before ask before allow."""
        session = self._session
        return {"deny": list(session.terms.deny), "ask": list(session.terms.ask), "allow": list(session.terms.allow)}

    def hooks(self) -> dict[Any, list[sdk.HookMatcher]]:
        files = sdk.HookMatcher(matcher="|".join(FILE_TOOLS), hooks=[self._outside], on_failure="block")
        git = sdk.HookMatcher(matcher="Bash", hooks=[self._command], on_failure="block")
        worktree = self._setting.worktree
        bounds = Bounds(worktree, self._allow, self._session.terms.permission_mode == "bypassPermissions")
        return {"PreToolUse": [*bounds.matchers(), *Fence(self._session, worktree).matchers(), files, git]}

    def answer(self, call: str, reply: Reply) -> None:
        """What a person decided about this call; nothing where it is no longer open."""
        waiting = self._open.get(call)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    async def ask(
        self, tool: str, tool_input: dict[str, Any], context: sdk.ToolPermissionContext
    ) -> sdk.PermissionResultAllow | sdk.PermissionResultDeny:
        """Whatever the mode and the rules leave open: decided before, refused, or a person's to decide."""
        if self.mode == "plan" and tool in FILE_TOOLS:
            return sdk.PermissionResultDeny(message=PLANNING)
        if tool in FILE_TOOLS and exact_rule(tool, tool_input, self._setting.worktree) in self._allow:
            return sdk.PermissionResultAllow()
        if earlier := self._earlier(tool, tool_input):
            return self._result(tool, tool_input, earlier)
        summary = self._summary(tool, tool_input)
        if self._session.terms.on_request == "deny" or self.mode == "dontAsk":  # where only our own hooks would ask
            self._tell(Denied(tool, summary))
            words = {"AskUserQuestion": NO_ANSWER, "ExitPlanMode": NO_PLAN}
            return sdk.PermissionResultDeny(message=words.get(tool, NOT_ALLOWED if self.mode == "dontAsk" else NOBODY))
        call = str(context.tool_use_id)
        reply = await self._reply(
            Ask(call, KINDS.get(tool, "permission"), summary, self._detail(tool, tool_input, context))
        )
        return self._result(tool, tool_input, reply)

    async def _reply(self, question: Ask) -> Reply:
        self._open[question.call] = waiting = asyncio.Future[Reply]()
        self._tell(question)
        try:
            return await waiting
        except asyncio.CancelledError:
            self._tell(Withdrawn(question.call))
            raise
        finally:
            del self._open[question.call]

    def _earlier(self, tool: str, tool_input: dict[str, Any]) -> Reply | None:
        """What was decided about the same call while no agent was there to be told."""
        for one in self._decided:
            if one.tool == tool and one.input == tool_input:
                self._decided.remove(one)
                return one.reply
        return None

    def _summary(self, tool: str, tool_input: dict[str, Any]) -> str:
        if tool == "AskUserQuestion":
            questions = tool_input.get("questions") or []
            texts = [str(one.get("question", "")) for one in questions if isinstance(one, dict)]
            more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
            return (texts[0] if texts else "a question") + more
        if tool == "ExitPlanMode":
            lines = (line.strip(" #*") for line in self._plan(tool_input).splitlines())
            return next((line for line in lines if line), "a plan")
        if tool == "SandboxNetworkAccess":
            return f"network access to {tool_input.get('host')}"
        return summarize(tool, tool_input, str(self._setting.worktree))

    def _plan(self, tool_input: dict[str, Any]) -> str:
        return str(tool_input.get("plan") or self.said)

    def _detail(self, tool: str, tool_input: dict[str, Any], context: sdk.ToolPermissionContext) -> dict[str, Any]:
        detail: dict[str, Any] = {"tool": tool, "input": tool_input}
        if tool == "ExitPlanMode":
            detail["plan"] = self._plan(tool_input)
        elif tool != "AskUserQuestion":
            reason = context.decision_reason
            detail["reason"] = None if reason == SAYS_NOTHING else reason
            detail["rules"] = self._rules(tool, tool_input, context)
        return detail

    def _rules(self, tool: str, tool_input: dict[str, Any], context: sdk.ToolPermissionContext) -> list[str]:
        """The rules that would have let this call run: those that Claude Code suggests, else for the very same call."""
        for one in context.suggestions:
            if one.type == "addRules" and one.behavior == "allow" and one.rules:
                return [_rule_text(rule) for rule in one.rules]
        exact = exact_rule(tool, tool_input, self._setting.worktree)
        return [exact] if exact else []

    def _result(
        self, tool: str, tool_input: dict[str, Any], reply: Reply
    ) -> sdk.PermissionResultAllow | sdk.PermissionResultDeny:
        if reply.decision == "deny":
            return sdk.PermissionResultDeny(message=reply.message or REFUSED, interrupt=reply.interrupt)
        self._allow += reply.rules
        rules = list(reply.rules)
        updates = []
        if tool == "ExitPlanMode":
            self.mode = self._session.terms.after_plan
            updates.append(sdk.PermissionUpdate(type="setMode", mode=self.mode, destination="session"))  # type: ignore[arg-type]
            rules += self._git_rules
        if rules:
            values = [_rule_value(rule) for rule in rules]
            updates.append(sdk.PermissionUpdate(type="addRules", rules=values, behavior="allow", destination="session"))
        changed = {**tool_input, **({"answers": reply.answers} if reply.answers else {})}
        if reply.input is not None:
            changed = {**changed, **reply.input} if tool == "ExitPlanMode" else reply.input
        return sdk.PermissionResultAllow(updated_input=changed, updated_permissions=updates or None)

    async def _outside(self, hook_input: HookInput, tool_use_id: str | None, context: HookContext) -> HookJSONOutput:
        """A file tool that would write outside the worktree, by whatever link, must ask; not so in bypass mode."""
        del tool_use_id, context
        data: Mapping[str, Any] = dict(hook_input)
        named = data["tool_input"].get("file_path") or data["tool_input"].get("notebook_path") or ""
        target = os.path.realpath(os.path.join(self._setting.worktree, named))
        inside = os.path.realpath(self._setting.worktree)
        allowed = target.startswith(inside + os.sep) and not _is_git(Path(target), Path(inside))
        if allowed or self._session.terms.permission_mode == "bypassPermissions" or is_plan(target):
            return {}
        if exact_rule("Edit", data["tool_input"], self._setting.worktree) in self._allow:
            return {}
        return verdict("ask", "it lies outside the session's worktree")

    async def _command(self, hook_input: HookInput, tool_use_id: str | None, context: HookContext) -> HookJSONOutput:
        """The git commands allowed by rule are so for what they read and commit, not for writing files elsewhere."""
        del tool_use_id, context
        data: Mapping[str, Any] = dict(hook_input)
        if self._sandbox is not None:
            self._sandbox.prepare()
            if not data["tool_input"].get("dangerouslyDisableSandbox"):
                return {}
        if self._session.terms.permission_mode != "bypassPermissions" and may_do_harm(
            str(data["tool_input"].get("command"))
        ):
            return verdict("ask", "this way to call git can write files or run programs, or that can't be told")
        return {}


def exact_rule(tool: str, tool_input: Mapping[str, Any], worktree: Path) -> str | None:
    """The rule for just this call; None where the syntax of rules has none."""
    if tool in FILE_TOOLS:
        named = str(tool_input.get("file_path") or tool_input.get("notebook_path") or "")
        path = os.path.realpath(os.path.join(worktree, named))
        return None if re.search(r"[()*?\[\]!\\]", path) else f"Edit(/{path})"  # `//` is the root of the file system
    command = tool_input.get("command")
    if tool == "Bash" and isinstance(command, str) and not re.search(r"[*()\\\n]", command):
        return f"Bash({command})"
    return None


def _rule_text(rule: PermissionRuleValue) -> str:
    return rule.tool_name + (f"({rule.rule_content})" if rule.rule_content else "")


def _rule_value(rule: str) -> PermissionRuleValue:
    tool, _, content = rule.partition("(")
    return PermissionRuleValue(tool, content.removesuffix(")") or None)


def _is_git(target: Path, worktree: Path) -> bool:
    return (target.relative_to(worktree).parts or ("",))[0] == ".git"
