"""Roles: what a session is made for settles its mode, tools, scope and model, also after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatml.changes.scope import outside
from chatml.config.roles import TEST_FILES
from tests.calls import bash
from tests.faults import Serve
from tests.support import Sandbox
from tests.test_scope import results, writing_here


def configure(sandbox: Sandbox, text: str) -> None:
    path = sandbox.repo / ".git" / "chatml" / "config.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def begin(sandbox: Sandbox, *options: str) -> dict[str, Any]:
    """A session named t, once it is at rest."""
    sandbox.chatml("new", "do it", "-q", "--name", "t", *options)
    sandbox.chatml("wait", "t", code=None)
    return sandbox.session("t")


def offered(body: dict[str, Any]) -> set[str]:
    """The tools that the model is offered; one of them stands for what the CLI would load later, were there any."""
    return {tool["name"] for tool in body["tools"]} - {"DeferredToolPlaceholder"}


SCRIBE = """\
permission_mode: default
roles:
  scribe:
    instruction: Write for people, in British spelling.
    permission_mode: dontAsk
    tools: [Read, Write]
    scope: ["docs/**"]
    model: claude-haiku-5-5
"""


def test_a_role_of_ones_own_settles_everything_and_holds_after_a_restart(sandbox: Sandbox, serve: Serve) -> None:
    configure(sandbox, SCRIBE)
    api = serve({"*": {"turns": [[[writing_here("docs/a")], "Done."], [[writing_here("src/a")], "Done again."]]}})
    session = begin(sandbox, "--role", "scribe")
    assert (session["role"], session["scope"], session["permission_mode"]) == ("scribe", ["docs/**"], "dontAsk")
    configure(sandbox, "")  # what was settled is in the session's record
    sandbox.chatml("send", "t", "--wait", "more")
    for body in (api.requests[0].body, api.requests[-1].body):
        assert offered(body) == {"Read", "Write"}
        assert body["model"] == "claude-haiku-5-5"
        assert "Write for people, in British spelling." in str(body["system"])
        assert "that match these patterns" in str(body["system"])
    (_, said) = results(sandbox)[1]
    assert "outside of the scope" in said
    assert "role: scribe\nscope: docs/**\n" in sandbox.chatml("show", "t").out


def test_flags_go_before_the_role(sandbox: Sandbox, serve: Serve) -> None:
    configure(sandbox, SCRIBE)
    serve({"*": ["Done."]})
    flags = ("--permission-mode", "acceptEdits", "--model", "claude-opus-5-5", "--scope", "src/**")
    session = begin(sandbox, "--role", "scribe", *flags)
    assert (session["model"], session["permission_mode"], session["scope"]) == (
        "claude-opus-5-5",
        "acceptEdits",
        ["src/**"],
    )


def test_a_plan_leads_to_the_mode_of_the_role(sandbox: Sandbox, serve: Serve) -> None:
    configure(sandbox, SCRIBE)
    plan = {"ExitPlanMode": {"plan": "# Write it down"}}
    serve({"*": [["I plan.", plan], [writing_here("docs/a")], "Done."]})
    sandbox.chatml("new", "do it", "-q", "--name", "t", "--role", "scribe", "--permission-mode", "plan")
    sandbox.chatml("wait", "t", code=3)
    sandbox.chatml("approve", "t")
    session = sandbox.until("t", "done")
    assert session["permission_mode"] == "dontAsk"


def test_a_plan_gives_a_reader_no_more_than_reading(sandbox: Sandbox, serve: Serve) -> None:
    commit = bash("git commit -q --allow-empty -m a")
    serve(
        {"*": [["I plan.", {"ExitPlanMode": {"plan": "# Look"}}], [commit], [bash("git show --stat")], "no findings"]}
    )
    sandbox.chatml("new", "do it", "-q", "--name", "t", "--role", "reviewer", "--permission-mode", "plan")
    sandbox.chatml("wait", "t", code=3)
    sandbox.chatml("approve", "t")
    assert sandbox.until("t", "done")["permission_mode"] == "dontAsk"
    assert [ok for ok, _ in results(sandbox)] == [True, False, True]


def test_an_unknown_role_is_wrong_usage_and_makes_nothing(sandbox: Sandbox) -> None:
    wrong = sandbox.chatml("new", "do it", "--role", "reviwer", code=2)
    assert wrong.err.startswith(
        "error: no role named 'reviwer'; did you mean 'reviewer'?\nhint: known: reviewer, tester"
    )
    assert sandbox.chatml("ls", "-q").out == ""


def test_a_program_can_play_no_role(sandbox: Sandbox) -> None:
    configure(sandbox, "agents: {fake: {command: [echo, '{prompt}']}}\n")
    wrong = sandbox.chatml("new", "do it", "--role", "reviewer", "--agent", "fake", code=2)
    assert wrong.err.startswith("error: the agent 'fake' can't play a role: ")
    assert sandbox.chatml("ls", "-q").out == ""


READS = ["git diff HEAD", "git log --oneline", "git show HEAD", "git status", "git blame README.md", "ls"]
WRITES = [
    "touch a",
    "echo a > a",
    "sed -i s/s/t/ README.md",
    "git commit --allow-empty -m a",
    "git rm README.md",
    "git diff --output=a",
    "git log > a",
    "git checkout -b a",
    "git branch a",
    "python3 -c 1",
    "rm README.md",
    "mkdir a",
]


def test_a_reviewer_reads_and_changes_nothing(sandbox: Sandbox, serve: Serve) -> None:
    calls = [*map(bash, READS + WRITES), writing_here("a"), {"Read": {"file_path": "{cwd}/README.md"}}]
    api = serve({"*": [*([call] for call in calls), "no findings"]})
    session = begin(sandbox, "--role", "reviewer")
    assert (session["status"], session["request"], session["permission_mode"]) == ("done", None, "dontAsk")
    assert offered(api.requests[0].body) == {"Read", "Grep", "Glob", "Bash"}
    assert "SEVERITY FILE:LINE TEXT" in str(api.requests[0].body["system"])
    assert "Commit your work" not in str(api.requests[0].body["system"])
    ok = [ok for ok, _ in results(sandbox)]
    assert ok == [True] * len(READS) + [False] * (len(WRITES) + 1) + [True]
    assert sandbox.chatml("diff", "t").out == ""
    assert sandbox.git("branch", "--list", "a") == ""
    assert sandbox.chatml("rm", "t").err == "removed t; branch chatml/t deleted\n"


def test_a_researcher_may_ask_and_changes_nothing(sandbox: Sandbox, serve: Serve) -> None:
    fetch = {"WebFetch": {"url": "http://127.0.0.1:9/", "prompt": "read"}}
    serve({"*": [[bash("git log --oneline")], [writing_here("a")], [fetch], "It is so."]})
    sandbox.chatml("new", "find out", "-q", "--name", "t", "--role", "researcher")
    sandbox.chatml("wait", "t", code=3)
    assert sandbox.session("t")["request"]["summary"] == "WebFetch: http://127.0.0.1:9/"
    sandbox.chatml("deny", "t")
    assert sandbox.until("t", "done")["result"] == "It is so."
    assert [ok for ok, _ in results(sandbox)][:2] == [True, False]
    assert sandbox.chatml("diff", "t").out == ""


def test_a_tester_changes_tests_only(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": [[writing_here("tests/test_a.py")], [writing_here("src/a.py")], "Done."]})
    session = begin(sandbox, "--role", "tester")
    assert session["permission_mode"] == "acceptEdits"
    assert [ok for ok, _ in results(sandbox)] == [True, False]
    assert sandbox.chatml("diff", "t", "--name-only").out == "tests/test_a.py\n"


TESTS = [
    "tests/conftest.py", "tests/data/x.json", "conftest.py", "pkg/test_a.py", "pkg/a_test.py", "pkg/a_test.go",
    "src/a.test.ts", "src/a.spec.tsx", "src/__tests__/a.js", "src/test/java/ATest.java", "src/ATest.kt", "ATests.cs",
    "spec/a_spec.rb", "test/a_test.exs", "tests/a.rs", "a_test.dart", "a_test.cc", "a.bats", "t/a.t", "ATest.php",
]  # fmt: skip
CODE = [
    "src/a.py", "src/contest.py", "latest.js", "src/testing/a.go", "README.md", "src/attest.ts", "src/t/a.py",
    "package.json", "src/main/java/A.java", "lib/spectrum.rb", "openapi.spec",
]  # fmt: skip


@pytest.mark.parametrize("path", TESTS)
def test_what_is_a_test(path: str) -> None:
    assert outside(TEST_FILES, [path]) == []


def test_what_is_no_test() -> None:
    assert outside(TEST_FILES, CODE) == CODE


def test_the_shell_completes_roles(sandbox: Sandbox) -> None:
    configure(sandbox, SCRIBE)
    env = {"_CHATML_COMPLETE": "bash_complete", "COMP_WORDS": "chatml new --role ", "COMP_CWORD": "3"}
    said = sandbox.chatml(env=env, code=None).out
    assert [Path(line).name.partition(",")[2] for line in said.split()] == [
        "reviewer",
        "tester",
        "researcher",
        "scribe",
    ]
