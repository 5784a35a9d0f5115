"""A `.chatml.yaml` with comments, as a project is likely to need it: for a person to edit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from chatml.config.detecting import WEB, Install, Proposal, first_of, proposals, text_of

SECRETS = (".env", ".env.local", ".env.development.local", ".envrc", "config/master.key", "local.properties")
"""Files that projects ignore, and can't do without."""

EXAMPLES = (".env.example", ".env.sample", ".env.dist")

BESIDE = ("make", "devcontainer.json")
"""Kinds that mostly repeat what another tool of the project does."""


def document(top: Path, ignored: Callable[[str], bool]) -> str:
    """The file for the project at `top`; `ignored` tells whether git ignores a path."""
    found = proposals(top)
    copied = [name for name in SECRETS if (top / name).is_file() and ignored(name)]
    example = first_of(top, *EXAMPLES)
    run = {name: command for one in reversed(found) for name, command in one.run.items()}
    parts = (
        _head(found),
        _copied(copied),
        _ports(bool(run), text_of(top / (example or ".env"))),
        _setup(found, example if ".env" not in copied else None),
        _run(run),
        _teardown(found),
        _checks(found),
    )
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _head(found: Sequence[Proposal]) -> Iterator[str]:
    kinds = ", ".join(one.kind for one in found)
    yield f"# chatml's settings for this project{f' ({kinds})' if kinds else ''}: commit them for the team."
    yield "# A command runs once a person has approved it: chatml trust"


def _copied(names: Sequence[str]) -> Iterator[str]:
    yield "# Ignored files that each worktree gets a copy of (patterns of a .gitignore):"
    yield f"copy: {_list(names)}" if names else "# copy: [.env]"


def _ports(needed: bool, variables: str | None) -> Iterator[str]:
    yield "# Ports that no other session has: {port:web} in a command, CHATML_PORT_WEB in its environment."
    yield "ports: [web]" if needed else "# ports: [web]"
    if needed and re.search(r"^(?:export\s+)?PORT\s*=", variables or "", re.MULTILINE):
        yield from ("env_files:", "  .env:", f'    PORT: "{WEB}"')


def _setup(found: Sequence[Proposal], example: str | None) -> Iterator[str]:
    usable = [(one, step) for one in found for step in one.setup if not one.remarks]
    steps = [step for one, step in usable if one.kind not in BESIDE] or [step for _, step in usable[:1]]
    if example is not None:
        steps.insert(0, Install(f"cp -n {example} .env"))
    yield "# What makes a worktree ready, before the agent begins:"
    yield "setup:" if steps else "# setup: [make deps]"
    for step in steps:
        yield from _step(step)
    for one in found:
        yield from (f"# {remark}" for remark in one.remarks)
        yield from (f"#  - {_scalar(step.command)}   # {one.kind}" for step in one.setup if step not in steps)


def _step(step: Install) -> Iterator[str]:
    if step.if_changed is None:
        yield f"  - {_scalar(step.command)}"
    else:
        yield f"  - command: {_scalar(step.command)}"
        yield f"    if_changed: {_list([step.if_changed])}"


def _run(run: dict[str, str]) -> Iterator[str]:
    yield "# Its programs, as 'chatml run' starts them:"
    yield "run:" if run else "# run: {web: 'make serve PORT={port:web}'}"
    yield from (f"  {name}: {_scalar(command)}" for name, command in run.items())


def _teardown(found: Sequence[Proposal]) -> Iterator[str]:
    yield "# Before a worktree is removed:"
    for one in found:
        if one.teardown:
            yield f"{'# ' if one.remarks else ''}teardown: {_list(one.teardown)}"
            return
    yield "# teardown: ['dropdb app_{slug}']"


def _checks(found: Sequence[Proposal]) -> Iterator[str]:
    yield "# A session is done only once these pass:"
    yield f"# checks: {_list(dict.fromkeys(command for one in found for command in one.checks) or ['make test'])}"


def _list(items: Sequence[str] | dict[str, None]) -> str:
    return f"[{', '.join(map(_scalar, items))}]"


RESERVED = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
"""Words that YAML takes for something else."""


def _scalar(text: str) -> str:
    """Text as YAML takes it, also within brackets: as it is where that is plain, else in JSON's quotes."""
    plain = re.fullmatch(r"[A-Za-z./][\w ./=&-]*", text) and text == text.strip() and text.lower() not in RESERVED
    return text if plain else json.dumps(text, ensure_ascii=False)
