"""The check: done only once a command passes, told to the agent where it doesn't, run again where it is due."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatml import config, containment
from chatml.checking import KEPT, LINE, LINES, TOLD, Tail
from chatml.config import Config, role_of, terms_of
from chatml.errors import ChatmlError, UsageError
from chatml.model import Terms
from chatml.render.transcript import Transcript
from chatml.state.log import read
from chatml.state.paths import StatePaths
from chatml.state.store import Store
from chatml.text import plain
from chatml.worker import check
from tests.calls import bash
from tests.contained import needs_sandbox
from tests.faults import Serve, kill, worker
from tests.made import make_session
from tests.support import Sandbox, marked_processes, needs, thinned, wait_until

AGENT = """\
printf '%s\\n--\\n' "$0" >> "$HOME/heard"
case "$0" in do:*) eval "${0#do:}";; *) echo . >> n;; esac
echo fine
"""
"""Does what a person says; what anybody else says makes it add a line to the file n."""

GATE = 'echo at >> "$HOME/at"; until test -e go; do sleep 0.05; done'
"""Passes once there is a file named go, and says before that it is waiting for that."""


@pytest.fixture
def there(sandbox: Sandbox) -> Sandbox:
    """The sandbox, with the agent above as the default one."""
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    command = f"command: [sh, -c, {json.dumps(AGENT)}, '{{prompt}}']"
    (folder / "config.yaml").write_text(f"agent: hand\nagents: {{hand: {{{command}}}}}\n")
    return sandbox


def begin(there: Sandbox, command: str, *options: str, prompt: str = "do:true", code: int = 0) -> dict[str, Any]:
    """A session named t with this check, once it is at rest."""
    there.chatml("new", prompt, "--name", "t", "--check", command, *options, "--wait", "-q", code=code)
    return there.session("t")


def start(there: Sandbox, command: str = GATE) -> Path:
    """A session named t that is in the midst of its check; its worktree."""
    there.chatml("new", "do:true", "--name", "t", "--check", command, "-q")
    wait_until(lambda: at_the_gate(there) == 1, "the check to begin")
    return Path(there.written("t")["worktree"])


def at_the_gate(there: Sandbox) -> int:
    path = there.home / "at"
    return path.read_text().count("\n") if path.exists() else 0


def heard(there: Sandbox) -> list[str]:
    return (there.home / "heard").read_text().split("\n--\n")[:-1]


def outcomes(there: Sandbox) -> list[bool | None]:
    return [event.get("ok") for event in there.events("t", "check_result")]


def test_the_agent_mends_what_the_check_finds(there: Sandbox) -> None:
    session = begin(there, 'echo "it has $(cat n | wc -l)"; test "$(wc -l < n)" -ge 2', "--retries", "2")
    assert session["status"] == "done"
    assert session["check"] == {
        "command": 'echo "it has $(cat n | wc -l)"; test "$(wc -l < n)" -ge 2',
        "ok": True,
        "commit": there.git("rev-parse", "chatml/t"),
        "tries": 3,
        "output": "it has 2",
        "at": session["check"]["at"],
        "current": True,
    }
    first, second, third = heard(there)
    assert first == "do:true"
    assert "\n    it has 0\n" in second
    assert "\n    it has 1\n" in third
    assert [event.get("auto") for event in there.events("t", "message")] == [None, True, True]
    assert outcomes(there) == [False, False, True]
    assert "  done ✓  " in there.chatml("ls").out
    shown = there.chatml("show", "t").out
    assert "-ge 2: passed on " in shown
    assert "\n  it has 2\n" in shown
    assert "  └ exited with code 1\n    it has 1\n" in there.chatml("logs", "t").out.replace("    cat: n: No such", "")


def test_a_session_whose_check_never_passes_has_failed(there: Sandbox) -> None:
    session = begin(there, "echo no; test -e ok", code=1)
    assert (session["status"], session["error"]["kind"], session["check"]["tries"]) == ("failed", "check", 2)
    assert session["error"]["message"] == "'echo no; test -e ok' exited with code 1, the last of 2 tries"
    assert there.chatml("wait", "t", code=1).out == "t: failed\n"
    assert "  failed ✗  " in there.chatml("ls").out
    assert "'chatml resume t' runs the check again" in session["error"]["hint"]
    there.chatml("send", "t", "do:true", "--wait", code=1)
    assert there.session("t")["check"]["tries"] == 2, "they are counted anew with each message of a person"
    assert len(heard(there)) == 4
    Path(session["worktree"], "ok").touch()
    there.chatml("resume", "t")
    assert there.until("t", "done", "failed")["check"]["ok"]
    assert len(heard(there)) == 4, "nobody was asked for that"
    assert there.session("t")["error"] is None


@pytest.mark.long
def test_without_retries_the_agent_is_not_told(there: Sandbox) -> None:
    assert begin(there, "false", "--retries", "0", code=1)["check"]["tries"] == 1
    assert heard(there) == ["do:true"]


@pytest.mark.parametrize(("command", "code"), thinned([("no-such-program --all", 127), ("./README.md", 126)], 2))
def test_a_check_that_cannot_be_run_is_not_the_agents_fault(there: Sandbox, command: str, code: int) -> None:
    session = begin(there, command, "--retries", "3", code=1)
    assert (session["status"], session["error"]["kind"], session["check"]["ok"]) == ("failed", "check", False)
    assert session["error"]["message"].startswith("the check could not be run: sh: ")
    assert session["error"]["message"].endswith(f" (exit code {code})")
    assert heard(there) == ["do:true"]


@pytest.mark.long
def test_a_check_that_hangs_is_ended_and_has_failed(there: Sandbox) -> None:
    there.env["CHATML_CHECK_TIMEOUT"] = "0.5"
    session = begin(there, "test -e n && trap '' TERM; echo begun; sleep 600", code=1)
    assert (session["error"]["kind"], session["check"]["output"]) == ("check", "begun")
    assert "did not end within 0.5 s" in session["error"]["message"]
    assert "It did not end within 0.5 s." in heard(there)[1]


@needs("setsid")
@pytest.mark.long
def test_what_a_check_leaves_running_ends_with_it_and_the_agents_own_stays(there: Sandbox) -> None:
    own = "do:sleep 599 >/dev/null 2>&1 & setsid sleep 599 >/dev/null 2>&1 &"
    left = "sleep 600 & setsid sleep 600 >/dev/null 2>&1 & true"
    assert begin(there, left, prompt=own)["status"] == "done"
    assert not [words for words in marked_processes(there.home).values() if "sleep 600" in words]
    assert [process["command"] for process in there.session("t")["processes"]] == ["sleep 599", "sleep 599"]
    there.chatml("stop", "t")


def test_a_state_that_has_passed_is_not_checked_again_and_another_one_is(there: Sandbox) -> None:
    begin(there, 'echo at >> "$HOME/at"')
    there.chatml("send", "t", "do:true", "--wait")
    assert at_the_gate(there) == 1, "nothing has changed"
    there.chatml("send", "t", "do:echo new > new", "--wait")
    assert at_the_gate(there) == 2, "a file that git does not know yet"
    there.chatml("send", "t", "do:git add -A; git commit -qm new", "--wait")
    assert at_the_gate(there) == 3, "the same files in another commit"
    assert there.session("t")["check"]["commit"] == there.git("rev-parse", "chatml/t")


@pytest.mark.parametrize("options", thinned(["", "--interrupt", "--queue"], 3))
def test_a_message_does_not_wait_for_the_end_of_a_check(there: Sandbox, options: str) -> None:
    start(there)
    assert there.session("t")["activity"] == f"check: {GATE}"
    there.chatml("send", "t", "do:touch go", "--wait", *options.split())
    assert (there.session("t")["status"], there.session("t")["check"]["tries"]) == ("done", 1)
    assert heard(there) == ["do:true", "do:touch go"]
    assert outcomes(there) == [None, True]


@pytest.mark.parametrize("how", thinned(["kill", "stop"], 2))
def test_a_check_that_was_broken_off_is_run_by_resume_and_the_agent_not_asked(there: Sandbox, how: str) -> None:
    worktree = start(there)
    there.chatml("stop", "t") if how == "stop" else kill(worker(there, "t"))
    session = there.until("t", "stopped", "crashed")
    assert (session["check"]["ok"], session["check"]["tries"]) == (None, 0)
    wait_until(lambda: not marked_processes(there.home), "the check to end with its worker")
    (worktree / "go").touch()
    there.chatml("resume", "t")
    assert there.until("t", "done", "failed")["check"]["ok"]
    assert heard(there) == ["do:true"]


@pytest.mark.long
def test_a_kill_in_a_later_check_gives_no_further_retries(there: Sandbox) -> None:
    there.chatml("new", "do:true", "--name", "t", "--check", f"test -e n || exit 1; {GATE}; false", "-q")
    wait_until(lambda: at_the_gate(there) == 1, "the second run of the check")
    kill(worker(there, "t"))
    there.until("t", "crashed")
    Path(there.written("t")["worktree"], "go").touch()
    there.chatml("resume", "t")
    assert there.until("t", "done", "failed")["check"]["tries"] == 2
    assert len(heard(there)) == 2


@pytest.mark.long
def test_a_check_holds_its_place(there: Sandbox) -> None:
    there.env["CHATML_MAX_PARALLEL"] = "1"
    worktree = start(there)
    there.chatml("new", "do:true", "--name", "next", "-q")
    assert there.session("next")["status"] == "queued"
    (worktree / "go").touch()
    there.until("t", "done")
    there.until("next", "done")


@pytest.mark.long
def test_a_hundred_megabytes_of_output_take_no_room(there: Sandbox) -> None:
    worktree = start(there, f"yes | head -c 100000000; {GATE}; printf 'e\\033[31mnd\\000\\377'; false")
    status = Path(f"/proc/{worker(there, 't')}/status")
    peak = int(status.read_text().partition("VmHWM:")[2].split()[0]) if status.exists() else 0
    assert peak < 120_000, "kB"
    (worktree / "go").touch()
    output = there.until("t", "failed")["check"]["output"]
    assert output.split("\n") == ["y"] * (LINES - 1) + ["end^@\N{REPLACEMENT CHARACTER}"]
    assert (there.state("t") / "events.jsonl").stat().st_size < 10_000


@pytest.mark.long
def test_a_turn_that_a_person_has_broken_off_is_not_checked(there: Sandbox) -> None:
    there.chatml("new", "do:echo at >> $HOME/at; sleep 600", "--name", "t", "--check", "true", "-q")
    wait_until(lambda: at_the_gate(there) == 1, "the turn to begin")
    there.chatml("stop", "t")
    session = there.session("t")
    assert (session["status"], session["check"]["ok"]) == ("stopped", None)
    assert "has not run yet" in there.chatml("show", "t").out


# --- what stands there, and what was checked -----------------------------------------------------------------------


def edit(_: Sandbox, worktree: Path) -> None:
    (worktree / "by-hand").write_text("by hand\n")


def commit_all(there: Sandbox, worktree: Path) -> None:
    (worktree / "by-hand").write_text("by hand\n")
    there.git("add", "-A", cwd=worktree)
    there.git("commit", "-qm", "by hand", cwd=worktree)


def go_back(there: Sandbox, worktree: Path) -> None:
    there.git("commit", "-q", "--allow-empty", "-m", "nothing", cwd=worktree)


@pytest.mark.parametrize("how", thinned([edit, commit_all, go_back], 2))
def test_what_a_person_changed_after_the_check_is_not_said_to_have_passed(
    there: Sandbox, how: Callable[[Sandbox, Path], None]
) -> None:
    session = begin(there, "echo at >> $HOME/at", prompt="do:echo 1 > n")
    assert "  done ✓  " in there.chatml("ls").out
    how(there, Path(session["worktree"]))
    for _ in range(2):  # the second look has the first one's word for it
        assert "  done (check due)  " in there.chatml("ls").out
    assert [one["check"]["current"] for one in there.chatml("ls", "--json").json] == [False]
    assert "something else stands there now: 'chatml resume t' runs it on that" in there.chatml("show", "t").out
    assert "  check    echo at >> $HOME/at: due once more\n" in there.chatml("summary", "t").out
    assert "✓" not in there.chatml("summary", "t").out + there.chatml("summary", "--markdown").out
    assert there.session("t")["check"]["ok"], "that it has passed once is true all the same"
    there.chatml("resume", "t")
    assert there.until("t", "done", "failed")["check"]["current"]
    assert (at_the_gate(there), heard(there)) == (2, ["do:echo 1 > n"])
    assert "  done ✓  " in there.chatml("ls").out
    assert "nothing to go on with" in there.chatml("resume", "t").err


def test_what_is_as_it_was_checked_again_has_passed(there: Sandbox) -> None:
    worktree = Path(begin(there, "true")["worktree"])
    edit(there, worktree)
    assert "  done (check due)  " in there.chatml("ls").out
    (worktree / "by-hand").unlink()
    assert "  done ✓  " in there.chatml("ls").out


def test_where_nobody_can_look_neither_is_said(there: Sandbox) -> None:
    worktree = Path(begin(there, "true")["worktree"])
    worktree.rename(worktree.with_name("aside"))
    worktree.mkdir()
    (worktree / "what").touch()
    assert "  done ✓?  " in there.chatml("ls").out
    assert there.chatml("ls", "--json").json[0]["check"]["current"] is None
    assert "could not look whether that still stands there" in there.chatml("show", "t").out
    assert "✓?" in there.chatml("summary").out
    (worktree / "what").unlink()
    worktree.rmdir()
    assert "  done ✓  " in there.chatml("ls").out, "the branch has all that was checked"
    worktree.with_name("aside").rename(worktree)
    assert "  done ✓  " in there.chatml("ls").out


def test_what_a_check_has_written_is_checked_too(there: Sandbox) -> None:
    format_and_look = 'echo at >> "$HOME/at"; echo neat > n'
    session = begin(there, format_and_look)
    assert (at_the_gate(there), session["check"]["current"], session["check"]["tries"]) == (2, True, 1)
    assert outcomes(there) == [True, True]
    assert "  done ✓  " in there.chatml("ls").out


def test_a_check_that_passes_only_once_has_not_passed(there: Sandbox) -> None:
    session = begin(there, "test ! -e made && touch made", "--retries", "0", code=1)
    assert (session["status"], session["error"]["kind"]) == ("failed", "check")


def test_a_check_that_writes_something_else_each_time_is_left_at_that(there: Sandbox) -> None:
    session = begin(there, 'echo at >> "$HOME/at"; echo at >> made')
    assert (at_the_gate(there), session["status"], session["check"]["current"]) == (2, "done", False)
    assert "  done (check due)  " in there.chatml("ls").out


def test_a_check_is_held_to_the_scope(there: Sandbox) -> None:
    session = begin(there, "mkdir -p src && touch out", "--scope", "src/**", code=1)
    assert (session["status"], session["error"]["kind"]) == ("failed", "scope")
    assert session["error"]["message"] == "changed n, out, outside of src/**"
    assert len(heard(there)) == 2, "it was asked once to take that back"


def test_show_says_that_the_check_is_running(there: Sandbox) -> None:
    worktree = start(there, f"# gate\n{GATE}\ntrue")
    shown = there.chatml("show", "t").out
    assert "check: # gate …: is running, for " in shown
    assert "has not run yet" not in shown
    (worktree / "go").touch()
    there.until("t", "done")
    assert "check: # gate …: passed on " in there.chatml("show", "t").out


def test_of_a_long_output_the_end_is_seen(there: Sandbox) -> None:
    begin(there, "seq 100; false", "--retries", "0", code=1)
    show = Transcript("/w", lambda: 80)
    lines = plain("".join(map(show, read(there.state("t") / "events.jsonl")))).splitlines()
    place = lines.index("  └ exited with code 1")
    assert lines[place + 1 : place + 4] == ["    … 92 more lines ('chatml logs' has all)", "    93", "    94"]
    assert "    100" in lines


# --- with Claude --------------------------------------------------------------------------------------------------


def test_the_model_reads_what_the_check_printed(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": {"turns": [["Done."], [bash("touch ok"), "Mended."]]}})
    command = "echo 'the walls are crooked'; test -e ok"
    sandbox.chatml("new", "build", "--name", "t", "-q", "--check", command, "--wait")
    assert (sandbox.session("t")["status"], sandbox.session("t")["result"]) == ("done", "Mended.")
    assert f"\n    {command}" in api.requests[0].body["system"][-1]["text"], "it knew what was to come"
    assert "\n    the walls are crooked\n" in "\n".join(api.requests[-1].talk.texts)


@pytest.mark.long
def test_retries_end_at_the_limits(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": ["Done."]})
    sandbox.chatml("new", "build", "--name", "t", "-q", "--check", "false", "--max-turns", "1", "--wait", code=1)
    session = sandbox.session("t")
    assert (session["error"]["kind"], session["check"]["ok"], len(api.requests)) == ("max_turns", False, 1)


@needs_sandbox
@pytest.mark.long
def test_the_check_is_in_the_sandbox_where_the_agents_commands_are(sandbox: Sandbox, serve: Serve) -> None:
    serve({"*": ["Done."]})
    tries = (
        'for place in .. "$HOME" .git; do touch $place/no 2>/dev/null && exit 1; done; rm -f .git 2>/dev/null && exit 1'
    )
    command = f'{tries}; touch made && touch "$TMPDIR/own" && git status --porcelain'
    sandbox.chatml("new", "build", "--name", "t", "-q", "--check", command, "--sandbox", "required", "--wait")
    assert sandbox.session("t")["check"]["output"] == "?? made"


def test_where_a_sandbox_is_required_and_there_is_none_nothing_runs(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_session(sandbox, "x", check="true")
    session = Store(sandbox.repo / ".git").session("x").read().with_terms(sandbox="required")
    monkeypatch.setattr(containment, "lack", lambda: containment.Lack("not installed: bubblewrap", "install it"))
    with pytest.raises(ChatmlError, match="the check can't run: no sandbox here: not installed: bubblewrap"):
        check._contained(session)
    assert not check._contained(session.with_terms(sandbox="auto"))


# --- what is kept of an output ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"a\n\n\n", "a"),
        (b"one\r\ntwo\r\n", "one\ntwo"),
        (b" 10%\r 50%\r100%\nend", "100%\nend"),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x1b[2Kx", "red x"),
        (
            b"\x00\xff\x9b\x1b\n\xe2\x80\xae",
            "^@\ufffd\ufffd^[\n\ufffd",
        ),
        (b"x" * 10_000, "x" * LINE + " …"),
        (b"".join(b"%d\n" % i for i in range(1000)), "\n".join(map(str, range(1000 - LINES, 1000)))),
    ],
)
def test_an_output_is_kept_as_lines_that_harm_no_terminal(raw: bytes, text: str) -> None:
    tail = Tail()
    for byte in range(0, len(raw), 7):
        tail.hear(raw[byte : byte + 7])
    assert tail.text() == text


def test_of_a_long_output_the_end_is_kept_within_bounds() -> None:
    tail, line = Tail(), "\N{SNOWMAN}" * 400
    for number in range(3000):
        tail.hear(f"{line}{number}\n".encode())
    assert len(tail._kept) <= 2 * KEPT + 2000
    lines = tail.text().split("\n")
    assert lines[-1] == f"{line}2999"
    assert all(kept.startswith(line) for kept in lines), "no line is kept in part"
    assert TOLD - 2000 < len(tail.text().encode()) <= TOLD


# --- settings -----------------------------------------------------------------------------------------------------


def asked(tmp_path: Path, text: str, **flags: Any) -> Terms:
    (tmp_path / "chatml").mkdir(exist_ok=True)
    (tmp_path / "chatml" / "config.yaml").write_text(text)
    return terms_of(config.load(state=StatePaths(tmp_path), top=None, environ={"HOME": "/nowhere"}), flags)


def test_the_checks_of_the_configuration_are_one_command_that_a_flag_replaces(tmp_path: Path) -> None:
    several = "checks: ['cd web && npm test # quick', pytest]\nretries: 0\ncheck_timeout: 90s\n"
    terms = asked(tmp_path, several)
    assert (terms.check, terms.retries, terms.check_timeout) == (
        "(\ncd web && npm test # quick\n) && (\npytest\n)",
        0,
        90.0,
    )
    assert asked(tmp_path, several, check="make", retries="3").check == "make"
    assert asked(tmp_path, several, check="make", retries="3").retries == 3
    assert asked(tmp_path, "checks: make test\ncheck_timeout: 30m\n").check == "make test"
    assert asked(tmp_path, "checks: []").check is None
    assert asked(tmp_path, "checks: [a]\ncheck_timeout: 1h\n").check_timeout == 3600


@pytest.mark.parametrize("flags", [{"retries": "-1"}, {"retries": "x"}, {"check": " "}])
def test_a_bad_flag_is_wrong_usage(tmp_path: Path, flags: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        asked(tmp_path, "", **flags)


@pytest.mark.parametrize("line", ["checks: ['']", "checks: 3", "check_timeout: 0", "check_timeout: x", "retries: -1"])
def test_a_bad_setting_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ChatmlError, match=f"config.yaml:1: '{line.partition(':')[0]}'"):
        asked(tmp_path, line)


def test_a_committed_file_neither_runs_a_check_nor_takes_one_away(tmp_path: Path) -> None:
    (tmp_path / "home" / ".config" / "chatml").mkdir(parents=True)
    (tmp_path / "home" / ".config" / "chatml" / "config.yaml").write_text("checks: mine\n")
    for line in ("checks: [rm -rf /]", "check: rm -rf /", "checks: null", "check: null"):
        (tmp_path / ".chatml.yaml").write_text(line)
        environ = {"HOME": str(tmp_path / "home")}
        found = config.load(state=StatePaths(tmp_path / "own"), top=tmp_path, environ=environ)
        assert found.terms.check == "mine"
        assert (found.committed is None) == ("null" in line)


@pytest.mark.parametrize("role", ["reviewer", "researcher"])
def test_who_only_reads_has_no_check(sandbox: Sandbox, role: str) -> None:
    configured = Config(Terms(check="make test"))
    assert terms_of(configured, {}, role_of(configured, role)).check is None
    assert terms_of(configured, {}, role_of(configured, "tester")).check == "make test"
    refused = sandbox.chatml("new", "look", "--role", role, "--check", "true", code=2)
    assert refused.err.startswith(f"error: the role '{role}' only reads: a check would find nothing to mend\n")
    assert sandbox.chatml("ls", "-q").out == ""
