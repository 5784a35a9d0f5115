"""A command tried on commits in a scratch worktree: how it ends, what it can't touch, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatml.errors import GitError
from chatml.landing import triallog
from chatml.landing.scratch import clear
from chatml.landing.trial import RESULTS, Ending, Trial, Tried
from chatml.landing.triallog import kept
from chatml.repo import Repository
from chatml.state.store import Store
from tests.contained import needs_sandbox
from tests.support import TIMEOUT, Sandbox, marked_processes, needs, wait_until
from tests.worktree import sealed

__all__ = ["sealed"]

pytestmark = pytest.mark.usefixtures("sealed")


class Rig:
    """Trials in a sandbox, and all that must stay as it is."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.repository = Repository.discover(sandbox.repo)
        self.store = Store(self.repository.common_dir)
        self.worktrees = sandbox.repo.parent / "app.chatml"
        self.first = sandbox.commit("files", a="one\n", dir__b="two\n", _dot_gitignore="*.o\n")
        sandbox.git("branch", "side")
        sandbox.git("tag", "v1")
        self.second = sandbox.commit("more", a="other\n", c="three\n")
        self.before = self.state()

    def trial(self, command: str, timeout: float = TIMEOUT, contained: bool = False, fresh: bool = False) -> Trial:
        return Trial(
            self.repository,
            self.store,
            self.worktrees,
            command,
            timeout=timeout,
            contained=contained,
            fresh=fresh,
        )

    def run(self, command: str, commit: str = "", timeout: float = TIMEOUT) -> Tried:
        with self.trial(command, timeout) as trial:
            return trial.run(commit or self.second)

    def state(self) -> tuple[object, ...]:
        git = self.sandbox.repo / ".git"
        return (
            *(self.sandbox.git(*args) for args in (["for-each-ref"], ["status", "--porcelain"], ["worktree", "list"])),
            *((git / name).read_bytes() for name in ("HEAD", "index", "config")),
            sorted(path.name for path in git.iterdir() if path.name != "chatml"),
            sorted(path.name for path in self.sandbox.repo.iterdir()),
        )

    def left(self) -> list[Path]:
        """What a trial may leave behind only when it is killed."""
        return [path for path in (self.store.trials, self.worktrees) if path.exists()]


@pytest.fixture
def rig(sandbox: Sandbox) -> Iterator[Rig]:
    """At the end, the repository is as before and nothing is left of any trial."""
    rig = Rig(sandbox)
    yield rig
    assert rig.state() == rig.before
    assert rig.left() == []


def test_it_passes_or_fails_on_the_files_of_the_commit(rig: Rig) -> None:
    with rig.trial("cat a; test -e c") as trial:
        passed, failed = trial.run(rig.second), trial.run(rig.first)
    assert (passed.ending, passed.said, passed.output, passed.fails) == (Ending.PASSED, "passed", "other", False)
    assert (failed.ending, failed.said, failed.output) == (Ending.FAILED, "exited with code 1", "one")
    assert (failed.failures, failed.fails) == (1, True)
    assert failed.tree == rig.sandbox.git("rev-parse", f"{rig.first}^{{tree}}")


def test_it_is_a_clean_checkout_outside_of_the_real_one_with_its_branches_and_tags(rig: Rig) -> None:
    tried = rig.run(
        "git status --porcelain; git log -1 --format=%H; git describe --tags; git rev-parse main side;"
        ' git diff --name-only side; git config user.name; git stash list; pwd; echo "$PWD";'
        " git rev-parse --show-toplevel; git fsck"
    )
    second, described, main, side, *changed, name, here, pwd, top = tried.output.split("\n")  # fsck says nothing
    assert (second, main, side) == (rig.second, rig.second, rig.first)
    assert described == f"v1-1-g{rig.second[:7]}"
    assert (changed, name) == (["a", "c"], "Ada")
    assert here == pwd == top
    assert Path(here).parent == rig.worktrees


def test_a_tree_can_be_tried_that_is_in_no_commit(rig: Rig) -> None:
    blob = rig.sandbox.git("rev-parse", f"{rig.first}:a")
    made = subprocess.run(
        ["git", "mktree"],
        input=f"100644 blob {blob}\tz\n",
        cwd=rig.sandbox.repo,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    ).stdout.strip()
    tried = rig.run("ls; cat z", made)
    assert (tried.output, tried.tree) == ("z\none", made)


def test_what_is_no_commit_is_an_error_and_leaves_nothing(rig: Rig) -> None:
    with pytest.raises(GitError), rig.trial("true") as trial:
        trial.run("1" * 40)


HOSTILE = {
    "commits on no branch": "echo x > x; git add -A; git commit -qm x",
    "commits on another branch": "git checkout -q side; echo x > x; git add -A; git commit -qm x",
    "takes the branch that is checked out": "git checkout -q main; git commit -q --allow-empty -m x",
    "moves every ref": "git branch -f main side; git branch -D side; git tag -d v1; git update-ref refs/x HEAD",
    "stashes": "echo x > a; git stash",
    "changes the index": "git rm -rq --cached .; git update-index --assume-unchanged a || true",
    "hides a change": "git update-index --assume-unchanged a; git update-index --skip-worktree dir/b; id >a; rm dir/b",
    "changes settings": "git config user.name Eve; git config core.bare true; git config core.hooksPath /x",
    "is elsewhere": "git worktree add -q ../other; rm -rf ../other",
    "collects garbage": "git reflog expire --expire=all --all; git gc --prune=now -q",
    "builds": "touch a.o dir/new; mkdir -p new/er; echo x > new/er/file; ln -s / new/link",
    "keeps the time": "cp -p a t; printf 'ONE\\n' > a; touch -r t a; rm t",
    "removes all": "rm -rf * .gitignore",
    "removes itself": 'cd /; rm -rf "$PWD_BEFORE"',
    "puts a link in its place": 'cd /; rm -rf "$PWD_BEFORE"; ln -s "$HOME" "$PWD_BEFORE"',
    "makes a repository": "rm .git; git init -q; git init -q dir; git init -q deep/er",
    "closes folders": "mkdir -p ro/in; touch ro/in/file; chmod 555 ro/in ro; chmod 0 dir",
    "links a folder": 'rm -rf dir; ln -s "$HOME" dir',
    "breaks its own repository": 'rm -rf "$(git rev-parse --git-dir)"',
}


@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_a_command_does_stays_there_and_the_next_one_finds_nothing_of_it(rig: Rig, what: str) -> None:
    home = sorted(rig.sandbox.home.rglob("*"))
    shows = (
        "git status --porcelain --ignored; git rev-parse HEAD main; cat a dir/b; find . -path ./.git -o -print | sort"
    )
    hostile = f"PWD_BEFORE=$PWD; export PWD_BEFORE\n{HOSTILE[what]}\nexit 1"
    with rig.trial(f'if test -e "$HOME/did"; then {shows}; else touch "$HOME/did"\n{hostile}\nfi') as trial:
        assert trial.run(rig.second).said == "exited with code 1"
        second, first = trial.run(rig.second, again=True), trial.run(rig.first)
    (rig.sandbox.home / "did").unlink()
    files = [".", "./.gitignore", "./README.md", "./a", "./dir", "./dir/b"]
    assert first.output.split("\n") == [rig.first, rig.second, "one", "two", *files]
    assert second.output.split("\n") == [rig.second, rig.second, "other", "two", *files[:4], "./c", *files[4:]]
    assert sorted(rig.sandbox.home.rglob("*")) == home


def test_a_submodule_is_an_empty_folder_again(rig: Rig) -> None:
    tree = f"100644 blob {rig.sandbox.git('rev-parse', f'{rig.first}:a')}\ta\n160000 commit {rig.first}\tsub\n"
    made = subprocess.run(
        ["git", "mktree"],
        input=tree,
        cwd=rig.sandbox.repo,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    ).stdout.strip()
    with rig.trial("find sub; git init -q sub; touch sub/file; false") as trial:
        assert trial.run(made).output == "sub"
        assert trial.run(made, again=True).output == "sub"
        assert trial.run(rig.first).output.startswith("find: ")


def test_it_takes_too_long(rig: Rig) -> None:
    with rig.trial("trap '' TERM; echo begun; sleep 600", timeout=0.5) as trial:
        tried = trial.run(rig.second)
        assert trial.run(rig.second).cached, "not tried twice by the same command"
    assert (tried.ending, tried.said, tried.output) == (Ending.FAILED, "did not end within 0.5 s", "begun")
    assert "begun" not in rig.store.trial_results.read_text(), "the next command tries it again"


@needs("setsid")
def test_what_it_leaves_running_ends_with_it(rig: Rig) -> None:
    assert not rig.run("sleep 600 & setsid sleep 600 >/dev/null 2>&1 & true").fails
    assert not marked_processes(rig.sandbox.home)


def test_all_that_it_prints_is_kept_and_its_last_lines_are_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triallog, "SIZE", 60_000)
    with rig.trial("seq 1 10000; seq 1 10000 >&2; exit 3") as trial:
        tried = trial.run(rig.second, names=("x", "y"))
    assert tried.output.split("\n") == [str(number) for number in range(9851, 10001)]
    (run,) = kept(rig.store)
    assert (run.command, run.tree, run.names) == ("seq 1 10000; seq 1 10000 >&2; exit 3", tried.tree, ("x", "y"))
    assert (run.said, run.ok, run.output.name) == ("exited with code 3", False, tried.log)
    text = run.output.read_text()
    assert text.startswith("1\n2\n")
    assert text.endswith("\n[37,788 bytes more are not kept]\n")


def test_only_the_last_outputs_are_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triallog, "LOGS", 3)
    for number in range(5):
        rig.run(f"echo {number}")
    assert [run.output.read_text() for run in kept(rig.store)] == ["4\n", "3\n", "2\n"]
    assert len([*rig.store.trial_logs.iterdir()]) == 6


@pytest.mark.parametrize(("command", "code"), [("no-such-program --all", 127), ("./a", 126)])
def test_a_command_that_cannot_be_run_says_nothing_of_the_tree(rig: Rig, command: str, code: int) -> None:
    tried = rig.run(command)
    assert (tried.ending, tried.said, tried.fails) == (Ending.NOT_RUN, f"exited with code {code}", True)
    assert not rig.run(command).cached


def test_each_tree_is_tried_once_by_each_command(rig: Rig) -> None:
    command = 'echo at >> "$HOME/at"; test -e c'
    same = rig.sandbox.git("commit-tree", f"{rig.second}^{{tree}}", "-m", "same")
    with rig.trial(command) as trial:
        assert [trial.run(commit).cached for commit in (rig.second, same, rig.first, rig.first)] == [False, True] * 2
    with rig.trial(command) as trial:
        passed, failed = trial.run(rig.second), trial.run(rig.first)
    assert (passed.cached, passed.ending, failed.cached, failed.ending) == (True, Ending.PASSED, True, Ending.FAILED)
    assert (rig.sandbox.home / "at").read_text() == "at\nat\n"
    assert not rig.run(f"{command} #").cached
    with rig.trial(command, fresh=True) as trial:
        assert not trial.run(rig.second).cached
    (rig.sandbox.home / "at").unlink()


def test_a_failure_is_tried_once_more_and_then_beyond_doubt_for_that_command(rig: Rig) -> None:
    with rig.trial("false") as trial:
        trial.run(rig.second)
        again = trial.run(rig.second, again=True)
        assert (again.cached, again.failures) == (False, 2)
        assert trial.run(rig.second, again=True).cached
    with rig.trial("false") as trial:  # by now, whatever the machine lacked may be there
        assert trial.run(rig.second).cached
        assert not trial.run(rig.second, again=True).cached


def test_a_failure_that_passes_the_second_time_is_not_remembered_longer_than_the_command(rig: Rig) -> None:
    flaky = 'test -e "$HOME/ok" || { touch "$HOME/ok"; exit 1; }'
    with rig.trial(flaky) as trial:
        assert trial.run(rig.second).ending is Ending.FAILED
        assert trial.run(rig.second, again=True).ending is Ending.PASSED
        assert trial.run(rig.second).ending is Ending.PASSED
    assert not rig.run(flaky).cached
    (rig.sandbox.home / "ok").unlink()


def test_results_are_bounded_and_damaged_ones_are_none(rig: Rig) -> None:
    rig.run("true")
    text = rig.store.trial_results.read_text()
    (one,) = json.loads(text).values()
    rig.store.trial_results.write_text(json.dumps({str(number): one for number in range(RESULTS + 50)}))
    rig.run("true # other")
    assert len(json.loads(rig.store.trial_results.read_text())) == RESULTS
    for damage in ("{", "[]", '{"x": 1}', '{"x": {"ending": "odd"}}', "\xff"):
        rig.store.trial_results.write_text(damage)
        assert not rig.run("true").cached
        assert rig.run("true").cached


def test_a_post_checkout_hook_makes_it_habitable_from_the_main_checkout(rig: Rig) -> None:
    (rig.sandbox.repo / "a.o").write_text("built\n")
    hook = rig.sandbox.repo / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\ncp "$(git rev-parse --git-common-dir)/../a.o" . && echo "hook: $3"\n')
    hook.chmod(0o755)
    rig.before = rig.state()
    tried = rig.run('cat a.o; git rev-parse --git-common-dir; echo "$CHATML_REPOSITORY"')
    built, common, repository = tried.output.split("\n")
    assert (built, repository) == ("built", str(rig.sandbox.repo))
    assert Path(common).resolve() != (rig.sandbox.repo / ".git").resolve()
    (run,) = kept(rig.store)
    assert run.output.read_text().startswith("hook: 1\nbuilt\n")


@needs_sandbox
def test_in_a_sandbox_it_writes_there_alone(rig: Rig) -> None:
    with rig.trial(
        'touch made; touch "$HOME/made"; git status --porcelain; git commit --allow-empty -qm x', contained=True
    ) as trial:
        tried = trial.run(rig.second)
    assert "?? made" in tried.output
    assert tried.fails
    assert not (rig.sandbox.home / "made").exists()


RUN = """
import sys
from pathlib import Path
from chatml.landing.trial import Trial
from chatml.repo import Repository
from chatml.state.store import Store
repository = Repository.discover(Path(sys.argv[1]))
with Trial(repository, Store(repository.common_dir), Path(sys.argv[2]), sys.argv[3], timeout=600) as trial:
    trial.run(sys.argv[4])
"""

HANGS = 'trap "" TERM INT; (setsid sleep 600 >/dev/null 2>&1 &) ; touch "$HOME/begun"; sleep 600; sleep 600'


@pytest.fixture
def hanging(rig: Rig) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own that is amid a run."""
    argv = [sys.executable, "-c", RUN, str(rig.sandbox.repo), str(rig.worktrees), HANGS, rig.second]
    process = subprocess.Popen(argv, env=rig.sandbox.env, stderr=subprocess.PIPE)
    begun = rig.sandbox.home / "begun"
    wait_until(begun.exists, "the command to begin")
    yield process
    process.kill()
    process.communicate(timeout=TIMEOUT)
    begun.unlink()


@needs("setsid")
def test_ctrl_c_ends_the_command_and_leaves_nothing(rig: Rig, hanging: subprocess.Popen[bytes]) -> None:
    hanging.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in hanging.communicate(timeout=TIMEOUT)[1]
    assert not marked_processes(rig.sandbox.home)
    assert rig.left() == []
    (run,) = kept(rig.store)
    assert (run.said, run.ok) == (None, None)


@needs("setsid")
def test_what_a_killed_one_leaves_is_cleared_by_the_next_and_a_living_one_is_left_alone(
    rig: Rig, hanging: subprocess.Popen[bytes]
) -> None:
    assert rig.sandbox.chatml("ls").out == rig.sandbox.chatml("ls", env={"X": ""}).out
    assert "trial" not in rig.sandbox.git("worktree", "list") + rig.sandbox.chatml("doctor", code=None).out
    clear(rig.store)
    assert len(rig.left()) == 2
    rig.run("true")
    assert len([*rig.worktrees.iterdir()]) == 1
    os.kill(hanging.pid, signal.SIGKILL)
    hanging.wait(TIMEOUT)
    assert len(rig.left()) == 2
    assert rig.state() == rig.before
    clear(rig.store)
    assert rig.left() == []
    wait_until(lambda: not marked_processes(rig.sandbox.home), "all that it started to end")


def test_from_a_bare_repository(rig: Rig) -> None:
    bare = rig.sandbox.repo.parent / "bare.git"
    rig.sandbox.git("clone", "-q", "--bare", str(rig.sandbox.repo), str(bare))
    repository = Repository.discover(bare)
    with Trial(repository, Store(bare), rig.worktrees, "git status --porcelain; cat a", timeout=TIMEOUT) as trial:
        assert trial.run("main").output == "other"
