"""Reviews: another session reads what one has changed, and its findings go where they are of use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatml.sessions.review import Finding, findings
from tests.calls import bash
from tests.faults import Serve, snapshot
from tests.support import Sandbox, wait_until
from tests.test_roles import configure
from tests.test_scope import writing_here

FOUND = "high a.py:1 it says nothing; say more\nlow docs/b c.md:12 a word is missing"
REVIEWER = "Review the changes"

WORK = [
    [writing_here("a.py"), bash("git add a.py && git commit -q -m a")],
    [writing_here("staged"), bash("git add staged"), writing_here("untracked")],
    "Done.",
]
"""Changes of every kind: committed, staged and untracked."""


def begin(sandbox: Sandbox) -> Path:
    """A session named t with changes, at rest; returns its worktree."""
    sandbox.chatml("new", "do it well", "-q", "--name", "t", "--wait")
    return Path(sandbox.session("t")["worktree"])


def worker_script(**on: list[Any]) -> dict[str, Any]:
    return {"turns": [WORK], "on": on}


def test_a_review_sees_all_changes_and_touches_none(sandbox: Sandbox, serve: Serve) -> None:
    look = bash("git diff $(git merge-base main HEAD) HEAD --name-only")
    api = serve({REVIEWER: [[bash("git show --stat HEAD")], [look], FOUND], "*": worker_script()})
    worktree = begin(sandbox)
    before = (snapshot(worktree), sandbox.git("status", "--porcelain", cwd=worktree))
    made = sandbox.chatml("review", "t")
    assert made.out == "t-review reviews t\n"
    assert made.err == "its findings: chatml review t --wait\n"
    assert sandbox.chatml("review", "t", "--wait").out == FOUND + "\n"
    asked = next(one.talk.first for one in api.requests if REVIEWER in one.talk.first)
    base = sandbox.git("rev-parse", "main")[:12]
    assert "Its task was:\n\n> do it well\n" in asked
    assert [line.split()[0] for line in asked.splitlines() if " | " in line] == ["a.py", "staged", "untracked"]
    assert f"'git diff {base} HEAD'" in asked
    review = sandbox.session("t-review")
    assert (review["role"], review["status"], review["branch"]) == ("reviewer", "done", "chatml/t-review")
    files = sandbox.git("ls-tree", "--name-only", "HEAD", cwd=Path(review["worktree"])).split()
    assert files == ["README.md", "a.py", "staged", "untracked"]
    assert review["changes"]["files"] == 0
    assert (snapshot(worktree), sandbox.git("status", "--porcelain", cwd=worktree)) == before


@pytest.mark.long
def test_the_command_that_the_reviewer_is_told_shows_the_changes(sandbox: Sandbox, serve: Serve) -> None:
    base = sandbox.git("rev-parse", "main")[:12]
    serve({REVIEWER: [[bash(f"git diff {base} HEAD --name-only")], "no findings"], "*": worker_script()})
    begin(sandbox)
    said = sandbox.chatml("review", "t", "--wait")
    assert (said.out, said.err) == ("", "t-review reviews t\nno findings\n")
    (seen,) = [event["output"] for event in sandbox.events("t-review") if event["type"] == "tool_result"]
    assert seen.split() == ["a.py", "staged", "untracked"]


@pytest.mark.long
def test_findings_as_json(sandbox: Sandbox, serve: Serve) -> None:
    serve({REVIEWER: [FOUND], "*": worker_script()})
    begin(sandbox)
    said = sandbox.chatml("review", "t", "--json")
    assert said.err == ""
    assert said.json == [
        {"severity": "high", "file": "a.py", "line": 1, "text": "it says nothing; say more"},
        {"severity": "low", "file": "docs/b c.md", "line": 12, "text": "a word is missing"},
    ]


@pytest.mark.long
def test_the_same_changes_are_reviewed_once(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({REVIEWER: [FOUND], "*": worker_script(more=[[writing_here("more")], "Done."])})
    worktree = begin(sandbox)
    assert sandbox.chatml("review", "t", "-q").out == "t-review\n"
    sandbox.chatml("wait", "t-review")
    asked = len(api.requests)
    assert sandbox.chatml("review", "t").out == "t-review has reviewed t\n"
    assert sandbox.chatml("review", cwd=worktree).out == "t-review has reviewed t\n"
    assert sandbox.chatml("review", "t", "--json").json == sandbox.chatml("review", "t", "--json").json
    assert len(api.requests) == asked
    assert sandbox.chatml("review", "t", "-q", "--model", "claude-haiku-5-5").out == "t-review-2\n"
    (worktree / "staged").write_text("other\n")
    assert sandbox.chatml("review", "t", "-q").out == "t-review-3\n"
    assert sandbox.chatml("review", "t", "--wait", "-q").out == FOUND + "\n"


@pytest.mark.long
def test_a_review_that_failed_is_done_again(sandbox: Sandbox, serve: Serve) -> None:
    serve({REVIEWER: [{"fail": 400, "message": "no"}], "*": worker_script()})
    begin(sandbox)
    failed = sandbox.chatml("review", "t", "--json", code=1)
    assert failed.out == ""
    assert "error: t-review failed: " in failed.err
    assert sandbox.chatml("review", "t", "-q").out == "t-review-2\n"
    sandbox.chatml("wait", "t-review-2", code=1)


@pytest.mark.long
def test_findings_are_sent_to_the_agent(sandbox: Sandbox, serve: Serve) -> None:
    serve({REVIEWER: [FOUND], "*": worker_script(**{"has reviewed your changes": ["Mended."]})})
    begin(sandbox)
    sandbox.chatml("review", "t", "--wait")
    said = sandbox.chatml("review", "t", "--send")
    assert (said.out, said.err) == (FOUND + "\n", "sent 2 findings to t\n")
    sandbox.chatml("wait", "t")
    assert sandbox.session("t")["result"] == "Mended."
    told = [event["text"] for event in sandbox.events("t") if event["type"] == "message"][-1]
    assert FOUND in told


@pytest.mark.long
def test_without_findings_nothing_is_sent(sandbox: Sandbox, serve: Serve) -> None:
    serve({REVIEWER: ["There are no findings."], "*": worker_script()})
    begin(sandbox)
    assert sandbox.chatml("review", "t", "--send", "-q").out == ""
    assert sandbox.chatml("review", "t", "--json").json == []
    assert len([event for event in sandbox.events("t") if event["type"] == "message"]) == 1


@pytest.mark.long
def test_an_answer_in_another_form_is_not_taken_for_none(sandbox: Sandbox, serve: Serve) -> None:
    serve({REVIEWER: ["It is all wrong."], "*": worker_script()})
    begin(sandbox)
    said = sandbox.chatml("review", "t", "--json")
    assert said.json == []
    assert said.err == "warning: no finding in the form that was asked for; read the answer: chatml logs t-review\n"


def test_a_running_session_is_reviewed_as_it_is(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({REVIEWER: [FOUND], "*": [[writing_here("a.py")], [{"hold": "on"}, "Done."]]})
    sandbox.chatml("new", "do it", "-q", "--name", "t")
    wait_until(lambda: bool(api.holding), "the agent to have written")
    assert sandbox.chatml("review", "t", "--wait", "-q").out == FOUND + "\n"
    assert sandbox.session("t")["status"] == "running"
    api.release("on")
    sandbox.chatml("wait", "t")


@pytest.mark.long
def test_a_review_is_removed_without_a_word(sandbox: Sandbox, serve: Serve) -> None:
    """It holds nothing but a copy, also once the session that it reviewed is gone; and so it keeps nothing safe."""
    serve({REVIEWER: [FOUND], "*": worker_script()})
    worktree = begin(sandbox)
    sandbox.chatml("review", "t", "--wait")
    (worktree / "a.py").write_text("later\n")
    sandbox.chatml("review", "t", "--wait")
    assert sandbox.chatml("rm", "t-review").code == 0
    assert sandbox.git("branch", "--list", "chatml/t-review") == ""
    sandbox.git("checkout", "-q", "--", ".", cwd=worktree)
    sandbox.git("clean", "-fdq", cwd=worktree)
    sandbox.git("rm", "-q", "--cached", "staged", cwd=worktree)
    (worktree / "staged").unlink()
    refused = sandbox.chatml("rm", "t", code=1).err
    assert "not safe to remove: 1 commit on chatml/t that is nowhere else" in refused
    assert sandbox.chatml("rm", "t", "--force").err == "removed t; branch chatml/t deleted\n"
    assert sandbox.chatml("rm", "t-review-2").code == 0
    sandbox.chatml("restore", "t")
    assert (worktree / "a.py").exists()


def test_nothing_to_review(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": ["Done."]})
    begin(sandbox)
    assert sandbox.chatml("review", "t", code=1).err.startswith("error: 't' has no changes to review\nhint: ")
    assert "did you mean 't'" in sandbox.chatml("review", "tt", code=1).err
    sandbox.chatml("review", "t", "--json", "-q", code=2)
    assert sandbox.chatml("ls", "-q").out == "t\n"


@pytest.mark.long
def test_what_the_branch_holds_is_reviewed_where_the_worktree_is_gone(sandbox: Sandbox, serve: Serve) -> None:
    serve({REVIEWER: [FOUND], "*": worker_script()})
    worktree = begin(sandbox)
    sandbox.git("worktree", "remove", "--force", str(worktree))
    assert sandbox.chatml("review", "t", "--wait", "-q").out == FOUND + "\n"
    review = Path(sandbox.session("t-review")["worktree"])
    assert sandbox.git("ls-tree", "--name-only", "HEAD", cwd=review).split() == ["README.md", "a.py"]


def test_the_changes_of_a_program_are_reviewed_by_claude(sandbox: Sandbox, serve: Serve) -> None:
    serve({REVIEWER: [FOUND]})
    configure(sandbox, "agent: fake\nagents: {fake: {command: [touch, a.py, '{prompt}']}}\n")
    begin(sandbox)
    assert sandbox.chatml("review", "t", "--wait", "-q").out == FOUND + "\n"
    assert sandbox.session("t-review")["agent"] == "claude"


@pytest.mark.long
def test_a_long_name_leaves_room(sandbox: Sandbox, serve: Serve) -> None:
    serve({REVIEWER: [FOUND], "*": worker_script()})
    name = "a" * 40
    sandbox.chatml("new", "do it", "-q", "--name", name, "--wait")
    assert sandbox.chatml("review", name, "-q").out == "a" * 33 + "-review\n"
    sandbox.chatml("wait", "a" * 33 + "-review")


@pytest.mark.parametrize(
    "line",
    [
        "high src/a.py:3 text: with a colon",
        "- **HIGH** `src/a.py:3` text: with a colon",
        "1. [high] src/a.py:3: text: with a colon",
        "  High: src/a.py:3-7 text: with a colon",
    ],
)
def test_findings_are_understood_in_usual_dress(line: str) -> None:
    assert findings(f"I found:\n\n{line}\n\nThat is all.") == [Finding("high", "src/a.py", 3, "text: with a colon")]
