"""Any program as an agent: one process a turn, the prompt among its arguments, its output as the answer."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import errno
import json
import math
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any

from chatml import proc
from chatml.agents import briefing
from chatml.agents.base import AgentError, Idle, Setting, Signal, Started, Taken, TurnEnd
from chatml.agents.plain import PlainAgent
from chatml.errors import Kind
from chatml.model import Failure, Session, Terms, Tokens
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
        self._total = session.exchange.reported_usd
        """What it has told to have cost so far, in US dollars."""

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
            with self._given(message) as (pipes, texts):
                self._process = process = await self._spawn(texts, pipes)
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
                if self.session.terms.answer_path is None:
                    yield Delta(piece)
        complaint = pipes.said[1].decode("utf-8", "replace").strip()
        code = await process.wait()
        self._process, self._began = None, True
        text, usd = told("".join(said).strip(), self.session.terms)
        self._total = round(self._total + usd, 6)
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
            cost_usd=usd,
            total_cost_usd=self._total,
            tokens=Tokens(),
            duration_ms=int(1000 * (time.monotonic() - began)),
            failure=failure,
            interrupted=self._interrupted,
        )

    @contextlib.contextmanager
    def _given(self, message: Message) -> Iterator[tuple[Pipes, Sequence[str]]]:
        """The program's pipes, and what is put for `{prompt}`: of several, what fits into no argument goes without.

        A program that begins anew each turn also hears what is unanswered.
        """
        said = [] if self._resumes() else [one for one in self._open if one != briefing.GO_ON]
        whole = (briefing.recap(briefing.BROKE_OFF, said) if said else "") + message.text
        way = self.session.terms.prompt_by
        if way == "stdin":
            with Pipes((message.before + whole).encode("utf-8", "surrogatepass")) as pipes:
                yield pipes, ("-",)
        elif way == "file":
            with tempfile.NamedTemporaryFile("w", prefix="chatml-", suffix=".md", encoding="utf-8") as file:
                file.write(message.before + whole)
                file.flush()
                with Pipes(None) as pipes:
                    yield pipes, (file.name,)
        else:
            shorter = briefing.too_long_to_repeat(self.session.name, message.text) if said else message.text
            with Pipes(None) as pipes:
                yield pipes, (message.before + whole, whole, shorter)

    def _resumes(self) -> bool:
        """Whether the program goes on with its conversation."""
        return self._began and self.session.terms.resume_command is not None

    async def _spawn(self, prompts: Sequence[str], pipes: Pipes) -> asyncio.subprocess.Process:
        """Start the program with the first of these that it can be given. AgentError where it can't be started."""
        terms = self.session.terms
        words = (terms.resume_command if self._resumes() else terms.command) or ()
        for prompt in prompts:
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
        known = {"{session}": self.session.session_id or "", "{state}": str(self.setting.state_dir), "{prompt}": prompt}
        argv = [_PLACEHOLDERS.sub(lambda found: known[found[0]], word) for word in words]
        own = dict(one.partition("=")[::2] for one in self.session.terms.agent_env)
        program = shutil.which(argv[0]) or argv[0]
        process = await asyncio.create_subprocess_exec(
            *proc.guarded([program, *argv[1:]], group=True),
            cwd=self.setting.worktree,
            env={**os.environ, "PWD": str(self.setting.worktree), **self.setting.env, **own},
            stdin=pipes.stdin or asyncio.subprocess.DEVNULL,
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


_PLACEHOLDERS = re.compile(r"\{(?:prompt|session|state)\}")


def told(said: str, terms: Terms) -> tuple[str, float]:
    """What a program has answered, and what that has cost in US dollars: by the JSON that it has printed.

    Looked for in all of it, or where it is no JSON text, in the list of those of its lines that are one. All that it
    has said is the answer where it prints none, or nothing stands there.
    """
    if terms.answer_path is None and terms.cost_path is None:
        return said, 0.0
    import jmespath  # here alone: few programs are looked at so

    data = _json(said)
    answer = usd = None
    with contextlib.suppress(jmespath.exceptions.JMESPathError):
        answer = jmespath.search(terms.answer_path, data) if terms.answer_path is not None else None
    with contextlib.suppress(jmespath.exceptions.JMESPathError):
        usd = jmespath.search(terms.cost_path, data) if terms.cost_path is not None else None
    text = answer.strip() if isinstance(answer, str) else said
    known = isinstance(usd, (int, float)) and not isinstance(usd, bool) and 0 <= usd < math.inf
    return text, round(float(usd or 0), 6) if known else 0.0


def _json(said: str) -> Any:
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(said)
    found = []
    for line in said.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return found


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
