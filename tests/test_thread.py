"""The main thread through the whole thing: new, worker, real agent, ls, logs, send."""

from __future__ import annotations

from tests.faults import Serve
from tests.support import Sandbox


def test_a_task_from_start_to_answer(sandbox: Sandbox, serve: Serve) -> None:
    serve(
        {
            "rate": {
                "turns": [
                    [
                        ["I look first. ", {"Bash": {"command": "ls"}}],
                        {"Write": {"file_path": "{cwd}/limit.py", "content": "LIMIT = 10\n"}},
                        {"Bash": {"command": "git add -A && git commit -qm 'Add the limit'"}},
                        "Done: ten requests a second.",
                    ],
                    ["You said: {prompt}"],
                ]
            }
        }
    )
    made = sandbox.chatml("new", "Add rate limiting!", "--json").json
    assert made["name"] == "add-rate-limiting"
    assert made["status"] == "preparing"
    assert sandbox.chatml("wait", "add-rate-limiting").out == "add-rate-limiting: done\n"

    session = sandbox.session("add-rate-limiting")
    assert session["result"] == "Done: ten requests a second."
    changes = {"files": 1, "insertions": 1, "deletions": 0, "commits": 1, "uncommitted": False, "left_out": 0}
    assert session["changes"] == changes
    assert session["turns"] == 1
    assert session["cost_usd"] > 0
    assert session["pid"] is None
    assert sandbox.git("status", "--porcelain") == ""
    assert sandbox.git("log", "--format=%s", "-1", "chatml/add-rate-limiting") == "Add the limit"

    told = sandbox.chatml("send", "add-rate-limiting", "thanks a lot", "--wait")
    assert told.out == "You said: thanks a lot\n"
    again = sandbox.session("add-rate-limiting")
    assert again["turns"] == 2
    assert again["session_id"] == session["session_id"]
    assert again["cost_usd"] > session["cost_usd"]
    texts = [event["text"] for event in sandbox.events("add-rate-limiting") if event["type"] == "message"]
    assert texts == ["Add rate limiting!", "thanks a lot"]
