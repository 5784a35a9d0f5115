"""Agents that are programs: how one is called, and those that chatml knows without being told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chatml.config.files import BadValueError, shown
from chatml.config.readers import check_known, having, list_of, map_of, read_command, read_text, read_variable, within

ARGUMENT, STDIN, FILE = "argument", "stdin", "file"
"""How a program is given a message: in place of `{prompt}`, on its standard input, or in a file of that path."""


@dataclass(frozen=True)
class AgentCommand:
    """An agent that is a program: its arguments for the first turn, and for going on with a conversation."""

    command: tuple[str, ...]
    resume: tuple[str, ...] | None = None
    prompt: str = ARGUMENT
    env: Mapping[str, str] = field(default_factory=dict)
    cost: str | None = None
    """A JMESPath into the JSON that it prints, to what a turn has cost in US dollars."""
    answer: str | None = None
    """The same, to what it has answered."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Its `env` as lines, as a session keeps them."""
        return tuple(f"{name}={value}" for name, value in self.env.items())


def read_agent(value: Any) -> AgentCommand:
    """A program as a file describes it."""
    arguments = list_of(having("prompt", "session", "state"))
    readers = {
        "command": arguments,
        "resume": arguments,
        "prompt": _way,
        "env": map_of(read_variable, lambda text: "" if text == "" else read_command(text)),
        "cost": _path,
        "answer": _path,
    }

    def part(name: Any) -> str:
        check_known(text := read_text(name), readers)
        return text

    parts = map_of(part, lambda item: item)(value)
    parts = {name: within(name, readers[name], item) for name, item in parts.items() if item is not None}
    if not parts.get("command"):
        raise BadValueError("needs a 'command'")
    program = AgentCommand(**parts)
    for name in ("command", "resume"):
        given = getattr(program, name)
        named = given is None or any("{prompt}" in argument for argument in given)
        if program.prompt != STDIN and not named:
            raise BadValueError("needs {prompt} where the task goes", name)
    return program


def _way(value: Any) -> str:
    check_known(word := read_text(value), (ARGUMENT, STDIN, FILE), f"can't be {shown(value)}")
    return word


def _path(value: Any) -> str:
    """A JMESPath (jmespath.org)."""
    import jmespath  # here alone: hardly any configuration has one

    text = read_text(value)
    try:
        jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        raise BadValueError(f"is no JMESPath: {str(error).splitlines()[0]}", hint="such as: total_cost_usd") from None
    return text


AIDER = (
    *("aider", "--yes-always", "--no-pretty", "--no-gitignore", "--no-check-update", "--no-show-release-notes"),
    *("--no-show-model-warnings", "--chat-history-file", "{state}/aider.chat.md"),
    *("--input-history-file", "{state}/aider.input", "--message-file", "{prompt}"),
)

PROGRAMS: Mapping[str, AgentCommand] = {
    "aider": AgentCommand(command=AIDER, resume=(*AIDER, "--restore-chat-history"), prompt=FILE),
    "claude-p": AgentCommand(
        command=(
            *("claude", "-p", "--output-format", "json", "--permission-mode", "acceptEdits"),
            *("--session-id", "{session}"),
        ),
        resume=(
            *("claude", "-p", "--output-format", "json", "--permission-mode", "acceptEdits"),
            *("--resume", "{session}"),
        ),
        prompt=STDIN,
        cost="total_cost_usd",
        answer="result",
    ),
    "codex": AgentCommand(
        command=("codex", "exec", "--json", "--sandbox", "workspace-write", "-"),
        resume=("codex", "exec", "resume", "--last", "--json", "-"),
        prompt=STDIN,
        answer="[?type=='item.completed' && item.type=='agent_message'].item.text | [-1]",
    ),
    "gemini": AgentCommand(
        command=("gemini", "--approval-mode", "auto_edit", "--output-format", "json"),
        resume=("gemini", "--resume", "latest", "--approval-mode", "auto_edit", "--output-format", "json"),
        prompt=STDIN,
        answer="response",
    ),
    "opencode": AgentCommand(
        command=("opencode", "run", "--format", "json", "{prompt}"),
        resume=("opencode", "run", "--continue", "--format", "json", "{prompt}"),
        cost="sum([?type=='step_finish'].part.cost)",
        answer="[?type=='text'].part.text | [-1]",
    ),
}
"""What is known without any configuration, by its name; what the configuration says of one goes before it."""
