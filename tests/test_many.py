"""The scale that the tool is for: fifty agents from one list, five at a time, whatever is killed meanwhile."""

from __future__ import annotations

import pytest

from tests.calls import bash
from tests.faults import Serve, all_gone, kill
from tests.support import Sandbox, marked_processes, wait_until

TASKS, AT_ONCE = 50, 5

WORK = [
    bash("echo done >work.txt && git add work.txt && git diff --cached --quiet || git commit -qm 'Do the work'"),
    bash("python3 -m unittest -q 2>/dev/null; true"),
    "The work is done.",
]


def _workers(sandbox: Sandbox) -> list[int]:
    return [pid for pid, words in marked_processes(sandbox.home).items() if "chatml.worker" in words]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_fifty_agents_are_made_once_and_done_whatever_is_killed(sandbox: Sandbox, serve: Serve) -> None:
    """The making process is killed twice, and four workers in the midst of their work; the same command goes on."""
    # A worker may be killed with the call of a tool: whoever is told to go on looks what is there, and does the rest.
    api = serve({"*": {"turns": [WORK, WORK, WORK]}})
    sandbox.env.update(CHATML_MAX_PARALLEL=str(AT_ONCE), CHATML_PERMISSION_MODE="bypassPermissions")
    (sandbox.repo / "tasks.md").write_text("".join(f"- number {n} of fifty\n" for n in range(TASKS)))
    names = [f"number-{n}-of-fifty" for n in range(TASKS)]
    for made in (9, 29):
        maker = sandbox.start("new", "-f", "tasks.md", "-q")
        wait_until(sandbox.state(names[made]).exists, f"{names[made]} to be made")
        kill(maker.pid)
        maker.communicate(timeout=60)
        for pid in _workers(sandbox)[:2]:
            kill(pid)
    sandbox.chatml("new", "-f", "tasks.md", "-q", timeout=120)
    sandbox.chatml("wait", *names, "-q", code=None, timeout=400)  # those whose worker was killed have crashed
    again = sandbox.chatml("new", "-f", "tasks.md", "--retry", "--wait", "--json", timeout=120).json
    all_gone(sandbox)

    assert [one["name"] for one in again] == names
    assert {one["status"] for one in again} == {"done"}
    assert len({one["session_id"] for one in again}) == TASKS
    assert len(sandbox.git("worktree", "list").splitlines()) == TASKS + 1
    for session in {request.session for request in api.requests}:
        assert session in {one["session_id"] for one in again}, "no agent but these has asked the model"
    resumed = {one["name"] for one in again if one["outcome"] == "resumed"}
    assert len(resumed) <= 4, "whose workers were killed"
    _summed_up(sandbox, names, resumed)


def _summed_up(sandbox: Sandbox, names: list[str], killed: set[str]) -> None:
    """All of them, and of each what it did; where one was killed, half a commit may have been in its way."""
    summary = sandbox.chatml("summary", "--json", timeout=60).json
    assert sorted(one["name"] for one in summary) == sorted(names)
    for one in summary:
        assert one["status"] == "done"
        assert one["result"] == "The work is done."
        if one["name"] in killed:
            continue
        assert [commit["subject"] for commit in one["commits"]] == ["Do the work"]
        assert one["changes"]["files"] == 1
        assert one["tests"][0]["command"].startswith("python3 -m unittest")
        assert set(names) - killed <= set(one["shared_files"]["work.txt"])
        assert one["next"] == f"chatml merge {one['name']}", "there is no remote"
