"""A worktree that one can live in: files copied and linked, variables set, the project's setup run before the agent."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import TIMEOUT, Sandbox, wait_until

AGENT = "agents: {echo: {command: [sh, -c, echo answer, '{prompt}'], resume: [sh, -c, echo again, '{prompt}']}}\n"


@pytest.fixture
def lived(sandbox: Sandbox) -> Sandbox:
    """A repository that ignores a few things, and an agent that answers at once."""
    sandbox.commit("ignore", _dot_gitignore="node_modules/\n.env\n*.local\ntrees/\nout\n")
    return sandbox


def configure(sandbox: Sandbox, text: str) -> None:
    path = sandbox.repo / ".git" / "chatml" / "config.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{AGENT}agent: echo\n{text}")


def new(sandbox: Sandbox, name: str = "x", code: int = 0) -> dict[str, Any]:
    made: dict[str, Any] = sandbox.chatml("new", "do it", "--name", name, "--wait", "--json", code=code).json
    return made


def said(sandbox: Sandbox, name: str = "x") -> list[str]:
    return [event["line"] for event in sandbox.events(name, "setup")]


# --- copied and linked --------------------------------------------------------------------------------------------


def test_ignored_files_are_copied_as_they_are_and_nothing_else_is(lived: Sandbox) -> None:
    repo = lived.repo
    for path in ("node_modules/a/index.js", "node_modules/b.local", "conf/x.local", "conf/deep/y.local", "conf/plain"):
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text(path)
    (repo / ".env").write_text("A=1\n")
    (repo / ".env").chmod(0o600)
    (repo / "conf" / "run.local").write_text("#!/bin/sh\n")
    (repo / "conf" / "run.local").chmod(0o755)
    (repo / "node_modules" / "link").symlink_to("../../../etc")
    os.utime(repo / "conf" / "x.local", (1_000_000_000, 1_000_000_000))
    os.utime(repo / "node_modules", (1_000_000_000, 1_000_000_000))
    configure(lived, "copy: [.env, node_modules/, '*.local', '!y.local', conf/plain, missing]\n")
    worktree = Path(new(lived)["worktree"])
    found = sorted(str(path.relative_to(worktree)) for path in worktree.rglob("*") if not path.is_dir())
    assert found == [
        ".env", ".git", ".gitignore", "README.md", "conf/run.local", "conf/x.local",
        "node_modules/a/index.js", "node_modules/b.local", "node_modules/link",
    ]  # fmt: skip
    assert (worktree / ".env").stat().st_mode & 0o777 == 0o600
    assert (worktree / "conf" / "run.local").stat().st_mode & 0o777 == 0o755
    assert (worktree / "conf" / "x.local").stat().st_mtime == 1_000_000_000
    assert (worktree / "node_modules").stat().st_mtime == 1_000_000_000
    assert os.readlink(worktree / "node_modules" / "link") == "../../../etc"
    assert said(lived) == ["not copied, because git does not ignore it: conf/plain"]
    assert lived.git("status", "--porcelain", cwd=worktree) == ""


def test_the_file_that_other_tools_share_is_honoured(lived: Sandbox) -> None:
    lived.commit("include", _dot_worktreeinclude="# what is needed\n*.local\n!no.local\n")
    for name in ("yes.local", "no.local"):
        (lived.repo / name).write_text(name)
    configure(lived, "")
    worktree = Path(new(lived)["worktree"])
    assert (worktree / "yes.local").exists()
    assert not (worktree / "no.local").exists()


def test_nothing_is_replaced_and_no_link_is_written_through(lived: Sandbox, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    lived.git("checkout", "-q", "-b", "feature")
    (lived.repo / "out").symlink_to(outside)
    (lived.repo / "here.local").write_text("of the branch")
    lived.git("add", "-f", "out", "here.local")
    lived.git("commit", "-qm", "a link")
    lived.git("checkout", "-q", "main")
    (lived.repo / "out").mkdir()
    (lived.repo / "out" / "secret").write_text("mine")
    (lived.repo / "here.local").write_text("of the checkout")
    configure(lived, "copy: [out, here.local]\nbase: feature\n")
    worktree = Path(new(lived)["worktree"])
    assert os.listdir(outside) == []
    assert (worktree / "out").is_symlink()
    assert (worktree / "here.local").read_text() == "of the branch"


def test_neither_a_worktree_nor_a_repository_is_copied(lived: Sandbox) -> None:
    configure(lived, "worktrees: trees\ncopy: ['*']\n")
    first = Path(new(lived, "first")["worktree"])
    (lived.repo / "trees" / "note.local").write_text("n")
    lived.git("init", "-q", str(lived.repo / "node_modules" / "dep"))
    (lived.repo / "node_modules" / "dep" / "code").write_text("c")
    assert first.is_relative_to(lived.repo)
    second = Path(new(lived, "second")["worktree"])
    assert sorted(os.listdir(second / "trees")) == ["note.local"]
    assert sorted(os.listdir(second / "node_modules" / "dep")) == ["code"]


def test_a_link_shares_what_the_main_checkout_has(lived: Sandbox) -> None:
    (lived.repo / "node_modules" / "a").mkdir(parents=True)
    configure(lived, "link: [node_modules/, nothing, README.md]\n")
    worktree = Path(new(lived)["worktree"])
    assert os.readlink(worktree / "node_modules") == str(lived.repo / "node_modules")
    assert said(lived) == [
        f"not linked, because it is not in {lived.repo}: nothing",
        "not linked, because something stands there: README.md",
    ]
    assert lived.git("status", "--porcelain", cwd=worktree) == "", "no change of the agent's"
    assert lived.session("x")["changes"]["files"] == 0
    lived.chatml("rm", "x", "-q")
    assert (lived.repo / "node_modules" / "a").is_dir(), "the link went, and not what it leads to"


def test_variables_are_set_in_the_files_of_the_worktree(lived: Sandbox) -> None:
    (lived.repo / ".env").write_text("# mine\nPORT=3000 # the default\nKEEP='a b'\n")
    url = "http://{name}.localhost:{port:web}/{slug}?{base}"
    configure(lived, f"copy: [.env]\nports: [web]\nenv_files: {{.env: {{PORT: '{{port}}', URL: '{url}'}}}}\n")
    made = new(lived, "a-b")
    port = made["ports"]["web"]
    text = (Path(made["worktree"]) / ".env").read_text()
    assert text == (f"# mine\nPORT={port} # the default\nKEEP='a b'\nURL='http://a-b.localhost:{port}/a_b?main'\n")
    assert (lived.repo / ".env").read_text().startswith("# mine\nPORT=3000"), "the person's own is as it was"


def test_a_link_out_of_the_worktree_fails_the_setup(lived: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("A=0\n")
    (lived.repo / "conf.env").symlink_to(tmp_path / "secret")
    lived.git("add", "-A")
    lived.git("commit", "-qm", "a link")
    configure(lived, "env_files: {conf.env: {A: '1'}}\n")
    failed = new(lived, code=1)
    assert failed["error"]["kind"] == "setup"
    assert "leads out of the worktree" in failed["error"]["message"]
    assert (tmp_path / "secret").read_text() == "A=0\n"


# --- the setup ----------------------------------------------------------------------------------------------------


def test_setup_runs_before_the_agent_and_once(lived: Sandbox) -> None:
    configure(
        lived, "ports: [web]\nsetup: ['echo {name} at {port:web} in $CHATML_SLUG | tee -a out', 'cat; echo end']\n"
    )
    made = new(lived, "it-s")
    assert said(lived, "it-s") == [
        f"$ echo it-s at {made['port']} in $CHATML_SLUG | tee -a out",
        f"it-s at {made['port']} in it_s",
        "$ cat; echo end",
        "end",
    ]
    order = [event["type"] for event in lived.events("it-s", "setup", "message")]
    assert order == ["setup"] * 4 + ["message"]
    lived.chatml("send", "it-s", "more", "--wait")
    assert len((Path(made["worktree"]) / "out").read_text().splitlines()) == 1


def test_a_name_is_one_word_of_a_command_whatever_it_holds(lived: Sandbox) -> None:
    lived.git("branch", "a'$(touch${IFS}evil);x")
    configure(lived, "setup: ['printf %s\\\\n {branch} > out']\n")
    made = lived.chatml("new", "x", "--name", "x", "--branch", "a'$(touch${IFS}evil);x", "--wait", "--json").json
    assert (Path(made["worktree"]) / "out").read_text() == "a'$(touch${IFS}evil);x\n"
    assert not (Path(made["worktree"]) / "evil").exists()


def test_a_failure_is_told_with_its_last_lines_and_setup_tries_again(lived: Sandbox) -> None:
    configure(lived, "setup: ['echo one; echo two >&2; test -e ready', 'echo never >> out']\n")
    failed = new(lived, code=1)
    assert (failed["status"], failed["turns"]) == ("failed", 0)
    assert failed["error"]["kind"] == "setup"
    assert failed["error"]["message"] == "'echo one; echo two >&2; test -e ready' exited with code 1: two"
    assert failed["error"]["output"] == "one\ntwo"
    assert "setup: 'echo one" in lived.chatml("ls").out
    assert "\n  one\n  two\n" in lived.chatml("show", "x").out
    worktree = Path(failed["worktree"])
    assert not (worktree / "out").exists()
    again = lived.chatml("setup", "x", code=1)
    assert "\ntwo\nerror: 'echo one" in again.err
    (worktree / "ready").touch()
    assert "set up x" in lived.chatml("setup", "x").err
    done = lived.until("x", "done")
    assert (done["turns"], done["error"], done["result"]) == (1, None, "answer"), "the agent went on where it was due"
    assert lived.chatml("setup", "x", "--json").json == [{"name": "x", "outcome": "nothing to do", "error": None}]
    lived.chatml("setup", "x", "--all", "-q")
    assert lived.until("x", "done")["turns"] == 1, "no agent was asked for that"
    assert (worktree / "out").read_text() == "never\n" * 2


def test_a_message_tries_a_failed_setup_again(lived: Sandbox) -> None:
    configure(lived, "setup: ['test -e ready']\n")
    failed = new(lived, code=1)
    (Path(failed["worktree"]) / "ready").touch()
    lived.chatml("send", "x", "try again", "--wait")
    assert [event["text"] for event in lived.events("x", "message")] == ["do it", "try again"]


def test_a_step_runs_again_once_a_file_that_it_looks_at_has_changed(lived: Sandbox) -> None:
    lived.commit("lock", lock="1")
    configure(lived, "setup: [{command: 'echo install >> out', if_changed: lock}, 'echo once >> out']\n")
    worktree = Path(new(lived)["worktree"])
    lived.commit("lock", lock="2")
    assert "its setup is due again (echo install >> out): chatml setup x\n" in lived.chatml("sync", "x").err
    lived.chatml("send", "x", "go on", "--wait")
    assert (worktree / "out").read_text().split() == ["install", "once", "install"]
    lived.chatml("send", "x", "go on", "--wait")
    assert len((worktree / "out").read_text().split()) == 3


def test_while_it_runs_ls_says_which_command(lived: Sandbox) -> None:
    os.mkfifo(lived.repo / "gate.local")
    configure(lived, f"setup: ['cat {lived.repo}/gate.local']\n")
    lived.chatml("new", "x", "--name", "x", "-q")
    wait_until(lambda: "setup: cat" in (lived.session("x")["activity"] or ""), "the setup to run")
    assert lived.session("x")["status"] == "preparing"
    (lived.repo / "gate.local").write_text("go\n")
    lived.until("x", "done")


def test_at_most_so_many_run_at_once(lived: Sandbox) -> None:
    """Each counts those that run beside it."""
    step = f"mkdir ../on-$CHATML_NAME; ls ../ | grep -c on- >> {lived.repo}/most.local; sleep 0.3; rmdir ../on-*-1"
    configure(lived, f"max_setups: 2\nsetup: ['{step.replace('on-*-1', 'on-$CHATML_NAME')}']\n")
    lived.chatml("new", "-n", "5", "--name", "x", "do it", "--wait", "-q")
    counts = [int(line) for line in (lived.repo / "most.local").read_text().split()]
    assert len(counts) == 5
    assert max(counts) <= 2


HOSTILE = {
    "a daemon": "setsid sh -c 'trap \"\" TERM; sleep 600' >/dev/null 2>&1 & echo $! > out; exit 1",
    "ignores SIGTERM": "trap '' TERM; sleep 600 & wait; sleep 600",
    "needs an input": "read line || exit 1",
    "is not there": "no-such-program-of-ours",
}


@pytest.mark.parametrize("command", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_setup_fails_and_leaves_nothing_running(lived: Sandbox, command: str) -> None:
    """The sandbox's own end finds whatever is left of it."""
    text = command.replace("'", "''")
    configure(lived, f"setup: [{{command: '{text}', timeout: 2}}]\n")
    assert new(lived, code=1)["error"]["kind"] == "setup"


def test_what_a_setup_that_passed_has_started_lives_until_the_session_is_stopped(lived: Sandbox) -> None:
    configure(lived, "setup: ['setsid sleep 600 >/dev/null 2>&1 & echo $! > out']\n")
    made = new(lived)
    pid = int((Path(made["worktree"]) / "out").read_text())
    assert [one["pid"] for one in lived.session("x")["processes"]] == [pid]
    lived.chatml("stop", "x")
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it to end")


def test_a_hundred_megabytes_are_cut_in_the_log(lived: Sandbox) -> None:
    configure(lived, "setup: ['yes 012345678901234567890123456789012345678 | head -c 100000000; echo last']\n")
    assert new(lived)["status"] == "done"
    log = lived.state("x") / "events.jsonl"
    assert log.stat().st_size < 1_000_000
    lines = said(lived)
    assert lines[-1] == "last"
    assert any("lines are left out here" in line for line in lines)


def test_a_setup_that_is_killed_with_its_worker_runs_again(lived: Sandbox) -> None:
    os.mkfifo(lived.repo / "gate.local")
    configure(lived, f"setup: ['echo begun >> out; cat {lived.repo}/gate.local']\n")
    lived.chatml("new", "x", "--name", "x", "-q")
    wait_until(lambda: "setup: echo" in (lived.session("x")["activity"] or ""), "the setup to run")
    worktree = Path(lived.session("x")["worktree"])
    wait_until(lambda: (worktree / "out").exists(), "it to have begun")
    os.kill(lived.session("x")["pid"], signal.SIGKILL)
    lived.until("x", "crashed")
    lived.chatml("resume", "x", "-q")
    wait_until(lambda: len((worktree / "out").read_text().split()) == 2, "it to begin again")
    (lived.repo / "gate.local").write_text("go\n")
    assert lived.until("x", "done")["turns"] == 1


def test_a_person_stops_a_setup_and_it_goes_on_later(lived: Sandbox) -> None:
    configure(lived, "setup: ['test -e ready || sleep 600']\n")
    lived.chatml("new", "x", "--name", "x", "-q")
    wait_until(lambda: "setup: test" in (lived.session("x")["activity"] or ""), "the setup to run")
    lived.chatml("stop", "x")
    stopped = lived.until("x", "stopped")
    (Path(stopped["worktree"]) / "ready").touch()
    lived.chatml("resume", "x", "-q")
    assert lived.until("x", "done")["result"] == "answer"


def test_nothing_is_set_up_under_an_agent_at_work(lived: Sandbox) -> None:
    os.mkfifo(lived.repo / "gate.local")
    configure(lived, "setup: ['true']\n")
    path = lived.repo / ".git" / "chatml" / "config.yaml"
    path.write_text(path.read_text().replace("echo answer", f"cat {lived.repo}/gate.local"))
    lived.chatml("new", "x", "--name", "x", "-q")
    lived.until("x", "running")
    assert "'x' is at work" in lived.chatml("setup", "x", code=1).err
    (lived.repo / "gate.local").write_text("go\n")
    lived.until("x", "done")


def test_what_is_restored_is_set_up_again(lived: Sandbox) -> None:
    (lived.repo / "node_modules").mkdir()
    (lived.repo / "node_modules" / "large").write_bytes(b"x" * 2_000_000)
    configure(lived, "copy: [node_modules]\nsetup: ['echo run >> out']\n")
    worktree = Path(new(lived)["worktree"])
    lived.chatml("rm", "x", "-q")
    lived.chatml("restore", "x")
    assert not (worktree / "node_modules" / "large").exists()
    lived.chatml("send", "x", "go on", "--wait")
    assert (worktree / "node_modules" / "large").exists()
    assert (worktree / "out").read_text() == "run\nrun\n"


def test_the_check_finds_the_sessions_own_variables(lived: Sandbox) -> None:
    configure(lived, 'ports: [web]\nchecks: [\'test "$CHATML_PORT_WEB" = "$CHATML_PORT" && test -n "$CHATML_BASE"\']\n')
    assert new(lived)["check"]["ok"] is True


def test_a_reviewer_needs_no_setup(lived: Sandbox) -> None:
    configure(lived, "setup: ['false']\nports: [web]\nagent: claude\n".replace("agent: claude\n", ""))
    made = lived.chatml("new", "x", "--name", "x", "--agent", "claude", "--role", "reviewer", "--json").json
    assert made["ports"] is None
    lived.chatml("stop", "x")


@pytest.mark.parametrize("count", [300])
def test_a_copy_is_as_the_original(lived: Sandbox, count: int) -> None:
    for number in range(count):
        path = lived.repo / "node_modules" / f"p{number % 17}" / f"d{number % 5}" / f"f{number}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    configure(lived, "copy: [node_modules]\n")
    worktree = Path(new(lived)["worktree"])
    same = subprocess.run(
        ["diff", "-r", lived.repo / "node_modules", worktree / "node_modules"], check=False, timeout=TIMEOUT
    )
    assert same.returncode == 0
    assert not (worktree / ".chatml-filling").exists()
