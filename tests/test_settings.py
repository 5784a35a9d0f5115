"""The person's own git settings: what only changes how things look decides nothing, what decides goes on deciding."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import Sandbox
from tests.worktree import Work, add_session, work

__all__ = ["work"]

LOOKS = {
    "status.showUntrackedFiles": "no",
    "status.submoduleSummary": "true",
    "status.relativePaths": "true",
    "status.branch": "true",
    "status.short": "true",
    "status.showStash": "true",
    "status.renames": "copies",
    "diff.ignoreSubmodules": "all",
    "diff.external": "false",
    "diff.noprefix": "true",
    "diff.mnemonicPrefix": "true",
    "diff.relative": "true",
    "diff.renames": "false",
    "color.ui": "always",
    "log.showSignature": "true",
    "log.mailmap": "false",
    "core.quotePath": "true",
    "core.untrackedCache": "true",
    "core.ignoreStat": "true",
    "advice.statusHints": "false",
    "i18n.logOutputEncoding": "UTF-16",
}
"""What a person may have set for looking at things, or for being fast."""

PLUMBING = {
    "submodule.recurse": "true",
    "push.recurseSubmodules": "check",
    "fetch.recurseSubmodules": "true",
    "core.fsmonitor": "true",
    "core.splitIndex": "true",
    "core.safecrlf": "true",
    "core.autocrlf": "input",
    "branch.autoSetupMerge": "always",
    "branch.autoSetupRebase": "always",
    "checkout.guess": "false",
    "worktree.guessRemote": "true",
    "merge.ff": "only",
    "pull.rebase": "true",
    "index.version": "4",
    "feature.manyFiles": "true",
}
"""What a person may have set for their own work, and what ours would stumble over."""


def configure(sandbox: Sandbox, settings: dict[str, str]) -> None:
    for key, value in settings.items():
        sandbox.git("config", "--global", key, value)


def with_submodule(sandbox: Sandbox) -> None:
    """The sandbox's repository has a submodule `lib`, of which the settings say that nobody wants to see anything."""
    library = sandbox.repo.with_name("library")
    sandbox.git("clone", "-q", str(sandbox.repo), str(library))
    sandbox.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    sandbox.git("config", "-f", ".gitmodules", "submodule.lib.ignore", "all")
    sandbox.git("config", "submodule.lib.ignore", "all")
    sandbox.commit("with a submodule")


def test_work_that_the_settings_hide_is_counted_shown_and_kept(work: Work) -> None:
    configure(work.sandbox, LOOKS)
    assert work.sandbox.chatml("rm", "work", "--dry-run").out
    work.write("new file")
    assert work.changed() == {"new file": "added"}
    assert work.sandbox.session("work")["changes"]["uncommitted"] is True
    refused = work.sandbox.chatml("rm", "work", code=1)
    assert "1 uncommitted file (new file)" in refused.err


def test_a_submodules_new_commit_is_work_though_the_settings_hide_submodules(sandbox: Sandbox) -> None:
    with_submodule(sandbox)
    work = add_session(sandbox)
    configure(sandbox, LOOKS)
    work.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    work.git("-C", "lib", "commit", "-q", "--allow-empty", "-m", "more")
    assert work.changed() == {"lib": "modified"}
    work.git("-C", "lib", "push", "-q", "origin", "HEAD:refs/heads/more")
    assert "1 uncommitted file (lib)" in sandbox.chatml("rm", "work", code=1).err
    work.commit()
    sandbox.commit("something else", other="x\n")
    assert "1 commit on chatml/work that is nowhere else" in sandbox.chatml("rm", "work", code=1).err
    work.write("lib/untracked")
    assert "what is not committed in the submodule 'lib'" in sandbox.chatml("diff", "work").err
    assert "the submodule 'lib' has work of its own" in sandbox.chatml("rm", "work", "--force", code=1).err


def test_a_dirty_main_checkout_is_told_though_the_settings_hide_it(sandbox: Sandbox) -> None:
    agent(sandbox, "true")
    configure(sandbox, LOOKS)
    (sandbox.repo / "not yet committed").write_text("x")
    plain = sandbox.chatml("new", "x", "--wait")
    assert "uncommitted" in plain.err


def agent(sandbox: Sandbox, script: str) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"agent: sh\nagents:\n  sh: {{command: [sh, -c, '{script}', '{{prompt}}']}}\n")


@pytest.mark.parametrize("settings", [LOOKS, PLUMBING], ids=["looks", "plumbing"])
def test_a_session_lives_dies_and_comes_back_under_any_settings(sandbox: Sandbox, settings: dict[str, str]) -> None:
    with_submodule(sandbox)
    agent(sandbox, "echo made > made; echo more >> README.md; git add made")
    configure(sandbox, settings)
    session = sandbox.chatml("new", "x", "--name", "x", "--wait", "--json").json
    worktree = Path(session["worktree"])
    assert session["changes"]["files"] == 2
    before = sandbox.git("status", "--porcelain", "-uall", cwd=worktree)
    sandbox.chatml("rm", "x", "--force")
    assert not worktree.exists()
    sandbox.chatml("restore", "x")
    assert (worktree / "made").read_text() == "made\n"
    assert sandbox.git("status", "--porcelain", "-uall", cwd=worktree) == before
    assert [name for name in os.listdir(worktree) if name.startswith(".chatml")] == []
    assert sandbox.session("x")["changes"]["files"] == 2


def test_a_hook_runs_under_the_persons_settings_not_under_ours(sandbox: Sandbox) -> None:
    agent(sandbox, "true")
    configure(sandbox, {"submodule.recurse": "true", "status.showUntrackedFiles": "no"})
    hook = sandbox.repo / ".git" / "hooks" / "post-checkout"
    hook.write_text(
        "#!/bin/sh\ngit config submodule.recurse; git config status.showUntrackedFiles; "
        "git config core.fsmonitor || echo unset\n"
    )
    hook.chmod(0o755)
    sandbox.chatml("new", "x", "--name", "x", "--wait")
    said = [event["line"] for event in sandbox.events("x") if event["type"] == "setup"]
    assert said == ["true", "no", "unset"]
