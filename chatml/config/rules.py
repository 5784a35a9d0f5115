"""Adds permission rules to a configuration file's text, and keeps all else as it stands, comments included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chatml.config.files import BadValueError, Source, text_data
from chatml.config.keys import KEYS
from chatml.errors import ChatmlError

if TYPE_CHECKING:
    import yaml


def with_allowed(text: str, rules: Sequence[str], name: str) -> str:
    """The text of the file `name` with these rules in its list `allow`; those that are there already are left out.

    ChatmlError where a rule can't stand in a file, or the file can't be changed without touching anything else in it.
    """
    before = _data(text, name)
    there = list(before.get("allow") or ())
    new = [rule for rule in dict.fromkeys(rules) if rule not in there]
    if not new:
        return text
    try:
        KEYS["allow"].read(new)
    except BadValueError as wrong:
        raise ChatmlError(f"this rule can't stand in a file: {', '.join(new)}", "approve it with --always") from wrong
    after = _inserted(text, new)
    # Whatever the way it was put in: only a text that means the old one and the rules, and nothing else, is taken.
    if after is not None:
        try:
            if _data(after, name) == {**before, "allow": [*there, *new]}:
                return after
        except ChatmlError:
            pass
    raise ChatmlError(
        f"{name}: the rules can't be added without changing anything else", f"add them to 'allow' yourself: {new[0]}"
    )


def _data(text: str, name: str) -> dict[str, Any]:
    return text_data(text, Source(name))


def _inserted(text: str, rules: list[str]) -> str | None:
    """The text with the rules put in at the place that its form asks for; None for a form that is not known."""
    import yaml

    end = "\r\n" if "\r\n" in text else "\n"
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return _block(_whole_lines(text, end), rules, end)
    if not isinstance(root, yaml.MappingNode) or root.flow_style or root.start_mark.column:
        return None
    value = next((value for key, value in root.value if key.value == "allow"), None)
    if value is None:
        return _block(_whole_lines(text, end), rules, end)
    if not isinstance(value, yaml.SequenceNode):
        return text[: value.start_mark.index] + " " + _flow(rules) + text[value.end_mark.index :]
    if value.flow_style:
        close = value.end_mark.index - 1
        return text[:close] + (", " if value.value else "") + _flow(rules)[1:-1] + text[close:]
    return _after_last(text, value, rules, end)


def _after_last(text: str, value: yaml.SequenceNode, rules: list[str], end: str) -> str:
    """The rules on lines of their own below the list's last one."""
    last = value.value[-1].end_mark
    stop = text.find("\n", last.index)
    head, tail = (text + end, "") if stop < 0 else (text[: stop + 1], text[stop + 1 :])
    indent = " " * value.start_mark.column
    return head + "".join(f"{indent}- {_quoted(rule)}{end}" for rule in rules) + tail


def _block(text: str, rules: list[str], end: str) -> str:
    return text + f"allow:{end}" + "".join(f"  - {_quoted(rule)}{end}" for rule in rules)


def _whole_lines(text: str, end: str) -> str:
    return text if not text or text.endswith("\n") else text + end


def _flow(rules: list[str]) -> str:
    return f"[{', '.join(map(_quoted, rules))}]"


def _quoted(rule: str) -> str:
    return "'" + rule.replace("'", "''") + "'"
