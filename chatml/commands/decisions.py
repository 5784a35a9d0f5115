"""What a person decides about requests: one of each session, told in a line, kept for scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import click

from chatml import output
from chatml.commands.each import Each
from chatml.errors import UsageError
from chatml.model import Reply, Request
from chatml.model.outcome import Outcome
from chatml.project import Project
from chatml.render import requests
from chatml.sessions import answer
from chatml.sessions.caller import hands_off


class Asked(NamedTuple):
    """A session, and which of its requests; None for the only one."""

    name: str
    request_id: str | None


class Decisions(Each):
    """The way of `approve`, `deny` and `answer` through the sessions."""

    def __init__(self, project: Project, quiet: bool) -> None:
        super().__init__(project)
        self._say = output.narrator(quiet)

    def asked(self, names: Sequence[str], request_id: str | None) -> list[Asked]:
        """What these sessions ask, or the one here. UsageError for one id and several names."""
        if request_id and len(names) > 1:
            raise UsageError("--id takes one name")
        return [Asked(name, request_id) for name in self.named(names)]

    def make(self, asked: Iterable[Asked], decide: Callable[[Request], Reply], suffix: str = "") -> None:
        """Answer each of them by what `decide` says of it."""

        def one(of: Asked) -> Outcome:
            # First of all: what else is wrong with the call is not for an agent that may not make it.
            hands_off(self.project, of.name, str(click.get_current_context().info_name))
            request = answer.asked(self.project, *of)
            reply = decide(request)
            answer.reply(self.project, of.name, reply)
            self._say(f"{of.name}: {requests.decided(request, reply)}{suffix}")
            details = {"request": request.id, "rules": list(reply.rules), "answers": reply.answers}
            return Outcome(of.name, requests.DECISIONS[reply.decision], details)

        self.do(asked, one, lambda of: of.name)
