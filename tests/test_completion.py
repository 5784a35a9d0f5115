"""Completion at TAB, in the real shells: commands, options, values, the names of sessions."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ROOT, TIMEOUT, Sandbox, needs, wait_until
from tests.terminal import terminal

SCRIPTS = ROOT / "completions"
Complete = Callable[..., list[str]]


@pytest.fixture
def shop(sandbox: Sandbox) -> Sandbox:
    """Two sessions at rest, `limit-users` and `fix-login`, a removed one, `old-task`, and chatml in PATH."""
    config = sandbox.repo / ".git" / "chatml" / "config.yaml"
    config.parent.mkdir()
    config.write_text("agents: {echo: {command: [sh, -c, 'echo do it', '{prompt}']}}\n")
    for name in ("limit-users", "fix-login", "old-task"):
        sandbox.chatml("new", "--agent", "echo", "--name", name, "-q", "do it")
    sandbox.chatml("wait")
    sandbox.chatml("rm", "old-task", "-q")
    bin_ = sandbox.home / "bin"
    bin_.mkdir()
    (bin_ / "chatml").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m chatml "$@"\n')
    (bin_ / "chatml").chmod(0o755)
    sandbox.env["PATH"] = f"{bin_}{os.pathsep}{sandbox.env['PATH']}"
    return sandbox


def _bash(sandbox: Sandbox, line: str, cwd: Path | None = None) -> list[str]:
    """What bash's completion function replies to TAB at the end of a line."""
    words = line.split(" ")
    script = (
        f"source {shlex.quote(str(SCRIPTS / 'chatml.bash'))}; complete -p chatml >&2; COMP_CWORD={len(words) - 1}; "
        f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); "
        '_chatml_completion chatml "${COMP_WORDS[COMP_CWORD]}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", script],
        cwd=cwd or sandbox.repo, env=sandbox.env, capture_output=True, text=True, check=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.stderr == "complete -o nosort -F _chatml_completion chatml\n"
    return done.stdout.split()


def _fish(sandbox: Sandbox, line: str, cwd: Path | None = None) -> list[str]:
    """What fish offers at the end of a line."""
    script = f"source {shlex.quote(str(SCRIPTS / 'chatml.fish'))}; complete -C {shlex.quote(line)}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=cwd or sandbox.repo, env=sandbox.env, capture_output=True, text=True, check=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.stderr == ""
    return [found.partition("\t")[0] for found in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "complete",
    [pytest.param(_bash, id="bash", marks=needs("bash")), pytest.param(_fish, id="fish", marks=needs("fish"))],
)
def test_what_a_shell_offers(shop: Sandbox, complete: Complete) -> None:
    assert sorted(complete(shop, "chatml re")) == ["restore", "resume", "review"]
    assert "--permission-mode" in complete(shop, "chatml new --")
    assert complete(shop, "chatml new --permission-mode p") == ["plan"]
    assert complete(shop, "chatml ls --status cr") == ["crashed"]
    assert complete(shop, "chatml new --agent e") == ["echo"]
    assert sorted(complete(shop, "chatml ls ")) == ["fix-login", "limit-users"]
    assert complete(shop, "chatml send li") == ["limit-users"]
    assert complete(shop, "chatml rm fix-login ") == ["limit-users"]
    assert complete(shop, "chatml stop ") == []
    assert complete(shop, "chatml restore ") == ["old-task"]
    assert sorted(complete(shop, "chatml new --base ")) == ["chatml/fix-login", "chatml/limit-users", "main"]
    outside = shop.home
    assert complete(shop, "chatml ls ", outside) == []
    assert sorted(complete(shop, f"chatml -C {shop.repo} ls ", outside)) == ["fix-login", "limit-users"]


@needs("zsh")
def test_zsh_completes_at_tab(shop: Sandbox) -> None:
    (shop.home / ".zshrc").write_text(
        f"fpath=({shlex.quote(str(SCRIPTS))} $fpath); autoload -Uz compinit; compinit -u -D; PS1='ready%% '\n"
    )
    with terminal(shop) as window:
        window.type("exec zsh -i")
        for typed, becomes in (
            ("chatml resu", "chatml resume"),
            ("chatml new --perm", "chatml new --permission-mode"),
            ("chatml ls --status cr", "chatml ls --status crashed"),
            ("chatml send li", "chatml send limit-users"),
            ("chatml restore ", "chatml restore old-task"),
        ):
            wait_until(lambda: window.screen().rstrip().endswith("ready%"), "an empty line", window.screen)
            window.type(typed, enter=False)
            window.expect(typed.rstrip())
            window.press("Tab")
            window.expect(f"ready% {becomes}")
            window.press("C-u", "C-l")
        window.type("chatml ls ", enter=False)
        window.press("Tab")
        window.expect("limit-users", "fix-login", "-- done: do it")
