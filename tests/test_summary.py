"""`chatml summary`: what sessions did and ran, what they share, what to do next; said to people, scripts and CI."""

from __future__ import annotations

import json
import re
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatml.model import Base, Changes, CheckResult, Failure, PullRequest, Request, Seen, Session, Status, Terms
from chatml.model.event import Event, StatusChanged, ToolCall, ToolResult, What
from chatml.render import summary as render
from chatml.sessions.summary import Summary, duration, first_paragraph, shared_paths
from chatml.sessions.testcalls import calls
from chatml.sessions.testcounts import printed
from chatml.sessions.tested import RanTests, runs_of
from chatml.text import display_width, plain
from tests.calls import bash, writing
from tests.faults import Serve
from tests.made import commit, make_session, write
from tests.support import Sandbox
from tests.test_roles import configure
from tests.worktree import pseudo_terminal

# --- which commands test ------------------------------------------------------------------------------------------

BOTH, ZERO, NONE = (True, True), (True, False), (False, False)

RUNNERS: list[tuple[str, list[tuple[str, tuple[bool, bool]]]]] = [
    *((command, [(command, BOTH)]) for command in (
        "pytest -q", "python -m pytest tests/ -x", "python3.11 -m unittest discover", "FOO=1 pytest",
        ".venv/bin/pytest",
        "python manage.py test", "python -W error -m pytest", "coverage run -m pytest", "uv run --with foo pytest -q",
        "poetry run pytest", "tox -e py312", "nox", "go test ./...", "go -C x test", "cargo test --all",
        "cargo +nightly nextest run", "npm test", "npm t", "npm --prefix web test", "npm run test:unit -- --ci",
        "yarn test", "yarn jest", "yarn workspace web test", "pnpm --filter x test", "bun test", "npx -y jest",
        "npx vitest run", "node --test", "deno test", "make check", "make -C dir -j4 test", "bundle exec rspec",
        "./gradlew :app:test", "mvn -q test", "./mvnw verify", "dotnet test", "swift test", "mix test", "ctest",
        "vendor/bin/phpunit", "php artisan test", "npx playwright test",
    )),
    ("cd /w/x && timeout 60 pytest -q 2>&1 | tail -5", [("pytest -q", NONE)]),
    ("cd web && npm test", [("cd web && npm test", BOTH)]),
    ("cd /elsewhere; npm test", [("cd /elsewhere && npm test", BOTH)]),
    ("(cd a && pytest)", [("cd a && pytest", BOTH)]),
    ("env -u X A=b pytest -k 'a b'", [("A=b pytest -k 'a b'", BOTH)]),
    ("nice -n 5 time pytest &> out.txt", [("pytest", BOTH)]),
    ("timeout -k 5 60s pytest -n 2 > out.txt", [("pytest -n 2", BOTH)]),
    ("source .venv/bin/activate && pytest", [("pytest", BOTH)]),
    ("set -o pipefail; pytest | tail -3", [("pytest", BOTH)]),
    ("set -e\npytest\ngit status", [("pytest", ZERO)]),
    ("pytest && git commit -m x", [("pytest", ZERO)]),
    ("npm install && npm test", [("npm test", ZERO)]),
    ("pytest a && pytest b", [("pytest a", ZERO), ("pytest b", ZERO)]),
    ("pytest; echo done", [("pytest", NONE)]),
    ("pytest\ngit status", [("pytest", NONE)]),
    ("pytest || true", [("pytest", NONE)]),
    ("ls || pytest", [("pytest", NONE)]),
    ("! pytest", [("pytest", NONE)]),
    ("pytest &", [("pytest", NONE)]),
    ("cd web && npm ci; cd .. && pytest", [("pytest", BOTH)]),
    ("git commit -qm \"$(cat <<'E'\nmake test\nE\n)\" && pytest", [("pytest", ZERO)]),
    ("(pytest)|tail", [("pytest", NONE)]),
    ("if pytest; then echo ok; fi", [("pytest", NONE)]),
    ("x=$(pytest 2>&1); echo $x", [("pytest", NONE)]),
    ("for i in 1 2; do pytest -q; done", [("pytest -q", NONE)]),
    ('bash -lc "pytest -q | tail"', [("pytest -q", NONE)]),
    ("cat > t.py <<'E' && pytest\nx = 1\nE", [("pytest", BOTH)]),
    ("# all\npytest  # of them", [("pytest", BOTH)]),
    *((command, []) for command in (
        "", "echo pytest", "pip install pytest", "grep -rn pytest .", "which pytest", "pytest --version", "npm ci",
        "make", "pytest --collect-only", "npm run build", "git commit -m 'make test pass'", "go vet ./...", "uv pip",
        "cat > t.py <<'E'\npytest\nE", "pytest 'unclosed", "python test.py", "yarn", "npx playwright install", "sh -c",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("command", "runners"), RUNNERS, ids=lambda value: value if isinstance(value, str) else "")
def test_the_runners_in_a_command_are_found(command: str, runners: list[tuple[str, tuple[bool, bool]]]) -> None:
    assert [(one.command, (one.if_zero, one.if_not)) for one in calls(command, "/w/x")] == runners


# --- what they print ----------------------------------------------------------------------------------------------

OUTPUTS = [
    ("..\n12 passed in 0.03s\n", True, 12),
    ("===== 1 failed, 12 passed, 2 skipped in 63.10s (0:01:03) =====", False, 12),
    ("=== 1 error in 0.1s ===", False, 0),
    ("=== 3 passed, 1 warning in 0.10s ===", True, 3),
    ("\x1b[32m== \x1b[1m3 passed\x1b[0m\x1b[32m in 0.10s ==\x1b[0m", True, 3),
    ("no tests ran in 0.00s", False, None),
    ("Ran 4 tests in 0.001s\n\nOK\n", True, 4),
    ("Ran 4 tests in 0.001s\n\nFAILED (failures=1, errors=2)\n", False, 1),
    ("Ran 4 tests in 0.001s\n\nOK (skipped=1)\n", True, 3),
    ("ok  \texample.com/a\t0.01s\nok  \texample.com/b\t(cached)\n", True, None),
    ("--- PASS: TestA (0.00s)\n--- PASS: TestB (0.00s)\nPASS\nok  \ta\t0.01s", True, 2),
    ("--- FAIL: TestA (0.00s)\nFAIL\nFAIL\ta\t0.01s\n", False, None),
    ("test result: ok. 5 passed; 0 failed; 0 ignored\n\ntest result: ok. 2 passed; 0 failed; 1 ignored\n", True, 7),
    ("test result: FAILED. 5 passed; 1 failed; 0 ignored", False, 5),
    ("     Summary [   0.1s] 5 tests run: 5 passed, 0 skipped", True, 5),
    ("Tests:       3 passed, 3 total", True, 3),
    ("FAIL a.test.js\nTests:       1 failed, 2 skipped, 3 passed, 6 total", False, 3),
    (" Test Files  1 passed (1)\n      Tests  3 passed (3)\n", True, 3),
    ("      Tests  1 failed | 3 passed (4)\n", False, 3),
    ("  5 passing (10ms)\n  1 pending\n  2 failing\n", False, 5),
    ("# tests 3\n# pass 3\n# fail 0\n", True, 3),
    (" 5 pass\n 0 fail\n 9 expect() calls", True, 5),
    ("5 examples, 1 failure, 1 pending", False, 3),
    ("OK (3 tests, 5 assertions)", True, 3),
    ("Tests: 5, Assertions: 9, Failures: 1.", False, 4),
    ("80% tests passed, 1 tests failed out of 5", False, 4),
    ("Tests run: 2, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 1 s\n"
     "[INFO] Tests run: 4, Failures: 0, Errors: 0, Skipped: 1\n", True, 3),
    ("Passed!  - Failed:     0, Passed:     3, Skipped:     0, Total:     3", True, 3),
    ("BUILD SUCCESSFUL in 2s", True, None),
    ("ok | 5 passed | 0 failed (10ms)", True, 5),
    ("1 doctest, 3 tests, 0 failures", True, 3),
    ("all is well", None, None),
    ("", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("output", "ok", "count"), OUTPUTS, ids=lambda value: repr(value)[:40])
def test_what_a_runner_prints_is_read(output: str, ok: bool | None, count: int | None) -> None:
    said = printed(output)
    assert (said.ok, said.count) == (ok, count)


@pytest.mark.parametrize(
    "char", [" ", "\n", "=", "1", "1 ", "-", "FAIL ", "Ran 1 tests in 1s\n", "Tests: 1 ", "(", "<<E\n"]
)
def test_a_long_output_is_read_in_no_time(char: str) -> None:
    began = time.process_time()
    printed(char * (100_000 // len(char)))
    calls("pytest " + char * 3_000)
    assert time.process_time() - began < 2, "a square of its length would be a minute"


# --- what is in a log ---------------------------------------------------------------------------------------------


def logged(*runs: tuple[str, bool, str], tool: str = "Bash", **more: Any) -> list[Event]:
    """The events of commands that an agent ran: command, whether its status was 0, and what it printed."""
    events: list[What] = []
    for number, (command, ok, output) in enumerate(runs):
        events += [ToolCall(str(number), tool, {"command": command, **more}), ToolResult(str(number), ok, output)]
    return [Event(number, "2026-11-25T08:00:00.000Z", what) for number, what in enumerate(events, 1)]


def test_the_last_run_of_each_command_counts() -> None:
    failed = "Exit code 1\n1 failed, 2 passed in 0.1s"
    events = logged(("pytest", False, failed), ("npm test", True, ""), ("pytest 2>&1 | tail", True, "3 passed in 0.1s"))
    assert runs_of(events, "") == (RanTests("npm test", True, None), RanTests("pytest", True, 3))


@pytest.mark.parametrize(
    ("command", "ok", "output", "outcome"),
    [
        ("pytest", True, "", (True, None)),
        ("pytest", False, "Exit code 1\nboom", (False, None)),
        ("pytest | tail", True, "1 failed, 2 passed in 0.1s", (False, 2)),
        ("pytest | tail", True, "…", (None, None)),
        ("npm ci && npm test", False, "Exit code 1\nno network", (None, None)),
        ("pytest", False, "Command timed out after 2m 0.0s", (False, None)),
    ],
)
def test_the_outcome_is_the_status_where_that_is_the_runners(
    command: str, ok: bool, output: str, outcome: tuple[bool | None, int | None]
) -> None:
    (run,) = runs_of(logged((command, ok, output)), "")
    assert (run.ok, run.count) == outcome


def test_what_was_refused_or_is_no_command_of_the_shell_is_no_run() -> None:
    assert runs_of(logged(("pytest", False, "Permission to use Bash was denied")), "") == ()
    assert runs_of(logged(("pytest", True, "1 passed in 1s"), tool="Write"), "") == ()
    assert runs_of(logged(("pytest", True, "")) [:1], "") == ()  # fmt: skip


def test_what_goes_on_in_the_background_has_no_outcome() -> None:
    (begun,) = runs_of(logged(("pytest", True, ""), run_in_background=True), "")
    assert begun.ok is None
    (moved,) = runs_of(logged(("pytest", True, "Command running in background with ID: x. Output: …")), "")
    assert moved.ok is None


# --- what to do next ----------------------------------------------------------------------------------------------


def one(name: str = "a", status: Status = Status.DONE, **about: Any) -> Summary:
    """A session at rest, without changes; `about` are fields of the summary, or else of the session."""
    known = {key: about.pop(key) for key in [*about] if key in Summary.__dataclass_fields__}
    time = "2026-11-25T08:00:00.000Z"
    about = {"changes": Changes(0, 0, 0, 0, uncommitted=False), "result": "Done.", **about}
    base, terms = Base("main", "0" * 40), Terms(prompt="Do it, please")
    session = Session(name, status, terms, f"chatml/{name}", base, f"/w/{name}", None, time, time, **about)
    return Summary(session, **{"commits": (), "paths": frozenset(), "tests": (), **known})


SOME = Changes(1, 2, 0, 1, uncommitted=False)
OPEN = PullRequest(1, "https://github.com/ada/todo/pull/1", "open")
ASKS = Request("1", "permission", "Bash: ls", {}, "2026-11-25T08:00:00.000Z")

NEXT = [
    (one(), "chatml rm a"),
    (one(changes=SOME), "chatml pr a"),
    (one(changes=SOME, landed=True), "chatml rm a"),
    (one(changes=SOME, pr=OPEN, pushed=True), "chatml pr a --web"),
    (one(changes=SOME, pr=OPEN), "chatml pr a"),
    (one(changes=SOME, pr=replace(OPEN, state="merged")), "chatml rm a"),
    (one(changes=replace(SOME, uncommitted=True), landed=True), "chatml pr a --commit 'Do it, please'"),
    (one(changes=replace(SOME, left_out=1)), "chatml diff a"),
    (one(changes=None, seen=Seen(not_counted="gone")), "chatml show a"),
    (one(status=Status.WAITING, requests=(ASKS,)), "chatml approve a"),
    (one(status=Status.WAITING, requests=(ASKS, replace(ASKS, id="2"))), "chatml approve a --id 1"),
    (one(status=Status.WAITING, requests=(replace(ASKS, kind="question"),)), "chatml attach a"),
    (one(status=Status.CRASHED, changes=SOME), "chatml resume a"),
    (one(status=Status.STOPPED, changes=SOME), "chatml resume a"),
    (one(status=Status.FAILED, error=Failure("agent", "boom")), "chatml resume a"),
    (one(status=Status.FAILED, error=Failure("budget", "used up")), "chatml resume a --max-budget-usd +2"),
    (one(status=Status.FAILED, error=Failure("max_turns", "reached")), "chatml resume a --max-turns +10"),
    (one(status=Status.FAILED, error=Failure("scope", "strayed")), "chatml diff a"),
    (one(status=Status.FAILED, error=Failure("check", "not passed")), "chatml show a"),
    (one(status=Status.RUNNING, changes=SOME), "chatml attach a"),
    (one(status=Status.QUEUED), "chatml attach a"),
]


@pytest.mark.parametrize(("summary", "command"), NEXT, ids=lambda value: value if isinstance(value, str) else "")
def test_one_command_goes_on_from_here(summary: Summary, command: str) -> None:
    assert summary.next == command


def test_steps_come_by_priority() -> None:
    summaries = [
        one("run", Status.RUNNING), one("rm"), one("pr", changes=SOME), one("fix", Status.CRASHED),
        one("ask", Status.WAITING, requests=(ASKS,)),
    ]  # fmt: skip
    assert [step.split()[2] for step in render.steps(summaries)] == ["ask", "fix", "pr", "rm", "run"]


def test_time_counts_from_the_first_start_to_the_last_rest() -> None:
    changes = {"10:00:00": "preparing", "10:00:01": "running", "10:00:09": "done", "11:00:00": "preparing"}
    events = [Event(1, f"2026-11-25T{time}.000Z", StatusChanged(status)) for time, status in changes.items()]
    session = one().session
    assert duration(session, []) is None
    assert duration(session, events[:3]) == 9.0
    late = replace(session, status=Status.CRASHED, updated_at="2026-11-25T10:02:00.000Z")
    assert duration(late, events[:2]) == 120.0
    assert [render.time_at_work(seconds) for seconds in (None, 4.4, 59.9, 3600, 7505)] == [
        *("", "4s", "1m 00s", "1h 00m", "2h 05m")
    ]


@pytest.mark.parametrize(
    ("answer", "paragraph"),
    [
        (None, None), ("  \n", None), ("One.\ntwo\n\nThree.", "One.\ntwo"), ("# Done\n\nAll is well.", "All is well."),
        ("## Done\nAll.\n\nMore.", "All."), ("# Done", "# Done"), ("#1 is fixed", "#1 is fixed"),
    ],
)  # fmt: skip
def test_the_first_paragraph_is_no_heading(answer: str | None, paragraph: str | None) -> None:
    assert first_paragraph(answer) == paragraph


def test_files_of_several_are_shared() -> None:
    summaries = [one("b", paths=frozenset({"x", "y"})), one("a", paths=frozenset({"y"})), one("c", paths=None)]
    assert shared_paths(summaries) == {"y": ("a", "b")}


def test_what_one_has_of_another_does_not_clash_with_it() -> None:
    both = frozenset({"x", "y"})
    first, beside = one("a", paths=both, head="1", loose=frozenset({"y"})), one("b", paths=frozenset({"x"}), head="2")
    after = one("c", paths=both, head="3", built_on=frozenset({"0", "1"}))
    assert shared_paths([first, after]) == {"y": ("a", "c")}
    assert shared_paths([first, beside, after]) == {"x": ("a", "b", "c"), "y": ("a", "c")}


def test_what_to_do_is_said_once() -> None:
    for status in (Status.STOPPED, Status.CRASHED, Status.FAILED):
        summary = one("t", status, error=Failure("agent", "boom"))
        assert "\n".join(map(plain, render.page([summary], None))).count("chatml resume t") == 1
    failed = Failure("check", "'make test …' exited with code 2")
    summary = one("t", Status.FAILED, error=failed, check=CheckResult("make test\nmake lint", ok=False))
    summary = replace(summary, session=summary.session.with_terms(check="make test\nmake lint"))
    page = "\n".join(map(plain, render.page([summary], None)))
    assert "\n  check: exited with code 2\n" in page
    assert "\n  check    ✗ make test …\n" in page


# --- what is printed ----------------------------------------------------------------------------------------------

EVIL = (
    "</pre></details><script>alert(1)</script> | ``` <!-- [a](javascript:x) ![i](http://e) @ada #1 :tada: $x$ \x1b[2J\n"
    "```\n| a | b |\n# head\n<h1>\u202e www.evil.example *b* __c__ ~~d~~ &lt;"
)


def evil(status: Status = Status.DONE) -> list[Summary]:
    """Two sessions that have a hostile text wherever somebody else's stands."""
    run = RanTests(f"pytest {shlex.quote(EVIL)}", None, None)
    path = EVIL.replace("\n", "\\")
    about: dict[str, Any] = {
        "result": EVIL, "commits": (("0" * 40, EVIL),), "tests": (run,), "paths": frozenset({path}), "notes": (EVIL,),
        "changes": replace(SOME, uncommitted=True), "pr": PullRequest(1, "https://e/)|<script>", EVIL),
        "error": Failure("agent", EVIL), "activity": EVIL,
    }  # fmt: skip
    both = [one(name, status, **about) for name in ("a", "b")]
    both = [replace(each, session=each.session.with_terms(prompt=EVIL)) for each in both]
    return [replace(each, shared=shared_paths(both)) for each in both]


@pytest.mark.parametrize("status", [Status.DONE, Status.FAILED, Status.RUNNING])
def test_nobody_breaks_out_of_the_markdown(status: Status) -> None:
    lines = list(render.markdown(evil(status)))
    text = "\n".join(lines)
    before, fence, within = text.partition("\n```sh\n")
    assert fence
    assert within.count("\n```") == 1
    assert within.endswith("\n```")
    assert all(line.startswith("chatml ") for line in within.splitlines()[:-1])
    assert set(re.findall(r"<[^>]*>?", before)) == {
        *("<code>", "</code>", "<details>", "<summary>", "</summary>", "</details>")
    }
    assert {line.count("|") for line in lines if line.startswith("|")} == {9}
    assert not set("`[]$~\x1b\u202e") & set(before)
    assert not re.search(r"__|www\.", before)
    assert not re.search(r"@|#(?!\d+;)", before.replace("## chatml", ""))
    assert all(
        re.match(r"##? |\||- |> |<details>|</details>|\*\*Warnings|\*\*Next|$", line) for line in before.split("\n")
    )


@pytest.mark.parametrize("text", ["- a", "1. a", "= a", "+ a", "* a", "> a", "# a"])
def test_a_text_begins_no_list_and_no_heading(text: str) -> None:
    assert re.match(r"\d*&#\d+; a", render.escaped(text))


def test_the_page_is_harmless_and_fits() -> None:
    assert not any(set("\x1b\n\u202e") & set(plain(line)) for line in render.page(evil(), 80))
    summaries = [
        one(f"s{number}", result="many words " * 100, commits=(("0" * 40, "subject " * 20),) * 9) for number in "abc"
    ]
    lines = [plain(line) for line in render.page(summaries, 80)]
    assert max(map(display_width, lines)) <= 80
    assert len(lines) < 40, "one can read it in a minute"
    assert "           … 6 more" in lines
    whole = [plain(line) for line in render.page(summaries, None)]
    assert sum(line.count("many words") for line in whole) == 300
    assert sum("subject subject" in line for line in whole) == 27


def test_a_pipe_and_a_terminal_say_how_it_stands() -> None:
    asks = one("guide", Status.WAITING, requests=(ASKS,), cost_usd=0.25)
    done = one("app", changes=SOME, commits=(("5b9ea3a58" + "0" * 31, "Add y"),), duration_s=75.0, tests=(
        RanTests("pytest -q", True, 12), RanTests("npm test", None, None),
    ), paths=frozenset({"app.py"}))  # fmt: skip
    other = one("b", paths=frozenset({"app.py"}), notes=("left out: x",))
    assert [plain(line) for line in render.page([asks, done, other], None)] == [
        "2 done, 1 needs you, $0.25",
        "",
        "guide  waiting  no changes  $0.25",
        "  may it? Bash: ls",
        "",
        "app  done  1 file +2 -0  1m 15s",
        "  Done.",
        "  commits  5b9ea3a58 Add y",
        "  tests    ? npm test",
        "           ✓ pytest -q: 12 passed",
        "",
        "b  done  no changes",
        "  Done.",
        "",
        "! b: left out: x",
        "! app.py is changed by app, b",
        "",
        "next:",
        "  chatml approve guide",
        "  chatml pr app",
        "  chatml rm b",
    ]


# --- the whole program --------------------------------------------------------------------------------------------

PYTEST = """#!/bin/sh
case "$*" in *bad*) echo "1 failed, 2 passed in 0.01s"; exit 1;; esac
echo "12 passed in 0.03s"
"""


def test_the_tests_that_an_agent_ran(sandbox: Sandbox, serve: Serve) -> None:
    programs = sandbox.home / "bin"
    write(programs, pytest=PYTEST)
    (programs / "pytest").chmod(0o755)
    sandbox.env["PATH"] = f"{programs}:{sandbox.env['PATH']}"
    configure(sandbox, "allow: ['Bash(pytest:*)', 'Bash(tail:*)']\ndeny: ['Bash(tox:*)']\non_request: deny\n")
    steps = [
        bash("pytest -q"), bash("pytest bad"), bash("cd {cwd} && pytest bad/x 2>&1 | tail -3"), bash("tox"),
        writing("{cwd}/app.py"), bash("git add app.py && git commit -qm 'Add the app'"), "It works.\n\nAll of it.",
    ]  # fmt: skip
    serve({"*": steps})
    sandbox.chatml("new", "do it", "-q", "--name", "t", "--wait")
    (found,) = sandbox.chatml("summary", "--json").json
    session = sandbox.session("t")
    assert found["tests"] == [
        {"command": "pytest -q", "ok": True, "count": 12},
        {"command": "pytest bad", "ok": False, "count": 2},
        {"command": "pytest bad/x", "ok": False, "count": 2},
    ]
    worktree = Path(session["worktree"])
    assert found["commits"] == [{"commit": sandbox.git("rev-parse", "HEAD", cwd=worktree), "subject": "Add the app"}]
    assert {key: found[key] for key in ("name", "status", "changes", "cost_usd", "conflicts")} == {
        key: session[key] for key in ("name", "status", "changes", "cost_usd", "conflicts")
    }
    assert (found["result"], found["shared_files"], found["url"], found["next"]) == (
        *("It works.", {}, None), "chatml merge t",
    )  # fmt: skip
    assert 0 < found["duration_s"] < 60
    keys = "name status result commits changes tests check cost_usd duration_s conflicts shared_files url next services"
    assert " ".join(found) == keys


def test_what_two_agents_share_is_said(sandbox: Sandbox) -> None:
    configure(sandbox, "agent: sh\nagents: {sh: {command: [sh, -c, '{prompt}']}}\n")
    sandbox.commit("app", app_dot_py="x\n")
    for name, task in {"a": "git commit -qam 'Change it'", "b": "echo changed", "c": "git checkout -q app.py"}.items():
        sandbox.chatml("new", f"echo {name} >> app.py; {task}", "-q", "--name", name, "--wait")
    found = {one["name"]: one for one in sandbox.chatml("summary", "--json").json}
    shared = {"app.py": ["a", "b"]}
    assert {name: one["shared_files"] for name, one in found.items()} == {"a": shared, "b": shared, "c": {}}
    assert sandbox.chatml("summary", "a", "c", "--json").json[0]["shared_files"] == {}
    text = sandbox.chatml("summary").out
    assert text.startswith("3 done\n\nc  done  no changes  ")
    assert "\n! app.py is changed by a, b\n" in text
    assert text.endswith(
        "\nnext:\n  chatml rm c\n  chatml merge b --commit 'echo b >> app.py; echo changed'\n  chatml merge a\n"
    )
    sandbox.chatml(*shlex.split(text.splitlines()[-1])[1:])  # as copied
    assert "- app.py is changed by a, b\n" in sandbox.chatml("summary", "--markdown").out
    with pseudo_terminal(sandbox, "summary", env={"COLUMNS": "30"}) as (_, read):
        seen = read()
    assert "\x1b[33m! app.py is changed by a, b\x1b[0m" in seen


def test_what_can_not_be_found_out_is_said(sandbox: Sandbox) -> None:
    for name in ("a", "b", "c"):
        worktree = make_session(sandbox, name)
        commit(sandbox, worktree, f"of {name}", app=name)
    (sandbox.state("b") / "session.json").write_text("{")
    worktree = Path(sandbox.session("c")["worktree"])
    worktree.rename(worktree.with_name("moved"))
    write(worktree, stranger="x")
    done = sandbox.chatml("summary", "--json", code=1)
    found = {one["name"]: one for one in done.json}
    assert set(found) == {"a", "c"}
    assert "'b'" in done.err
    unknown = {key: found["c"][key] for key in ("changes", "commits", "shared_files", "next")}
    assert unknown == {"changes": None, "commits": None, "shared_files": None, "next": "chatml show c"}
    said = sandbox.chatml("summary", code=1).out
    assert "\nc  done  ?" in said
    assert "! c: could not find out what it has changed: " in said
    assert "error: no session named 'nope'" in sandbox.chatml("summary", "nope", "a", code=1).err
    sandbox.chatml("summary", "--json", "--markdown", code=2)


def test_what_has_landed_is_to_be_removed(sandbox: Sandbox) -> None:
    for name in ("squashed", "open"):
        commit(sandbox, make_session(sandbox, name), f"of {name}", **{name: "x\n"})
    sandbox.git("merge", "-q", "--squash", "chatml/squashed")
    sandbox.git("commit", "-qm", "squashed")
    sandbox.commit("more", more="y")
    steps = {one["name"]: one["next"] for one in sandbox.chatml("summary", "--json").json}
    assert steps == {"squashed": "chatml rm squashed", "open": "chatml merge open"}


def following(sandbox: Sandbox, name: str) -> str:
    found: str = sandbox.chatml("summary", name, "--json").json[0]["next"]
    return found


def test_without_a_remote_each_step_leads_home(sandbox: Sandbox) -> None:
    worktree = make_session(sandbox, "t")
    write(worktree, mine="x\n")
    sandbox.git("switch", "-q", "-c", "elsewhere")
    step = following(sandbox, "t")
    assert step.startswith("chatml merge t --commit ")
    sandbox.chatml(*shlex.split(step)[1:])  # as copied
    assert sandbox.git("show", "main:mine") == "x"
    assert following(sandbox, "t") == "chatml rm t"
    commit(sandbox, worktree, "more", more="y")
    assert following(sandbox, "t") == "chatml merge t"
    sandbox.git("remote", "add", "origin", "https://github.com/ada/todo")
    assert following(sandbox, "t") == "chatml pr t"


def test_one_that_comes_after_another_does_not_clash_with_it(sandbox: Sandbox) -> None:
    configure(sandbox, "agent: sh\nagents: {sh: {command: [sh, -c, 'eval \"${0##*\n\n}\"', '{prompt}']}}\n")
    sandbox.commit("app", app_dot_py="x\n")
    work = "echo more >> app.py; git commit -qam more"
    sandbox.chatml("new", work, "-q", "--name", "a", "--wait")
    sandbox.chatml("new", work, "-q", "--name", "b", "--after", "a", "--wait")
    sandbox.chatml("new", work, "-q", "--name", "c", "--after", "b", "--wait")
    assert "is changed by" not in sandbox.chatml("summary").out
    sandbox.chatml("send", "a", work, "--wait", "-q")
    assert "! app.py is changed by a, b, c\n" in sandbox.chatml("summary").out


def test_without_a_session_there_is_nothing_to_say(sandbox: Sandbox) -> None:
    assert sandbox.chatml("summary").out == ""
    assert json.loads(sandbox.chatml("summary", "--json").out) == []
    assert sandbox.chatml("summary", "--markdown").out == "## chatml: no sessions\n"
