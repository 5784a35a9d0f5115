"""`chatml try`: a session's state in the main checkout, and then exactly what was there before."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chatml.errors import ChatmlError
from chatml.repo import Repository
from chatml.state.store import Store
from chatml.trying import ending, showing
from tests.made import commit, make_session, write
from tests.support import TIMEOUT, Sandbox, init_repository, wait_until
from tests.worktree import sealed

__all__ = ["sealed"]


def looks(sandbox: Sandbox) -> dict[str, Any]:
    """All of the checkout that must be the same again: every file with its mode, HEAD, and the index byte for byte."""
    files: dict[str, tuple[int, bytes]] = {}
    for here, folders, names in os.walk(sandbox.repo):
        folders[:] = [name for name in folders if name != ".git"]
        for name in [*names, *(one for one in folders if Path(here, one).is_symlink())]:
            path = Path(here, name)
            about = path.lstat()
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            files[str(path.relative_to(sandbox.repo))] = (stat.S_IMODE(about.st_mode), content)
    git = sandbox.repo / ".git"
    index = (git / "index").read_bytes() if (git / "index").exists() else b""
    return {"files": files, "HEAD": (git / "HEAD").read_text(), "index": index}


@pytest.fixture
def both(sandbox: Sandbox) -> Path:
    """A checkout with something of a person's of each kind, and a session `x`; the session's worktree."""
    sandbox.commit("more", a="a\n", b="b\n", deep__er__c="c\n", _dot_gitignore="*.ign\n", gone="g\n", exe="#!/bin/sh\n")
    worktree = make_session(sandbox, "x")
    commit(sandbox, worktree, "work", a="of x\n", new__file="n\n")
    (worktree / "gone").unlink()
    (worktree / "deep" / "er" / "c").unlink()
    write(worktree, b="not committed\n", untracked="of x\n")
    (worktree / "exe").chmod(0o755)
    repo = sandbox.repo
    write(repo, b="mine\n", mine="untracked\n", cache_dot_ign="ignored\n")
    sandbox.git("add", "b")
    write(repo, b="mine, and more\n", untracked="my own\n")
    (repo / "a").chmod(0o600)
    (repo / "link").symlink_to("a")
    return worktree


def test_a_session_is_shown_and_all_comes_back(sandbox: Sandbox, both: Path) -> None:
    before = looks(sandbox)
    told = sandbox.chatml("try", "x")
    assert told.out == f"{sandbox.repo}\n"
    assert "chatml try --stop" in told.err
    repo = sandbox.repo
    for name in ("a", "b", "untracked", "new/file", "README.md"):
        assert (repo / name).read_text() == (both / name).read_text(), name
    assert not (repo / "gone").exists()
    assert not (repo / "deep" / "er" / "c").exists()
    assert (repo / "exe").stat().st_mode & 0o111
    assert (repo / "mine").read_text() == "untracked\n", "what is no concern of the session's stays"
    assert (repo / "cache.ign").exists()
    during = looks(sandbox)
    assert (during["HEAD"], during["index"]) == (before["HEAD"], before["index"])
    ended = sandbox.chatml("try", "--stop")
    assert "put back what was in" in ended.err
    assert "edits" not in ended.err
    assert looks(sandbox) == before
    assert sandbox.git("for-each-ref", "refs/chatml") == ""
    assert not list((repo / ".git" / "chatml").glob(".try*"))
    assert "no session is shown here" in sandbox.chatml("try", "--stop", code=1).err


def test_what_the_person_edits_meanwhile_is_kept_and_offered(sandbox: Sandbox, both: Path) -> None:
    before = looks(sandbox)
    sandbox.chatml("try", "x", "-q")
    write(sandbox.repo, a="better\n", mine="changed\n", fresh="new\n", gone="again\n")
    (sandbox.repo / "new" / "file").unlink()
    ended = sandbox.chatml("try", "--stop", "--json").json
    assert ended["name"] == "x"
    assert ended["edits"] == ["a", "fresh", "gone", "mine", "new/file"]
    assert looks(sandbox) == before
    ref = ended["ref"]
    assert sandbox.git("show", f"{ref}:a") == "better"
    assert sandbox.git("show", f"{ref}:mine") == "changed"
    assert sandbox.git("diff", "--name-only", f"{ref}^", ref).split() == ended["edits"]
    sandbox.chatml("try", "x", "-q")
    write(sandbox.repo, a="better\n")
    told = sandbox.chatml("try", "--stop").err
    line = told.partition("give them to it with: ")[2].strip()
    commit(sandbox, both, "all")
    done = subprocess.run(["sh", "-c", line], cwd=sandbox.repo, env=sandbox.env, check=False, timeout=TIMEOUT)
    assert done.returncode == 0
    assert (both / "a").read_text() == "better\n"


def test_follow_shows_what_comes_and_nothing_over_edits(sandbox: Sandbox, both: Path) -> None:
    before = looks(sandbox)
    following = sandbox.start("try", "x", "--follow")
    wait_until(lambda: (sandbox.repo / "new" / "file").exists(), "it to be shown")
    write(sandbox.repo, a="mine now\n")
    write(both, a="newer\n", later="l\n", README_dot_md="changed\n")
    (both / "untracked").unlink()
    wait_until(lambda: (sandbox.repo / "later").exists(), "the next state")
    wait_until(lambda: (sandbox.repo / "README.md").read_text() == "changed\n", "the whole of it")
    assert (sandbox.repo / "a").read_text() == "mine now\n"
    assert not (sandbox.repo / "untracked").exists()
    following.kill()
    following.communicate(timeout=TIMEOUT)
    ended = sandbox.chatml("try", "--stop", "--json").json
    assert ended["edits"] == ["a"]
    assert looks(sandbox) == before


def test_a_folder_that_a_file_was_shown_in_place_of_comes_back(sandbox: Sandbox) -> None:
    sandbox.commit("a folder", d__e__c="c\n")
    worktree = make_session(sandbox, "x")
    (worktree / "d" / "e" / "c").unlink()
    (worktree / "d" / "e").rmdir()
    (worktree / "d").rmdir()
    (worktree / "d").write_text("a file\n")
    before = looks(sandbox)
    sandbox.chatml("try", "x", "-q")
    (worktree / "d").chmod(0o755)
    sandbox.chatml("try", "x", "-q")
    assert (sandbox.repo / "d").stat().st_mode & 0o100
    sandbox.chatml("try", "--stop", "-q")
    assert looks(sandbox) == before


def test_it_refuses_what_it_could_not_put_back(sandbox: Sandbox, both: Path) -> None:
    repo = sandbox.repo
    before = looks(sandbox)

    def refused(said: str) -> None:
        assert said in sandbox.chatml("try", "x", code=1).err
        assert looks(sandbox)["files"] == before["files"]
        assert sandbox.git("for-each-ref", "refs/chatml") == ""

    (repo / ".git" / "MERGE_HEAD").write_text(sandbox.git("rev-parse", "HEAD") + "\n")
    refused("a merge is in progress")
    (repo / ".git" / "MERGE_HEAD").unlink()
    (repo / ".git" / "index.lock").touch()
    refused("another git is at work")
    (repo / ".git" / "index.lock").unlink()
    write(both, deep__cache_dot_ign="x\n")
    sandbox.git("add", "-f", "deep/cache.ign", cwd=both)
    write(repo, deep__cache_dot_ign="mine\n")
    before = looks(sandbox)
    refused("in the way in")
    (repo / "deep" / "cache.ign").unlink()
    make_session(sandbox, "y")
    sandbox.chatml("try", "x", "-q")
    assert "'x' is shown in" in sandbox.chatml("try", "y", code=1).err
    assert "a session is shown in" in sandbox.chatml("merge", "y", code=1).err
    assert "a session is shown in this checkout" in sandbox.chatml("new", "z", "--with-changes", code=1).err
    agent = {"CHATML_SESSION_ID": "of-an-agent"}
    assert "an agent can't change the main checkout" in sandbox.chatml("try", "--stop", code=1, env=agent).err
    sandbox.git("commit", "-q", "--allow-empty", "-m", "meanwhile")
    assert "there are new commits" in sandbox.chatml("try", "--stop", code=1).err
    sandbox.git("reset", "-q", "--soft", "HEAD~")
    sandbox.chatml("try", "--stop", "-q")


def test_submodules_that_differ_are_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    init_repository(inner, sandbox.env)
    sandbox.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    sandbox.git("commit", "-qm", "sub")
    worktree = make_session(sandbox, "x")
    sandbox.git("update-index", "--cacheinfo", f"160000,{'1' * 40},sub", cwd=worktree)
    sandbox.git("commit", "-qm", "another", cwd=worktree)
    assert "the submodule sub is another one there" in sandbox.chatml("try", "x", code=1).err


# --- whatever is there --------------------------------------------------------------------------------------------

PATHS = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/c", "d", "x.ign", "w x", "é", "l"])
CONTENT = st.one_of(st.sampled_from(["", "1\n", "2\r\n", "a\r\nb\n", "\0", "$Id$\n"]), st.text(max_size=5))
KIND = st.sampled_from(["file", "file", "file", "program", "link", "gone"])
STEP = st.tuples(PATHS, KIND, CONTENT)
STEPS = st.lists(STEP, max_size=6)


def play(top: Path, steps: list[tuple[str, str, str]]) -> None:
    """Change files; what is not possible as things are is left out."""
    for path, kind, text in steps:
        target = top / path
        try:
            if kind == "gone":
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_symlink() or (kind == "link" and target.exists()):
                target.unlink()
            if kind == "link":
                target.symlink_to(text.replace("\0", "") or "nowhere")
            else:
                target.write_bytes(text.encode())
                target.chmod(0o755 if kind == "program" else 0o640)
        except OSError:
            continue


def identity(make: Callable[[], Sandbox], data: tuple[list[Any], ...], attributes: str) -> None:
    """Try, edit, try --stop: the checkout is as it was, and the edits are kept."""
    first, staged, dirty, theirs, uncommitted, later, edits = data
    sandbox = make()
    (sandbox.repo / ".gitignore").write_text("*.ign\n")
    (sandbox.repo / ".gitattributes").write_text(attributes)
    play(sandbox.repo, first)
    sandbox.git("add", "-A")
    sandbox.git("commit", "-q", "--allow-empty", "-m", "first")
    worktree = make_session(sandbox, "x")
    play(worktree, theirs)
    sandbox.git("add", "-A", cwd=worktree)
    sandbox.git("commit", "-q", "--allow-empty", "-m", "theirs", cwd=worktree)
    play(worktree, uncommitted)
    play(sandbox.repo, staged)
    sandbox.git("add", "-A")
    play(sandbox.repo, dirty)
    repository, store = Repository.discover(sandbox.repo), Store(sandbox.repo / ".git")
    session = store.session("x").read()
    before = looks(sandbox)
    try:
        showing.show(repository, store, session)
    except ChatmlError as error:
        refused = error.message
    else:
        refused = ""
    if refused:
        assert "in the way" in refused
        assert looks(sandbox) == before
        return
    edits = [step for step in edits if step[0] != "x.ign"]  # what git ignores is nobody's concern
    play(sandbox.repo, edits)
    play(worktree, later)
    showing.show(repository, store, session)
    edited = {path: (sandbox.repo / path).read_bytes() for path, kind, _ in edits if kind in ("file", "program")
              and (sandbox.repo / path).is_file() and not (sandbox.repo / path).is_symlink()}  # fmt: skip
    ended = ending.stop(repository, store)
    assert looks(sandbox)["index"] == before["index"]
    assert looks(sandbox) == before
    for path in ended.edits:
        if path in edited and not attributes:
            kept = sandbox.git("cat-file", "-e", f"{ended.ref}:{path}", check=False)
            assert kept == ""


EXAMPLES = st.tuples(*[STEPS] * 7)
ATTRIBUTES = st.sampled_from(["", "* text=auto\n", "a eol=crlf\nb ident\n"])


@pytest.mark.parametrize("count", [5, pytest.param(150, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_try_and_stop_are_the_identity(sandbox: Sandbox, sealed: None, tmp_path: Path, count: int) -> None:
    del sealed
    numbers = iter(range(10_000))

    def make() -> Sandbox:
        other = Sandbox(sandbox.home, tmp_path / f"r{next(numbers)}", sandbox.env)
        init_repository(other.repo, other.env)
        return other

    # What is found is small enough as it is: to shrink it would take minutes.
    phases = [Phase.explicit, Phase.generate]
    quiet = [*HealthCheck]

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=quiet, phases=phases)
    @given(EXAMPLES, ATTRIBUTES)
    def check(data: tuple[list[Any], ...], attributes: str) -> None:
        identity(make, data, attributes)

    check()
