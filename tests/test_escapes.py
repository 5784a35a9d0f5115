"""What an agent's shell commands can't do: in the real sandbox, and with a look at the file system afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contained import needs_sandbox, outside
from tests.faults import Serve
from tests.support import Sandbox, thinned

pytestmark = needs_sandbox

ESCAPES = {
    "above": "echo x > ../planted; mkdir ../folder && touch ../folder/planted; mv README.md ..",
    "absolute": "echo x > {root}/planted; echo x >> {app}/README.md; rm {app}/README.md",
    "home": "echo x >> ~/.bashrc; echo x >> {home}/.gitconfig; mkdir -p ~/.ssh && echo x > ~/.ssh/authorized_keys",
    "symlink": "ln -s {app} link; echo x > link/planted; echo x >> link/README.md;"
    " ln -s {app}/README.md f; echo x >> f",
    "hard-link": "ln {app}/README.md hard; echo x >> hard; ln {app}/.git/HEAD head; echo x >> head; cat hard head",
    "git-main": "git -C {app} commit --allow-empty -m x; git -C {app} rm -q README.md; git -C {app} checkout -q -b x",
    "git-other": "git -C {other} commit --allow-empty -m x; git -C {other} rm -q README.md; git -C {other} stash -u",
    "git-dir": "git --git-dir {app}/.git --work-tree {app} commit --allow-empty -m x; GIT_DIR={app}/.git git add -A",
    "branches": "git commit -q --allow-empty -m own; git branch -f chatml/other; git branch -D chatml/other; git tag x;"
    " git update-ref refs/heads/main HEAD; git update-ref refs/heads/chatml/other HEAD; git branch new;"
    " git update-ref refs/chatml/trash/x HEAD; git update-ref -d refs/heads/main; git pack-refs --all",
    "ref-files": "cd {app}/.git; echo x > refs/heads/main; rm refs/heads/chatml/other; mv refs/heads/main refs/heads/m;"
    " rm logs/HEAD logs/refs/heads/main; rm -r refs logs",
    "other-worktree": "echo x > {other}/planted; echo x >> {other}/README.md; rm -rf {other}; mv {other} {other}2",
    "other-admin": "echo x > {app}/.git/worktrees/other/HEAD; rm -rf {app}/.git/worktrees/other; git worktree prune;"
    " git worktree remove --force {other}; git worktree add -q ../new; git worktree lock {other}",
    "hooks": "printf '#!/bin/sh\\ntouch {root}/planted\\n' > {app}/.git/hooks/pre-commit;"
    " chmod +x {app}/.git/hooks/pre-commit; mv {app}/.git/hooks {app}/.git/h; git config core.hooksPath {app}",
    "config": "git config alias.st '!touch {root}/planted'; git config --worktree a.b c; echo x >> {app}/.git/config;"
    " mv {app}/.git/config {app}/.git/c; rm {app}/.git/config; git config -f {app}/.git/config a.b c",
    "global-config": "git config --global a.b c; git config -f {home}/.gitconfig a.b c; echo x >> ~/.gitconfig",
    "fsmonitor": "git config core.fsmonitor 'touch {root}/planted'; git config --worktree core.fsmonitor x;"
    " echo '[core] fsmonitor = x' > {app}/.git/config.worktree; git config --global core.fsmonitor x",
    "chatml": "echo x > {app}/.git/chatml/config.yaml; echo x > {app}/.git/chatml/sessions/t/session.json;"
    " rm -rf {app}/.git/chatml/*; mv {app}/.git/chatml {app}/.git/x; echo x > {app}/.git/chatml/sessions/t/claude",
    "main-state": "cd {app}/.git; echo x > HEAD; echo x > index; rm index HEAD; mv HEAD H;"
    " echo '* x' > info/attributes; echo x >> info/exclude; echo {root} > objects/info/alternates",
    "submodules": "mkdir -p {app}/.git/modules/lib/hooks; echo x > {app}/.git/modules/lib/hooks/post-checkout;"
    " mkdir -p {app}/.git/modules/lib; echo x > {app}/.git/modules/lib/config; rmdir {app}/.git/modules;"
    " git -c protocol.file.allow=always submodule add {app} lib",
    "own-gitfile": "echo gitdir: {app}/.git > .git; rm .git; mv .git g; git init -q; git worktree move . ../moved",
    "remount": "mount -o remount,rw,bind {app}; mount -o remount,rw /; umount {app}/.git/config;"
    " echo x > {app}/planted; echo x >> {app}/.git/config",
    "namespace": "unshare -Urm sh -c 'umount {app}/.git/config; mount -o remount,rw /; echo x >> {app}/.git/config';"
    " nsenter -t 1 -m sh -c 'echo x > {app}/planted'; chroot /proc/1/root sh -c 'echo x > {app}/planted'",
    "left-running": "(setsid sh -c 'sleep 0.5; echo x > {app}/planted' &) ; (nohup sh -c 'echo x > ../planted' &)",
}
"""What is tried, by its name; all of a line is tried, whatever fails of it."""


@pytest.fixture
def places(sandbox: Sandbox) -> dict[str, str]:
    """A main checkout, another session's worktree, and a file of chatml's own: what there is to break."""
    sandbox.env["CHATML_SANDBOX"] = "required"
    other = Path(f"{sandbox.repo}.chatml", "other")
    sandbox.git("worktree", "add", "-q", "-b", "chatml/other", str(other))
    sandbox.git("tag", "v1")
    sandbox.git("pack-refs")
    (other / "work.txt").write_text("uncommitted\n")
    (sandbox.repo / ".git" / "chatml").mkdir()
    (sandbox.repo / ".git" / "chatml" / "config.yaml").write_text("branch_prefix: chatml/\n")
    return {
        "root": str(sandbox.repo.parent),
        "app": str(sandbox.repo),
        "home": str(sandbox.home),
        "other": str(other),
    }


def attempt(sandbox: Sandbox, serve: Serve, *steps: Any) -> dict[str, Any]:
    """A session that makes these calls, where nobody says yes; what its outside was like stays so."""
    serve({"*": [*([step] for step in steps), "Tried."]})
    before = outside(sandbox, "t")
    sandbox.chatml("new", "escape", "-q", "--name", "t", "--wait", "--on-request", "deny")
    session = sandbox.session("t")
    assert session["result"] == "Tried."
    assert outside(sandbox, "t") == before
    return session


@pytest.mark.parametrize("name", thinned(ESCAPES, 4))
def test_no_command_gets_out(sandbox: Sandbox, serve: Serve, places: dict[str, str], name: str) -> None:
    command = ESCAPES[name]
    for key, value in places.items():
        command = command.replace(f"{{{key}}}", value)
    # As it stands Claude Code may ask about it; in a script nothing but the sandbox is between it and the rest.
    script = {"Write": {"file_path": "{cwd}/try.sh", "content": f"{command}\ntouch {{cwd}}/ran\n"}}
    session = attempt(sandbox, serve, {"Bash": {"command": command}}, script, {"Bash": {"command": "sh try.sh"}})
    assert Path(session["worktree"], "ran").exists(), sandbox.events("t")
    assert sandbox.git("fsck", "--connectivity-only") is not None
    assert sandbox.git("status", "--porcelain") == ""
