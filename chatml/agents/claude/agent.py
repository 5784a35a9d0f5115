"""Claude through the Agent SDK and its bundled CLI; the only user of the SDK, with `claude_messages`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import shutil
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from chatml import proc
from chatml.agents.base import AgentError, Setting, Signal, Started, used_up
from chatml.agents.claude.lean import import_sdk
from chatml.errors import Kind
from chatml.model import Failure, Reply, Session
from chatml.model.entry import Message
from chatml.state.paths import SessionPaths

import_sdk()

import claude_agent_sdk as sdk  # noqa: E402

from chatml.agents.claude import tools  # noqa: E402
from chatml.agents.claude.cost import Meter  # noqa: E402
from chatml.agents.claude.messages import Translator  # noqa: E402
from chatml.agents.claude.permissions import Gate  # noqa: E402
from chatml.agents.claude.sandbox import sandbox_of  # noqa: E402
from chatml.agents.claude.transcript import ClaudeTranscript  # noqa: E402

MAX_BUFFER = 128 * 1024 * 1024
"""Bytes of one message. The SDK's default of 1 MiB ends a session that edits a file of 3 MB or reads a large image."""

MAX_MEMORY = 100_000
"""Bytes of a CLAUDE.md: it travels as one argument of a command, which Linux limits to 128 KiB (MAX_ARG_STRLEN)."""


class ClaudeAgent:
    """One connected Claude Code process and its conversation."""

    def __init__(self, session: Session, setting: Setting) -> None:
        self._session = session
        self._setting = setting
        self._stderr: deque[str] = deque(maxlen=40)
        self._signals: asyncio.Queue[Signal | None] = asyncio.Queue()
        self._sandbox = sandbox_of(session, setting)
        self._gate = Gate(session, setting, self._sandbox, self._signals.put_nowait)
        self._transcript = ClaudeTranscript(session.session_id)
        carried = self._transcript.cost()
        self._translate = Translator(session, carried)
        self._uncounted = max(0.0, (carried or 0.0) - session.exchange.reported_usd - session.exchange.running_usd)
        """What an agent has spent after its worker was killed: the next end of a turn tells it."""
        self._client: sdk.ClaudeSDKClient | None = None
        self._meter: Meter | None = None

    async def start(self) -> None:
        try:
            # In here, because a missing CLI or a full disk is the agent's failure, not a bug.
            client = sdk.ClaudeSDKClient(self._options())
            await client.connect()
        except Exception as error:
            await self.stop()
            raise self._failed(error) from error
        self._client = client
        self._meter = Meter(client, lambda total: self._signals.put_nowait(self._translate.spent(total)))

    def holds(self, message: Message) -> bool | None:
        return self._transcript.holds(message.id)

    async def send(self, message: Message) -> None:
        async def one() -> AsyncIterator[dict[str, Any]]:
            # The message is a block of its own, the last one: there the CLI looks for its slash commands.
            blocks = [{"type": "text", "text": text} for text in (message.before, message.text)]
            content = {"role": "user", "content": blocks if message.before else message.text}
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
        if self._meter is not None:
            self._meter.stop()
        if client is not None:
            with contextlib.suppress(Exception):  # the SDK ends the process by ladder whatever else it meets
                await client.disconnect()
        if self._sandbox is not None:
            self._sandbox.end()

    def answer(self, call: str, reply: Reply) -> None:
        self._gate.answer(call, reply)

    async def signals(self) -> AsyncIterator[Signal]:
        assert self._session.session_id is not None
        yield Started(self._session.session_id, None)
        reader = asyncio.create_task(self._read())
        try:
            while (one := await self._signals.get()) is not None:
                yield one
            await reader
        finally:
            reader.cancel()

    async def _read(self) -> None:
        """Turn the SDK's messages into signals; the gate puts its own between them."""
        assert self._client is not None
        try:
            async for message in self._client.receive_messages():
                self._note(message)
                self._measure(message)
                for signal in self._translate(message):
                    self._signals.put_nowait(signal)
        except Exception as error:
            raise self._failed(error) from error
        finally:
            self._signals.put_nowait(None)
        raise AgentError(Failure(Kind.AGENT.value, "the agent ended by itself" + self._last_words(), RESUME_HINT))

    def _measure(self, message: sdk.Message) -> None:
        assert self._meter is not None
        if isinstance(message, sdk.ResultMessage):
            self._meter.turn_ended()
        elif isinstance(message, sdk.AssistantMessage):
            self._meter.look()

    def _note(self, message: sdk.Message) -> None:
        """What the gate must know to decide."""
        if isinstance(message, sdk.SystemMessage) and message.subtype == "status":
            self._gate.mode = message.data.get("permissionMode") or self._gate.mode
        elif isinstance(message, sdk.AssistantMessage) and message.parent_tool_use_id is None:
            texts = [block.text for block in message.content if isinstance(block, sdk.TextBlock)]
            self._gate.said = texts[-1] if texts else self._gate.said

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
        known = session.exchange.started or self._transcript.path is not None
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
            permission_mode=session.terms.permission_mode,  # type: ignore[arg-type]
            max_turns=self._setting.max_turns,
            max_budget_usd=self._budget(),
            system_prompt={"type": "preset", "preset": "claude_code", "append": instruction},
            # A repository's own hooks, MCP servers and helpers start without asking, so its settings are read only
            # where the person has trusted the repository in Claude Code itself.
            setting_sources=["user", "project", "local"] if trusted else ["user"],
            strict_mcp_config=not trusted,
            tools=self._tools(),
            allowed_tools=self._gate.allowed,
            disallowed_tools=list(tools.REFUSED),
            can_use_tool=self._gate.ask,
            hooks=self._gate.hooks(),
            include_partial_messages=True,
            max_buffer_size=MAX_BUFFER,
            stderr=self._stderr.append,
            settings=json.dumps({"useAutoModeDuringPlan": False, "permissions": self._gate.rules, **tools.SETTINGS}),
            sandbox=self._contained(),
            extra_args=self._extra(),
            env=self._env(),
        )

    def _tools(self) -> list[str] | None:
        """The only tools that the agent has; None for all."""
        own = self._session.terms.tools
        if own is None:
            return None
        planning = self._session.terms.permission_mode == "plan"  # else it could never have its plan approved
        return [*own, *(["ExitPlanMode"] if planning else [])]

    def _extra(self) -> dict[str, str | None]:
        extra: dict[str, str | None] = {"replay-user-messages": None}
        if self._session.terms.mode_after_plan == "bypassPermissions":
            extra["allow-dangerously-skip-permissions"] = None  # else the CLI refuses that mode later
        return extra

    def _budget(self) -> float | None:
        """What this process may spend."""
        if self._setting.max_budget_usd is None:
            return None
        left = self._setting.max_budget_usd - self._uncounted
        if left <= 0:
            raise AgentError(used_up(self._session, Kind.BUDGET))
        return left

    def _contained(self) -> sdk.SandboxSettings | None:
        if self._sandbox is None:
            return None
        self._sandbox.begin()
        return cast(sdk.SandboxSettings, self._sandbox.settings())  # the SDK's type lacks keys that the CLI knows

    def _env(self) -> dict[str, str]:
        env = {
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
            **tools.ENV,
            "CLAUDE_CODE_MAX_RETRIES": os.environ.get("CLAUDE_CODE_MAX_RETRIES", "3"),
            **(self._sandbox.env() if self._sandbox is not None else {}),
            **self._setting.env,
        }
        terms = self._session.terms
        if "bypassPermissions" in (terms.permission_mode, terms.mode_after_plan) and os.geteuid() == 0:
            env["IS_SANDBOX"] = "1"  # else the CLI refuses the mode to root; the person asked for it by name
        return env

    def _guarded_cli(self) -> Path:
        """A script that starts the CLI so that it dies with this worker, whatever kills that."""
        cli = find_cli()
        if cli is None:
            raise FileNotFoundError("claude")
        script = SessionPaths(self._setting.state_dir).launcher
        words = shlex.join(proc.guarded([str(cli)]))
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8", errors="surrogateescape")
        script.chmod(0o700)
        return script


RESUME_HINT = "go on with 'chatml resume', or with a message: 'chatml send'"


def find_cli() -> Path | None:
    """The CLI that the SDK brings, else the one in PATH."""
    bundled = Path(sdk.__file__).parent / "_bundled" / "claude"
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
