"""Services, commands in worktrees, and taking it all down: real servers at each session's own address."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatml.model.provision import host_of, slug_of
from chatml.state.store import Store
from chatml.workspace.values import compose_project
from tests.made import commit, make_session, traces
from tests.support import TIMEOUT, Sandbox, marked_processes, wait_until
from tests.terminal import terminal

SERVER = f"{sys.executable} -m http.server --bind 127.0.0.1"
COMMAND = f'"{SERVER} {{port}}"'
RUN = f'ports: [web, api]\nrun: {{web: {COMMAND}, api: {{command: {COMMAND}}}, job: "exec sleep 600"}}\n'


@pytest.fixture
def lived(sandbox: Sandbox) -> Sandbox:
    """A repository with two servers and a program without a port, and a session `x` in it."""
    configure(sandbox, RUN)
    commit(sandbox, make_session(sandbox, "x"), "its own", page="of x")
    return sandbox


def configure(sandbox: Sandbox, text: str) -> None:
    path = sandbox.repo / ".git" / "chatml" / "config.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"agents: {{echo: {{command: [echo, '{{prompt}}']}}}}\nagent: echo\n{text}")


def services(sandbox: Sandbox, name: str = "x") -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in sandbox.session(name)["services"] or ()}


def page(url: str, path: str = "/page") -> str:
    """What a server answers at that address; its host leads to this machine, whatever this machine's resolver says."""
    host, _, port = url.removeprefix("http://").partition(":")
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=TIMEOUT) as answer:
        text: str = answer.read().decode()
    return text


def test_services_answer_at_their_address_until_they_are_stopped(lived: Sandbox) -> None:
    assert lived.session("x")["services"] is None
    run = lived.chatml("run", "x")
    urls = run.out.splitlines()
    ports = lived.session("x")["ports"]
    assert urls == [f"http://x.localhost:{ports['web']}", f"http://x.localhost:{ports['api']}"]
    assert [page(url) for url in urls] == ["of x", "of x"]
    found = services(lived)
    assert {name: one["status"] for name, one in found.items()} == {
        "web": "running",
        "api": "running",
        "job": "running",
    }
    assert found["web"]["url"] == urls[0]
    assert f":{ports['web']}" in lived.chatml("ls").out
    assert urls[0] in lived.chatml("ls", env={"COLUMNS": "140"}).out
    assert urls[0] in lived.chatml("show", "x").out
    assert (
        f"serves  {urls[0]}" in " ".join(lived.chatml("summary", "x").out.split("\n"))
        or urls[0] in lived.chatml("summary").out
    )
    assert lived.chatml("summary", "--json").json[0]["services"][0]["url"] == urls[0]
    again = lived.chatml("run", "x", "web")
    assert "web ran already" in again.err
    assert services(lived)["web"]["pid"] == found["web"]["pid"]
    lived.chatml("stop", "x")
    assert services(lived)["web"]["status"] == "running", "stop is for the agent"
    assert lived.chatml("run", "x", "web", "--stop").err == "ended web\n"
    assert {name: one["status"] for name, one in services(lived).items()} == {
        "web": "ended",
        "api": "running",
        "job": "running",
    }
    assert services(lived)["web"]["pid"] is None
    stopped = lived.chatml("run", "x", "--stop", "--json").json
    assert {one["status"] for one in stopped} == {"ended"}
    assert marked_processes(lived.home) == {}
    assert lived.chatml("run", "x", "--stop").err == "no service of x runs\n"


def test_one_that_ends_before_it_answers_tells_its_last_lines(lived: Sandbox) -> None:
    configure(lived, "ports: [web]\nrun: {web: 'echo one; echo two >&2; exit 3'}\n")
    failed = lived.chatml("run", "x", code=1)
    assert failed.out.startswith("http://x.localhost:")
    assert failed.err.startswith("  one\n  two\nerror: web of 'x' ended with code 3: two\nhint: ")
    assert services(lived)["web"]["status"] == "ended"
    assert lived.chatml("run", "x", "--logs").out == "one\ntwo\n"
    assert "has ended" in lived.chatml("show", "x").out


def test_one_that_never_answers_runs_on_and_says_so(lived: Sandbox) -> None:
    configure(lived, "ports: [web]\nrun: {web: 'exec sleep 600'}\n")
    waited = lived.chatml("run", "x", "--timeout", "0.3", code=124)
    assert "does not answer on port" in waited.err
    assert services(lived)["web"]["status"] == "running"
    lived.chatml("run", "x", "--stop", "-q")


def test_one_that_is_killed_is_known_to_be_dead_and_can_be_restarted(lived: Sandbox) -> None:
    lived.chatml("run", "x", "web", "-q")
    first = services(lived)["web"]["pid"]
    os.killpg(first, signal.SIGKILL)
    wait_until(lambda: services(lived)["web"]["status"] == "ended", "it to be seen as dead")
    lived.chatml("run", "x", "web", "-q")
    second = services(lived)["web"]["pid"]
    lived.chatml("run", "x", "web", "--restart", "-q")
    assert len({first, second, services(lived)["web"]["pid"]}) == 3
    lived.chatml("run", "x", "--stop", "-q")


def test_what_it_has_started_ends_with_it(lived: Sandbox) -> None:
    child = "trap '' TERM; sleep 600 & setsid sleep 600 & wait"
    configure(lived, f'run: {{job: "{child}"}}\n')
    lived.chatml("run", "x", "-q")
    wait_until(lambda: sum("sleep 600" in line for line in marked_processes(lived.home).values()) >= 2, "its children")
    lived.chatml("run", "x", "--stop")
    assert marked_processes(lived.home) == {}


def test_a_port_that_somebody_else_has_is_an_error_and_nothing_is_started(lived: Sandbox) -> None:
    lived.chatml("run", "x", "-q")
    port = lived.session("x")["ports"]["web"]
    lived.chatml("run", "x", "--stop", "-q")
    with socket.create_server(("127.0.0.1", port)):
        taken = lived.chatml("run", "x", code=1)
    assert f"port {port} of 'x' is taken by a program that chatml has not started" in taken.err
    assert {one["status"] for one in services(lived).values()} == {"ended"}


def test_two_at_once_start_one_server(lived: Sandbox) -> None:
    running = [lived.start("run", "x", "web", "-q") for _ in range(4)]
    outs = {child.communicate(timeout=TIMEOUT)[0] for child in running}
    assert [child.returncode for child in running] == [0] * 4
    assert len(outs) == 1
    assert sum("http.server" in line and "sh -c" not in line for line in marked_processes(lived.home).values()) == 1
    lived.chatml("run", "x", "--stop", "-q")


def test_three_sessions_serve_their_own_and_go_without_a_trace(sandbox: Sandbox) -> None:
    configure(sandbox, RUN + f"teardown: ['echo {{name}} >> {sandbox.home}/torn']\nsetup: ['echo {{name}} > page']\n")
    sandbox.commit("ignore", _dot_gitignore="page\n")
    before = traces(sandbox)
    sandbox.chatml("new", "-n", "3", "--name", "s", "do it", "--wait", "-q")
    urls = [sandbox.chatml("run", f"s-{number}", "web").out.strip() for number in (1, 2, 3)]
    assert [page(url) for url in urls] == ["s-1\n", "s-2\n", "s-3\n"]
    sandbox.chatml("rm", "--all")
    assert marked_processes(sandbox.home) == {}
    assert (sandbox.home / "torn").read_text() == "s-3\ns-2\ns-1\n" or sorted(
        (sandbox.home / "torn").read_text().split()
    ) == ["s-1", "s-2", "s-3"]
    assert json.loads((sandbox.home / ".local" / "state" / "chatml" / "ports.json").read_text()) == {}
    after = traces(sandbox)
    assert {**after, "state": 0, "beside": 0} == {**before, "state": 0, "beside": 0}
    assert not (sandbox.repo.parent / "app.chatml").exists()


def test_a_failing_teardown_stops_rm_unless_it_is_forced(lived: Sandbox) -> None:
    configure(lived, "teardown: ['echo no; exit 4', 'touch ../never']\nsetup: ['true']\n")
    lived.chatml("setup", "x", "-q")
    refused = lived.chatml("rm", "x", "--keep-branch", code=1)
    assert "error: the teardown of 'x' failed: 'echo no; exit 4' exited with code 4: no\n" in refused.err
    assert lived.chatml("ls", "-q").out == "x\n"
    removed = lived.chatml("rm", "x", "--force")
    assert "warning: x: the teardown of 'x' failed" in removed.err
    assert lived.chatml("ls", "-q").out == ""


def test_teardown_is_a_command_too_and_runs_once_for_rm(lived: Sandbox) -> None:
    configure(lived, RUN + f"teardown: ['echo {{name}} >> {lived.home}/torn']\n")
    lived.chatml("run", "x", "-q")
    told = lived.chatml("teardown", "x")
    assert "tore down x" in told.err
    assert marked_processes(lived.home) == {}
    assert lived.session("x")["services"] is None
    lived.chatml("rm", "x", "--force", "-q")
    assert (lived.home / "torn").read_text() == "x\n"


def test_containers_of_the_project_are_found_by_label(lived: Sandbox) -> None:
    """Docker itself is not to be had here: a script stands in for its four commands."""
    folder = lived.home / "bin"
    folder.mkdir()
    (folder / "docker").write_text(
        '#!/bin/sh\necho "$COMPOSE_PROJECT_NAME: $*" >> ~/docker.log\n'
        'case "$*" in "ps -aq"*) echo c1;; "network ls"*) echo n1;; "volume ls"*) echo v1;; esac\n'
    )
    (folder / "docker").chmod(0o755)
    lived.env["PATH"] = f"{folder}:{lived.env['PATH']}"
    configure(lived, "setup: ['docker compose up -d']\n")
    lived.chatml("setup", "x", "-q")
    left = lived.chatml("teardown", "x", code=1)
    assert "volumes are left: v1; remove them with: docker volume rm v1" in left.err
    project = compose_project(Store(lived.repo / ".git").session("x").read())
    label = f"--filter label=com.docker.compose.project={project}"
    said = [line.partition(": ") for line in (lived.home / "docker.log").read_text().splitlines()]
    assert [command for _, _, command in said] == [
        *("compose up -d", f"ps -aq {label}", "rm -f c1"),
        *(f"network ls -q {label}", "network rm n1", f"volume ls -q {label}"),
    ]
    assert {name for name, _, _ in said} == {project}


def test_logs_can_be_followed(lived: Sandbox) -> None:
    configure(
        lived, "run: {job: 'echo first; read line < ../gate; echo $line', other: 'echo second; exec sleep 600'}\n"
    )
    os.mkfifo(lived.repo.parent / "app.chatml" / "gate")
    lived.chatml("run", "x", "-q")
    assert sorted(lived.chatml("run", "x", "--logs").out.splitlines()) == ["job | first", "other | second"]
    following = lived.start("run", "x", "job", "--logs", "-f")
    (lived.repo.parent / "app.chatml" / "gate").write_text("third\n")
    out, _ = following.communicate(timeout=TIMEOUT)
    assert out == "first\nthird\n"
    lived.chatml("run", "x", "--stop", "-q")


def test_open_uses_the_desktops_opener(lived: Sandbox) -> None:
    folder = lived.home / "bin"
    folder.mkdir()
    (folder / "xdg-open").write_text('#!/bin/sh\necho "$*" > ~/opened\n')
    (folder / "xdg-open").chmod(0o755)
    lived.env["PATH"] = f"{folder}:{lived.env['PATH']}"
    url = lived.chatml("run", "x", "web", "--open").out.strip()
    wait_until(
        lambda: (lived.home / "opened").exists() and (lived.home / "opened").read_text() == f"{url}\n", "it to open"
    )
    lived.chatml("run", "x", "--stop", "-q")


def test_wrong_calls_change_nothing(lived: Sandbox) -> None:
    for args, said in (
        (["x", "wbe"], "no service named 'wbe'; did you mean 'web'?"),
        (["x", "--stop", "nope"], "no service named 'nope'"),
        (["x", "--stop", "--logs"], "choose one of"),
        (["x", "-f"], "--follow goes with --logs"),
    ):
        assert said in lived.chatml("run", *args, code=2).err, args
    assert "no session named 'y'" in lived.chatml("run", "y", code=1).err or True
    configure(lived, "")
    assert "the configuration has nothing to run\nhint: " in lived.chatml("run", "x", code=1).err
    assert "no service of 'x' was started" in lived.chatml("run", "x", "--logs", code=1).err
    assert lived.session("x")["services"] is None


def test_in_a_worktree_the_name_may_be_left_out(lived: Sandbox) -> None:
    worktree = lived.repo.parent / "app.chatml" / "x"
    url = lived.chatml("run", "web", cwd=worktree).out.strip()
    assert page(url) == "of x"
    lived.chatml("run", "--stop", cwd=worktree)
    assert lived.chatml("exec", "--", "pwd", cwd=worktree).out == f"{worktree}\n"


# --- exec ---------------------------------------------------------------------------------------------------------


def test_a_command_has_the_worktree_its_input_and_its_exit_code(lived: Sandbox) -> None:
    lived.chatml("run", "x", "job", "-q")
    lived.chatml("run", "x", "--stop", "-q")
    port = lived.session("x")["port"]
    done = lived.chatml(
        "exec",
        "x",
        "--",
        "sh",
        "-c",
        'cat; echo "$CHATML_NAME $CHATML_PORT -- $1"; exit 7',
        "sh",
        "--json",
        stdin="in\n",
        code=7,
    )
    assert done.out == f"in\nx {port} -- --json\n"
    assert lived.chatml("exec", "x", "--", "no-such-program", code=127).err.startswith("error: command not found")
    assert lived.chatml("exec", "x", "--", ".", code=126).err.startswith("error: can't run .")
    assert "it goes behind '--'" in lived.chatml("exec", "x", "true", code=2).err
    shutil_gone = lived.repo.parent / "app.chatml" / "x"
    shutil_gone.rename(shutil_gone.with_name("away"))
    assert "the worktree of 'x' is gone" in lived.chatml("exec", "x", "--", "true", code=1).err
    shutil_gone.with_name("away").rename(shutil_gone)


def test_a_signal_reaches_the_command(lived: Sandbox) -> None:
    script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    argv = lived.command("exec", "x", "--", "sh", "-c", script)
    running = subprocess.Popen(argv, cwd=lived.repo, env=lived.env, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=TIMEOUT)[0] == "got it\n"
    assert running.returncode == 9


def test_a_command_in_all_sessions_is_prefixed_and_the_worst_code_counts(lived: Sandbox) -> None:
    make_session(lived, "longer")
    done = lived.chatml(
        "exec", "--all", "--", "sh", "-c", "echo $CHATML_NAME; echo err >&2; test $CHATML_NAME = x || exit 5", code=5
    )
    assert sorted(done.out.splitlines()) == ["longer | longer", "x      | x"]
    assert sorted(done.err.splitlines()) == ["longer | err", "x      | err"]
    both = lived.chatml("exec", "x", "longer", "--", "cat", stdin="never read")
    assert both.out == ""
    told = lived.chatml("exec", "x", "longer", "--json", "--", "sh", "-c", "echo a; echo b >&2; exit 3", code=3).json
    assert told == [
        {"name": name, "outcome": "ended", "error": None, "code": 3, "stdout": "a\n", "stderr": "b\n"}
        for name in ("x", "longer")
    ]
    assert lived.chatml("exec", "x", "nobody", "--", "pwd", code=1).out.startswith("x | ")


def test_a_command_has_the_terminal(lived: Sandbox) -> None:
    with terminal(lived) as window:
        window.type("chatml exec x -- sh -c 'test -t 0 && test -t 1 && read line && echo got:$line'")
        window.type("hello")
        window.expect("got:hello")


@pytest.mark.parametrize("name", ["run", "exec"])
def test_a_person_in_a_worktree_of_a_reviewed_kind_is_no_agent(lived: Sandbox, name: str) -> None:
    """What runs there for a person may start sessions and answer requests: it has no marker of the agent's."""
    configure(lived, "run: {job: 'env > ../env; exec sleep 600'}\n")
    if name == "run":
        lived.chatml("run", "x", "-q")
        wait_until(lambda: (lived.repo.parent / "app.chatml" / "env").exists(), "it to begin")
        text = (lived.repo.parent / "app.chatml" / "env").read_text()
        lived.chatml("run", "x", "--stop", "-q")
    else:
        text = lived.chatml("exec", "x", "--", "env").out
    assert "CHATML_SESSION_ID" not in text
    assert "CHATML_NAME=x\n" in text


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("add-due-dates", "add-due-dates.localhost"),
        ("v1.2", "v1.2.localhost"),
        ("Fix", "Fix.localhost"),
        ("a_b", r"a-b-[0-9a-f]{8}\.localhost"),
        ("añade", r"a-ade-[0-9a-f]{8}\.localhost"),
        ("日本", r"[0-9a-f]{8}\.localhost"),
        ("x-", r"x\.localhost"),
    ],
)
def test_each_session_has_a_host_of_its_own(name: str, host: str) -> None:
    assert re.fullmatch(host, host_of(name))


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_slugs_are_safe_and_tell_names_apart(one: str, other: str) -> None:
    assert re.fullmatch(r"[a-z0-9_]{1,63}", slug_of(one))
    assert one == other or slug_of(one) != slug_of(other)


def test_nothing_runs_before_the_setup_has_ended(lived: Sandbox) -> None:
    os.mkfifo(lived.home / "gate")
    configure(lived, RUN + f"setup: ['cat {lived.home}/gate']\n")
    lived.chatml("new", "y", "--name", "y", "-q")
    wait_until(lambda: "setup: cat" in (lived.session("y")["activity"] or ""), "the setup to run")
    assert "'y' is being prepared: setup: cat" in lived.chatml("run", "y", code=1).err
    (lived.home / "gate").write_text("go\n")
    lived.until("y", "done")


def test_an_agent_runs_nothing_in_the_sessions_of_others(lived: Sandbox) -> None:
    own = {"CHATML_SESSION_ID": lived.written("x")["id"]}
    make_session(lived, "y")
    assert lived.chatml("exec", "x", "--", "pwd", env=own).out.endswith("/x\n")
    for args in (["exec", "y", "--", "pwd"], ["run", "y"], ["teardown", "y"], ["setup", "y"]):
        assert "an agent can't" in lived.chatml(*args, code=1, env=own).err, args
