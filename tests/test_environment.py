"""What a session inherits of the environment that it was started from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from chatml import environment
from tests.support import Sandbox, wait_until

ME = {
    f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Me"), ("EMAIL", "m@e"))
}
AGENT = """\
agents:
  scribe: {command: [sh, -c, 'env > env.txt; git add -A; git commit -qm agent', '{prompt}']}
agent: scribe
"""


def configure(sandbox: Sandbox) -> None:
    (sandbox.repo / ".git" / "chatml").mkdir()
    (sandbox.repo / ".git" / "chatml" / "config.yaml").write_text(AGENT)


def start_by_hook(sandbox: Sandbox, env: Mapping[str, str] | None = None) -> None:
    """A commit by X of 2020, whose hook starts a session that commits."""
    configure(sandbox)
    hook = sandbox.repo / ".git" / "hooks" / "post-commit"
    hook.parent.mkdir(exist_ok=True)
    start = f'{sys.executable} -m chatml new "do it" --name t --wait'
    hook.write_text(f'#!/bin/sh\n[ "$(git rev-parse --abbrev-ref HEAD)" = main ] || exit 0\n{start}\n')
    hook.chmod(0o755)
    commit = [
        "git",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "x",
        "--author",
        "X <x@y>",
        "--date",
        "2020-01-01T00:00:00Z",
    ]
    subprocess.run(commit, cwd=sandbox.repo, env={**sandbox.env, **(env or {})}, check=True, timeout=60)


def authored(sandbox: Sandbox) -> tuple[str, str]:
    """Who wrote the agent's commit; and whether it says that it was written in 2020."""
    assert sandbox.session("t")["status"] == "done"
    author, year = sandbox.git("log", "-1", "--format=%an %cn <%ae>|%ad", "--date=format:%Y", "chatml/t").split("|")
    return author, year


def seen(sandbox: Sandbox) -> dict[str, str]:
    """The environment that the agent had."""
    lines = (Path(sandbox.session("t")["worktree"]) / "env.txt").read_text().splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_an_agent_started_by_a_hook_writes_in_its_persons_name_and_today(sandbox: Sandbox) -> None:
    start_by_hook(sandbox)
    author, year = authored(sandbox)
    assert author == "Ada Ada <ada@example.com>"
    assert year != "2020"
    told = [name for name in seen(sandbox) if name.startswith("GIT_") and name not in sandbox.env]
    assert told == []


def test_the_identity_that_a_person_exports_is_theirs_in_a_hook_too(sandbox: Sandbox) -> None:
    start_by_hook(sandbox, {**ME, "GIT_SSH_COMMAND": "ssh -v"})
    author, year = authored(sandbox)
    assert author == "Me Me <m@e>"
    assert year != "2020"
    assert seen(sandbox)["GIT_SSH_COMMAND"] == "ssh -v"


def test_a_persons_own_settings_come_along(sandbox: Sandbox) -> None:
    configure(sandbox)
    own = {
        **ME,
        "GIT_EDITOR": "vi",
        "VIRTUAL_ENV": "/venv",
        "MAKEFLAGS": "-j8",
        "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
    }
    sandbox.chatml("new", "do it", "--name", "t", "--wait", env=own)
    author, year = authored(sandbox)
    assert author == "Me Me <m@e>"
    assert year != "2020", "a date is for one commit, not for all that an agent will make"
    kept = {name: value for name, value in own.items() if name != "GIT_AUTHOR_DATE"}
    assert kept.items() <= seen(sandbox).items()
    assert seen(sandbox)["PWD"] == sandbox.session("t")["worktree"]


@pytest.mark.parametrize(
    ("around", "gone"),
    [
        ({"MAKELEVEL": "1", "MAKEFLAGS": "-n --jobserver-auth=3,4"}, {"MAKELEVEL", "MAKEFLAGS"}),
        ({"CLAUDECODE": "1", "GIT_EDITOR": "true"}, {"CLAUDECODE", "GIT_EDITOR"}),
        ({"npm_lifecycle_event": "test", "npm_package_name": "app", "INIT_CWD": "/app"}, None),
        ({"PRE_COMMIT": "1", "PRE_COMMIT_FROM_REF": "a"}, None),
        ({"GIT_EXEC_PATH": "/git", "GIT_DIR": ".", "GIT_PUSH_OPTION_COUNT": "0", "GIT_QUARANTINE_PATH": "q"}, None),
        ({"CHATML_SESSION_ID": "other", "CHATML_NAME": "other", "CHATML_WORKTREE": "/other"}, None),
        ({"npm_config_registry": "r", "PRE_COMMIT_HOME": "h", "CHATML_MODEL": "m", "SSH_AUTH_SOCK": "s"}, set()),
    ],
    ids=["make", "coding agent", "npm", "pre-commit", "receive hook", "another session", "settings"],
)
def test_what_others_say_about_their_run_stays_with_them(
    monkeypatch: pytest.MonkeyPatch, around: dict[str, str], gone: set[str] | None
) -> None:
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    env = environment.session_env()
    assert set(around) - set(env) == (set(around) if gone is None else gone)
    assert env["PATH"] == os.environ["PATH"]


def test_git_names_no_variable_that_is_not_decided(sandbox: Sandbox) -> None:
    named = set(sandbox.git("rev-parse", "--local-env-vars").split())
    assert named - {"GIT_CONFIG_COUNT"} <= set(environment.GIT_LOCAL)


def test_what_a_notifier_is_told_stays_with_its_session(sandbox: Sandbox, tmp_path: Path) -> None:
    told = tmp_path / "told"
    configure(sandbox)
    sandbox.chatml(
        "new", "do it", "--name", "t", "--wait", env={"CHATML_NOTIFY": f"env > {told}.new; mv {told}.new {told}"}
    )
    wait_until(told.exists, "the notifier")
    names = {line.partition("=")[0] for line in told.read_text().splitlines()}
    ours = {name for name in names if name.startswith("CHATML_")} - {*sandbox.env, "CHATML_NOTIFY"}
    assert "CHATML_STATUS" in ours
    assert ours <= set(environment.SESSION), "a session that it starts would take these for its own"
