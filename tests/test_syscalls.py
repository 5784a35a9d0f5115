"""Commands that change something, killed or told that the disk is full at their system calls: nothing lost or left.

The first run of a command is only watched; it tells the calls. Every `STRIDE`th of many is then tried, from the first
for the kills and from the second for the full disk. Opening a file is none of those for the kills: what one leaves
there is what one at the call before leaves. What git does, chatml's child, is the subject of test_halfmade.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chatml.model import Request, Status, now
from tests.faults import all_gone
from tests.github import GitHub
from tests.made import commit, make_session, state, write
from tests.support import TIMEOUT, Sandbox, needs
from tests.test_halfmade import wrap, wrapped
from tests.test_try import looks

__all__ = ["wrapped"]


def _why_not() -> str:
    """Why strace can't be used here; empty where it can."""
    if shutil.which("strace") is None:
        return "not installed: strace"
    tried = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    return f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode else ""


_LACK = _why_not()
pytestmark = [pytest.mark.long, needs("strace", "gh"), pytest.mark.skipif(bool(_LACK), reason=_LACK)]

STRIDE, FEW = 3, 14
"""Of so many calls one is tried, where there are more than few."""

GROWING = ("mkdir", "mkdirat", "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "link",
           "linkat", "symlink", "symlinkat", "ftruncate")  # fmt: skip

FAILING = (*GROWING, "openat")
"""Calls that a full disk lets fail; that last one where it makes a file."""

CALLS = (*GROWING, "unlink", "unlinkat", "rmdir")
"""Calls that a kill strikes."""

QUICK: dict[str, Any] = {"agent": "quick", "command": ("sh", "-c", "echo It is done.")}


CONFIG = """\
agent: quick
agents: {quick: {command: [sh, -c, 'echo It is done.', '{prompt}']}}
"""


@dataclass(frozen=True)
class Scene:
    """What there is, the command, and what must hold once somebody has gone on after the fault."""

    command: tuple[str, ...]
    prepare: Callable[[Sandbox], Any]
    go_on: Callable[[Sandbox, Any], None]
    """With what `prepare` has returned."""


def names(sandbox: Sandbox) -> dict[str, str]:
    return {one["name"]: one["status"] for one in sandbox.chatml("ls", "--json").json}


def _configured(sandbox: Sandbox) -> None:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)


def _made(sandbox: Sandbox) -> None:
    if "x" not in names(sandbox):
        sandbox.chatml("new", "do it", "--name", "x", "-q")
    _finished(sandbox)
    worktree = Path(sandbox.session("x")["worktree"])
    assert (worktree / "README.md").read_text() == "sample\n"
    assert sandbox.git("status", "--porcelain", "--branch", cwd=worktree) == "## chatml/x"


def _finished(sandbox: Sandbox) -> None:
    """The session comes to its end, after it was resumed where it has crashed."""
    if names(sandbox)["x"] != "done":
        sandbox.chatml("wait", "x", "-q", code=None)
    if names(sandbox)["x"] != "done":
        sandbox.chatml("resume", "x", "-q")
        sandbox.chatml("wait", "x", "-q")
    assert names(sandbox) == {"x": "done"}


def _rested(sandbox: Sandbox) -> dict[str, Any]:
    """A session with every kind of work in it; all of it."""
    sandbox.commit("ignore", _dot_gitignore=".env\n")
    worktree = make_session(sandbox, "x", **QUICK)
    commit(sandbox, worktree, "work", a="1")
    write(worktree, staged="2", _dot_env="ignored", untracked="3", deep__er="4")
    sandbox.git("add", "staged", cwd=worktree)
    return state(sandbox, "x", worktree)


def _empty(sandbox: Sandbox) -> dict[str, Any]:
    return state(sandbox, "x", make_session(sandbox, "x", **QUICK))


def _work(sandbox: Sandbox, before: dict[str, Any]) -> None:
    """The files of the worktree are those of before."""
    worktree = Path(f"{sandbox.repo}.chatml") / "x"
    after = state(sandbox, "x", worktree)
    for part in ("files", "status", "index", "commit", "branch"):
        assert after[part] == before[part], part


def _sent(sandbox: Sandbox, before: dict[str, Any]) -> None:
    if "hello" not in (sandbox.state("x") / "inbox.jsonl").read_text():
        sandbox.chatml("send", "x", "hello")
    elif not any(event["text"] == "hello" for event in sandbox.events("x", "message")):
        sandbox.chatml("resume", "x", "-q")
    _finished(sandbox)
    assert [event["text"] for event in sandbox.events("x", "message")] == ["do x", "hello"]
    _work(sandbox, before)


def _crashed(sandbox: Sandbox) -> dict[str, Any]:
    before = state(sandbox, "x", make_session(sandbox, "x", status=Status.RUNNING, **QUICK))
    assert names(sandbox) == {"x": "crashed"}
    return before


def _stopped(sandbox: Sandbox, before: dict[str, Any]) -> None:
    sandbox.chatml("stop", "x")
    assert names(sandbox) == {"x": "stopped"}
    _work(sandbox, before)


def _resumed(sandbox: Sandbox, before: dict[str, Any]) -> None:
    if names(sandbox) == {"x": "crashed"}:
        sandbox.chatml("resume", "x")
    _finished(sandbox)
    _work(sandbox, before)


def _removed(sandbox: Sandbox, before: dict[str, Any], *force: str) -> None:
    if "x" in names(sandbox):
        _work(sandbox, before)
        sandbox.chatml("rm", *force, "x")
    else:
        sandbox.chatml("rm", "nobody", code=1)  # clears up
    _clean(sandbox)
    assert sandbox.git("worktree", "list").count("\n") == 0
    sandbox.chatml("restore", "x")
    assert _but_times(state(sandbox, "x", Path(f"{sandbox.repo}.chatml") / "x")) == _but_times(before)


def _but_times(whole: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in whole.items() if key != "reflog"}


def _forced(sandbox: Sandbox, before: dict[str, Any]) -> None:
    _removed(sandbox, before, "--force")


def _gone(sandbox: Sandbox) -> dict[str, Any]:
    before = _rested(sandbox)
    sandbox.chatml("rm", "--force", "x")
    return before


def _restored(sandbox: Sandbox, before: dict[str, Any]) -> None:
    if "x" not in names(sandbox):
        sandbox.chatml("restore", "x")
    assert state(sandbox, "x", Path(f"{sandbox.repo}.chatml") / "x") == before
    sandbox.chatml("restore", "x", code=1)
    assert sandbox.git("for-each-ref", "refs/chatml") == ""


def _unread(sandbox: Sandbox) -> dict[str, Any]:
    before = _empty(sandbox)
    message = {"time": now(), "id": "one", "type": "message", "text": "take it back"}
    with (sandbox.state("x") / "inbox.jsonl").open("a") as inbox:
        inbox.write(json.dumps(message) + "\n")
    assert [one["text"] for one in sandbox.chatml("unsend", "x", "--json").json] == ["take it back"]
    return before


def _unsent(sandbox: Sandbox, before: dict[str, Any]) -> None:
    sandbox.chatml("unsend", "x", "--all")
    assert sandbox.chatml("unsend", "x", "--json").json == []
    assert "do x" in (sandbox.state("x") / "inbox.jsonl").read_text()
    _work(sandbox, before)


QUESTION = {"questions": [{"question": "Which?", "options": [{"label": "One", "description": "the first"}]}]}


def _asking(kind: str) -> Callable[[Sandbox], dict[str, Any]]:
    asked = QUESTION if kind == "question" else {"command": "ls"}
    detail = {"tool": "AskUserQuestion" if kind == "question" else "Bash", "input": asked}

    def prepare(sandbox: Sandbox) -> dict[str, Any]:
        request = Request("1", kind, "Bash: ls", detail, now())
        worktree = make_session(sandbox, "x", status=Status.WAITING, requests=(request,), **QUICK)
        assert names(sandbox) == {"x": "waiting"}
        return state(sandbox, "x", worktree)

    return prepare


def _replied(*command: str) -> Callable[[Sandbox, dict[str, Any]], None]:
    def go_on(sandbox: Sandbox, before: dict[str, Any]) -> None:
        def replies() -> int:
            inbox = (sandbox.state("x") / "inbox.jsonl").read_text().splitlines()
            return sum(entry.get("type") == "reply" for entry in map(json.loads, filter(None, inbox)))

        if replies() == 0:
            assert names(sandbox) == {"x": "waiting"}
            sandbox.chatml(*command)
        elif names(sandbox) == {"x": "crashed"}:
            sandbox.chatml("resume", "x")
        assert replies() == 1
        sandbox.chatml("stop", "x", "-q", code=None)
        _work(sandbox, before)

    return go_on


def _publishable(sandbox: Sandbox) -> dict[str, Any]:
    origin = sandbox.repo.parent / "octo.git"
    sandbox.git("clone", "-q", "--bare", str(sandbox.repo), str(origin))
    sandbox.git("remote", "add", "origin", "http://github.localhost/octo/app.git")
    sandbox.git("config", f"url.{origin}.pushInsteadOf", "http://github.localhost/octo/app.git")
    worktree = make_session(sandbox, "x", **QUICK)
    commit(sandbox, worktree, "Do it", file="one\n")
    return state(sandbox, "x", worktree)


def _published(sandbox: Sandbox, before: dict[str, Any]) -> None:
    first, second = (sandbox.chatml("pr", "x", "--json").json for _ in range(2))
    assert first["url"] == second["url"] == sandbox.session("x")["pr"]["url"]
    there = sandbox.git("rev-parse", "chatml/x", cwd=sandbox.repo.parent / "octo.git")
    assert there == sandbox.git("rev-parse", "chatml/x")
    _work(sandbox, before)


def _landable(sandbox: Sandbox) -> dict[str, Any]:
    """A session whose work changes, adds and removes files, and a checkout with work of the person's in it."""
    sandbox.commit("before", old="old\n", sub__gone="gone\n", mine="theirs\n")
    worktree = make_session(sandbox, "x", **QUICK)
    (worktree / "sub" / "gone").unlink()
    commit(sandbox, worktree, "Do it", old="new\n", deep__er="4\n", deep__est="5\n")
    write(sandbox.repo, mine="mine\n", untracked="u\n")
    sandbox.git("update-index", "-q", "--refresh", check=False)
    return state(sandbox, "x", worktree) | {"main": sandbox.git("rev-parse", "main")}


def _landable_elsewhere(sandbox: Sandbox) -> dict[str, Any]:
    before = _landable(sandbox)
    sandbox.git("checkout", "-q", "-b", "mine")
    return before


def whole(sandbox: Sandbox, before: dict[str, Any]) -> bool:
    """Whether the branch has moved; it and its checkout are either old or new, and the person's work is there."""
    moved: bool = sandbox.git("rev-parse", "main") != before["main"]
    status = sandbox.git("status", "--porcelain", "--untracked-files=all")
    assert status == "M mine\n?? untracked", status
    assert (sandbox.repo / "mine").read_text() == "mine\n"
    here = sandbox.git("rev-parse", "--abbrev-ref", "HEAD") == "main"
    new = moved and here
    assert (sandbox.repo / "old").read_text() == ("new\n" if new else "old\n")
    assert [(sandbox.repo / path).exists() for path in ("sub/gone", "deep/er")] == [not new, new]
    landed = json.loads((sandbox.state("x") / "session.json").read_text())["landed_as"]
    assert (landed is not None) == moved, landed
    return moved


def _landed(sandbox: Sandbox, before: dict[str, Any]) -> None:
    sandbox.chatml("rm", "nobody", code=1)  # clears up
    whole(sandbox, before)
    _clean(sandbox)
    sandbox.chatml("merge", "x")
    assert whole(sandbox, before)
    sandbox.git("fsck", "--no-dangling", "--no-progress")
    assert sandbox.git("log", "-1", "--format=%s", "main") == "Do it"


LINES = "".join(f"{number}\n" for number in range(1, 10))


def _behind(sandbox: Sandbox) -> dict[str, Any]:
    """A session with work of every kind, on a base that has moved on: in the same files, and in others."""
    sandbox.commit("before", old="old\n", sub__gone="gone\n", both=LINES)
    worktree = make_session(sandbox, "x", **QUICK)
    commit(sandbox, worktree, "Do it", work="w\n", both=LINES.replace("5\n", "five\n"))
    write(worktree, staged="s\n", untracked="u\n", both=LINES.replace("5\n", "five\n").replace("9\n", "nine\n"))
    sandbox.git("add", "staged", cwd=worktree)
    write(worktree, staged="s\nt\n")
    (sandbox.repo / "sub" / "gone").unlink()
    sandbox.commit("meanwhile", old="new\n", deep__er="4\n", both=LINES.replace("1\n", "one\n"))
    return {key: sandbox.git("rev-parse", key) for key in ("main", "chatml/x")}


def _brought_up(sandbox: Sandbox, before: dict[str, Any]) -> bool:
    """Whether the branch has moved; worktree, index and record are as old or as new, and no work is lost."""
    worktree = Path(f"{sandbox.repo}.chatml") / "x"
    moved: bool = sandbox.git("rev-parse", "chatml/x") != before["chatml/x"]
    status = sandbox.git("status", "--porcelain", "--untracked-files=all", cwd=worktree)
    assert status == "M both\nAM staged\n?? untracked", status
    first = "one\n" if moved else "1\n"
    assert (worktree / "both").read_text() == f"{first}2\n3\n4\nfive\n6\n7\n8\nnine\n"
    assert (worktree / "old").read_text() == ("new\n" if moved else "old\n")
    assert [(worktree / path).exists() for path in ("sub/gone", "deep/er")] == [not moved, moved]
    assert [(worktree / path).read_text() for path in ("staged", "untracked", "work")] == ["s\nt\n", "u\n", "w\n"]
    assert sandbox.git("show", ":staged", cwd=worktree) == "s"
    base = json.loads((sandbox.state("x") / "session.json").read_text())["base"]["commit"]
    assert (base == before["main"]) == moved
    return moved


def _synced(sandbox: Sandbox, before: dict[str, Any]) -> None:
    sandbox.chatml("rm", "nobody", code=1)  # clears up
    _brought_up(sandbox, before)
    _clean(sandbox)
    sandbox.chatml("sync", "x")
    assert _brought_up(sandbox, before)
    sandbox.git("fsck", "--no-dangling", "--no-progress")
    assert sandbox.git("log", "--format=%s", "main..chatml/x") == "Do it"


def _triable(sandbox: Sandbox) -> dict[str, Any]:
    """A session that differs in every way from a checkout in which a person is at work; that checkout."""
    sandbox.commit("more", a="a", b="b", deep__c="c", gone="g")
    worktree = make_session(sandbox, "x", **QUICK)
    commit(sandbox, worktree, "work", a="of x", new__file="n")
    (worktree / "gone").unlink()
    (worktree / "deep" / "c").unlink()
    write(worktree, b="not committed", mine="of x")
    write(sandbox.repo, b="staged")
    sandbox.git("add", "b")
    write(sandbox.repo, b="and more", mine="my own")
    (sandbox.repo / "a").chmod(0o600)
    return looks(sandbox)


def _shown(sandbox: Sandbox) -> dict[str, Any]:
    before = _triable(sandbox)
    sandbox.chatml("try", "x", "-q")
    write(sandbox.repo, a="edited")
    return before


def _put_back(sandbox: Sandbox, before: dict[str, Any]) -> None:
    """All is as it was once it was stopped, unless it was so already; a person's edit is kept."""
    edited = (sandbox.repo / "a").read_text() == "edited"
    told = sandbox.chatml("try", "--stop", code=None)
    assert told.code == 0 or "no session is shown here" in told.err
    assert looks(sandbox) == before
    if edited:
        refs = sandbox.git("for-each-ref", "--format=%(refname)", "refs/chatml/try").split()
        assert any(sandbox.git("show", f"{ref}:a") == "edited" for ref in refs)
    sandbox.git("for-each-ref", "--format=delete %(refname)", "refs/chatml/try")
    assert not list((sandbox.repo / ".git" / "chatml").glob(".try*"))


SCENES = {
    "sync": Scene(("sync", "x"), _behind, _synced),
    "merge": Scene(("merge", "x"), _landable, _landed),
    "merge, not checked out": Scene(("merge", "x"), _landable_elsewhere, _landed),
    "new": Scene(("new", "do it", "--name", "x", "-q"), _configured, lambda sandbox, _: _made(sandbox)),
    "send": Scene(("send", "x", "hello"), _rested, _sent),
    "try": Scene(("try", "x"), _triable, _put_back),
    "try --stop": Scene(("try", "--stop"), _shown, _put_back),
    "stop": Scene(("stop", "x"), _crashed, _stopped),
    "resume": Scene(("resume", "x"), _crashed, _resumed),
    "rm": Scene(("rm", "x"), _empty, _removed),
    "rm --force": Scene(("rm", "--force", "x"), _rested, _forced),
    "restore": Scene(("restore", "x"), _gone, _restored),
    "unsend": Scene(("unsend", "x", "--all"), _unread, _unsent),
    "approve": Scene(("approve", "x"), _asking("permission"), _replied("approve", "x")),
    "deny": Scene(("deny", "x", "-m", "no"), _asking("permission"), _replied("deny", "x", "-m", "no")),
    "pr": Scene(("pr", "x"), _publishable, _published),
    "answer": Scene(("answer", "x", "1"), _asking("question"), _replied("answer", "x", "1")),
}


@pytest.fixture
def github(sandbox: Sandbox) -> Iterator[GitHub]:
    served = GitHub({"octo/app": sandbox.repo.parent / "octo.git"})
    sandbox.env.update(served.env)
    yield served
    served.close()


IN_ORDER = """\
import itertools, tempfile
tempfile._RandomNameSequence.__next__ = lambda self, numbers=itertools.count(): f"{next(numbers):08}"
"""
"""Python's start file for the commands: temporary files have the same names in each run."""


class Stage:
    """The sandbox's folders, put back before each attempt."""

    def __init__(self, sandbox: Sandbox, saved: Path) -> None:
        self.sandbox, self.saved = sandbox, saved
        shutil.copytree(sandbox.repo.parent, saved, symlinks=True)
        write(saved.with_name("start"), sitecustomize_dot_py=IN_ORDER)

    def put_back(self) -> None:
        all_gone(self.sandbox)
        for folder in self.sandbox.repo.parent.iterdir():
            shutil.rmtree(folder)
        shutil.copytree(self.saved, self.sandbox.repo.parent, symlinks=True, dirs_exist_ok=True)

    def run(
        self, argv: tuple[str, ...], *inject: str, children: bool = False
    ) -> tuple[subprocess.CompletedProcess[str], str]:
        """Run chatml under strace, or it and its `children`; how it ended, and the trace."""
        trace = self.saved.with_name("trace")
        tracer = ["strace", "-y", "-qq", "-o", str(trace), "-e", f"trace={','.join({*CALLS, *FAILING})}", *inject]
        if children:
            tracer[1:1] = ["-f"]
        paths = os.pathsep.join([str(self.saved.with_name("start")), self.sandbox.env["PYTHONPATH"]])
        env = {**self.sandbox.env, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": paths}
        done = subprocess.run(
            [*tracer, *self.sandbox.command(*argv)], cwd=self.sandbox.repo, env=env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=TIMEOUT * 2,
        )  # fmt: skip
        return done, trace.read_text()


@dataclass(frozen=True)
class Point:
    """A call that changes something: the how many of its name, or of its name at that very path."""

    call: str
    number: int
    path: str | None = None

    def struck(self, how: str) -> list[str]:
        """What strace is told to strike it."""
        return [*(("-P", self.path) if self.path else ()), "-e", f"inject={self.call}:{how}:when={self.number}"]


def points(trace: str, root: Path, calls: tuple[str, ...]) -> list[Point]:
    """The calls of a trace that change something below a folder.

    Files that are opened are counted by their paths: how many there are also hangs on what else runs on the machine.
    """
    count: Counter[tuple[str, str | None]] = Counter()
    found = []
    for line in trace.splitlines():
        call = re.match(r'(\w+)\((?:AT_FDCWD<[^>]*>, "([^"]*)")?', line)
        if call is None:
            continue
        path = call[2] if call[1] == "openat" else None
        count[call[1], path] += 1
        if call[1] == "openat" and ("O_CREAT" not in line or path is None):
            continue
        if call[1] in calls and str(root) in line and "= -1" not in line:
            found.append(Point(call[1], count[call[1], path], path))
    return found


def _clean(sandbox: Sandbox) -> None:
    """Nothing half made lies about, and no lock of git."""
    git = sandbox.repo / ".git"
    assert not list((git / "chatml" / "sessions").glob(".*"))
    assert not [path for path in git.rglob("*.lock") if "chatml" not in path.relative_to(git).parts]
    assert not list((git / "worktrees").rglob("chatml*"))
    assert not list(git.glob("index.*"))


@pytest.mark.timeout(500)
@pytest.mark.parametrize("fault", ["kill", "full disk"])
@pytest.mark.parametrize("name", SCENES)
def test_a_fault_at_a_system_call(
    sandbox: Sandbox, github: GitHub, tmp_path_factory: pytest.TempPathFactory, name: str, fault: str
) -> None:
    scene = SCENES[name]
    before = scene.prepare(sandbox)
    all_gone(sandbox)
    stage = Stage(sandbox, tmp_path_factory.mktemp("stage") / "saved")
    done, trace = stage.run(scene.command)
    assert done.returncode == 0, done
    kills = fault == "kill"
    found = points(trace, sandbox.repo.parent, CALLS if kills else FAILING)
    assert found, trace
    tried = found if len(found) <= FEW else found[0 if kills else 1 :: STRIDE]
    for point in tried:
        where = f"{name}: {fault} at {point}"
        stage.put_back()
        github.pulls.clear()
        done, trace = stage.run(scene.command, *point.struck("signal=KILL" if kills else "error=ENOSPC"))
        assert kills or "(INJECTED)" in trace, f"{where}: {done}\n{trace}"
        assert done.returncode in ((0, -9, 137) if kills else (0, 1)), f"{where}: {done}"
        assert "Traceback" not in done.stderr, f"{where}: {done}"
        names(sandbox)
        try:
            scene.go_on(sandbox, before)
            assert len(github.pulls) == (name == "pr")
            all_gone(sandbox)
            sandbox.chatml("ls", "--json")
            if name not in ("rm", "rm --force"):
                _clean(sandbox)
        except AssertionError as error:
            raise AssertionError(f"{where}: {done}\n{trace[-1500:]}") from error
    print(f"{name}: {fault} at {len(tried)} of {len(found)} calls")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("place", ["session's", "git's", "ignored"])
def test_a_folder_that_cannot_be_read_is_not_removed(
    sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory, place: str
) -> None:
    before = _rested(sandbox)
    worktree = Path(f"{sandbox.repo}.chatml") / "x"
    (sandbox.repo / ".git" / "info" / "exclude").write_text("/cache/\n")
    write(worktree, cache__notes="mine")
    folder = {
        "session's": sandbox.state("x"),
        "git's": sandbox.repo / ".git" / "worktrees" / "x" / "logs",
        "ignored": worktree / "cache",
    }[place]
    all_gone(sandbox)
    stage = Stage(sandbox, tmp_path_factory.mktemp("stage") / "saved")
    done, trace = stage.run(("rm", "--force", "x"), "-P", str(folder), "-e", "inject=openat:error=EIO")
    assert "(INJECTED)" in trace
    assert done.returncode == 1
    assert f"error: can't look into {folder}, so nothing was removed\n" in done.stderr
    assert names(sandbox) == {"x": "done"}
    (worktree / "cache" / "notes").unlink()
    (worktree / "cache").rmdir()
    _work(sandbox, before)


MERGES = ("sync", "merge", "merge, not checked out")

DIES_TOO = """#!/bin/sh
{git} "$@"
code=$?
if [ $code -ge 128 ] && [ $code -lt 160 ] && [ $code != 129 ] && [ $code != 128 ]; then kill -9 $PPID; fi
exit $code
"""
"""A git that takes the one along who has called it, where it is killed."""


def by_path(trace: str, root: Path, calls: tuple[str, ...]) -> list[Point]:
    """The calls of many processes that change something below a folder, each counted by the path that it is about.

    Without the objects: they have other names each time, and half of one is none.
    """
    count: Counter[tuple[str, str]] = Counter()
    found = []
    for line in trace.splitlines():
        call = re.match(r'\d+ +(\w+)\((?:AT_FDCWD<([^>]*)>, )?(?:"([^"]*)"|\d+<([^>]*)>)', line)
        if call is None or call[1] not in calls or (call[1] == "openat" and "O_CREAT" not in line):
            continue
        path = call[3] or call[4]
        below = path.startswith(str(root)) or (call[2] or "").startswith(str(root)) or not path.startswith("/")
        if not below or "= -1" in line or "/objects/" in path or path[:7] == "objects" or path.startswith("pipe:"):
            continue
        count[call[1], path] += 1
        found.append(Point(call[1], count[call[1], path], path))
    return found


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("fault", ["kill", "kill both", "full disk"])
@pytest.mark.parametrize("name", MERGES)
def test_a_fault_at_a_system_call_of_git(
    sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory, wrapped: Path, name: str, fault: str
) -> None:
    """At each call of chatml's own and of every git that it starts; or of that git, and chatml dies with it."""
    scene = SCENES[name]
    before = scene.prepare(sandbox)
    all_gone(sandbox)
    plain = sandbox.env["PATH"]
    if fault == "kill both":
        wrap(wrapped, DIES_TOO)
    stage = Stage(sandbox, tmp_path_factory.mktemp("stage") / "saved")
    done, trace = stage.run(scene.command, children=True)
    assert done.returncode == 0, done
    kills = fault != "full disk"
    found = by_path(trace, sandbox.repo.parent, CALLS if kills else FAILING)
    assert len(found) > FEW, trace
    struck = 0
    for point in found:
        where = f"{name}: {fault} at {point}"
        stage.put_back()
        how = "signal=KILL" if kills else "error=ENOSPC"
        done, trace = stage.run(scene.command, *point.struck(how), children=True)
        struck += done.returncode != 0
        try:
            assert "Traceback" not in done.stderr
            assert done.returncode in ((0, 1, -9, 137) if kills else (0, 1))
            sandbox.env["PATH"] = plain.removeprefix(f"{wrapped}:")
            scene.go_on(sandbox, before)
            sandbox.env["PATH"] = plain
            all_gone(sandbox)
        except AssertionError as error:
            raise AssertionError(f"{where}: {done}\n{trace[-3000:]}") from error
    assert struck > FEW
    print(f"{name}: {fault} at {len(found)} calls, {struck} of them fatal")
