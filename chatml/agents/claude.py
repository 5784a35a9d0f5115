"""Claude through the Agent SDK and its bundled CLI; the only user of the SDK, with `claude_messages`."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from chatml import proc
from chatml.agents.base import AgentError, Denied, Message, Setting, Signal, Started, summarize
from chatml.agents.git_line import may_do_harm
from chatml.agents.lean import import_sdk
from chatml.errors import Kind
from chatml.model import Failure, Session

import_sdk()

import claude_agent_sdk as sdk  # noqa: E402
from claude_agent_sdk.types import HookContext, HookInput, HookJSONOutput  # noqa: E402

from chatml.agents.claude_messages import Translator  # noqa: E402
from chatml.agents.claude_transcript import ClaudeTranscript, config_dir  # noqa: E402

GIT_RULES = tuple(
    f"Bash(git {verb}:*)" for verb in ("add", "commit", "status", "diff", "log", "show", "restore --staged", "mv", "rm")
)
"""What a coherent commit takes: allowed by rule, because a session must be able to commit without asking."""

NOT_FOR_US = (
    "EnterWorktree",  # would move the agent out of its session's worktree
    "ExitWorktree",
    "CronCreate",  # would outlive the turn that the worker lives for
    "CronDelete",
    "CronList",
    "Workflow",
)

FILE_TOOLS = "Write|Edit|MultiEdit|NotebookEdit"

MAX_BUFFER = 128 * 1024 * 1024
"""Bytes of one message. The SDK's default of 1 MiB ends a session that edits a file of 3 MB or reads a large image."""

MAX_MEMORY = 100_000
"""Bytes of a CLAUDE.md: it travels as one argument of a command, which Linux limits to 128 KiB (MAX_ARG_STRLEN)."""

NOBODY = (
    "This needs a person's permission and nobody can be asked right now. Go on without it, and say so in your answer."
)
NO_ANSWER = "Nobody can be asked right now. Decide yourself, and say in your answer what you assumed."
PLAN_NOTED = "Nobody can approve a plan right now. End your turn with the plan as your answer."


class ClaudeAgent:
    """One connected Claude Code process and its conversation."""

    def __init__(self, session: Session, setting: Setting) -> None:
        self._session = session
        self._setting = setting
        self._stderr: deque[str] = deque(maxlen=40)
        self._refused: deque[Denied] = deque()
        self._transcript = ClaudeTranscript(session.session_id)
        self._translate = Translator(session, self._transcript.cost())
        self._client: sdk.ClaudeSDKClient | None = None

    async def start(self) -> None:
        try:
            # In here, because a missing CLI or a full disk is the agent's failure, not a bug.
            client = sdk.ClaudeSDKClient(self._options())
            await client.connect()
        except Exception as error:
            raise self._failed(error) from error
        self._client = client

    def holds(self, message: Message) -> bool | None:
        return self._transcript.holds(message.id)

    async def send(self, message: Message) -> None:
        async def one() -> AsyncIterator[dict[str, Any]]:
            content = {"role": "user", "content": message.text}
            yield {"type": "user", "message": content, "parent_tool_use_id": None, "uuid": message.id}

        assert self._client is not None
        try:
            await self._client.query(one())
        except sdk.ClaudeSDKError as error:
            raise self._failed(error) from error

    async def interrupt(self) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):  # it may have ended by itself: then there's nothing to interrupt
                await self._client.interrupt()

    async def stop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # the SDK ends the process by ladder whatever else it meets
                await client.disconnect()

    async def signals(self) -> AsyncIterator[Signal]:
        assert self._client is not None
        assert self._session.session_id is not None
        yield Started(self._session.session_id, None)
        try:
            async for message in self._client.receive_messages():
                while self._refused:
                    yield self._refused.popleft()
                for signal in self._translate(message):
                    yield signal
        except Exception as error:
            raise self._failed(error) from error
        raise AgentError(Failure(Kind.AGENT.value, "the agent ended by itself" + self._last_words(), RESUME_HINT))

    def _last_words(self) -> str:
        return f": {self._stderr[-1]}" if self._stderr else ""

    def _failed(self, error: Exception) -> AgentError:
        """The SDK's exception as what it means for the session."""
        text = f"{error} {' '.join(self._stderr)}"
        if "No conversation found" in text or "is already in use" in text:
            return AgentError(Failure(Kind.AGENT.value, "the agent no longer has this conversation"), resumable=False)
        if isinstance(error, sdk.CLINotFoundError | FileNotFoundError):
            return AgentError(Failure(Kind.AGENT.value, "the Claude Code CLI is missing", "see 'chatml doctor'"))
        if isinstance(error, sdk.ProcessError):
            code = error.exit_code
            how = f"was killed (signal {-code})" if code is not None and code < 0 else f"exited with code {code}"
            return AgentError(Failure(Kind.AGENT.value, f"the agent's process {how}{self._last_words()}", RESUME_HINT))
        if isinstance(error, AgentError):
            return error
        return AgentError(
            Failure(Kind.AGENT.value, f"{error or type(error).__name__}{self._last_words()}", RESUME_HINT)
        )

    def _options(self) -> sdk.ClaudeAgentOptions:
        session = self._session
        # A first worker that was killed early leaves a conversation that the record doesn't know of.
        known = session.agent_started or self._transcript.path is not None
        resumed = {"resume": session.session_id} if known else {"session_id": session.session_id}
        trusted = trusts(Path(session.repository))
        instruction = self._setting.instruction
        if not trusted:
            instruction += project_memory(self._setting.worktree)
        return sdk.ClaudeAgentOptions(
            **resumed,  # type: ignore[arg-type]
            cwd=self._setting.worktree,
            cli_path=self._guarded_cli(),
            model=session.model,
            permission_mode=session.permission_mode,  # type: ignore[arg-type]
            max_turns=session.max_turns,
            max_budget_usd=session.max_budget_usd,
            system_prompt={"type": "preset", "preset": "claude_code", "append": instruction},
            # A repository's own hooks, MCP servers and helpers start without asking, so its settings are read only
            # where the person has trusted the repository in Claude Code itself.
            setting_sources=["user", "project", "local"] if trusted else ["user"],
            strict_mcp_config=not trusted,
            allowed_tools=[] if session.permission_mode == "plan" else list(GIT_RULES),
            disallowed_tools=list(NOT_FOR_US),
            can_use_tool=self._ask,
            hooks={
                "PreToolUse": [
                    sdk.HookMatcher(matcher=FILE_TOOLS, hooks=[self._outside], on_failure="block"),
                    sdk.HookMatcher(matcher="Bash", hooks=[self._writing_git], on_failure="block"),
                ]
            },
            include_partial_messages=True,
            max_buffer_size=MAX_BUFFER,
            stderr=self._stderr.append,
            settings=json.dumps({"useAutoModeDuringPlan": False}),
            extra_args={"replay-user-messages": None},
            env=self._env(),
        )

    def _env(self) -> dict[str, str]:
        env = {
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
            "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # a worker lives only while a turn does
            "CLAUDE_CODE_MAX_RETRIES": os.environ.get("CLAUDE_CODE_MAX_RETRIES", "3"),
            **self._setting.env,
        }
        if self._session.permission_mode == "bypassPermissions" and os.geteuid() == 0:
            env["IS_SANDBOX"] = "1"  # else the CLI refuses the mode to root; the person asked for it by name
        return env

    def _guarded_cli(self) -> Path:
        """A script that starts the CLI so that it dies with this worker, whatever kills that."""
        cli = find_cli()
        if cli is None:
            raise FileNotFoundError("claude")
        script = self._setting.state_dir / "claude"
        words = shlex.join(proc.guarded([str(cli)]))
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8", errors="surrogateescape")
        script.chmod(0o700)
        return script

    async def _ask(
        self, tool: str, tool_input: dict[str, Any], context: sdk.ToolPermissionContext
    ) -> sdk.PermissionResultAllow | sdk.PermissionResultDeny:
        """Whatever would need a person is refused, and said to be."""
        del context
        self._refused.append(Denied(tool, summarize(tool, tool_input, str(self._setting.worktree))))
        words = {"AskUserQuestion": NO_ANSWER, "ExitPlanMode": PLAN_NOTED}
        return sdk.PermissionResultDeny(message=words.get(tool, NOBODY))

    async def _outside(self, hook_input: HookInput, tool_use_id: str | None, context: HookContext) -> HookJSONOutput:
        """A file tool that would write outside the worktree, by whatever link, must ask; not so in bypass mode."""
        del tool_use_id, context
        data: Mapping[str, Any] = dict(hook_input)
        named = data["tool_input"].get("file_path") or data["tool_input"].get("notebook_path") or ""
        target = os.path.realpath(os.path.join(self._setting.worktree, named))
        inside = os.path.realpath(self._setting.worktree)
        allowed = target.startswith(inside + os.sep) and not _is_git(Path(target), Path(inside))
        if allowed or self._session.permission_mode == "bypassPermissions" or _is_plan(target):
            return {}
        return _must_ask("it lies outside the session's worktree")

    async def _writing_git(
        self, hook_input: HookInput, tool_use_id: str | None, context: HookContext
    ) -> HookJSONOutput:
        """The git commands allowed by rule are so for what they read and commit, not for writing files elsewhere."""
        del tool_use_id, context
        data: Mapping[str, Any] = dict(hook_input)
        if self._session.permission_mode != "bypassPermissions" and may_do_harm(str(data["tool_input"].get("command"))):
            return _must_ask("this way to call git can write files or run programs, or that can't be told")
        return {}


RESUME_HINT = "go on with 'chatml resume', or with a message: 'chatml send'"


def _must_ask(reason: str) -> HookJSONOutput:
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "ask",
            "permissionDecisionReason": reason,
        }
    }


def _is_git(target: Path, worktree: Path) -> bool:
    return (target.relative_to(worktree).parts or ("",))[0] == ".git"


def _is_plan(target: str) -> bool:
    """Plan mode writes its plan into a folder of Claude Code's own."""
    return target.startswith(os.path.realpath(config_dir() / "plans") + os.sep)


def find_cli() -> Path | None:
    """The CLI that the SDK brings, else the one in PATH."""
    bundled = Path(sdk.__file__).parent / "_bundled" / ("claude.exe" if sys.platform == "win32" else "claude")
    if bundled.is_file():
        return bundled
    found = shutil.which("claude")
    return Path(found) if found else None


def trusts(repository: Path) -> bool:
    """Whether the person has accepted Claude Code's trust dialog for this repository."""
    folder = os.environ.get("CLAUDE_CONFIG_DIR")
    file = (Path(folder) if folder else Path.home()) / ".claude.json"
    try:
        projects = json.loads(file.read_text(encoding="utf-8")).get("projects", {})
        return projects.get(str(repository), {}).get("hasTrustDialogAccepted") is True
    except (OSError, ValueError, AttributeError):
        return False


def project_memory(worktree: Path) -> str:
    """The repository's CLAUDE.md as part of the instruction: text is harmless where its settings are not.

    Only a file of the repository's own: a link could lead to any other, or to one without an end.
    """
    file = Path(os.path.realpath(worktree / "CLAUDE.md"))
    if not (file.is_relative_to(os.path.realpath(worktree)) and file.is_file()):
        return ""
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_MEMORY).decode("utf-8", "ignore").replace("\0", "")
    except OSError:
        return ""
    return f"\n\n# The repository's own instructions (CLAUDE.md)\n\n{text}"
