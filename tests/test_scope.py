"""Scopes: what an agent may change of its worktree, and what becomes of what it changed all the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from chatml.changes.scope import outside
from tests.calls import bash, writing
from tests.faults import Serve, agents, arrived, fifo, kill, worker
from tests.support import Sandbox, thinned, wait_until

SCOPE = ("--scope", "src/**")


def writing_here(path: str, text: str = "x\n") -> dict[str, Any]:
    """Writes a file of the worktree."""
    return writing(f"{{cwd}}/{path}", text)


def begin(sandbox: Sandbox, *options: str) -> dict[str, Any]:
    """A session named t with a scope, once it is at rest."""
    sandbox.chatml("new", "do it", "-q", "--name", "t", *options)
    sandbox.chatml("wait", "t", code=None)
    return sandbox.session("t")


def results(sandbox: Sandbox) -> list[tuple[bool, str]]:
    """What became of the agent's calls."""
    return [(event["ok"], event["output"]) for event in sandbox.events("t") if event["type"] == "tool_result"]


def messages(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [event for event in sandbox.events("t") if event["type"] == "message"]


@pytest.mark.parametrize(
    ("scope", "inside", "out"),
    [
        (["src/billing/**"], ["src/billing/a.py", "src/billing/b/c"], ["src/billing.py", "a/src/billing/x", "README"]),
        (["*.md"], ["README.md", "docs/a.md"], ["README.mdx"]),
        (["tests/"], ["tests/a", "a/tests/b"], ["tests.py"]),
        (["/docs"], ["docs/a"], ["a/docs/b"]),
        (["src/**", "!src/secret/"], ["src/a"], ["src/secret/x", "src/secret/y/z"]),
        (["src/", "!src/secret/", "src/secret/ok.py"], ["src/secret/ok.py"], ["src/secret/no.py"]),
        (["*"], [":(top)odd", "a\nb", "caf\udce9", " x"], []),
        ([r"\#a", r"\!b"], ["#a", "!b"], ["a"]),
    ],
)
def test_patterns_are_those_of_a_gitignore(scope: list[str], inside: list[str], out: list[str]) -> None:
    assert outside(scope, [*inside, *out]) == out


def test_neither_the_persons_nor_the_repositorys_own_excludes_count(sandbox: Sandbox, serve: Serve) -> None:
    """They say what is no part of a commit, not what an agent may change."""
    (sandbox.home / "ignore").write_text("*.log\n")
    sandbox.git("config", "--global", "core.excludesFile", str(sandbox.home / "ignore"))
    sandbox.commit("ignore", _dot_gitignore="build/\n")
    serve({"*": [[writing_here("a.log")], [writing_here("build/b")], "Done."]})
    begin(sandbox, *SCOPE)
    assert [ok for ok, _ in results(sandbox)] == [False, False]


@pytest.mark.parametrize("mode", thinned(["default", "acceptEdits", "bypassPermissions", "dontAsk", "auto"], 3))
def test_a_file_tool_is_refused_out_of_scope_in_every_mode(sandbox: Sandbox, serve: Serve, mode: str) -> None:
    sandbox.commit("link", src__a="a\n", docs__x="x\n")
    (sandbox.repo / "src" / "link").symlink_to("../docs")
    sandbox.commit("link")
    (sandbox.repo / "n.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    sandbox.commit("notebook")
    notebook = {"notebook_path": "{cwd}/n.ipynb", "new_source": "x", "cell_type": "code", "edit_mode": "insert"}
    steps = [
        [writing_here("docs/new")],
        [writing_here("src/../top")],
        [writing_here("src/link/new")],
        [{"NotebookEdit": notebook}],
    ]
    serve({"*": [[{"Read": {"file_path": "{cwd}/n.ipynb"}}], *steps, "Done."]})
    session = begin(sandbox, *SCOPE, "--permission-mode", mode)
    assert (session["status"], session["request"], session["changes"]["files"]) == ("done", None, 0)
    for ok, said in results(sandbox)[1:]:
        assert not ok
        assert "outside of the scope of your session, which is: src/**." in said


def test_within_the_scope_the_mode_decides_as_ever(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[writing_here("src/a")], [{"Write": {"file_path": f"{sandbox.home}/a", "content": "x"}}], "Done."]})
    sandbox.chatml("new", "do it", "-q", "--name", "t", *SCOPE)
    sandbox.chatml("wait", "t", code=3)
    assert (Path(sandbox.session("t")["worktree"]) / "src" / "a").exists()
    assert sandbox.session("t")["request"]["summary"] == f"Write {sandbox.home}/a"


def test_in_bypass_mode_the_scope_ends_at_the_worktree_too(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[{"Write": {"file_path": f"{sandbox.home}/a", "content": "x"}}], "Done."]})
    assert begin(sandbox, *SCOPE, "--permission-mode", "bypassPermissions")["status"] == "done"
    assert not (sandbox.home / "a").exists()


def test_a_plan_is_written_in_spite_of_the_scope(sandbox: Sandbox, serve: Serve) -> None:
    steps = [[{"Write": {"file_path": "{prompt}", "content": "# The plan\n"}}], [writing_here("docs/x")], "Done."]
    api = serve({"*": {"turns": [["Ready."], steps]}})
    begin(sandbox, *SCOPE, "--permission-mode", "plan", "--on-request", "deny")
    told = re.search(rf"{sandbox.home}/\.claude/plans/[\w-]+\.md", json.dumps(api.requests[-1].body))
    assert told
    sandbox.chatml("send", "t", "--wait", told[0])
    assert Path(told[0]).read_text() == "# The plan\n"
    assert [ok for ok, _ in results(sandbox)] == [True, False]


def test_the_agent_takes_back_what_a_command_changed(sandbox: Sandbox, serve: Serve) -> None:
    """It is asked in the same process, and needs nobody's word for it."""
    sandbox.commit("docs", docs__x="x\n", docs__y="y\n")
    stray = "touch new && rm docs/x && git mv docs/y docs/z && mkdir src && touch src/a && git add -A"
    back = [[bash("git restore --source HEAD --staged --worktree docs && rm new && git rm -q --cached new")], "Back."]
    api = serve({"*": {"turns": [[[bash(stray)], "Done."]], "on": {"outside of the scope": back}}})
    session = begin(sandbox, *SCOPE)
    assert (session["status"], session["result"], session["error"]) == ("done", "Back.", None)
    first, asked = messages(sandbox)
    assert "auto" not in first
    assert asked["auto"] is True
    assert "(src/**):\n- docs/x\n- docs/y\n- docs/z\n- new\n\n" in asked["text"]
    assert len({request.session for request in api.requests}) == 1
    assert sandbox.chatml("diff", "t", "--name-only").out == "src/a\n"
    assert "> (sent by chatml itself)\n> You have changed files" in sandbox.chatml("logs", "t").out


@pytest.mark.long
def test_what_stays_out_of_scope_fails_the_session_and_is_kept(sandbox: Sandbox, serve: Serve) -> None:
    stray = [[bash("touch src docs && git add -A && git commit -q -m stray && touch new")], "Done."]
    serve({"*": {"turns": [stray], "on": {"outside of the scope": ["No."], "go on": ["Went on."]}}})
    session = begin(sandbox, "--scope", "src")
    assert (session["status"], session["result"]) == ("failed", "No.")
    assert session["scope"] == ["src"]
    assert session["error"]["kind"] == "scope"
    assert session["error"]["message"] == "changed docs, new, outside of src"
    assert "scope: changed docs, new, outside of src" in sandbox.chatml("ls").out
    diff = sandbox.chatml("diff", "t", "--name-only")
    assert diff.out == "docs\nnew\nsrc\n"
    assert diff.err == "warning: out of the session's scope (src): docs, new\n"
    assert sandbox.chatml("diff", "t", "--json").json["out_of_scope"] == ["docs", "new"]
    assert sandbox.chatml("diff", "t", "--name-only", "--", "src").err == ""
    assert "scope: src\n" in sandbox.chatml("show", "t").out
    # A person's next message is a new chance, and the agent is asked once more.
    sandbox.chatml("send", "t", "go on")
    sandbox.chatml("wait", "t", code=1)
    assert [event.get("auto", False) for event in messages(sandbox)] == [False, True, False, True]
    assert sandbox.session("t")["error"]["kind"] == "scope"


def test_without_a_scope_nothing_is_said(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[bash("touch anywhere")], "Done."]})
    session = begin(sandbox)
    assert (session["status"], session["scope"]) == ("done", [])
    assert sandbox.chatml("diff", "t", "--name-only").err == ""
    assert "\nscope:" not in sandbox.chatml("show", "t").out


def test_what_an_existing_branch_brought_before_is_not_the_agents(sandbox: Sandbox, serve: Serve) -> None:
    sandbox.git("checkout", "-q", "-b", "topic")
    sandbox.commit("theirs", docs="theirs\n", other="theirs\n")
    sandbox.git("checkout", "-q", "main")
    stray = [[bash("touch stray && rm other")], "Done."]
    serve({"*": {"turns": [stray], "on": {"outside of the scope": ["No."]}}})
    session = begin(sandbox, *SCOPE, "--branch", "topic")
    assert session["error"]["message"] == "changed stray, outside of src/**"
    assert sandbox.chatml("diff", "t", "--json").json["out_of_scope"] == ["stray"]


def test_a_program_keeps_to_its_scope_too(sandbox: Sandbox) -> None:
    (sandbox.repo / ".git" / "chatml").mkdir()
    (sandbox.repo / ".git" / "chatml" / "config.yaml").write_text(
        "agents: {fake: {command: [sh, -c, 'touch stray; echo \"$0\"', '{prompt}']}}\n"
    )
    sandbox.chatml("new", "do it", "-q", "--name", "t", "--agent", "fake", *SCOPE)
    sandbox.chatml("wait", "t", code=1)
    session = sandbox.session("t")
    assert session["error"]["kind"] == "scope"
    assert "- stray\n" in session["result"]


@pytest.mark.long
def test_asking_back_outlives_the_worker(sandbox: Sandbox, serve: Serve) -> None:
    pipe = fifo(sandbox.home / "pipe")
    hold = bash(f"echo >> {pipe.with_suffix('.at')}; cat {pipe}; rm stray")
    back = [[hold], "Back."]
    serve({"*": {"turns": [[[bash("touch stray")], "Done."]], "on": {"outside of the scope": back}}})
    sandbox.chatml("new", "do it", "-q", "--name", "t", *SCOPE, "--permission-mode", "bypassPermissions")
    arrived(pipe)
    kill(worker(sandbox, "t"))
    wait_until(lambda: not agents(sandbox), "the agent to end with its worker")
    sandbox.until("t", "crashed")
    (Path(sandbox.session("t")["worktree"]) / "stray").unlink()
    sandbox.chatml("resume", "t")
    assert sandbox.until("t", "done")["error"] is None
    assert len([event for event in messages(sandbox) if "outside of the scope" in event["text"]]) == 1


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("!", "holds no pattern"),
        ("/", "holds no pattern"),
        ("!src", "lets nothing in"),
        ("/etc/passwd", "may not be an absolute path"),
        ("../other/**", "matches nothing in a worktree"),
        ("~/x", "matches nothing in a worktree"),
        (".git/hooks/*", "matches nothing in a worktree"),
        ("src\\", "matches nothing in a worktree"),
        ("#src", "would be a comment"),
        ("a\nb", "holds control characters"),
        ("a\x1bb", "holds control characters"),
    ],
)
def test_a_bad_pattern_is_wrong_usage_and_makes_nothing(sandbox: Sandbox, pattern: str, said: str) -> None:
    wrong = sandbox.chatml("new", "do it", "--scope", pattern, code=2)
    assert wrong.err.startswith(f"error: --scope {said}")
    assert "\nhint: " in wrong.err
    assert sandbox.chatml("ls", "-q").out == ""


@pytest.mark.parametrize("back", [True, False])
def test_what_is_queued_comes_after_the_taking_back(sandbox: Sandbox, serve: Serve, back: bool) -> None:
    answer = [[bash("rm stray")], "Back."] if back else ["No."]
    first = [[bash("touch stray")], [{"hold": "on"}, "Done."]]
    api = serve({"*": {"turns": [first], "on": {"outside of the scope": answer, "next": ["Next."]}}})
    sandbox.chatml("new", "do it", "-q", "--name", "t", *SCOPE)
    wait_until(lambda: bool(api.holding), "the agent to have strayed")
    sandbox.chatml("send", "t", "--queue", "next")
    api.release("on")
    sandbox.chatml("wait", "t", code=0 if back else 1)
    said = ["auto" if event.get("auto") else event["text"] for event in messages(sandbox)]
    assert said == (["do it", "auto", "next"] if back else ["do it", "auto"])
