"""Any program as an agent: one process a turn, the prompt among its arguments, its output as the answer."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import errno
import os
import shutil
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from chatml import proc
from chatml.agents import briefing
from chatml.agents.base import AgentError, Idle, Setting, Signal, Started, Taken, TurnEnd
from chatml.agents.plain import PlainAgent
from chatml.errors import Kind
from chatml.model import Failure, Session, Tokens
from chatml.model.entry import Message
from chatml.model.event import Delta, Text
from chatml.pipes import Pipes

ANSWER = 20_000
"""Characters of a program's output that are kept as the session's result, its last ones; the log has all."""

GRACE = 5.0
"""Seconds between asking a program to end and killing it."""


class CommandAgent(PlainAgent):
    """Runs the session's command for each turn; it can't be talked to meanwhile, so messages wait for its end."""

    def __init__(self, session: Session, setting: Setting) -> None:
        super().__init__(session, setting)
        self._process: asyncio.subprocess.Process | None = None
        self._interrupted = False
        self._began = session.exchange.started
        self._open = list(setting.unanswered)
        self._ended = asyncio.Event()
        """No turn is under way, and the last one's end was told."""
        self._ended.set()

    async def start(self) -> None:
        program = (self.session.terms.command or ("",))[0]
        if shutil.which(program) is None:
            hint = f"install it, or correct 'agents: {self.session.terms.agent}' in the configuration"
            raise AgentError(Failure(Kind.AGENT.value, f"the agent's program '{program}' is not in PATH", hint))

    async def interrupt(self) -> None:
        self._interrupted = self._process is not None
        await self._end_process()
        with contextlib.suppress(asyncio.TimeoutError):  # what it said last, and that the turn is over, is told first
            await asyncio.wait_for(self._ended.wait(), GRACE)

    async def stop(self) -> None:
        await self._end_process()

    async def signals(self) -> AsyncIterator[Signal]:
        assert self.session.session_id is not None
        yield Started(self.session.session_id, self.session.model)
        while True:
            message = await self.messages.get()
            self._interrupted = False
            with Pipes(None) as pipes:
                self._process = process = await self._spawn(message, pipes)
                yield Taken((message.id,))  # not before it runs: what could not start is said again
                self._open.append(message.text)
                async with contextlib.aclosing(self._turn(process, pipes)) as turn:
                    self._ended.clear()
                    try:
                        async for one in turn:
                            yield one
                    finally:
                        self._ended.set()
            if self.messages.empty():
                yield Idle()

    async def _turn(self, process: asyncio.subprocess.Process, pipes: Pipes) -> AsyncGenerator[Signal, None]:
        began = time.monotonic()
        said = []
        async with contextlib.aclosing(_heard(process, pipes)) as heard:
            async for piece in heard:
                said.append(piece)
                yield Delta(piece)
        complaint = pipes.said[1].decode("utf-8", "replace").strip()
        code = await process.wait()
        self._process, self._began = None, True
        text = "".join(said).strip()
        if text:
            yield Text(text)
        failure = None
        if code and not self._interrupted:
            last = complaint.splitlines()[-1:] or text.splitlines()[-1:] or [""]
            how = f"was killed (signal {-code})" if code < 0 else f"exited with code {code}"
            hint = f"see 'chatml logs {self.session.name}'"
            failure = Failure(Kind.AGENT.value, f"{self.session.terms.agent} {how}: {last[0]}".rstrip(": "), hint)
        answered = failure is None and not self._interrupted
        if answered:
            self._open.clear()
        yield TurnEnd(
            result=text[-ANSWER:] if answered else None,
            cost_usd=0.0,
            total_cost_usd=0.0,
            tokens=Tokens(),
            duration_ms=int(1000 * (time.monotonic() - began)),
            failure=failure,
            interrupted=self._interrupted,
        )

    async def _spawn(self, message: Message, pipes: Pipes) -> asyncio.subprocess.Process:
        """Start the program with this message. A program that begins anew each turn also hears what is unanswered.

        AgentError where it can't be started.
        """
        again = self.session.terms.resume_command if self._began else None
        words = again or self.session.terms.command or ()
        said = [] if again else [one for one in self._open if one != briefing.GO_ON]
        whole = (briefing.recap(briefing.BROKE_OFF, said) if said else "") + message.text
        shorter = briefing.too_long_to_repeat(self.session.name, message.text) if said else message.text
        for prompt in (message.before + whole, whole, shorter):  # what fits into no argument goes without the rest
            try:
                return await self._execute(words, prompt, pipes)
            except OSError as error:
                refused = error
                if error.errno != errno.E2BIG:
                    break
        raise self._not_started(refused) from refused

    def _not_started(self, error: OSError) -> AgentError:
        what = f"{self.session.terms.agent} could not be started: {(error.strerror or str(error)).lower()}"
        hint = "go on with 'chatml resume' once that is mended"
        if error.errno == errno.E2BIG:
            what = f"the message is longer than {self.session.terms.agent} can be given as an argument"
            hint = "put it into a file, and name that file to a new session"
        return AgentError(Failure(Kind.AGENT.value, what, hint))

    async def _execute(self, words: Sequence[str], prompt: str, pipes: Pipes) -> asyncio.subprocess.Process:
        argv = [word.replace("{prompt}", prompt) for word in words]
        program = shutil.which(argv[0]) or argv[0]
        process = await asyncio.create_subprocess_exec(
            *proc.guarded([program, *argv[1:]], group=True),
            cwd=self.setting.worktree,
            env={**os.environ, "PWD": str(self.setting.worktree), **self.setting.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipes.stdout,
            stderr=pipes.stderr,
            start_new_session=True,
        )
        pipes.started()
        return process

    async def _end_process(self) -> None:
        """End the program and all of its group: ask, then kill."""
        process = self._process
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process is None or process.returncode is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), GRACE)


async def _heard(process: asyncio.subprocess.Process, pipes: Pipes) -> AsyncGenerator[str, None]:
    """What a program prints until it has ended, in pieces; what it leaves in the background is not waited for."""
    loop = asyncio.get_running_loop()
    news = asyncio.Event()

    def listen() -> None:
        pipes.tend(0)
        news.set()

    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end within a character
    ended = asyncio.create_task(process.wait())
    ended.add_done_callback(lambda _: news.set())
    loop.add_reader(pipes.fileno(), listen)
    try:
        while not ended.done():
            await news.wait()
            news.clear()
            if piece := decoder.decode(pipes.take()):
                yield piece
    finally:
        loop.remove_reader(pipes.fileno())
        ended.cancel()
    await asyncio.to_thread(pipes.finish)
    proc.leave(pipes)
    if piece := decoder.decode(pipes.take(), final=True):
        yield piece
