"""The commands of a committed file: shown, approved by their exact text, and nothing before that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.made import make_session
from tests.support import ROOT, Sandbox
from tests.terminal import terminal

TEAM = "checks: ['true']\nmodel: some-model\n"


@pytest.fixture
def team(sandbox: Sandbox) -> Sandbox:
    """A repository whose committed file has a command, and an agent that only echoes."""
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("agents: {echo: {command: [echo, '{prompt}']}}\nagent: echo\n")
    sandbox.commit("settings", _dot_chatml__yaml="")
    (sandbox.repo / ".chatml.yaml").write_text(TEAM)
    sandbox.git("add", "-A")
    sandbox.git("commit", "-q", "-m", "commands")
    return sandbox


def test_nothing_is_made_before_the_commands_are_approved(team: Sandbox) -> None:
    (team.repo / "tasks.md").write_text("- one\n- two\n")
    for args in (["x"], ["-f", "tasks.md"], ["-n", "2", "x"]):
        refused = team.chatml("new", *args, code=1)
        assert refused.err.startswith("error: .chatml.yaml has commands that you have not approved: checks\nhint: "), (
            args
        )
        assert "chatml trust" in refused.err
    assert team.chatml("ls", "-q").out == ""
    assert not (team.repo.parent / "app.chatml").exists()
    assert team.git("branch", "--list", "chatml/*") == ""
    for args in (["ls"], ["cost"], ["conflicts"]):  # who starts nothing needs no approval
        team.chatml(*args)


def test_what_is_shown_is_approved_and_asked_about_again_once_it_changes(team: Sandbox) -> None:
    shown = team.chatml("trust", code=1)
    digest = shown.out.splitlines()[-1]
    assert shown.out.splitlines()[:-1] == ["checks:", "- 'true'"]
    assert digest.startswith("sha256:")
    assert shown.err == "error: not approved\nhint: approve it with: chatml trust --yes\n"
    assert team.chatml("trust", "-q", code=1).out == f"{digest}\n"
    approved = team.chatml("trust", "--yes")
    assert approved.out == shown.out
    assert team.chatml("trust", "--json").json == {
        "file": ".chatml.yaml",
        "sha256": digest,
        "approved": True,
        "commands": {"checks": ["true"]},
    }
    assert team.chatml("new", "x", "--wait", "--json").json["check"]["ok"] is True
    (team.repo / ".chatml.yaml").write_text(TEAM + "base: main\n")
    team.chatml("new", "y", "-q", "--wait")
    (team.repo / ".chatml.yaml").write_text(TEAM.replace("'true'", "'true', 'evil \x1b[2J'".replace("\x1b", "")))
    changed = team.chatml("trust", code=1)
    assert "+- evil [2J" in changed.out
    assert "\n checks:\n - 'true'\n" in changed.out
    refused = team.chatml("new", "z", code=1)
    assert "has changed commands that you have not approved" in refused.err
    (team.repo / ".chatml.yaml").write_text(TEAM)
    team.chatml("new", "z", "-q", "--wait")


def test_ci_approves_by_the_digest_and_new_by_an_option(team: Sandbox) -> None:
    digest = team.chatml("trust", "-q", code=1).out.strip()
    made = team.chatml("new", "x", "--wait", "--json", env={"CHATML_TRUST": f"sha256:00 {digest}"})
    assert made.json["check"]["ok"] is True
    team.chatml("new", "y", code=1)  # for that once
    told = team.chatml("new", "y", "-q", "--wait", "--trust")
    assert digest in told.err
    team.chatml("new", "z", "-q", "--wait")
    records = json.loads((team.repo / ".git" / "chatml" / "approvals.json").read_text())
    assert [*records["trusted"]] == [digest]


def test_approvals_of_rules_and_of_commands_keep_each_other(team: Sandbox) -> None:
    path = team.repo / ".git" / "chatml" / "approvals.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"allow": ["Bash(make:*)"]}')
    team.chatml("trust", "--yes", "-q")
    assert {*json.loads(path.read_text())} == {"allow", "trusted"}


def test_an_agent_approves_nothing(team: Sandbox) -> None:
    digest = team.chatml("trust", "-q", code=1).out.strip()
    own = {"CHATML_SESSION_ID": "of-an-agent"}
    for args in (["trust", "--yes"], ["new", "x", "--trust"]):
        refused = team.chatml(*args, code=1, env=own)
        assert "an agent can't approve commands of the project" in refused.err
    refused = team.chatml("new", "x", code=1, env={**own, "CHATML_TRUST": digest})
    assert "an agent can't approve commands of the project" in refused.err
    assert team.chatml("trust", "--json").json["approved"] is False


def test_what_an_agent_writes_in_its_worktree_changes_nothing(team: Sandbox) -> None:
    team.chatml("trust", "--yes", "-q")
    worktree = make_session(team, "s")
    (worktree / ".chatml.yaml").write_text("checks: ['false']\nmodel: other\n")
    made = team.chatml("new", "x", "--wait", "--json", cwd=worktree).json
    assert made["check"] == {**made["check"], "command": "true", "ok": True}
    assert team.chatml("trust", "--json", cwd=worktree).json["approved"] is True
    own = team.repo.parent / "own" / "s"  # a worktree of the person's, which happens to be called so too
    team.git("worktree", "add", "-q", "-b", "own", str(own))
    (own / ".chatml.yaml").write_text("checks: ['false']\n")
    assert team.chatml("trust", "--json", cwd=own, code=0).json["approved"] is False


def test_doctor_says_what_would_run_and_whether_it_may(team: Sandbox) -> None:
    def commands() -> dict[str, str]:
        found = team.chatml("doctor", "--json", code=None).json
        (one,) = [finding for finding in found if finding["check"] == "commands"]
        return dict(one)

    assert commands()["level"] == "warning"
    assert "checks" in commands()["message"]
    team.chatml("trust", "--yes", "-q")
    assert commands()["level"] == "ok"


def test_a_person_at_a_terminal_is_asked(team: Sandbox) -> None:
    with terminal(team) as window:
        window.type("chatml trust")
        window.expect("may chatml run these commands of .chatml.yaml on this machine? [y/N]")
        window.type("n")
        window.expect("not approved")
    assert team.chatml("trust", "--json").json["approved"] is False
    with terminal(team) as window:
        window.type("chatml trust")
        window.expect("[y/N]")
        window.type("y")
        window.expect("approved in this repository, until it changes")
    assert team.chatml("trust", "--json").json["approved"] is True


def test_without_commands_there_is_nothing_to_approve(sandbox: Sandbox) -> None:
    (sandbox.repo / ".chatml.yaml").write_text("model: x\n")
    assert sandbox.chatml("trust").out == ""
    assert sandbox.chatml("trust", "--json").json["sha256"] is None


@pytest.mark.parametrize(
    "text", ["a: &a [b]\nsetup: *a\n", "setup: [" * 3000 + "\n", "setup: !!python/name:os.system\n"]
)
def test_a_hostile_file_is_an_error_and_runs_nothing(sandbox: Sandbox, text: str) -> None:
    (sandbox.repo / ".chatml.yaml").write_text(text)
    for args in (["trust"], ["new", "x"]):
        assert sandbox.chatml(*args, code=1).err.startswith("error: .chatml.yaml"), args
    assert sandbox.chatml("ls", "-q").out == ""


def test_the_digest_in_the_readme_is_that_of_the_text_shown(sandbox: Sandbox) -> None:
    (sandbox.repo / ".chatml.yaml").write_text("checks: [npm test]\n")
    shown = sandbox.chatml("trust", code=1).out
    assert shown in Path(ROOT / "README.md").read_text("utf-8")
