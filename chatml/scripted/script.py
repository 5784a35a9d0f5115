"""The script language of the demo API: which answer the scripted model gives to a conversation.

A script is plain data, Python or the same as JSON. It maps regular expressions to conversations; the first one that is
found in a conversation's first prompt is followed, `*` where none is::

    {
        "rate limit": {
            "turns": [
                [
                    ["I'll look first.", {"Bash": {"command": "ls"}}],
                    {"Write": {"file_path": "{cwd}/limit.py", "content": "LIMIT = 10\\n"}},
                    "Done: ten requests a second.",
                ],
                ["You said: {prompt}"],
            ],
            "on": {"ping": ["pong"]},
        },
        "*": ["Hello."],
    }

A *conversation* is `{"turns": [turn, …], "on": {regex: turn}}`, or just one turn. A *turn* is a list of steps: one step
is one answer of the model; the next step is its answer after the tools have run. `on` goes before `turns`: its turn is
followed when its expression is found in what the user said since the last answer, in the middle of a run too. Where
steps or turns run out, the model says "Done.". A *step* is one part or a list of parts, sent in their order:

- `"text"` or `{"say": "text", "delay": 0.05}`: streamed, word by word with `delay` seconds between them
- `{"think": "text"}`: a thinking block
- `{"Bash": {"command": "ls"}}`: a tool call (any capitalised name, or `mcp__…`); several make parallel calls
- `{"pause": 1.5}`: seconds; `{"hold": "name"}`: until that name is released
- `{"usage": {"output_tokens": 9000}}`, `{"stop": "max_tokens"}`, `{"headers": {…}}`: what the answer reports
- `{"fail": 429, "type": "rate_limit_error", "message": "…", "headers": {"retry-after": "1"}}`: an HTTP error; `body`
  replaces the JSON made of type and message
- `{"drop": true}`: the connection ends, before the headers or, after other parts, in mid-stream
- `{"hang": true}`: nothing more comes, the connection stays open
- `{"error": "overloaded_error", "message": "…"}`: an error event in the stream
- `{"raw": "data: {nonsense\\n\\n"}`: these bytes in the stream

Texts with at most a pause or a hold between them are one block, which stays open until another part needs it closed:
`["Half a ", {"drop": true}]` breaks in the midst of a text. `fail`, `drop`, `hang` and `error` end the step; with
`"times": N` they strike a session's first N requests only, and the step then goes on with the parts after them. `{cwd}`
(where the agent works) and `{prompt}` (what the user said last) are filled in wherever text stands.

Invariant: the step is found from the conversation that the request carries, so that a resumed process, a retry and two
sessions at once get the right one. Only `times` and `hold` remember anything. A turn ends with an answer that calls no
tool, by an interrupt, or with the process; the next prompt begins a new one. A turn that ended in an API error is still
open: the next prompt gets the same step.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chatml.agents.briefing import OTHERS

Script = Mapping[str, Any]

#: directive → types of its value, names of its options
DIRECTIVES: dict[str, tuple[tuple[type, ...], frozenset[str]]] = {
    "say": ((str,), frozenset({"delay"})),
    "think": ((str,), frozenset()),
    "pause": ((int, float), frozenset()),
    "hold": ((str,), frozenset()),
    "usage": ((dict,), frozenset()),
    "stop": ((str,), frozenset()),
    "headers": ((dict,), frozenset()),
    "fail": ((int,), frozenset({"type", "message", "headers", "body", "times"})),
    "drop": ((bool,), frozenset({"times"})),
    "hang": ((bool,), frozenset({"times"})),
    "error": ((str,), frozenset({"message", "times"})),
    "raw": ((str,), frozenset()),
}
FAULTS = frozenset({"fail", "drop", "hang", "error"})

_CWD = re.compile(r"^ ?- (?:Primary w|W)orking directory: (.+)$", re.MULTILINE)
#: How the CLI hands on what was sent in the middle of a run.
_SENT = re.compile(r"The user sent a new message while you were working:\n(.*?)\n\nThis is how Claude Code", re.DOTALL)
_COMPACT = "CRITICAL: Respond with TEXT ONLY"
#: How the user texts begin that the CLI writes itself: they neither begin a turn nor count as said.
_NOTES = (
    "<system-reminder>",
    "<local-command",
    "<command-",
    "Stop hook feedback",
    "Output token limit hit",
    "Your response above was ",
)
_SUMMARY = re.compile(r"Scripted: (.*)\n\[turn (\d+), step (\d+), (over|open), after (\w+)\]", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """One thing of an answer: a directive (`say`, `hold`, …) or `tool`, with its value and options."""

    kind: str
    value: Any
    options: dict[str, Any] = field(default_factory=dict)
    name: str = ""


Step = tuple[Part, ...]
Turn = tuple[Step, ...]
DONE: Step = (Part("say", "Done."),)


@dataclass(frozen=True)
class Rules:
    """What the model does in one conversation."""

    turns: tuple[Turn, ...]
    on: tuple[tuple[re.Pattern[str], Turn], ...]


@dataclass(frozen=True)
class Talk:
    """Where a conversation stands, read from the messages of a request; turns and steps count from 0.

    `texts` is all that the user said. The CLI may join texts that it sends together, with a newline.
    """

    texts: tuple[str, ...] = ()
    last: str = ""
    turn: int = 0
    step: int = 0
    since_last: int = 0
    cwd: str | None = None
    over: bool = False
    answer: str = "none"
    compacting: bool = False

    @property
    def first(self) -> str:
        return self.texts[0] if self.texts else ""


class Book:
    """A checked script. Raises ValueError, naming the place, where the data is not a script."""

    def __init__(self, script: Script) -> None:
        self._rules = [(key, _pattern(key), _rules(data, repr(key))) for key, data in script.items()]

    def step(self, talk: Talk, *, subagent: bool = False) -> Step:
        """The answer that comes next. A subagent follows only a conversation that names its prompt, never `*`."""
        for key, pattern, rules in sorted(self._rules, key=lambda rule: rule[0] == "*"):
            if (key == "*" and not subagent) or (key != "*" and pattern.search(talk.first)):
                return _next(rules, talk)
        return DONE


def _next(rules: Rules, talk: Talk) -> Step:
    for pattern, turn in rules.on:
        if pattern.search(talk.last):
            return turn[talk.since_last] if talk.since_last < len(turn) else DONE
    turn = rules.turns[talk.turn] if talk.turn < len(rules.turns) else ()
    return turn[talk.step] if talk.step < len(turn) else DONE


def read_talk(body: Mapping[str, Any]) -> Talk:
    """Where the conversation of a Messages request stands."""
    talk = Talk(cwd=_cwd(body))
    mark: Talk | None = None
    before = ""
    for message in body.get("messages", []):
        role, blocks = message["role"], list(_blocks(message.get("content")))
        texts = [block["text"].strip() for block in blocks if block.get("type") == "text"]
        if role == "assistant":
            talk = _answered(talk, blocks, again=before == "assistant")
            if mark and talk.answer == mark.answer:
                talk = replace(talk, turn=mark.turn, step=mark.step, over=mark.over)
        elif role == "user" and (found := _SUMMARY.search("\n".join(texts))):
            talk = mark = _resumed(talk, found)
        elif role == "user":
            talk = _prompted(talk, texts)
        elif sent := [text.strip() for each in texts for text in _SENT.findall(each)]:
            talk = _said(talk, sent)
        before = role
    return talk


def _answered(talk: Talk, blocks: list[dict[str, Any]], *, again: bool) -> Talk:
    """After an answer. What a broken stream left and the answer to its retry stand side by side: they are one step."""
    more = 0 if again else 1
    over = not any(block.get("type") == "tool_use" for block in blocks)
    key = str(blocks[-1].get("id") or blocks[-1].get("text", "")) if blocks else ""
    answer = hashlib.sha256(key.strip().encode()).hexdigest()[:12]
    return replace(talk, step=talk.step + more, since_last=talk.since_last + more, over=over, answer=answer)


def _prompted(talk: Talk, texts: list[str]) -> Talk:
    """After a user message; the CLI puts what no answer came between into one, an interrupt and its prompts too."""
    talk = replace(talk, compacting=False)
    for text in texts:
        if text.startswith("[Request interrupted"):
            talk = replace(talk, over=True, last="")
        elif text.startswith(_COMPACT):
            talk = replace(talk, compacting=True)
        elif sent := _SENT.findall(text):  # beside the result of a tool, where there is one
            talk = _said(talk, [one.strip() for one in sent])
        elif not text.startswith(_NOTES) and (not text.startswith(OTHERS) or "\n\n" in text):
            if talk.over:
                talk = replace(talk, turn=talk.turn + 1, step=0, over=False)
            talk = _said(talk, [text])
    return talk


def _said(talk: Talk, said: list[str]) -> Talk:
    said = [text.partition("\n\n")[2].lstrip("\n") if text.startswith(OTHERS) else text for text in said]
    news = [talk.last, *said] if talk.last and not talk.since_last else said
    return replace(talk, texts=(*talk.texts, *said), last="\n".join(news), since_last=0)


def summary(talk: Talk) -> str:
    """The answer to a request to compact: keeps what chooses the conversation, its turn and its step."""
    state = "over" if talk.over else "open"
    mark = f"[turn {talk.turn}, step {talk.step}, {state}, after {talk.answer}]"
    return f"<summary>Scripted: {talk.first}\n{mark}</summary>"


def _resumed(talk: Talk, found: re.Match[str]) -> Talk:
    """After a summary. The CLI may repeat the last answers behind it: `answer` tells where the new ones begin."""
    first, turn, step, state, answer = found.groups()
    over = state == "over"
    return replace(talk, texts=(first,), last=first, turn=int(turn), step=int(step), over=over, answer=answer)


def fill(value: Any, talk: Talk) -> Any:
    """The value with `{cwd}` and `{prompt}` filled in, at any depth."""
    if isinstance(value, str):
        return value.replace("{cwd}", talk.cwd or "{cwd}").replace("{prompt}", talk.last)
    if isinstance(value, list):
        return [fill(item, talk) for item in value]
    if isinstance(value, dict):
        return {key: fill(item, talk) for key, item in value.items()}
    return value


def _blocks(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    else:
        yield from content or ()


def _cwd(body: Mapping[str, Any]) -> str | None:
    """The CLI states it in an environment block: in the system prompt, or in a system message of the conversation."""
    contents = [body.get("system")] + [m.get("content") for m in body.get("messages", []) if m["role"] == "system"]
    texts = [block.get("text", "") for content in contents for block in _blocks(content)]
    found = [match.group(1).strip() for text in texts for match in _CWD.finditer(text)]
    return found[-1] if found else None


def _pattern(key: str) -> re.Pattern[str]:
    try:
        return re.compile("" if key == "*" else key)
    except re.error as err:
        raise ValueError(f"{key!r} is not a regular expression: {err}") from err


def _rules(data: Any, where: str) -> Rules:
    if not isinstance(data, Mapping):
        return Rules((_turn(data, where),), ())
    if unknown := set(data) - {"turns", "on"}:
        raise ValueError(f"{where}: a conversation has 'turns' and 'on', not {sorted(unknown)}")
    turns = tuple(_turn(turn, f"{where} turn {n}") for n, turn in enumerate(data.get("turns", ()), 1))
    on = tuple((_pattern(key), _turn(turn, f"{where} on {key!r}")) for key, turn in data.get("on", {}).items())
    return Rules(turns, on)


def _turn(data: Any, where: str) -> Turn:
    if not isinstance(data, (list, tuple)):
        raise ValueError(f"{where}: a turn is a list of steps, not {data!r}")
    return tuple(_step(step, f"{where} step {n}") for n, step in enumerate(data, 1))


def _step(data: Any, where: str) -> Step:
    return tuple(_part(part, where) for part in (data if isinstance(data, (list, tuple)) else [data]))


def _part(data: Any, where: str) -> Part:
    if isinstance(data, str):
        return Part("say", data)
    if not isinstance(data, Mapping) or not data:
        raise ValueError(f"{where}: a part is a text or a mapping, not {data!r}")
    head, *rest = data
    if head[:1].isupper() or head.startswith("mcp__"):
        if rest or not isinstance(data[head], Mapping):
            raise ValueError(f"{where}: a tool call is {{name: {{input}}}}, not {data!r}")
        return Part("tool", dict(data[head]), name=head)
    types, options = DIRECTIVES.get(head, ((), frozenset()))
    if not isinstance(data[head], types) or set(rest) - options:
        raise ValueError(f"{where}: not understood: {data!r}")
    return Part(head, data[head], {key: data[key] for key in rest})
