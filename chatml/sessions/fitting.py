"""Whether what is asked of a session can hold here: its agent, sandbox, role, check and runner."""

from __future__ import annotations

from dataclasses import replace

from chatml import containment
from chatml.agents import table
from chatml.config.programs import AgentCommand
from chatml.errors import ChatmlError, UsageError
from chatml.model import Terms
from chatml.project import Project
from chatml.runners import table as runners
from chatml.sessions.control import check_fits, check_message


def checked(project: Project, asked: Terms) -> Terms:
    """The terms, with the program behind an agent that is one. ChatmlError where they can't hold here."""
    program = project.config.programs.get(asked.agent)
    terms = _of_program(asked, program) if program else asked
    traits = table.row_of(terms, project.config.programs).traits
    if terms.role is not None and not traits.sandboxed:
        raise UsageError(
            f"the agent '{terms.agent}' can't play a role: chatml has no say in what it may do",
            "leave --role out, or take --agent claude",
        )
    if terms.sandbox == "required" and not traits.sandboxed:
        raise ChatmlError(
            f"'sandbox: required' can't hold for the agent '{terms.agent}': it is a program of its own",
            "use --sandbox auto, and confine that program yourself",
        )
    if terms.reads_only and terms.check is not None:
        raise UsageError(f"the role '{terms.role}' only reads: a check would find nothing to mend", "leave --check out")
    runners.named(terms.runner)
    if terms.sandbox == "required" and (lack := containment.lack()):
        raise ChatmlError(f"no sandbox here: {lack.reason}", lack.remedy)
    return replace(terms, prompt=check_fits(check_message(terms.prompt), terms))


def _of_program(asked: Terms, program: AgentCommand) -> Terms:
    """The terms with how the program behind their agent is called."""
    return replace(
        asked,
        command=program.command,
        resume_command=program.resume,
        prompt_by=program.prompt,
        agent_env=program.variables,
        cost_path=program.cost,
        answer_path=program.answer,
    )
