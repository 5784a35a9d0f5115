"""What chatml needs on this machine: git, Python, Claude Code and its credentials, gh."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chatml import __version__, containment, environment, proc, repo
from chatml.checks import Diagnosis, ok, problem, warning
from chatml.errors import ChatmlError

TIMEOUT = 20.0
"""Seconds that another program may take to tell its version."""

KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")

PROVIDERS = {
    "CLAUDE_CODE_USE_BEDROCK": "Amazon Bedrock",
    "CLAUDE_CODE_USE_VERTEX": "Google Vertex AI",
    "CLAUDE_CODE_USE_FOUNDRY": "Microsoft Foundry",
}
"""Claude Code's switches to other clouds, which have credentials of their own (code.claude.com/docs, "Settings")."""


def check() -> Iterator[Diagnosis]:
    """All findings about the machine, whatever repository."""
    yield _git()
    yield ok("python", f"Python {'.'.join(map(str, sys.version_info[:3]))}, chatml {__version__}")
    yield from _claude()
    yield _sandbox()
    yield _gh()


def _git() -> Diagnosis:
    try:
        found = repo.version()
    except ChatmlError as error:
        return problem("git", error.message, error.hint)
    text = "git " + ".".join(map(str, found))
    if found < repo.MINIMUM_GIT:
        return problem("git", f"{text} is too old", "chatml needs git 2.31 or later")
    return ok("git", text)


def _claude() -> Iterator[Diagnosis]:
    try:
        from chatml.agents.claude import agent as claude
        from chatml.agents.claude import transcript as claude_transcript
    except Exception as error:  # noqa: BLE001 - a broken installation can fail in any way, and is what is looked for
        yield problem("claude", f"the Agent SDK can't be loaded: {error}", "install chatml again")
        return
    cli = claude.find_cli()
    if cli is None:
        yield problem("claude", "the Claude Code CLI is missing", "install chatml again: the Agent SDK brings it along")
        return
    which = "bundled with the Agent SDK" if "_bundled" in cli.parts else str(cli)
    try:
        said = proc.run([str(cli), "--version"], timeout=TIMEOUT, env=environment.session_env())
    except (OSError, TimeoutError) as error:
        yield problem("claude", f"the Claude Code CLI does not run: {cli}: {error}", "install chatml again")
        return
    version = re.match(r"\d[\w.-]*", said.text.strip())
    if said.code or version is None:
        reason = (said.errors.strip() or said.text.strip() or f"exit code {said.code}").splitlines()[0]
        yield problem("claude", f"the Claude Code CLI does not run: {cli}: {reason}", "install chatml again")
        return
    yield ok("claude", f"Claude Code {version.group()} ({which})")
    yield _credentials(claude_transcript.config_dir())


def _credentials(folder: Path) -> Diagnosis:
    source = credentials(os.environ, folder)
    if source is not None:
        return ok("credentials", f"credentials for Claude: {source}")
    hint = "set ANTHROPIC_API_KEY, or log in by running 'claude' once"
    if sys.platform == "darwin":
        hint += " (a login in the keychain is not looked for)"
    return warning("credentials", "no credentials for Claude found", hint)


def credentials(environ: Mapping[str, str], folder: Path) -> str | None:
    """Where Claude Code, with its files in `folder`, finds its credentials, or None; never what they are."""
    for name in KEYS:
        if environ.get(name):
            return f"{name} is set"
    for name, cloud in PROVIDERS.items():
        if environ.get(name, "").lower() in ("1", "true", "yes", "on"):
            return f"from {cloud} ({name} is set)"
    login = folder / ".credentials.json"
    if _json(login).get("claudeAiOauth"):
        return f"logged in ({login})"
    for path in (folder / ".claude.json", folder.parent / ".claude.json"):
        if _json(path).get("primaryApiKey"):
            return f"a key in {path}"
    settings = _json(folder / "settings.json")
    env = settings.get("env")
    if settings.get("apiKeyHelper") or (isinstance(env, dict) and any(env.get(name) for name in (*KEYS, *PROVIDERS))):
        return f"set in {folder / 'settings.json'}"
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _sandbox() -> Diagnosis:
    lack = containment.lack()
    if lack is None:
        return ok("sandbox", "sandbox: agents' shell commands run in it unasked")
    return warning("sandbox", f"no sandbox, so agents ask before commands: {lack.reason}", lack.remedy)


def _gh() -> Diagnosis:
    if shutil.which("gh") is None:
        return warning(
            "gh", "gh is not installed: only 'chatml pr' and 'new --issue' need it", "see https://cli.github.com"
        )
    try:
        said = proc.run(["gh", "--version"], timeout=TIMEOUT)
        token = proc.run(["gh", "auth", "token"], timeout=TIMEOUT)
    except (OSError, TimeoutError) as error:
        return warning("gh", f"gh does not run: {error}", "only 'chatml pr' and 'new --issue' need it")
    version = re.search(r"\d+(\.\d+)+", said.text)
    name = f"gh {version.group()}" if version else "gh"
    if token.code:
        return warning(
            "gh", f"{name} is not logged in: only 'chatml pr' and 'new --issue' need it", "log in with 'gh auth login'"
        )
    return ok("gh", f"{name}, logged in")
