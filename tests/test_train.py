"""`merge --check`: only what passes lands, exactly as it was tried; who makes it fail is left out, and told why."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.made import commit, make_session, write
from tests.support import TIMEOUT, Sandbox, marked_processes, needs, wait_until
from tests.terminal import terminal
from tests.test_merge import clean, hook, tip

RUNS = 'echo run >> "$HOME/runs"; git rev-parse "HEAD^{tree}" >> "$HOME/trees"; '
"""Counts the runs of a check and notes what they were run on, outside of where it runs."""


def sessions(sandbox: Sandbox, names: str) -> None:
    """A session for each letter, each with a file of that name; their agents are in no sandbox, nor are checks then."""
    for name in names:
        top = make_session(sandbox, name, agent="quick", command=("sh", "-c", "echo done"))
        commit(sandbox, top, f"Add {name}", **{name: f"{name}\n"})


def runs(sandbox: Sandbox) -> int:
    """How often the check has run; counted anew from here on."""
    place = sandbox.home / "runs"
    count = len(place.read_text().split()) if place.exists() else 0
    place.unlink(missing_ok=True)
    return count


def trees(sandbox: Sandbox) -> list[str]:
    return (sandbox.home / "trees").read_text().split()


def told(sandbox: Sandbox, check: str, *args: str, code: int = 0) -> Any:
    return sandbox.chatml("merge", "--all", "--check", check, "--json", *args, code=code, timeout=4 * TIMEOUT).json


def names(found: list[dict[str, Any]]) -> str:
    return "".join(one["name"] for one in found)


def cleared(sandbox: Sandbox) -> None:
    """As after any merge; and nothing is left of where a check has run."""
    clean(sandbox)
    assert scratches(sandbox) == []
    assert not (sandbox.repo / ".git" / "chatml" / "trials").exists()


def scratches(sandbox: Sandbox) -> list[Path]:
    return [*Path(f"{sandbox.repo}.chatml").glob("trial+*")]


def test_what_passes_lands_exactly_as_it_was_tried(sandbox: Sandbox) -> None:
    sessions(sandbox, "abc")
    done = told(sandbox, RUNS + "test -e a && test -e b && test -e c")
    assert names(done["landed"]) == "abc"
    assert (done["left"], done["flaky"]) == ([], [])
    assert trees(sandbox) == [tip(sandbox, "main^{tree}")]
    cleared(sandbox)


@pytest.mark.long
def test_a_train_of_ten_with_two_culprits_one_of_which_fails_only_together_with_a_third(sandbox: Sandbox) -> None:
    sessions(sandbox, "abcdefghij")
    check = RUNS + "echo looking; test -e d && echo d is bad && exit 3; if test -e b && test -e g; then exit 4; fi"
    done = told(sandbox, check, code=1)
    assert names(done["landed"]) == "abcefhij"
    left = {one["name"]: one for one in done["left"]}
    assert left == {
        "d": {"name": "d", "reason": "check", "files": [], "output": "looking\nd is bad"},
        "g": {
            "name": "g",
            "reason": "check",
            "files": [],
            "output": "it fails the check together with b, not alone (the command exited with code 4)\nlooking",
        },
    }
    assert tip(sandbox, "main^{tree}") in trees(sandbox)
    assert tip(sandbox) == done["landed"][-1]["commit"]
    assert runs(sandbox) == 25
    cleared(sandbox)


@pytest.mark.long
def test_what_conflicts_with_a_culprit_alone_lands_after_all(sandbox: Sandbox) -> None:
    commit(sandbox, make_session(sandbox, "bad", agent="quick", command=("true",)), "Bad", same="bad\n", bad="\n")
    commit(
        sandbox, make_session(sandbox, "good", agent="quick", command=("true",)), "Good", same="good\n", good="1\n2\n"
    )
    done = told(sandbox, RUNS + "test ! -e bad", code=1)
    assert [one["name"] for one in done["landed"]] == ["good"]
    assert [(one["name"], one["reason"]) for one in done["left"]] == [("bad", "check")]
    assert trees(sandbox)[-1] == tip(sandbox, "main^{tree}")


def test_a_failure_that_passes_the_second_time_keeps_nobody_from_landing(sandbox: Sandbox) -> None:
    sessions(sandbox, "ab")
    flaky = RUNS + 'test -e "$HOME/seen" || { touch "$HOME/seen"; exit 1; }'
    done = sandbox.chatml("merge", "--all", "--check", flaky, "--json")
    assert names(done.json["landed"]) == "ab"
    assert (done.json["left"], done.json["flaky"]) == ([], ["a", "b"])
    assert done.err.startswith("flaky: '")
    assert done.err.endswith("failed once with a and b, and passed when it was tried once more\n")
    assert runs(sandbox) == 2


def test_a_base_that_moves_meanwhile_is_checked_anew(sandbox: Sandbox) -> None:
    """The new base brings what one of them does not go with."""
    sessions(sandbox, "ab")
    moves = (
        f'test -e "$HOME/moved" || {{ touch "$HOME/moved"; cd {sandbox.repo} && echo n > news && git add news && '
        "git commit -qm news; exit; }; "
    )
    done = told(sandbox, RUNS + moves + "test ! -e b || test ! -e news", code=1)
    assert names(done["landed"]) == "a"
    assert names(done["left"]) == "b"
    assert sandbox.git("log", "--format=%s", "-2", "main").split("\n") == ["Add a", "news"]
    assert tip(sandbox, "main^{tree}") in trees(sandbox)
    cleared(sandbox)


@pytest.mark.long
def test_nobody_is_at_fault_where_the_base_fails(sandbox: Sandbox) -> None:
    sessions(sandbox, "ab")
    before = tip(sandbox)
    check = RUNS + 'test -e "$HOME/database"'
    refused = sandbox.chatml("merge", "--all", "--check", check, code=1)
    assert refused.out == ""
    assert refused.err == (
        "error: main itself fails the check, which exited with code 1; nothing was landed\n"
        "hint: mend that first; what it printed: chatml logs --check\n"
    )
    assert tip(sandbox) == before
    assert runs(sandbox) == 4
    (sandbox.home / "database").touch()
    assert names(told(sandbox, check)["landed"]) == "ab", "tried anew: it may have been the machine's doing"
    cleared(sandbox)


@pytest.mark.long
def test_a_command_that_can_not_be_run_lands_nothing_unless_a_session_is_at_fault(sandbox: Sandbox) -> None:
    sandbox.commit("check", check="exit 0\n")
    (sandbox.repo / "check").chmod(0o755)
    sandbox.commit("executable")
    sessions(sandbox, "ab")
    before = tip(sandbox)
    refused = sandbox.chatml("merge", "--all", "--check", "no-such-check", code=1)
    assert "error: the check can't be run, so nothing was landed: " in refused.err
    assert "no-such-check" in refused.err
    assert "hint: it runs in a clean checkout" in refused.err
    assert tip(sandbox) == before
    (Path(f"{sandbox.repo}.chatml") / "a" / "check").unlink()
    commit(sandbox, Path(f"{sandbox.repo}.chatml") / "a", "Remove it")
    done = told(sandbox, "./check", code=1)
    assert (names(done["landed"]), names(done["left"])) == ("b", "a")
    for empty in ("", "  "):
        assert "--check is empty" in sandbox.chatml("merge", "b", "--check", empty, code=2).err


def test_what_a_dirty_checkout_keeps_out_is_not_checked_and_the_rest_is(sandbox: Sandbox) -> None:
    sessions(sandbox, "abc")
    write(sandbox.repo, a="mine\n")
    edits = f'test -e "$HOME/edited" || {{ touch "$HOME/edited"; echo mine > {sandbox.repo}/b; }}; '
    done = told(sandbox, RUNS + edits + "test ! -e a && test -e c", code=1)
    assert names(done["landed"]) == "c"
    assert [(one["name"], one["reason"], one["files"]) for one in done["left"]] == [
        ("a", "dirty", ["a"]), ("b", "dirty", ["b"])
    ]  # fmt: skip
    assert runs(sandbox) == 2
    assert trees(sandbox)[-1] == tip(sandbox, "main^{tree}")
    assert [(sandbox.repo / name).read_text() for name in "abc"] == ["mine\n", "mine\n", "c\n"]


@pytest.mark.long
def test_a_dry_run_checks_too_and_what_passed_needs_no_second_run(sandbox: Sandbox) -> None:
    sessions(sandbox, "ab")
    before = tip(sandbox)
    dry = sandbox.chatml("merge", "--all", "-n", "--check", RUNS + "test ! -e a", code=1)
    assert dry.out == "would land b in main\n"
    assert "left a: it fails the check (the command exited with code 1)\n" in dry.err
    assert tip(sandbox) == before
    runs(sandbox)
    assert sandbox.chatml("merge", "b", "--check", RUNS + "test ! -e a").out.startswith("landed b in main as ")
    assert runs(sandbox) == 0


@pytest.mark.long
def test_a_hook_is_asked_once_for_each_commit_that_might_land(sandbox: Sandbox) -> None:
    sessions(sandbox, "abcd")
    hook(sandbox, "commit-msg", 'sed -n "s/Chatml-Session: //p" "$1" >> .git/asked')
    told(sandbox, "test ! -e c", code=1)
    assert (sandbox.repo / ".git" / "asked").read_text().split() == ["a", "b", "c", "d", "d"]


def test_who_is_left_out_is_told_what_the_check_said_and_with_whom_it_fails(sandbox: Sandbox) -> None:
    sessions(sandbox, "abc")
    check = "echo looking; test ! -e a || { echo bad a; exit 1; }; test ! -e b || test ! -e c || { echo both; exit 2; }"
    sandbox.chatml("merge", "--all", "--check", check, "--resolve", code=1)
    alone, both = ((sandbox.state(name) / "inbox.jsonl").read_text() for name in "ac")
    assert "this command fails on your work merged into it:" in alone
    assert "looking\\n    bad a\\n" in alone
    assert "this command fails on your work together with that of 'b', not with either alone:" in both
    assert "It exited with code 2." in both
    assert f"git merge {tip(sandbox)}" in both
    for name in "ac":
        sandbox.until(name, "done")


def test_all_that_checks_have_printed_can_be_read(sandbox: Sandbox) -> None:
    sessions(sandbox, "ab")
    assert sandbox.chatml("logs", "--check").err == "no check is kept; 'chatml merge --check CMD' runs one\n"
    sandbox.chatml("merge", "a", "--check", "printf '1\\r2\\033[31m\\n'; echo last >&2")
    sandbox.chatml("merge", "b", "--check", "echo no b; test ! -e b", code=1)
    (first,) = (json.loads(line) for line in sandbox.chatml("logs", "a", "--check", "--json").out.splitlines())
    assert (first["names"], first["said"], first["ok"]) == (["a"], "passed", True)
    assert first["output"] == "1\r2\x1b[31m\nlast\n"
    lines = sandbox.chatml("logs", "a", "--check").out.splitlines()
    assert lines[0].startswith("── a · 20")
    assert lines[2:] == ["2", "last", "  └ passed"]
    last = sandbox.chatml("logs", "--check").out
    assert [line for line in last.splitlines() if not line.startswith("──")] == [
        *("$ echo no b; test ! -e b", "no b", "  └ exited with code 1") * 2,
        *("$ echo no b; test ! -e b", "no b", "  └ passed"),
    ]
    assert last.count("── b · ") == 2
    assert "── the base alone · " in last
    assert sandbox.chatml("logs", "b", "--check").out.count("no b\n") == 2
    assert "no session named 'x'" in sandbox.chatml("logs", "x", "--check", code=1).err
    assert "--follow goes without --check" in sandbox.chatml("logs", "--check", "-f", code=2).err


# --- others at work, and broken off -----------------------------------------------------------------------------

HANGS = (
    RUNS + '(setsid sleep 600 >/dev/null 2>&1 &); touch "$HOME/begun"; until test -e "$HOME/go"; do sleep 0.02; done'
)


@pytest.mark.long
def test_two_at_once(sandbox: Sandbox) -> None:
    sessions(sandbox, "ab")
    with sandbox.start("merge", "a", "--check", HANGS) as first:
        wait_until((sandbox.home / "begun").exists, "the first check")
        with sandbox.start("merge", "b", "--check", HANGS) as second:
            assert second.stderr is not None
            os.set_blocking(second.stderr.fileno(), False)
            heard = bytearray()

            def waits() -> bool:
                heard.extend((second.stderr and second.stderr.read()) or b"")
                return b"waiting for another chatml command" in heard

            wait_until(waits, "the second to say that it waits")
            assert runs(sandbox) == 1
            (sandbox.home / "go").touch()
            assert (first.wait(TIMEOUT), second.wait(TIMEOUT)) == (0, 0)
    assert runs(sandbox) == 1
    assert sandbox.git("log", "--format=%s", "-2", "main").split("\n") == ["Add b", "Add a"]
    assert trees(sandbox) == [tip(sandbox, "main~1^{tree}"), tip(sandbox, "main^{tree}")]
    cleared(sandbox)


@needs("setsid")
def test_killed_amid_a_check_nothing_has_landed_and_the_next_command_clears_up(sandbox: Sandbox) -> None:
    sessions(sandbox, "ab")
    before = tip(sandbox)
    merge = sandbox.start("merge", "--all", "--check", HANGS)
    wait_until((sandbox.home / "begun").exists, "the check")
    merge.send_signal(signal.SIGKILL)
    merge.communicate(TIMEOUT)
    assert len(scratches(sandbox)) == 1
    sandbox.chatml("rm", "nobody", code=1)
    wait_until(lambda: not marked_processes(sandbox.home), "all that the check has started to end")
    assert tip(sandbox) == before
    assert sandbox.written("a")["landed_as"] is None
    cleared(sandbox)
    (sandbox.home / "go").touch()
    assert names(told(sandbox, HANGS)["landed"]) == "ab"


@needs("setsid")
def test_a_terminal_shows_what_is_tested_and_ctrl_c_ends_it_all(sandbox: Sandbox) -> None:
    sessions(sandbox, "ab")
    before = tip(sandbox)
    with terminal(sandbox) as window:
        window.type(f"chatml merge --all --check 'test ! -e a || exit 1; {HANGS}'; echo ended $?")
        window.expect("check 3 of at most 8: main")
        wait_until((sandbox.home / "begun").exists, "the check")
        window.press("C-c")
        screen = window.expect("ended 130")
        assert "of at most" not in screen
    assert not [line for line in marked_processes(sandbox.home).values() if "sleep" in line]
    assert tip(sandbox) == before
    cleared(sandbox)
