"""All that a session was asked to be, from the configuration, its role and the command line."""

from __future__ import annotations

from chatml.record import record

FILE_TOOLS = ("Write", "Edit", "MultiEdit", "NotebookEdit")
"""The tools that change files."""


@record(frozen=True)
class Terms:
    """What holds for one session from its start on; only a person changes it later: more money, another rule.

    Each field that is a setting is declared, with its check and its help, in `config.keys`.
    """

    prompt: str = ""
    agent: str = "claude"
    model: str | None = None
    """The model that was asked for; None leaves it to the agent."""
    permission_mode: str = "acceptEdits"
    mode_after_plan: str | None = None
    """The mode to go on in once the plan is approved, for a session that began with planning."""
    on_request: str = "wait"
    """What becomes of a request: it waits for a person, is denied, or fails the session."""
    allow: tuple[str, ...] = ()
    """Rules of Claude Code for what may be done without asking: from the settings, or approved by a person."""
    ask: tuple[str, ...] = ()
    """Rules for what is asked about in any case but a denied one."""
    deny: tuple[str, ...] = ()
    """Rules for what is denied in any case, whatever the mode."""
    sandbox: str = "auto"
    """Shell commands in a sandbox: where that is possible, or not at all without (`required`), or never (`off`)."""
    max_turns: int | None = None
    max_budget_usd: float | None = None
    max_parallel: int | None = None
    """How many sessions may be at work for this one to start; None where it never has to queue."""
    max_depth: int = 1
    """How many levels of sessions its agent may start below it: with 1, its children start none."""
    max_children: int = 5
    """How many sessions its agent may start, in all."""
    runner: str = "local"
    """Where its workers run."""
    notify: str | None = None
    """The command that tells a person who looks elsewhere; None for the desktop's own notifier, `off` for nothing."""
    role: str | None = None
    instruction: str | None = None
    """What the agent is told beside its task, by its role."""
    tools: tuple[str, ...] | None = None
    """The only tools that the agent has, by its role."""
    scope: tuple[str, ...] = ()
    """The paths that may be changed, as patterns of gitignore(5); all of them without any."""
    command: tuple[str, ...] | None = None
    """The program and arguments of an agent that is a command, `{prompt}` where the task goes."""
    resume_command: tuple[str, ...] | None = None
    """The same for going on with its conversation; None where it has none to go on with."""
    prompt_by: str = "argument"
    """How that program is given a message: as an `argument`, on `stdin`, or in a `file` of that path."""
    agent_env: tuple[str, ...] = ()
    """What it finds in its environment beside all else: `NAME=value` each."""
    cost_path: str | None = None
    """Where in the JSON that it prints stands what a turn has cost, as a JMESPath."""
    answer_path: str | None = None
    """The same of what it has answered."""
    after: tuple[str, ...] = ()
    """Names of the sessions that have to be done before this one starts."""
    reviews: str | None = None
    """The `id` of the session that this one reviews; its base is then a copy of what that one held."""
    check: str | None = None
    """The command of the shell that must pass for it to be done."""
    retries: int = 1
    """How often the agent is told that the check failed, before the session fails."""
    check_timeout: float = 1800.0
    """Seconds that the check may take."""

    @property
    def reads_only(self) -> bool:
        """Whether its role leaves its agent no tool to change a file with."""
        return self.tools is not None and not set(self.tools) & set(FILE_TOOLS)

    @property
    def bypasses(self) -> bool:
        """Whether its agent may do anything, be it after a plan only."""
        return "bypassPermissions" in (self.permission_mode, self.after_plan)

    @property
    def after_plan(self) -> str:
        """The permission mode to go on in once a plan is approved."""
        if self.mode_after_plan is not None:
            return self.mode_after_plan
        return "default" if self.permission_mode == "plan" else self.permission_mode
