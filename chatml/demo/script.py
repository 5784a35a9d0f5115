"""The script language of the demo API: which answer the scripted model gives to a conversation.

A script is plain data (Python, or the same as JSON): conversations by a regular expression, the first one that is found
in the conversation's first prompt is followed (`*` is the one for all others)::

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

A *conversation* is `{"turns": [turn, …], "on": {regex: turn}}`, or only a turn when one is enough. A *turn* is a list of
steps: one step is one answer of the model, the next is given after the tools have run. `on` goes before `turns`: its turn
is followed when its expression is found in the newest user text, also in the middle of a run. Where steps or turns
run out, the model says "Done.". A *step* is one part or a list of parts, in the order in which they are sent:

- `"text"` or `{"say": "text", "delay": 0.05}`: streamed, word by word with `delay` seconds between them
- `{"think": "text"}`: a thinking block
- `{"Bash": {"command": "ls"}}`: a tool call (any capitalised name, or `mcp__…`); several make parallel calls
- `{"pause": 1.5}`: seconds; `{"hold": "name"}`: until that name is released
- `{"usage": {"output_tokens": 9000}}`, `{"stop": "max_tokens"}`: what the answer reports
- `{"fail": 429, "type": "rate_limit_error", "message": "…", "headers": {"retry-after": "1"}}`: an HTTP error
- `{"drop": true}`: the connection ends before the headers, or, after other parts, in mid-stream
- `{"hang": true}`: nothing more comes, the connection stays open
- `{"error": "overloaded_error", "message": "…"}`: an error event in the stream
- `{"raw": "data: {nonsense\\n\\n"}`: these bytes in the stream

`fail`, `drop`, `hang` and `error` end the step. With `"times": N` they strike the first N requests only, and
the step then goes on with the parts after them. `{cwd}` (where the agent works) and `{prompt}` (the newest user
text) are filled in wherever text stands.

Invariant: the step is found from the conversation that the request carries, so that a resumed process, a retry and two
sessions at once get the right one. Only `times` and `hold` remember anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Union

Script = Mapping[str, Any]
Json = Union[str, int, float, bool, None, "list[Json]", "dict[str, Json]"]

#: directive → types of its value, names of its options
DIRECTIVES: dict[str, tuple[tuple[type, ...], frozenset[str]]] = {
    "say": ((str,), frozenset({"delay"})),
    "think": ((str,), frozenset()),
    "pause": ((int, float), frozenset()),
    "hold": ((str,), frozenset()),
    "usage": ((dict,), frozenset()),
    "stop": ((str,), frozenset()),
    "fail": ((int,), frozenset({"type", "message", "headers", "times"})),
    "drop": ((bool,), frozenset({"times"})),
    "hang": ((bool,), frozenset({"times"})),
    "error": ((str,), frozenset({"message", "times"})),
    "raw": ((str,), frozenset()),
}
FAULTS = frozenset({"fail", "drop", "hang", "error"})

_CWD = re.compile(r"^ ?- (?:Primary w|W)orking directory: (.+)$", re.MULTILINE)
_NOTES = ("<system-reminder>", "<local-command", "<command-", "[Request interrupted", "Stop hook feedback")
_COMPACTED = re.compile(r"\[scripted turn (\d+)\]")


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
    """Where a conversation stands, read from the messages of a request; turns and steps count from 0."""

    texts: tuple[str, ...]
    turn: int
    step: int
    since_text: int
    cwd: str | None

    @property
    def first(self) -> str:
        return self.texts[0] if self.texts else ""

    @property
    def last(self) -> str:
        return self.texts[-1] if self.texts else ""


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
            return turn[talk.since_text] if talk.since_text < len(turn) else DONE
    turn = rules.turns[talk.turn] if talk.turn < len(rules.turns) else ()
    return turn[talk.step] if talk.step < len(turn) else DONE


def read_talk(body: Mapping[str, Any]) -> Talk:
    """Where the conversation of a Messages request stands.

    A turn ends with an answer that calls no tool, or by an interrupt; the next user text begins a new one. User texts
    before that (sent in mid-run, or after the process was killed) belong to the turn.
    """
    texts: list[str] = []
    turn = step = since_text = 0
    ended = False
    for message in body.get("messages", []):
        blocks = list(_blocks(message.get("content")))
        if message["role"] == "assistant":
            step, since_text = step + 1, since_text + 1
            ended = not any(block.get("type") == "tool_use" for block in blocks)
        elif message["role"] == "user":
            spoken = [block["text"].strip() for block in blocks if block.get("type") == "text"]
            ended = ended or any(text.startswith("[Request interrupted") for text in spoken)
            said = [text for text in spoken if not text.startswith(_NOTES)]
            if said and ended:
                turn, step, ended = turn + 1, 0, False
            if said:
                since_text = 0
                texts += said
    if texts and (compacted := _COMPACTED.search(texts[0])):
        turn += int(compacted.group(1))
    return Talk(tuple(texts), turn, step, since_text, _cwd(body))


def summary(talk: Talk) -> str:
    """The answer to a request to compact: keeps what chooses the conversation and its next turn."""
    return f"<summary>{talk.first}\n[scripted turn {talk.turn}]</summary>"


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
    if not isinstance(data[head], types) or (unknown := set(rest) - options):
        raise ValueError(f"{where}: not understood: {data!r}")
    return Part(head, data[head], {key: data[key] for key in rest})
