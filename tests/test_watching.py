"""`pr --watch`: a session's worker looks after its pull request, the real gh against a scripted GitHub."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatml.state.store import Store
from tests.github import GitHub
from tests.support import TIMEOUT, Sandbox, marked_processes, needs, wait_until
from tests.test_pulls import AGENT, PASSED, fails, github, job, opened, thread

__all__ = ["github"]

pytestmark = needs("gh")


@pytest.fixture(autouse=True)
def _ended(sandbox: Sandbox, github: GitHub) -> Iterator[None]:
    yield
    assert github.address, "the server outlives those who ask it"
    sandbox.chatml("stop", "--all", "-q", code=None)


def doing(sandbox: Sandbox, name: str, *parts: str) -> str:
    """What `ls` says that it waits for, once that has all of these parts."""
    found: dict[str, Any] = {}

    def there() -> bool:
        found.update(sandbox.written(name))
        return found["status"] == "running" and all(part in (found["activity"] or "") for part in parts)

    wait_until(there, f"it to be at {parts}", lambda: (found["status"], found["activity"], found["error"]))
    assert sandbox.session(name)["activity"] == found["activity"]
    text: str = found["activity"]
    return text


def told(sandbox: Sandbox, name: str) -> list[str]:
    """What the agent was told about its pull request."""
    return [event["text"] for event in sandbox.events(name, "message") if "pull request #" in event["text"]]


def worker(sandbox: Sandbox, name: str) -> int:
    pid: int = sandbox.written(name)["pid"]
    return pid


@pytest.mark.long
def test_until_it_is_green_and_approved(sandbox: Sandbox, github: GitHub) -> None:
    """What fails is mended and pushed, comments are answered, and each is told once."""
    opened(sandbox, "one")
    pull = github.pulls[0]
    pull.checks, github.logs[11] = [job(11, "test")], "1 failed"
    done = sandbox.chatml("pr", "one", "--watch")
    assert done.err == "looks after it; 'chatml ls' shows what it waits for\n"
    assert sandbox.chatml("pr", "one", "--watch").err.startswith("already looks after it")
    first = github.tip("octo/app", "chatml/one")
    wait_until(lambda: github.tip("octo/app", "chatml/one") != first, "what the agent has committed to be pushed")
    assert len(told(sandbox, "one")) == 1
    assert "> 1 failed" in told(sandbox, "one")[0]
    with github.guard:
        pull.checks, pull.threads = [{**PASSED, "status": "IN_PROGRESS", "conclusion": ""}], [thread("Why?")]
    wait_until(lambda: len(told(sandbox, "one")) == 2, "the comment to be told")
    doing(sandbox, "one", "waits for an answer to what it did about #1: 1 unresolved comment")
    with github.guard:
        pull.threads = []
    doing(sandbox, "one", "waits for the checks of #1")
    with github.guard:
        pull.checks = [PASSED]
    assert doing(sandbox, "one", "review") == "waits for a review of #1"
    with github.guard:
        pull.review = "APPROVED"
    end = sandbox.until("one", "done")
    assert (end["error"], end["activity"], len(told(sandbox, "one"))) == (None, None, 2)
    assert end["pr"]["review"] == "approved"
    assert pull.state == "OPEN", "merged is what a person merges"
    assert "no longer watched: #1 is green and approved" in sandbox.chatml("logs", "one").out


def holding(sandbox: Sandbox) -> Path:
    """A session whose agent goes on only once this file is gone."""
    settings = sandbox.home / ".config" / "chatml" / "config.yaml"
    resume = "resume: [sh, -c, '"
    settings.write_text(AGENT.replace(resume, f"{resume}while [ -e ../held ]; do sleep 0.05; done; "))
    opened(sandbox, "one")
    held = sandbox.repo.with_name("app.chatml") / "held"
    held.touch()
    return held


@pytest.mark.long
@pytest.mark.parametrize("state", ["MERGED", "CLOSED"])
def test_until_it_is_merged_or_closed(sandbox: Sandbox, github: GitHub, state: str) -> None:
    opened(sandbox, "one")
    sandbox.chatml("pr", "one", "--watch", "-q")
    doing(sandbox, "one", "waits for a review")
    with github.guard:
        github.pulls[0].state = state
        github.pulls[0].commit = github.tip("octo/app", "chatml/one")
    assert sandbox.until("one", "done")["pr"]["state"] == state.lower()
    assert len(github.pulls) == 1
    assert told(sandbox, "one") == []


def test_stop_ends_it_and_breaks_nothing_off(sandbox: Sandbox, github: GitHub) -> None:
    opened(sandbox, "one")
    sandbox.chatml("pr", "one", "--watch", "-q")
    doing(sandbox, "one", "waits for a review")
    assert "stopped" in sandbox.chatml("stop", "one").err
    found = sandbox.session("one")
    assert (found["status"], found["pid"], found["activity"]) == ("done", None, None)
    asked = len(github.asked)
    assert "nothing to go on with" in sandbox.chatml("resume", "one").err
    assert len(github.asked) == asked
    sandbox.chatml("pr", "one", "--watch", "-q")
    doing(sandbox, "one", "waits for a review")


@pytest.mark.long
def test_closing_the_terminal_stops_nothing(sandbox: Sandbox, github: GitHub) -> None:
    opened(sandbox, "one")
    shell = subprocess.Popen(
        ["sh", "-c", f"{sys.executable} -m chatml pr one --watch -q; read line"],
        cwd=sandbox.repo, env=sandbox.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    doing(sandbox, "one", "waits for a review")
    os.killpg(shell.pid, signal.SIGHUP)
    shell.wait(TIMEOUT)
    assert shell.stdin is not None
    shell.stdin.close()
    with github.guard:
        github.pulls[0].review = "APPROVED"
    sandbox.until("one", "done")


@pytest.mark.long
def test_a_killed_worker_goes_on_watching_and_says_nothing_twice(sandbox: Sandbox, github: GitHub) -> None:
    opened(sandbox, "one")
    github.pulls[0].threads = [thread("Why?")]
    sandbox.chatml("pr", "one", "--watch", "-q")
    doing(sandbox, "one", "waits for an answer")
    os.kill(worker(sandbox, "one"), signal.SIGKILL)
    wait_until(lambda: sandbox.session("one")["status"] == "crashed", "the crash to be seen")
    before = len(sandbox.events("one", "message"))
    sandbox.chatml("resume", "one")
    doing(sandbox, "one", "waits for an answer")
    assert len(sandbox.events("one", "message")) == before
    with github.guard:
        github.pulls[0].threads, github.pulls[0].review = [], "APPROVED"
    sandbox.until("one", "done")
    assert len(told(sandbox, "one")) == 1


@pytest.mark.long
def test_killed_amid_the_agents_turn_the_turn_goes_on_and_then_the_watch(sandbox: Sandbox, github: GitHub) -> None:
    held = holding(sandbox)
    github.pulls[0].threads = [thread("Why?")]
    sandbox.chatml("pr", "one", "--watch", "-q")
    wait_until(lambda: len(told(sandbox, "one")) == 1, "the comment to be told")
    os.kill(worker(sandbox, "one"), signal.SIGKILL)
    held.unlink()
    wait_until(lambda: sandbox.session("one")["status"] == "crashed", "the crash to be seen")
    sandbox.chatml("resume", "one")
    doing(sandbox, "one", "waits for an answer")
    assert len(told(sandbox, "one")) == 1
    assert "You were interrupted" in (Path(sandbox.session("one")["worktree"]) / "said").read_text()


@pytest.mark.long
def test_a_message_reaches_the_agent_meanwhile(sandbox: Sandbox, github: GitHub) -> None:
    opened(sandbox, "one")
    sandbox.chatml("pr", "one", "--watch", "-q")
    doing(sandbox, "one", "waits for a review")
    tip = github.tip("octo/app", "chatml/one")
    sandbox.chatml("send", "one", "Rename it", "-q")
    wait_until(lambda: "Rename it" in (Path(sandbox.session("one")["worktree"]) / "said").read_text(), "the message")
    wait_until(lambda: github.tip("octo/app", "chatml/one") != tip, "its commit to be pushed")
    doing(sandbox, "one", "waits for a review")


@pytest.mark.long
def test_while_the_agent_is_at_work_it_begins_once_that_rests(sandbox: Sandbox, github: GitHub) -> None:
    held = holding(sandbox)
    sandbox.chatml("send", "one", "more", "-q")
    sandbox.until("one", "running")
    sandbox.chatml("pr", "one", "--watch", "-q")
    held.unlink()
    doing(sandbox, "one", "waits for a review")
    assert github.tip("octo/app", "chatml/one") == sandbox.git("rev-parse", "chatml/one")


@pytest.mark.usefixtures("github")
def test_offline_it_waits(sandbox: Sandbox) -> None:
    opened(sandbox, "one")
    proxy = sandbox.env["http_proxy"]
    sandbox.env["http_proxy"] = "http://127.0.0.1:9"
    sandbox.chatml("pr", "one", "--watch", "-q")
    doing(sandbox, "one", "could not ask about #1: GitHub could not be reached")
    sandbox.env["http_proxy"] = proxy


def test_a_push_that_is_refused_is_a_persons_to_see(sandbox: Sandbox, github: GitHub) -> None:
    opened(sandbox, "one")
    sandbox.git("push", "-q", str(github.repositories["octo/app"]), "+main:chatml/one")
    place = Path(sandbox.session("one")["worktree"])
    sandbox.git("commit", "-q", "--amend", "-m", "Rewritten", cwd=place)
    other = sandbox.commit("Somebody else's", other="x")
    sandbox.git("push", "-q", str(github.repositories["octo/app"]), f"+{other}:chatml/one")
    sandbox.chatml("pr", "one", "--watch", "-q")
    end = sandbox.until("one", "failed")
    assert end["error"]["kind"] == "worktree"
    assert "has commits that are not in the session's branch" in end["error"]["message"]
    assert github.tip("octo/app", "chatml/one") == other


@pytest.mark.usefixtures("github")
def test_what_can_not_be_watched(sandbox: Sandbox) -> None:
    sandbox.chatml("new", "--name", "two", "-q", "--wait", "x")
    assert "'two' has no open pull request" in fails(sandbox, "pr", "two", "--watch")
    opened(sandbox, "one")
    assert "choose one of" in sandbox.chatml("pr", "one", "--watch", "--fix", code=2).err
    assert "--watch goes without" in sandbox.chatml("pr", "one", "--watch", "--draft", code=2).err
    assert sandbox.session("one")["status"] == "done"


@pytest.mark.long
def test_a_limit_holds(sandbox: Sandbox, github: GitHub) -> None:
    """A session whose limit is used up is told nothing more, and says why."""
    opened(sandbox, "one")
    store = Store(sandbox.repo / ".git").session("one")
    store.update(lambda one: replace(one.with_terms(max_budget_usd=1.0), cost_usd=1.0))
    sandbox.chatml("pr", "one", "--watch", "-q")
    doing(sandbox, "one", "waits for a review")
    with github.guard:
        github.pulls[0].threads = [thread("Why?")]
    end = sandbox.until("one", "failed")
    assert end["error"]["kind"] == "budget"
    assert sandbox.written("one")["watching"] is None


@pytest.mark.long
def test_it_takes_up_no_place(sandbox: Sandbox, github: GitHub) -> None:
    settings = sandbox.home / ".config" / "chatml" / "config.yaml"
    settings.write_text(f"max_parallel: 1\n{AGENT}")
    opened(sandbox, "one")
    sandbox.chatml("pr", "one", "--watch", "-q")
    doing(sandbox, "one", "waits for a review")
    sandbox.chatml("new", "--name", "two", "-q", "--wait", "something else")
    doing(sandbox, "one", "waits for a review")
    held = sandbox.repo.with_name("app.chatml") / "held"
    held.touch()
    settings.write_text(
        settings.read_text().replace("[sh, -c, '", "[sh, -c, 'while [ -e ../held ]; do sleep 0.05; done; ")
    )
    sandbox.chatml("new", "--name", "three", "-q", "wait")
    sandbox.until("three", "running")
    with github.guard:
        github.pulls[0].threads = [thread("Why?")]
    wait_until(lambda: len(told(sandbox, "one")) == 1, "the comment to be told")
    sandbox.chatml("new", "--name", "four", "-q", "wait")
    assert sandbox.session("four")["status"] == "queued"
    held.unlink()
    for name in ("three", "four"):
        sandbox.until(name, "done")
    doing(sandbox, "one", "waits for an answer")


def test_what_can_not_come_along_is_not_pushed(sandbox: Sandbox, github: GitHub) -> None:
    opened(sandbox, "one")
    place = Path(sandbox.session("one")["worktree"])
    sandbox.git("init", "-q", str(place / "lib"))
    sandbox.git("commit", "-q", "--allow-empty", "-m", "inner", cwd=place / "lib")
    sandbox.git("add", "-A", cwd=place)
    sandbox.git("commit", "-qm", "Add lib", cwd=place)
    tip = github.tip("octo/app", "chatml/one")
    sandbox.chatml("pr", "one", "--watch", "-q")
    assert "not all of 'one' can be published" in sandbox.until("one", "failed")["error"]["message"]
    assert github.tip("octo/app", "chatml/one") == tip


@pytest.mark.long
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_ended_while_github_is_asked(sandbox: Sandbox, github: GitHub, how: str) -> None:
    opened(sandbox, "one")
    if how == "stop":
        github.pulls[0].threads = [thread("Why?")]
    with github.guard:  # whoever asks, waits
        sandbox.chatml("pr", "one", "--watch", "-q")
        wait_until(lambda: any("api graphql" in line for line in marked_processes(sandbox.home).values()), "a question")
        if how == "stop":
            sandbox.chatml("stop", "one")
            assert sandbox.session("one")["status"] == "done"
            assert "nothing to go on with" in sandbox.chatml("resume", "one").err
        else:
            os.kill(worker(sandbox, "one"), signal.SIGKILL)
            wait_until(lambda: sandbox.session("one")["status"] == "crashed", "the crash to be seen")
    if how == "kill":
        sandbox.chatml("resume", "one")
        doing(sandbox, "one", "waits for a review")


@pytest.mark.long
def test_killed_before_it_was_pushed(sandbox: Sandbox, github: GitHub) -> None:
    opened(sandbox, "one")
    place = Path(sandbox.session("one")["worktree"])
    sandbox.git("commit", "-q", "--allow-empty", "-m", "More", cwd=place)
    hook = sandbox.repo / ".git" / "hooks" / "pre-push"
    hook.write_text("#!/bin/sh\ntouch ../pushing; while [ -e ../held ]; do sleep 0.05; done\n")
    hook.chmod(0o755)
    held = place.with_name("held")
    held.touch()
    sandbox.chatml("pr", "one", "--watch", "-q")
    wait_until(place.with_name("pushing").exists, "the push to begin")
    os.kill(worker(sandbox, "one"), signal.SIGKILL)
    held.unlink()
    wait_until(lambda: sandbox.session("one")["status"] == "crashed", "the crash to be seen")
    sandbox.chatml("resume", "one")
    doing(sandbox, "one", "waits for a review")
    assert github.tip("octo/app", "chatml/one") == sandbox.git("rev-parse", "chatml/one")
    assert len(sandbox.events("one", "message")) == 1
