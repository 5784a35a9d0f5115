"""What can be said of each of many tasks, in a file and on the command line; and how what is wrong is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatml.commands import new
from chatml.model import Family
from chatml.tasks.documents import OPTIONS, OWN, SHARED
from tests.made import make_session, traces
from tests.support import Result, Sandbox
from tests.test_base import remote
from tests.test_tasks import SHELL, shell
from tests.worktree import sealed

__all__ = ["remote", "sealed", "shell"]

OF_THE_CALL = {
    "file", "each", "number", "dry_run", "retry", "issues", "attach", "wait", "as_json", "quiet", "color", "trust",
}  # fmt: skip
"""Options of `new` that say what is to be made, or what the call itself is to do and to print."""


def became(result: Result) -> list[tuple[str, str]]:
    return [(one["name"], one["outcome"]) for one in result.json]


def errors(result: Result) -> list[str]:
    return [line.removeprefix("error: ") for line in result.err.splitlines() if line.startswith("error: ")]


def test_every_option_that_is_about_a_session_can_be_said_in_a_file() -> None:
    options = {option.name for option in new.command.params}
    assert options - OF_THE_CALL == {*OWN, *SHARED, *OPTIONS}


# --- what is uncommitted, and what is upstream --------------------------------------------------------------------


def test_all_take_what_is_uncommitted_along(shell: Sandbox) -> None:
    (shell.repo / "mine").write_text("mine\n")
    inner = shell.repo / "inner"
    shell.git("init", "-q", str(inner))
    shell.git("commit", "-q", "--allow-empty", "-m", "inner", cwd=inner)
    (shell.repo.parent / "t.md").write_text("- one\n- two\n")
    made = shell.chatml("new", "-f", "../t.md", "--with-changes", "--wait")
    assert made.err.count("left out: the files of 'inner', a repository of its own") == 1
    assert "come along" not in made.err
    for name in ("one", "two"):
        assert (Path(shell.session(name)["worktree"]) / "mine").read_text() == "mine\n"


def test_a_task_says_for_itself_what_it_takes_along(shell: Sandbox) -> None:
    (shell.repo / "mine").write_text("mine\n")
    (shell.repo / "t.yaml").write_text(
        "with_changes: true\ntasks:\n- one\n- {prompt: two, with_changes: false}\n"
        "- {prompt: three, with_changes: no, base: main}\n"
    )
    made = shell.chatml("new", "-f", "t.yaml", "--wait")
    there = {name: (Path(shell.session(name)["worktree"]) / "mine").exists() for name in ("one", "two", "three")}
    assert there == {"one": True, "two": False, "three": False}
    assert "note: the uncommitted changes here don't come along; --with-changes takes them" in made.err


def count_fetches(sandbox: Sandbox, folder: Path) -> Path:
    """A file that gets a line for each fetch."""
    counted, program = folder / "fetches", folder / "upload-pack"
    program.write_text(f'#!/bin/sh\necho >> {counted}\nexec git-upload-pack "$@"\n')
    program.chmod(0o755)
    sandbox.git("config", "remote.origin.uploadpack", str(program))
    return counted


def test_each_base_is_fetched_once(remote: Sandbox, tmp_path: Path) -> None:
    counted = count_fetches(remote, tmp_path)
    (remote.repo / "t.yaml").write_text(
        "- one\n- two\n- {prompt: three, base: origin/main}\n- {prompt: four, base: origin/main}\n"
        "- {prompt: five, fetch: false}\n"
    )
    made = remote.chatml("new", "-f", "t.yaml", "--fetch")
    assert made.err.count("'main' is 2 commits behind 'origin/main': it starts from there\n") == 1
    assert len(counted.read_text().splitlines()) == 2
    theirs, mine = remote.git("rev-parse", "origin/main"), remote.git("rev-parse", "main")
    bases = [remote.session(name)["base"]["commit"] for name in ("one", "two", "three", "four", "five")]
    assert bases == [theirs] * 4 + [mine]
    assert made.err.count("note: base 'main' is 2 commits behind 'origin/main' (as last fetched)") == 1
    assert remote.chatml("new", "-f", "t.yaml", "--fetch").err == "5 there already\n"
    assert len(counted.read_text().splitlines()) == 2, "nothing to make, nothing to fetch"


def test_what_can_not_be_fetched_is_told_once_and_nothing_is_made(remote: Sandbox) -> None:
    remote.git("remote", "set-url", "origin", str(remote.home / "nowhere"))
    (remote.repo / "t.yaml").write_text("tasks: [one, two, {prompt: three, fetch: false, role: nobody}]\nfetch: true\n")
    refused = remote.chatml("new", "-f", "t.yaml", code=2)
    first, second = errors(refused)
    assert first.startswith("t.yaml:1: task 1 (one): could not fetch main of origin")
    assert second.startswith("t.yaml:1: task 3 (three): no role named 'nobody'")
    assert remote.chatml("ls", "-q").out == ""


def test_what_does_not_go_together_is_an_error_of_its_task(shell: Sandbox) -> None:
    shell.git("branch", "mine")
    (shell.repo / "t.yaml").write_text(
        "- {prompt: one, with_changes: true, base: main}\n- {prompt: two, with_changes: true, fetch: true}\n"
        "- {prompt: three, with_changes: true, after: one}\n- {prompt: four, with_changes: true, branch: mine}\n"
        "- {prompt: five, fetch: true, branch: mine}\n- {prompt: six, retries: 2}\n- {prompt: seven, fetch: 'yes'}\n"
    )
    refused = shell.chatml("new", "-f", "t.yaml", code=2)
    said = errors(refused)
    assert [line.split(":")[1] for line in said] == sorted(line.split(":")[1] for line in said)
    for number in (1, 2, 3, 4):
        assert said[number - 1].startswith(f"t.yaml:{number}: task {number} ")
        assert said[number - 1].endswith("--with-changes goes with none of --base, --branch, --after and --fetch")
    assert any(line.endswith("task 5 (five): --fetch goes without --branch") for line in said)
    assert any(line.endswith("task 6 (six): --retries goes with a check, and there is none") for line in said)
    assert said[-1] == "t.yaml:7: task 7 (seven): 'fetch' must be true or false, not 'yes'"
    assert "hint: leave the quotes out" in refused.err
    for args in (["--branch", "mine"], ["--attach"]):
        assert f"{args[0]} is for one session" in shell.chatml("new", "-f", "t.yaml", *args, code=2).err
    assert (
        "--with-changes goes with none of"
        in shell.chatml("new", "-n", "2", "x", "--with-changes", "--fetch", code=2).err
    )


def test_all_come_after_what_the_command_line_names_but_one_that_says_otherwise(shell: Sandbox) -> None:
    make_session(shell, "first")
    make_session(shell, "other")
    (shell.repo / "t.yaml").write_text("- one\n- {prompt: two, after: other}\n- {prompt: three, after: []}\n")
    plan = shell.chatml("new", "-f", "t.yaml", "--after", "first", "--dry-run", "--json").json
    assert [one["after"] for one in plan] == [["first"], ["other"], []]
    made = shell.chatml("new", "-f", "t.yaml", "--after", "first", "--wait", "--json").json
    assert [one["after"] for one in made] == [["first"], ["other"], []]
    unknown = shell.chatml("new", "-n", "2", "x", "--after", "frist", code=1)
    assert errors(unknown) == ["no session named 'frist'; did you mean 'first'?"]


def test_retries_need_a_check_somewhere(shell: Sandbox) -> None:
    said = "--retries goes with a check, and there is none"
    assert errors(shell.chatml("new", "x", "--retries", "2", code=2)) == [said]
    (shell.repo / "t.yaml").write_text("retries: 3\ntasks: [one, {prompt: two, check: 'true'}]\n")
    assert errors(shell.chatml("new", "-n", "2", "x", "--retries", "2", code=2)) == [said]
    assert shell.chatml("ls", "-q").out == ""
    shell.chatml("new", "-f", "t.yaml", "--retries", "2", "--wait")
    config = shell.home / ".config" / "chatml" / "config.yaml"
    config.write_text(SHELL + "checks: ['true']\n")
    shell.chatml("new", "three", "--retries", "2", "--wait")
    assert "there is none" in shell.chatml("new", "x", "--retries", "2", "--role", "reviewer", code=2).err


# --- what is told, and in which order -----------------------------------------------------------------------------


def test_errors_come_in_the_order_of_the_file(shell: Sandbox) -> None:
    (shell.repo / "t.yaml").write_text(
        "tasks:\n- {prompt: one, after: two}\n- {prompt: two, after: one}\n- {prompt: three, role: nobody}\n- 4\n"
        "- {prompt: five, name: a/b}\n- {prompt: six, naem: x}\n- {prompt: seven, base: nowhere, after: eleven}\n"
        "- seven\nmodel: a b\n"
    )
    lines = [line.split(":")[1] for line in errors(shell.chatml("new", "-f", "t.yaml", code=2))]
    assert lines == sorted(lines, key=int)
    assert len(lines) >= 8
    (shell.repo / "t.csv").write_text("a\nx\ny,z\nX\nw,v\n")
    places = [line.split(" ")[0] for line in errors(shell.chatml("new", "--each", "t.csv", "do it: {a}", code=2))]
    assert places == ["t.csv:3:", "t.csv:5:"]


def test_a_dry_run_says_what_a_retry_would_go_on_with(shell: Sandbox) -> None:
    (shell.repo / "t.md").write_text("- one\n- to fail\n")
    shell.chatml("new", "-f", "t.md", "--wait", code=1)
    (shell.repo / "t.md").write_text("- one\n- to fail\n- new\n")
    before = traces(shell)
    plain = shell.chatml("new", "-f", "t.md", "--dry-run")
    assert [line.split("  ")[-1].strip() for line in plain.out.splitlines()][:2] == [
        "there already: done", "there already: failed",
    ]  # fmt: skip
    tried = shell.chatml("new", "-f", "t.md", "--dry-run", "--retry")
    assert [line.endswith("there already: failed, would be gone on with") for line in tried.out.splitlines()] == [
        False, True, False,
    ]  # fmt: skip
    for flags, outcome in (([], "there"), (["--retry"], "would resume")):
        plan = shell.chatml("new", "-f", "t.md", "--dry-run", "--json", *flags)
        assert became(plan) == [("one", "there"), ("to-fail", outcome), ("new", "would make")]
    assert traces(shell) == before


@pytest.mark.parametrize(
    ("args", "said", "hint"),
    [
        (["-f", "none.md"], "none.md: could not be read: no such file", "name a file that is there, or '-' for"),
        (["-f", "folder"], "folder: could not be read: is a directory", "name a file that is in it"),
        (["--each", "folder.csv", "{a}"], "folder.csv: could not be read: is a directory", "name a file that is in it"),
        (["-f", "t.md/x"], "t.md/x: could not be read: not a directory", "name a file that is there"),
        (["-f", "latin.md"], "latin.md:2: not UTF-8 text", "save the file as UTF-8"),
        (["--each", "latin.csv", "{a}"], "latin.csv:2: not UTF-8 text", "save the file as UTF-8"),
    ],
)
def test_what_can_not_be_read_says_what_to_do(shell: Sandbox, args: list[str], said: str, hint: str) -> None:
    for name in ("folder", "folder.csv"):
        (shell.repo / name).mkdir()
    (shell.repo / "t.md").write_text("- x\n")
    for name in ("latin.md", "latin.csv"):
        (shell.repo / name).write_bytes(b"a\n- caf\xe9\n")
    refused = shell.chatml("new", *args, code=2)
    assert errors(refused)[0].startswith(said)
    assert f"hint: {hint}" in refused.err


def test_text_in_another_encoding_on_standard_input_says_what_to_do(shell: Sandbox) -> None:
    refused = shell.chatml("new", "-f", "-", stdin="- caf\udce9\n", code=2)
    assert errors(refused) == ["standard input:1: not UTF-8 text"]
    assert "hint: give it as UTF-8, such as through: iconv" in refused.err


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,2\n3,4\n", ["do-1-2", "do-3-4"]),
        ('\ufeff\n {"a": 1, "b": 2}\n{"a": 3, "b": 4}\n', ["do-1-2", "do-3-4"]),
    ],
)
def test_a_table_on_standard_input_is_known_by_how_it_begins(shell: Sandbox, text: str, names: list[str]) -> None:
    made = shell.chatml("new", "--each", "-", "do {a} {b}", "-q", "--wait", stdin=text)
    assert made.out.split() == names
    wrong = shell.chatml("new", "--each", "-", "do {c}", stdin=text, code=2)
    assert errors(wrong)[0].startswith("standard input:")
    assert "can't be both" in shell.chatml("new", "--each", "-", "-", stdin=text, code=2).err


# --- where an agent calls -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def nothing_made(sandbox: Sandbox) -> Iterator[None]:
    def there() -> tuple[str, str, str]:
        return sandbox.chatml("ls", "-q").out, sandbox.git("branch"), sandbox.git("worktree", "list")

    before = there()
    yield
    assert there() == before


def as_agent(sandbox: Sandbox, name: str) -> dict[str, str]:
    return {"CHATML_SESSION_ID": str(sandbox.written(name)["id"])}


def test_the_caps_of_an_agent_hold_for_its_whole_list(shell: Sandbox) -> None:
    make_session(shell, "boss", agent="sh", command=("true", "{prompt}"), max_children=3)
    env = as_agent(shell, "boss")
    with nothing_made(shell):
        for flags in ([], ["--dry-run"]):
            refused = shell.chatml("new", "-n", "4", "task", *flags, env=env, code=2)
            assert errors(refused) == ["the agent of 'boss' has started 0 sessions and may start 3: here are 4 more"]
            assert "hint: shorten the list to 3, and do the rest yourself\n" in refused.err
    shell.chatml("new", "-n", "2", "task", "--wait", env=env)
    assert "1 made, 2 there already" in shell.chatml("new", "-n", "3", "task", env=env).err
    with nothing_made(shell):
        full = shell.chatml("new", "-n", "4", "task", env=env, code=2)
        assert errors(full) == ["the agent of 'boss' has started 3 sessions; it may start 3"]
        deep = shell.chatml("new", "-n", "2", "more", env=as_agent(shell, "task-1"), code=2)
        assert errors(deep) == ["the agent of 'task-1' may start no sessions: an agent has started it itself"]
        foreign = shell.chatml("new", "-n", "2", "more", env={"CHATML_SESSION_ID": "gone"}, code=2)
        assert "own session is not in this repository" in foreign.err


def test_the_money_and_the_agents_of_a_list_are_its_parents(shell: Sandbox) -> None:
    make_session(shell, "boss", max_budget_usd=5.0, cost_usd=1.0)
    (shell.repo / "t.yaml").write_text(
        "agent: claude\ntasks:\n- {prompt: one, max_budget_usd: 3}\n- {prompt: two, agent: sh}\n"
        "- {prompt: three, max_budget_usd: 2}\n- {prompt: four, after: boss}\n- five\n"
    )
    with nothing_made(shell):
        refused = shell.chatml("new", "-f", "t.yaml", env=as_agent(shell, "boss"), code=2)
    said = errors(refused)
    assert [line.split(":")[1] for line in said] == ["4", "6", "7"]
    assert "an agent can't start the agent 'sh'" in said[0]
    assert "hint: take your own: --agent claude\n" in refused.err
    assert "a session can't come after 'boss': its own agent starts it" in said[1]
    assert "nothing is left of the $5 of 'boss'" in said[2]


def test_a_child_never_waits_for_those_above_it(shell: Sandbox) -> None:
    make_session(shell, "top", agent="sh", command=("true", "{prompt}"), max_depth=3)
    mine = Family("top", shell.written("top")["id"])
    make_session(shell, "middle", agent="sh", command=("true", "{prompt}"), max_depth=2, family=mine)
    make_session(shell, "beside")
    env = as_agent(shell, "middle")
    with nothing_made(shell):
        own = shell.chatml("new", "x", "--after", "middle", env=env, code=2)
        assert errors(own) == [
            "a session can't come after 'middle': its own agent starts it, so the two would wait for each other"
        ]
        above = shell.chatml("new", "-n", "2", "x", "--after", "top", env=env, code=2)
        assert "a session can't come after 'top': the agent of 'middle' starts it" in above.err
    shell.chatml("new", "x", "--after", "beside", "--wait", "-q", env=env)
    assert shell.session("x")["parent"] == "middle"


def test_the_hint_about_the_agent_works(shell: Sandbox) -> None:
    """Where the configured agent is another than that of the session whose agent calls."""
    make_session(shell, "boss")
    refused = shell.chatml("new", "x", env=as_agent(shell, "boss"), code=1)
    assert refused.err.endswith("hint: take your own: --agent claude\n")
    shell.chatml("new", "x", "--agent", "claude", "-q", env=as_agent(shell, "boss"))
    shell.chatml("stop", "x")
    assert shell.session("x")["parent"] == "boss"
