"""What the agent asks a person: from the request to the reply, also where a worker died between the two."""

from __future__ import annotations

from collections.abc import Sequence

from chatml import notify
from chatml.agents import base, briefing
from chatml.agents.base import Agent, Decided
from chatml.errors import Kind
from chatml.model import Failure, Reply, Request, Status, now, transitions
from chatml.model.event import Event, Replied, Requested
from chatml.worker.journal import Journal


class Asking:
    """The open requests of one session, while its worker lives."""

    def __init__(self, journal: Journal, past: Sequence[Event]) -> None:
        """`past` is the log as it was when this worker began."""
        self._journal = journal
        self._count = sum(isinstance(event.what, Requested) for event in past)
        self._answered = {event.what.id for event in past if isinstance(event.what, Replied)}
        self._calls: dict[str, Request] = {}
        """What the living agent waits for, by its call."""
        self._left = {one.id: one for one in journal.session.requests if one.id not in self._answered}
        """What an agent had asked that has died since."""
        self._decided: dict[str, Reply] = {}
        self._replies: list[Reply] = []
        self.failure: Failure | None = None
        """Set where the session is to fail because nobody may be asked."""

    # --- while the agent lives ------------------------------------------------------------------------------------

    def opened(self, one: base.Ask) -> None:
        """The agent waits for a person, unless nobody is there by order."""
        self._count += 1
        request = Request(str(self._count), one.kind, one.summary, one.detail, now())
        self._calls[one.call] = request
        self._journal.log.append(Requested(request.id, one.kind, one.summary, one.detail))
        if self._journal.session.terms.on_request == "fail":
            hint = f"tell it what to do instead: chatml send {self._journal.session.name} …"
            self.failure = Failure(Kind.AGENT.value, f"it needs a person: {one.summary}", hint)
            self._replies.append(
                Reply(request.id, "deny", "nobody can be asked: the session ends here", interrupt=True)
            )
        else:
            self._journal.change(lambda session: transitions.asked(session, request))
            if self._journal.session.status is Status.WAITING:
                notify.tell(self._journal.session, self._journal.store.log, request)

    def withdrawn(self, call: str) -> None:
        """The turn was interrupted, and the question with it."""
        request = self._calls.pop(call, None)
        if request is not None:
            self._close(request, Reply(request.id, "withdrawn"))

    def take(self, reply: Reply) -> None:
        """A reply from the inbox. One that was logged before, or that nobody waits for, is past."""
        if reply.request in self._answered:
            return
        if reply.request in self._left:
            self._decide(reply)
        elif any(request.id == reply.request for request in self._calls.values()):
            self._replies.append(reply)

    def hand_over(self, agent: Agent) -> None:
        """Tell the agent what was decided. It is logged first: what may have reached it is not granted twice."""
        replies, self._replies = self._replies, []
        for reply in replies:
            call = next((call for call, one in self._calls.items() if one.id == reply.request), None)
            if call is None:
                continue
            request = self._calls.pop(call)
            self._keep(request, reply)
            self._close(request, reply)
            agent.answer(call, reply)

    def _close(self, request: Request, reply: Reply) -> None:
        self._answered.add(request.id)
        said = Replied(request.id, reply.decision, reply.message, reply.answers, reply.input, reply.rules)
        self._journal.log.append(said)
        self._journal.change(lambda session: transitions.answered(session, request.id))

    def _keep(self, request: Request, reply: Reply) -> None:
        """What holds beyond this one call goes into the record, so that it holds after a restart too."""
        if reply.rules:
            self._journal.ask_anew(allow=(*self._journal.session.terms.allow, *reply.rules))
        if request.kind == "plan" and reply.decision == "approve":
            self._journal.ask_anew(permission_mode=self._journal.session.terms.after_plan, mode_after_plan=None)

    # --- after one has died ---------------------------------------------------------------------------------------

    def broke_off(self) -> None:
        """The agent has ended while it waited."""
        self._left |= {request.id: request for request in self._calls.values()}
        self._calls.clear()

    def _decide(self, reply: Reply) -> None:
        self._decided[reply.request] = reply
        self._keep(self._left[reply.request], reply)

    def decided(self) -> tuple[Decided, ...]:
        """What the next agent need not ask again."""
        return tuple(
            Decided(str(self._left[i].detail.get("tool")), self._left[i].detail.get("input") or {}, reply)
            for i, reply in self._decided.items()
        )

    def news(self) -> str:
        """What the next agent is told of all that; empty where nothing was open."""
        return briefing.decisions([(one, self._decided.get(i)) for i, one in self._left.items()])

    def settle(self) -> None:
        """The agent has been told."""
        for i, request in self._left.items():
            self._close(request, self._decided.get(i, Reply(i, "withdrawn")))
        self._left.clear()
        self._decided.clear()
