"""What counts as a session's changes: every kind of file, every state of git, and nothing disturbed by looking."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from chatml.changes import compare
from chatml.changes.compare import PATCH, Comparison
from chatml.changes.snapshot import FILLING, snapshot
from chatml.changes.standing import WorktreeGoneError
from chatml.model import Base, Changes
from chatml.repo import post_checkout
from chatml.workspace.checkout import fill
from tests.support import TIMEOUT, Sandbox, thinned
from tests.trees import Tree, nested_repository
from tests.worktree import Work, sealed, work

__all__ = ["sealed", "work"]

pytestmark = pytest.mark.usefixtures("sealed")


def measure(top: Path, base_ref: str, base_commit: str) -> Changes:
    """The changes of a worktree, of whatever repository it is one."""
    admin = Path((top / ".git").read_text().removeprefix("gitdir: ").strip())
    return compare.measure(admin.parents[1], top, Base(base_ref, base_commit))


@pytest.mark.parametrize("chunk", thinned(range(6), 3))
def test_random_work_is_seen_whole_and_its_patch_makes_the_same_tree(
    sandbox: Sandbox, tmp_path: Path, chunk: int
) -> None:
    nested = nested_repository(tmp_path / "nested", sandbox.env)
    for seed in range(chunk * 10, chunk * 10 + 10):
        _check(random.Random(seed), tmp_path / str(seed), nested, sandbox)


def _check(rng: random.Random, folder: Path, nested: Path, sandbox: Sandbox) -> None:
    base, done, fresh = (Tree(folder / name, rng, nested, sandbox.env) for name in ("base", "done", "fresh"))
    base.top.mkdir(parents=True)
    base.git("init", "-q", "-b", "main", "--template=")
    (base.top / ".gitignore").write_text("*.ign\n")
    base.grow(rng.randrange(12))
    base.git("add", "-A", *rng.choice([[], ["-f"]]))
    base.git("commit", "-q", "-m", "base")
    base.git("worktree", "add", "-q", "-b", "s", str(done.top))
    done.grow(rng.randrange(6))
    done.work(rng.randrange(20))
    with snapshot(base.top / ".git", done.top) as now:
        seen = Comparison(done.top, base.git("rev-parse", "main").strip(), now)
        patch, changes, uncommitted = seen.exact(*PATCH), seen.changes, bool(_porcelain(done, now.env))
        inside = Tree(done.top, rng, nested, {**sandbox.env, **now.env})
        tree = inside.git("write-tree")
        listed = [entry.split("\t", 1) for entry in inside.git("ls-tree", "-rz", tree.strip()).split("\0") if entry]
    assert {name: tuple(about.split()[::2]) for about, name in listed} == done.expected()
    base.git("worktree", "add", "-q", "--detach", str(fresh.top), "main")
    if patch:
        subprocess.run(
            ["git", "apply", "--index"], cwd=fresh.top, env=sandbox.env, input=patch, check=True, timeout=TIMEOUT
        )
    assert fresh.git("write-tree", "--missing-ok") == tree
    assert (changes.files, changes.uncommitted) == (len(seen.files), uncommitted)


def _porcelain(tree: Tree, env: Mapping[str, str]) -> str:
    """What of the snapshot is not in the commit checked out, as `git status` has it."""
    return Tree(tree.top, tree.rng, tree.nested, {**tree.env, **env}).git(
        "diff", "--cached", "--name-only", "HEAD", "--"
    )


def test_looking_changes_nothing(work: Work) -> None:
    """Not the agent's index, no object, no lock, no shared index, no hook: with all settings that would."""
    for key, value in {"core.splitIndex": "true", "core.untrackedCache": "true", "feature.manyFiles": "true"}.items():
        work.git("config", key, value)
    hook = work.sandbox.repo / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{work.top}/hooked'\n")
    hook.chmod(0o755)
    work.write("staged")
    work.git("add", "staged")
    work.git("update-index", "--split-index")
    (work.top / "hooked").unlink(missing_ok=True)
    work.write("b", "changed\n")
    work.write("big", os.urandom(1 << 20))

    def everything() -> dict[Path, tuple[int, int]]:
        renewed = ("objects", "sharedindex")  # git renews the time of what it uses, so that it doesn't expire
        return {
            path: (0 if any(word in str(path) for word in renewed) else path.lstat().st_mtime_ns, path.lstat().st_size)
            for top in (work.sandbox.repo / ".git", work.top)
            for path in top.rglob("*")
        }

    before = everything()
    assert work.changed() == {"b": "modified", "big": "added", "staged": "added"}
    assert measure(work.top, "main", work.base).files == 3
    assert everything() == before


def test_a_change_that_git_can_not_tell_by_time_and_size(work: Work) -> None:
    work.git("config", "core.trustctime", "false")
    path = work.write("b", "x\n")
    work.git("add", "b")
    work.git("commit", "-q", "-m", "x")
    index = Path(work.git("rev-parse", "--git-path", "index"))
    times = path.stat()
    path.write_text("y\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.utime(index, ns=(times.st_atime_ns, times.st_mtime_ns))
    with snapshot(work.sandbox.repo / ".git", work.top) as now:
        assert Comparison(work.top, "HEAD", now).exact("--name-only") == b"b\n"


def test_an_agent_at_work_is_neither_disturbed_nor_missed(work: Work) -> None:
    ended = threading.Event()
    failed: list[BaseException] = []

    def agent() -> Iterator[None]:
        for number in range(100_000):
            path = work.write(f"tmp/{number}")
            yield
            path.unlink()
            if number % 20 == 0:
                work.write("log", f"{number}\n")
                work.git("add", "log")
                work.git("commit", "-q", "-m", str(number))

    def run() -> None:
        try:
            for _ in agent():
                if ended.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        work.write("b", "changed\n")
        for _ in range(15):
            assert work.changed()["b"] == "modified"
    finally:
        ended.set()
        thread.join(TIMEOUT)
    assert not failed


def test_in_the_middle_of_a_conflict_and_of_a_rebase(work: Work) -> None:
    work.write("a", "mine\n")
    work.commit()
    work.sandbox.commit("theirs", a="theirs\n", other="o\n")
    work.git("merge", "-q", "main", check=False)
    assert work.git("ls-files", "--unmerged")
    assert work.changed() == {"a": "modified", "other": "added"}
    assert measure(work.top, "main", work.base) == Changes(2, 6, 3, 1, True)
    work.git("merge", "--abort")
    work.git("rebase", "-q", "main", check=False)
    assert measure(work.top, "main", work.base).uncommitted
    with snapshot(work.sandbox.repo / ".git", work.top) as now:
        assert now.branch is None


def test_staged_in_every_strange_way(work: Work) -> None:
    work.write("announced")
    work.git("add", "-N", "announced")
    work.git("rm", "-q", "--cached", "b")
    work.write("forced.ignored")
    work.git("add", "-f", "forced.ignored")
    work.write("seen.ignored")
    work.write("staged then gone")
    work.git("add", "staged then gone")
    (work.top / "staged then gone").unlink()
    assert work.changed() == {"announced": "added", "forced.ignored": "added"}


def test_modes_links_and_folders_in_each_others_place(work: Work) -> None:
    (work.top / "a").chmod(0o755)
    (work.top / "b").unlink()
    work.write("b/inside")
    (work.top / "dir" / "c").unlink()
    (work.top / "dir").rmdir()
    (work.top / "dir").symlink_to("b")
    assert work.changed() == {
        "a": "modified",
        "b": "deleted",
        "b/inside": "added",
        "dir": "added",
        "dir/c": "deleted",
    }


def test_a_sparse_checkout_hides_nothing_that_is_there(work: Work) -> None:
    work.git("sparse-checkout", "set", "--no-cone", "/a")
    assert not (work.top / "b").exists()
    assert work.changed() == {}
    work.write("outside/new")
    work.write("a", "changed\n")
    assert work.changed() == {"a": "modified", "outside/new": "added"}


def test_line_ends_that_git_converts(work: Work) -> None:
    work.git("config", "core.autocrlf", "true")
    work.git("config", "core.safecrlf", "true")
    work.write("b", "b\r\n")
    work.write("new", "mixed\r\nends\n")
    assert work.changed() == {"new": "added"}


def test_submodules(work: Work, tmp_path: Path) -> None:
    module = nested_repository(tmp_path / "module", work.sandbox.env)
    work.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(module), "lib")
    work.commit()
    work.sandbox.git("merge", "-q", "--ff-only", "chatml/work")
    work.git("config", "diff.ignoreSubmodules", "all")
    work.sandbox.git("checkout", "-q", "HEAD~1", cwd=work.top / "lib")
    assert work.changed() == {"lib": "modified"}
    (work.top / "lib" / "inside").write_text("not committed there\n")
    assert "left out: what is not committed in the submodule 'lib'" in work.sandbox.chatml("diff", "work").err
    work.git("submodule", "--quiet", "deinit", "--force", "lib")
    work.write("lib/file")
    assert "left out: the files in 'lib', a submodule that" in work.sandbox.chatml("diff", "work").err


def test_a_repository_in_an_odd_place(sandbox: Sandbox, tmp_path: Path) -> None:
    odd = tmp_path / 'it\'s "o:d" ünd\\er'
    top = odd / "work tree:s"
    sandbox.git("clone", "-q", str(sandbox.repo), str(odd / "main"))
    sandbox.git("worktree", "add", "-q", "-b", "w", str(top), cwd=odd / "main")
    (top / "README.md").write_text("changed\n")
    assert measure(top, "main", "HEAD") == Changes(1, 1, 1, 0, True)


def test_a_base_is_not_looked_up_in_the_session(work: Work) -> None:
    for number in range(3):
        work.write(str(number))
        work.commit()
    for ref in ("HEAD", "HEAD~1", "@", "ORIG_HEAD", "gone"):
        assert measure(work.top, ref, work.base).commits == 3


def test_no_commit_checked_out(work: Work) -> None:
    work.git("checkout", "-q", "--orphan", "fresh")
    work.write("new")
    assert measure(work.top, "main", work.base) == Changes(1, 1, 0, 0, True)


def test_an_empty_base(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.git("init", "-q", "-b", "main", str(tmp_path / "empty"))
    sandbox.git("commit", "-q", "--allow-empty", "-m", "nothing", cwd=tmp_path / "empty")
    top = tmp_path / "linked"
    sandbox.git("worktree", "add", "-q", str(top), cwd=tmp_path / "empty")
    assert measure(top, "main", "main") == Changes(0, 0, 0, 0, False)
    (top / "first").write_text("1\n2\n")
    assert measure(top, "main", "main") == Changes(1, 2, 0, 0, True)


def test_before_during_and_after_the_checkout(sandbox: Sandbox, tmp_path: Path) -> None:
    hook = sandbox.repo / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\necho "made $1 $3"\n')
    hook.chmod(0o755)
    top = tmp_path / "new"
    sandbox.git("worktree", "add", "-q", "--no-checkout", "-b", "new", str(top))
    nothing = Changes(0, 0, 0, 0, False)
    assert measure(top, "main", "main") == nothing
    (top / FILLING).mkdir()
    (top / FILLING / "README.md").write_text("half")
    assert measure(top, "main", "main") == nothing
    fill(top)
    assert measure(top, "main", "main") == Changes(0, 0, 0, 0, False)
    assert post_checkout(top) == f"made {'0' * 40} 1"
    assert (top / "README.md").read_text() == "sample\n"
    (sandbox.repo / ".git" / "worktrees" / "new" / "index").unlink()
    assert measure(top, "main", "main") == nothing
    (top / "README.md").unlink()
    (top / "mine").write_text("1\n")
    assert measure(top, "main", "main") == Changes(2, 1, 1, 0, True)


def test_a_worktree_that_is_gone_is_an_error(work: Work) -> None:
    work.top.rename(work.top.parent / "elsewhere")
    with pytest.raises(WorktreeGoneError, match="the worktree is gone"):
        compare.measure(work.sandbox.repo / ".git", work.top, Base("main", work.base))
