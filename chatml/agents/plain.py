"""An agent that answers one message after the other: what any program is, and what a plug-in can begin with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from chatml.agents.base import Idle, Setting, Signal, Started, Taken, TurnEnd
from chatml.model import Reply, Session, Tokens
from chatml.model.entry import Message
from chatml.model.event import Text


class PlainAgent:
    """Asks nobody, counts no cost and keeps no conversation; a subclass says how it answers."""

    def __init__(self, session: Session, setting: Setting) -> None:
        self.session = session
        self.setting = setting
        self.messages: asyncio.Queue[Message] = asyncio.Queue()

    async def reply(self, text: str) -> str:
        """The answer to one message. AgentError where there is none."""
        raise NotImplementedError

    async def start(self) -> None:
        """Nothing is needed before the first message."""

    def holds(self, message: Message) -> bool | None:  # noqa: ARG002
        return None

    async def send(self, message: Message) -> None:
        self.messages.put_nowait(message)

    def answer(self, call: str, reply: Reply) -> None:
        """Never called: it asks nobody."""

    async def interrupt(self) -> None:
        """It can't be: the turn goes on to its end, unless the agent is stopped."""

    async def stop(self) -> None:
        """Nothing is left of it."""

    async def signals(self) -> AsyncIterator[Signal]:
        yield Started(self.session.session_id or "", self.session.model)
        while True:
            message = await self.messages.get()
            yield Taken((message.id,))
            began = time.monotonic()
            answer = await self.reply(message.before + message.text)
            yield Text(answer)
            yield TurnEnd(answer, 0.0, 0.0, Tokens(), int(1000 * (time.monotonic() - began)))
            if self.messages.empty():
                yield Idle()
