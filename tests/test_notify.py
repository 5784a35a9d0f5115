"""Word when it matters: the notify command, the desktop's notifier, the bell; each event once, and never in the way."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatml.notify import OUTPUT
from tests.faults import Serve, all_gone, kill, worker
from tests.support import TIMEOUT, Sandbox, marked_processes, needs, thinned, wait_until
from tests.terminal import terminal

TOUCH = {"Bash": {"command": "touch asked.txt"}}

FACTS = "env -u CHATML_NOTIFIER | grep ^CHATML_ | sort"
TELL = f"cd; {{ echo $OLDPWD; {FACTS}; }} > told.$$; mkdir -p told; mv told.$$ told/$$"
"""A notify command that writes down what it is told, each time into a file of its own."""

ECHO = "agents: {echo: {command: [sh, -c, 'echo \"heard: $0\"', '{prompt}']}}\n"


def configure(sandbox: Sandbox, notify: str, more: str = "") -> None:
    config = sandbox.repo / ".git" / "chatml" / "config.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(f"notify: |-\n  {notify}\n{more}")


def told(sandbox: Sandbox) -> list[dict[str, str]]:
    """What the command was told so far, the oldest first."""
    found = []
    for file in sorted((sandbox.home / "told").glob("*"), key=lambda file: file.stat().st_mtime_ns):
        place, *lines = file.read_text().splitlines()
        found.append({"place": place, **dict(line.split("=", 1) for line in lines)})
    return found


def facts(sandbox: Sandbox) -> list[tuple[str, str]]:
    return sorted((one["CHATML_STATUS"], one["CHATML_MESSAGE"]) for one in told(sandbox))


def wait_told(sandbox: Sandbox, count: int) -> None:
    wait_until(lambda: len(told(sandbox)) == count, f"{count} notices", lambda: told(sandbox))


@pytest.mark.long
def test_each_event_is_told_once_with_all_that_matters(sandbox: Sandbox, serve: Serve) -> None:
    api = serve(
        {
            "*": {
                "turns": [[[TOUCH], "Made it.\n\nAnd more."]],
                "on": {"dwell": [["…", {"hold": "here"}]], "break": [{"fail": 400, "message": "not\nthis"}]},
            }
        }
    )
    configure(sandbox, TELL)
    sandbox.chatml("new", "do it", "-q", "--name", "t", "--permission-mode", "default")
    sandbox.chatml("wait", "t", code=3)
    wait_told(sandbox, 1)
    configure(sandbox, "touch ~/never")  # it was fixed when the session was made
    sandbox.chatml("approve", "t")
    sandbox.chatml("wait", "t")
    wait_told(sandbox, 2)
    session = sandbox.session("t")
    common = {
        "place": str(sandbox.repo),
        # What is set already stays.
        **{name: sandbox.env[name] for name in ("CHATML_SANDBOX", "CHATML_PORT_RANGE")},
        "CHATML_NAME": "t",
        "CHATML_WORKTREE": session["worktree"],
        "CHATML_BRANCH": "chatml/t",
        "CHATML_REPOSITORY": str(sandbox.repo),
    }
    asked = {"CHATML_REQUEST": "Bash: touch asked.txt", "CHATML_REQUEST_ID": "1", "CHATML_REQUEST_KIND": "permission"}
    nothing = {"CHATML_REQUEST": "", "CHATML_REQUEST_ID": "", "CHATML_REQUEST_KIND": ""}
    waiting, done = told(sandbox)
    assert waiting == {**common, **asked, "CHATML_STATUS": "waiting", "CHATML_MESSAGE": "Bash: touch asked.txt"}
    assert done == {**common, **nothing, "CHATML_STATUS": "done", "CHATML_MESSAGE": "Made it."}

    sandbox.chatml("send", "t", "break", "--wait", code=1)
    sandbox.chatml("send", "t", "dwell")
    api.wait_for(lambda: api.holding["here"])
    sandbox.chatml("stop", "t")  # a person who stops it needs no word of it
    sandbox.chatml("send", "t", "dwell")
    api.wait_for(lambda: api.holding["here"])
    kill(worker(sandbox, "t"))
    sandbox.until("t", "crashed")
    for _ in range(2):
        sandbox.chatml("ls")
        sandbox.chatml("wait", "t", code=1)
        sandbox.chatml("attach", "t")
    all_gone(sandbox)
    failed = told(sandbox)[2]
    assert "not this" in failed["CHATML_MESSAGE"]
    assert facts(sandbox) == [
        ("crashed", "its worker ended without a word"),
        ("done", "Made it."),
        ("failed", failed["CHATML_MESSAGE"]),
        ("waiting", "Bash: touch asked.txt"),
    ]
    sandbox.chatml("send", "t", "dwell")
    api.wait_for(lambda: api.holding["here"])
    kill(worker(sandbox, "t"))
    sandbox.until("t", "crashed")
    all_gone(sandbox)
    assert len(told(sandbox)) == 5, "another crash is told again"
    assert not (sandbox.home / "never").exists()


@pytest.mark.parametrize("how", thinned(["failed", "crashed"], 2))
def test_what_waits_for_one_that_will_not_be_done_is_told_once(sandbox: Sandbox, how: str) -> None:
    agent = "until test -e go; do sleep 0.05; done; exit 1"
    configure(sandbox, TELL, f"agent: sh\nagents: {{sh: {{command: [sh, -c, '{agent}', '{{prompt}}']}}}}\n")
    sandbox.chatml("new", "do a", "-q", "--name", "a")
    for name, after in (("b", "a"), ("c", "b")):
        sandbox.chatml("new", f"do {name}", "-q", "--name", name, "--after", after)
    wait_until(lambda: sandbox.written("a")["status"] == "running", "a at work")
    if how == "failed":
        (Path(sandbox.written("a")["worktree"]) / "go").touch()
        sandbox.until("a", "failed")
    else:
        kill(worker(sandbox, "a"))
        sandbox.until("a", "crashed")
    wait_told(sandbox, 2)
    sandbox.chatml("ls")
    all_gone(sandbox)
    stuck = [one for one in told(sandbox) if one["CHATML_NAME"] != "a"]
    assert [(one["CHATML_NAME"], one["CHATML_STATUS"], one["CHATML_MESSAGE"]) for one in stuck] == [
        ("b", "queued", f"waits for a, which {how}")
    ]
    assert len(told(sandbox)) == 2


def test_many_who_see_a_crash_at_once_tell_it_once(sandbox: Sandbox, serve: Serve) -> None:
    api = serve({"*": [["…", {"hold": "here"}]]})
    configure(sandbox, TELL)
    sandbox.chatml("new", "do it", "-q", "--name", "t")
    api.wait_for(lambda: api.holding["here"])
    kill(worker(sandbox, "t"))
    all_gone(sandbox)
    seen = [sandbox.start("ls", "-q") for _ in range(4)] + [sandbox.start("wait", "t") for _ in range(2)]
    for process in seen:
        process.communicate(timeout=30)
    all_gone(sandbox)
    assert facts(sandbox) == [("crashed", "its worker ended without a word")]


def test_each_request_is_told_also_where_several_are_open(sandbox: Sandbox, serve: Serve) -> None:
    fetch = [{"WebFetch": {"url": f"http://127.0.0.1:9/{n}", "prompt": "read"}} for n in (1, 2)]
    serve({"*": [fetch, "Read."]})
    configure(sandbox, TELL)
    sandbox.chatml("new", "do it", "-q", "--name", "t")
    wait_told(sandbox, 2)
    assert {one["CHATML_REQUEST_ID"] for one in told(sandbox)} == {"1", "2"}


HANG = "touch ~/began; trap '' TERM HUP; sleep 1000 & sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 & sleep 1000"


@pytest.mark.long
def test_a_command_that_hangs_and_forks_delays_nobody_and_is_ended(sandbox: Sandbox) -> None:
    configure(sandbox, HANG, ECHO)
    sandbox.chatml("new", "first", "-q", "--name", "t", "--agent", "echo", "--wait")
    wait_until((sandbox.home / "began").exists, "the command to begin")
    assert sandbox.chatml("send", "t", "second", "--wait").out == "heard: second\n"

    def living(words: str) -> int:
        return sum(words in found for found in marked_processes(sandbox.home).values())

    wait_until(lambda: not living("chatml.worker"), "the worker to end")
    assert living("sleep 1000") >= 4, "it did not wait for the command"
    all_gone(sandbox)
    assert (sandbox.state("t") / "worker.log").read_text().count("notify: stopped after 10 s") == 2


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo oh; exit 3", "oh\nnotify: the command exited with code 3\n"),
        ("kill -9 $$", "notify: the command was killed (signal 9)\n"),
        ("no-such-program", "not found"),
        ("yes | head -c 5000000; touch ~/end", "\nnotify: it printed more, which is left out\n"),
        ("(sleep 0.3; touch ~/end) >/dev/null 2>&1 &", ""),
        ("exec >&- 2>&-; sleep 0.3; touch ~/end", ""),
        ("cat; touch ~/end", ""),
    ],
    ids=["fails", "is killed", "is missing", "prints megabytes", "goes on in the background", "is silent", "reads"],
)
def test_a_bad_command_hurts_nobody(sandbox: Sandbox, command: str, said: str) -> None:
    configure(sandbox, command, ECHO)
    assert sandbox.chatml("new", "hi", "--name", "t", "--agent", "echo", "--wait").out.endswith("heard: hi\n")
    all_gone(sandbox)
    log = (sandbox.state("t") / "worker.log").read_text()
    assert said in log if said else log == ""
    assert len(log) < OUTPUT + 200
    assert (sandbox.home / "end").exists() == ("end" in command), "it ran to its end"


def test_a_committed_file_tells_nobody_before_it_is_approved(sandbox: Sandbox) -> None:
    (sandbox.repo / ".chatml.yaml").write_text("notify: touch ~/told\n")
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(ECHO)
    refused = sandbox.chatml("new", "hi", "-q", "--agent", "echo", "--wait", code=1)
    assert refused.err.startswith("error: .chatml.yaml has commands that you have not approved: notify\nhint: ")
    assert sandbox.chatml("ls", "-q").out == ""
    assert not (sandbox.home / "told").exists()
    sandbox.chatml("new", "hi", "-q", "--agent", "echo", "--wait", "--trust")
    all_gone(sandbox)
    assert (sandbox.home / "told").exists()


DESKTOP = """\
import sys, dbus, dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

NAME = "org.freedesktop.Notifications"

class Desktop(dbus.service.Object):
    @dbus.service.method(NAME, out_signature="ssss")
    def GetServerInformation(self):
        return "test", "test", "1", "1.2"

    @dbus.service.method(NAME, in_signature="susssasa{sv}i", out_signature="u")
    def Notify(self, app, replaces, icon, title, body, actions, hints, timeout):
        print(f"{app}|{title}|{body}", flush=True)
        return 1

bus = dbus.SessionBus(mainloop=DBusGMainLoop())
name = dbus.service.BusName(NAME, bus)
desktop = Desktop(bus, "/org/freedesktop/Notifications")
print("ready", flush=True)
GLib.MainLoop().run()
"""
"""The part of a desktop that shows notices, for the interpreter of the system."""


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a message bus, and the file to which what it is told to show is written."""
    modules = ["/usr/bin/python3", "-c", "import dbus.mainloop.glib, gi.repository.GLib"]
    if subprocess.run(modules, capture_output=True, check=False, timeout=TIMEOUT).returncode:
        pytest.skip("not installed: python3-dbus, python3-gi")
    shown = tmp_path / "shown"
    bus = ["dbus-daemon", "--session", "--nofork", "--print-address=1", f"--address=unix:dir={tmp_path}"]
    with subprocess.Popen(bus, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        assert daemon.stdout is not None
        address = daemon.stdout.readline().strip()
        with (
            shown.open("w") as file,
            subprocess.Popen(
                ["/usr/bin/python3", "-c", DESKTOP], stdout=file, env={"DBUS_SESSION_BUS_ADDRESS": address}
            ) as server,
        ):
            wait_until(lambda: shown.read_text() == "ready\n", "the desktop")
            yield address, shown
            server.terminate()
        daemon.terminate()


@needs("notify-send", "dbus-daemon")
def test_without_a_command_the_desktop_shows_it_unless_switched_off(
    sandbox: Sandbox, desktop: tuple[str, Path]
) -> None:
    address, shown = desktop
    config = sandbox.repo / ".git" / "chatml" / "config.yaml"
    config.parent.mkdir()
    config.write_text(f"notify: off\n{ECHO}")
    there = {"DBUS_SESSION_BUS_ADDRESS": address}
    sandbox.chatml("new", "hi", "-q", "--agent", "echo", "--wait", env=there)
    config.write_text(ECHO)
    sandbox.chatml("new", "from a server", "-q", "--agent", "echo", "--wait")
    all_gone(sandbox)
    sandbox.chatml("new", "<b> & -1", "-q", "--agent", "echo", "--name", "t", "--wait", env=there)
    sandbox.chatml("new", "hi", "-q", "--agent", "echo", "--name", "u", "--wait", env={**there, "CHATML_NOTIFY": "off"})
    all_gone(sandbox)
    assert shown.read_text() == "ready\nchatml|t is done|heard: &lt;b&gt; &amp; -1\n"


@pytest.mark.long
def test_the_bell_rings_once_for_each_news(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    api = serve(
        {
            "ask": [[TOUCH], "Made it."],
            "break": [["…", {"hold": "one"}, {"Bash": {"command": "ls"}}], {"fail": 400, "message": "no"}],
            "*": [["…", {"hold": "two"}], "Done."],
        }
    )
    bells = tmp_path / "bytes"
    start = ("-q", "--permission-mode", "default", "--name")
    sandbox.chatml("new", "ask", *start, "before")
    sandbox.chatml("wait", "before", code=3)
    with terminal(sandbox) as window:
        window.keep(bells)

        def rung(count: int, *texts: str) -> None:
            window.expect(*texts)
            wait_until(lambda: bells.read_bytes().count(b"\a") == count, f"bell {count}", bells.read_bytes)

        window.type("chatml ls --watch")
        window.expect("before", "waiting")
        sandbox.chatml("new", "break", *start, "fails")
        sandbox.chatml("new", "work", *start, "dies")
        api.wait_for(lambda: api.holding["one"] and api.holding["two"])
        window.expect("fails", "dies", "running")
        rung(0)
        sandbox.chatml("new", "ask", *start, "asks")
        rung(1, "asks")
        api.release("one")
        rung(2, "failed")
        kill(worker(sandbox, "dies"))
        rung(3, "crashed")
        sandbox.chatml("deny", "asks")
        sandbox.until("asks", "done")
        window.expect("Made it.")
        sandbox.chatml("stop", "before")
        window.expect("stopped")
        rung(3)
        window.press("C-c")


def test_the_bell_rings_in_attach_for_what_is_new(sandbox: Sandbox, serve: Serve, tmp_path: Path) -> None:
    api = serve({"*": {"turns": [[[TOUCH], ["…", {"hold": "here"}, TOUCH], "Made it."]]}})
    bells = tmp_path / "bytes"
    sandbox.chatml("new", "ask", "-q", "--name", "t", "--permission-mode", "default")
    sandbox.chatml("wait", "t", code=3)
    with terminal(sandbox) as window:
        window.keep(bells)
        window.type("chatml attach t")
        window.expect("? may it? Bash: touch asked.txt", "y yes")
        window.type("y")
        api.wait_for(lambda: api.holding["here"])
        window.expect("approved")
        assert bells.read_bytes().count(b"\a") == 0
        api.release("here")
        wait_until(lambda: bells.read_bytes().count(b"\a") == 1, "the bell", window.screen)
        window.type("y")
        window.expect("Made it.", "t is done")
        assert bells.read_bytes().count(b"\a") == 1
        window.press("C-c")
