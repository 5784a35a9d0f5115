"""Several repositories of one user: listed, waited for and summed up together; tasks for each in one file."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from chatml.workspace.sizes import sizes
from tests.made import make_session
from tests.support import Sandbox, init_repository

AGENT = "agents: {echo: {command: [sh, -c, 'echo ok', '{prompt}']}}\nagent: echo\n"


@pytest.fixture
def both(sandbox: Sandbox) -> tuple[Sandbox, Sandbox]:
    """Two repositories beside each other, with an agent that answers at once."""
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(AGENT)
    other = replace(sandbox, repo=sandbox.repo.with_name("api"))
    init_repository(other.repo, other.env)
    return sandbox, other


def index(sandbox: Sandbox) -> dict[str, str]:
    path = sandbox.home / ".local" / "state" / "chatml" / "repositories.json"
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found


def test_all_are_listed_waited_for_and_summed_up(both: tuple[Sandbox, Sandbox], tmp_path: Path) -> None:
    app, api = both
    app.chatml("new", "x", "--name", "same", "--wait", "-q")
    api.chatml("new", "y", "--name", "same", "--wait", "-q")
    make_session(api, "paid")
    outside = tmp_path / "outside"
    outside.mkdir()
    for cwd in (app.repo, api.repo, outside):
        listed = app.chatml("ls", "--everywhere", "--json", cwd=cwd).json
        assert sorted((one["name"], one["repository"]) for one in listed) == sorted(
            [("same", str(app.repo)), ("same", str(api.repo)), ("paid", str(api.repo))]
        )
    table = app.chatml("ls", "--everywhere").out
    assert "REPOSITORY" in table
    assert sorted(line.split()[-1] for line in table.splitlines()[1:]) == ["api", "api", "app"]
    assert app.chatml("wait", "--everywhere").out == ""
    api.chatml("send", "same", "more")
    assert app.chatml("wait", "--everywhere").out in ("api: same: done\n", "")
    costs = app.chatml("cost", "--everywhere", "--json").json
    assert {row["session"]: row["turns"] for row in costs} == {"app/same": 1, "api/same": 2}
    assert [row["turns"] for row in app.chatml("cost", "--everywhere", "--by", "day", "--json").json] == [3]
    assert "takes no names" in app.chatml("ls", "same", "--everywhere", code=2).err


def test_an_entry_goes_only_where_its_repository_surely_is_no_more(
    both: tuple[Sandbox, Sandbox], tmp_path: Path
) -> None:
    app, api = both
    for one in both:
        one.chatml("new", "x", "--name", "x", "--wait", "-q")
    mount = tmp_path / "mnt"
    mount.mkdir()
    path = app.home / ".local" / "state" / "chatml" / "repositories.json"
    unmounted = {str(mount / "far" / ".git"): str(mount / "far"), str(mount / ".git"): str(mount)}
    path.write_text(json.dumps({**index(app), **unmounted}))
    told = app.chatml("ls", "--everywhere", "-q")
    assert told.out.split() == ["x", "x"]
    assert told.err.count("can't look into") == 2
    assert "its sessions are not listed" in told.err
    assert len(index(app)) == 4, "their disk may just not be mounted"
    shutil.rmtree(api.repo)
    assert app.chatml("ls", "--everywhere", "-q").out.split() == ["x"]
    assert str(api.repo / ".git") not in index(app)
    (mount / "other").touch()
    app.chatml("ls", "--everywhere", "-q")
    assert [*index(app)] == [str(app.repo / ".git")]


def test_one_that_was_moved_is_found_again_once_it_is_used(both: tuple[Sandbox, Sandbox]) -> None:
    app, _ = both
    app.chatml("new", "x", "--name", "x", "--wait", "-q")
    moved = app.repo.with_name("moved")
    app.repo.rename(moved)
    listed = app.chatml("ls", "--everywhere", "--json", cwd=moved).json
    assert [one["name"] for one in listed] == ["x"]
    assert [*index(app)] == [str(moved / ".git")]


def test_a_damaged_index_is_an_error_that_says_what_to_do(both: tuple[Sandbox, Sandbox]) -> None:
    app, _ = both
    path = app.home / ".local" / "state" / "chatml" / "repositories.json"
    path.parent.mkdir(parents=True)
    path.write_text("[")
    assert f"error: {path}: damaged" in app.chatml("ls", "--everywhere", code=1).err
    app.chatml("new", "x", "--wait", "-q")
    assert path.read_text() == "["


# --- tasks of several repositories --------------------------------------------------------------------------------


TASKS = """\
tasks:
- {prompt: here, name: a}
- {prompt: there, name: b, repo: ../api}
- {prompt: too, name: a, repo: ../api}
"""


def test_one_file_starts_tasks_in_several_repositories(both: tuple[Sandbox, Sandbox]) -> None:
    app, api = both
    (app.repo / "t.yaml").write_text(TASKS)
    planned = app.chatml("new", "-f", "t.yaml", "--dry-run", "--json").json
    assert [(one["name"], one["repository"]) for one in planned] == [
        ("a", str(app.repo)), ("b", str(api.repo)), ("a", str(api.repo)),
    ]  # fmt: skip
    assert app.chatml("ls", "--everywhere", "-q").out == ""
    made = app.chatml("new", "-f", "app/t.yaml", "--wait", "--json", cwd=app.repo.parent, code=None)
    assert made.code in (1, 2), "outside of a repository"
    made = app.chatml("new", "-f", str(app.repo / "t.yaml"), "--wait", "--json")
    assert [(one["name"], one["status"], one["outcome"]) for one in made.json] == [
        ("a", "done", "made"), ("b", "done", "made"), ("a", "done", "made"),
    ]  # fmt: skip
    assert app.chatml("ls", "-q").out.split() == ["a"]
    assert sorted(api.chatml("ls", "-q").out.split()) == ["a", "b"]
    again = app.chatml("new", "-f", "t.yaml")
    assert again.out == ""
    assert again.err.count("there already") == 2
    assert f"{api.repo}:" in again.err


def test_all_is_checked_before_anything_is_made_anywhere(both: tuple[Sandbox, Sandbox]) -> None:
    app, api = both
    (app.repo / "t.yaml").write_text(
        TASKS + "- {prompt: p, repo: ../nowhere}\n- {prompt: q, repo: ../api, base: nope}\n"
    )
    refused = app.chatml("new", "-f", "t.yaml", code=2)
    assert "t.yaml:5: task 4 (p): no such directory" in refused.err
    (app.repo / "t.yaml").write_text(TASKS + "- {prompt: q, repo: ../api, base: nope}\n- {prompt: r, base: neither}\n")
    refused = app.chatml("new", "-f", "t.yaml", code=2)
    assert "task 4 (q): not a commit: 'nope'" in refused.err
    assert "task 5 (r): not a commit: 'neither'" in refused.err
    assert app.chatml("ls", "-q").out == api.chatml("ls", "-q").out == ""


# --- disk ---------------------------------------------------------------------------------------------------------


def test_sizes_are_real_blocks_and_what_is_shared_counts_once(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / "deep").mkdir(parents=True)
        (folder / "own").write_bytes(b"x" * 100_000)
    (one / "deep" / "shared").write_bytes(b"x" * 1_000_000)
    os.link(one / "deep" / "shared", two / "shared")
    with (two / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    (two / "link").symlink_to(one)
    found = sizes({"one": one, "two": two, "none": tmp_path / "none"})
    assert found["none"] is None
    assert found["one"] is not None
    assert found["two"] is not None
    assert 1_100_000 <= found["one"] < 1_300_000
    assert 100_000 <= found["two"] < 300_000


def test_ls_and_a_dry_run_of_rm_tell_sizes(sandbox: Sandbox) -> None:
    (make_session(sandbox, "x") / "large").write_bytes(b"x" * 3_000_000)
    make_session(sandbox, "y")
    sized = {one["name"]: one["size"] for one in sandbox.chatml("ls", "--size", "--json").json}
    assert sized["x"] > 3_000_000 > sized["y"]
    listed = sandbox.chatml("ls", "--size")
    assert "SIZE" in listed.out
    assert "2.9 MiB" in listed.out
    assert listed.err.endswith("in all\n")
    planned = sandbox.chatml("rm", "--all", "--force", "-n")
    assert planned.err == "2.9 MiB would be freed\n"
