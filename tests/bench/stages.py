"""The measurements: each stage sets a scene up, and measures the figures that it serves, both sides in turn."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

from chatml.model import PullRequest, Session, stamp
from chatml.scripted.script import Script
from chatml.state import pulls
from chatml.state.pulls import PullsSeen
from chatml.state.store import SessionStore, Store
from chatml.workspace import copying, ports
from chatml.workspace.glance import git_folder, glance
from tests.bench import anatomy
from tests.bench.figures import Samples
from tests.bench.rig import (
    PATIENCE,
    ClaudeBackground,
    Side,
    busy,
    chatml_side,
    claude_side,
    on_terminal,
    read_bytes,
    wait,
)
from tests.made import commit, make_session
from tests.support import TIMEOUT

HELD: Script = {"*": [{"hold": "model"}, "Done."]}
"""The model takes its time: a session goes on until the hold is released."""

AT_ONCE: Script = {"*": ["Done."]}

TEN = 10
WAITING = 10.0
"""Seconds over which the CPU of waiting sessions is measured."""

SETTLING = 3.0
"""Seconds between the last session's first request and the start of that measurement."""

LISTS = 7
"""How often the sessions are listed while ten run: both sides in each run."""

FIFTY = 50

LOOP = 'i=0; while [ $i -lt "$0" ]; do "$@" "task number $i" >/dev/null || exit 1; i=$((i+1)); done'
"""A person's shell loop: `sh -c LOOP COUNT COMMAND…`."""


# --- ten at once --------------------------------------------------------------------------------------------------


def ten(samples: Samples, runs: int) -> None:
    """Ten sessions at once: starting, listing, memory and CPU while they wait, and what is left of them at rest."""
    for _ in range(runs):
        with chatml_side(HELD) as side:
            for name, value in _ten(side):
                samples.add(name, ours=value)
        with claude_side(HELD) as side:
            for name, value in _ten(side):
                samples.add(name, other=value)


def _ten(side: Side) -> Iterator[tuple[str, float]]:
    """Memory and CPU are a tenth of all that runs, the daemon and warm spare of `claude --bg` included."""
    side.warm(keep=False)
    before = len(side.api.requests)
    began = time.monotonic()
    *command, _ = side.start_argv("")
    side.run(["sh", "-c", LOOP, str(TEN), *command])
    side.api.wait_for(lambda: len(side.api.requests) >= before + TEN, PATIENCE)
    yield "ten-started", (max(request.time for request in side.api.requests) - began) * 1000
    time.sleep(SETTLING)
    began, used = time.monotonic(), side.cpu()
    time.sleep(WAITING)
    yield "cpu", (side.cpu() - used) / (time.monotonic() - began) * 100 / TEN
    yield "memory", side.memory() / TEN
    for _ in range(LISTS):
        yield "ls-running", side.run(side.list_argv())[0]
    side.api.release("model")
    wait(side.answered, "all sessions to come to rest")
    time.sleep(1.0)  # an ended worker takes a moment to be gone
    yield "rest-processes", len(side.processes())
    yield "rest-memory", side.memory()


# --- from a list --------------------------------------------------------------------------------------------------


def from_a_list(samples: Samples, runs: int) -> None:
    """Ten from a file beside ten `claude --bg` in a loop."""
    for _ in range(runs):
        with chatml_side(HELD) as side:
            samples.add("list-started", ours=_listed(side))
        with claude_side(HELD) as other:
            samples.add("list-started", other=next(_ten(other))[1])


def fifty(samples: Samples, runs: int) -> None:
    """Fifty from a file beside one, both with a program as agent: how long a person waits for their prompt."""
    for number in range(runs):
        with chatml_side(HELD) as side:
            folder = side.sandbox.home / ".config" / "chatml"
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text("agent: 'true'\nagents: {'true': {command: ['true', '{prompt}']}}\n")
            side.run(side.start_argv("warm up"))
            one = [side.run(side.start_argv(f"one more {number}"))[0] for number in range(5)]
            wait(side.answered, "them to end")
            samples.add("list-returns", side.run([*side.start_argv("")[:-1], "-f", _list(side, FIFTY)])[0], median(one))
            wait(side.answered, "all to end")


def _listed(side: Side) -> float:
    began = time.monotonic()
    side.run([*side.start_argv("")[:-1], "-f", _list(side, TEN)])
    side.api.wait_for(lambda: len(side.api.requests) >= TEN, PATIENCE)
    return (max(request.time for request in side.api.requests) - began) * 1000


def _list(side: Side, count: int) -> str:
    path = side.sandbox.home / "tasks.md"
    path.write_text("".join(f"- task number {number}\n" for number in range(count)))
    return str(path)


# --- one start ----------------------------------------------------------------------------------------------------


def start(samples: Samples, runs: int) -> None:
    """One session's start: until the command returns, and until the model is asked."""
    with chatml_side(HELD) as ours, claude_side(HELD) as other:
        other.warm(keep=True)
        _start(ours, "warm up")
        for number in range(4 * runs):
            returned, asked, steps = _start(ours, f"task number {number}")
            samples.add("new-returns", ours=returned)
            samples.add("first-request", ours=asked)
            for step, took in steps.items():
                samples.add_step(step, took)
            returned, asked, _ = _start(other, f"task number {number}")
            samples.add("new-returns", other=returned)
            samples.add("first-request", other=asked)


def _start(side: Side, prompt: str) -> tuple[float, float, dict[str, float]]:
    before = len(side.api.requests)
    moment = anatomy.Moment.now()
    returned, said = side.run(side.start_argv(prompt))
    side.api.wait_for(lambda: len(side.api.requests) > before, PATIENCE)
    asked = side.api.requests[before].time
    steps = {} if isinstance(side, ClaudeBackground) else anatomy.steps(side, moment, said.strip(), asked)
    side.end_one(said)
    return returned, (asked - moment.monotonic) * 1000, steps


# --- many records -------------------------------------------------------------------------------------------------


def many(samples: Samples, runs: int) -> None:
    """Listing 1,000 sessions at rest beside listing 10."""
    with chatml_side(AT_ONCE) as few, chatml_side(AT_ONCE) as lots:
        for side, number in ((few, 10), (lots, 1000)):
            side.sandbox.chatml("new", "--wait", "-q", "--name", "original", "a task")
            _multiply(Store(side.sandbox.repo / ".git"), number)
            side.run(side.list_argv())
        for _ in range(3 * runs):
            samples.add("ls-many", ours=lots.run(lots.list_argv())[0])
            samples.add("ls-many", other=few.run(few.list_argv())[0])


def with_pulls(samples: Samples, runs: int) -> None:
    """Listing sessions with an open pull request each, just seen, beside as many without."""
    with chatml_side(AT_ONCE) as ours, chatml_side(AT_ONCE) as other:
        for side in (ours, other):
            side.sandbox.chatml("new", "--wait", "-q", "--name", "original", "a task")
            _multiply(Store(side.sandbox.repo / ".git"), FIFTY)
        _open_pulls(Store(ours.sandbox.repo / ".git"))
        for number in range(6 * runs + 1):
            took = [side.run(side.list_argv())[0] for side in (ours, other)]
            if number:
                samples.add("ls-pulls", *took)
        assert not any("refresh" in line for line in ours.processes().values()), "a look at the forge was measured"


def _open_pulls(store: Store) -> None:
    """Give each session a pull request, of which more has been seen since it was opened."""
    moment = time.time()
    seen = []
    for number, name in enumerate(sorted(store.names()), 1):
        opened = PullRequest(number, f"https://github.com/octo/app/pull/{number}", "open", at=stamp(moment))
        store.session(name).update(lambda one, pull=opened: replace(one, pr=pull))  # type: ignore[misc]
        seen.append(replace(opened, checks="passing", draft=False, review="approved", mergeable=True))
    later = tuple(replace(pull, at=stamp(moment + 1)) for pull in seen)
    pulls.write(store, PullsSeen(later, asked=moment, not_before=moment + 3600))


def _multiply(store: Store, number: int) -> None:
    """Copies of the one real session, until there are so many."""
    original = store.session("original")
    session = original.read()
    for i in range(1, number):
        _copy(original, store.session(f"copy-{i}"), session)


def _copy(original: SessionStore, copy: SessionStore, session: Session) -> None:
    copy.folder.mkdir()
    for file in (original.events, original.inbox, original.log, original.worker_lock.path):
        (copy.folder / file.name).write_bytes(file.read_bytes())
    branch = session.branch.replace(original.name, copy.name)
    worktree = str(Path(session.worktree).with_name(copy.name))
    moved = replace(session, name=copy.name, branch=branch, worktree=worktree)
    _copy_worktree(session, moved)
    copy.write(replace(moved, changes_seen=glance(moved)))


def _copy_worktree(session: Session, copy: Session) -> None:
    """As `git worktree add` would make it, a thousand times as fast."""
    there, place = Path(session.worktree), Path(copy.worktree)
    admin = git_folder(there)
    own = admin.with_name(copy.name)
    shutil.copytree(there, place)
    shutil.copytree(admin, own)
    (place / ".git").write_text(f"gitdir: {own}\n")
    (own / "gitdir").write_text(f"{place}/.git\n")
    (own / "HEAD").write_text(f"ref: refs/heads/{copy.branch}\n")
    ref = admin.parents[1] / "refs" / "heads" / copy.branch
    ref.write_text(f"{session.base.commit}\n")


# --- ten at rest --------------------------------------------------------------------------------------------------

IMPORT = (sys.executable, "-c", "import click")
"""What any command line in Python with click costs before it does something."""


def rest(samples: Samples, runs: int) -> None:
    """Listing ten at rest beside bare click and `claude agents`, and watching them."""
    with chatml_side(AT_ONCE) as ours, claude_side(AT_ONCE) as other:
        ours.sandbox.chatml("new", "--wait", "-q", "--name", "original", "a task")
        _multiply(Store(ours.sandbox.repo / ".git"), TEN)
        for number in range(TEN):
            other.run(other.start_argv(f"task number {number}"))
        wait(other.answered, "all sessions to come to rest")
        for _ in range(4 * runs):
            listed, bare = ours.run(ours.list_argv())[0], ours.run(IMPORT)[0]
            samples.add("ls-import", listed, bare)
            samples.add("ls-rest", listed, other.run(other.list_argv())[0])
            samples.add("ls-terminal", _shown(ours), bare)
        samples.add("attach-rest", ours=_watching(ours, "attach", "original"))
        samples.add("watch-rest", ours=_watching(ours, "ls", "--watch"))


def _shown(side: Side) -> float:
    began = time.monotonic()
    with on_terminal(side.sandbox.command("ls"), side.sandbox) as shown:
        shown.reader.join(PATIENCE)  # to the end of what it prints: Popen.wait with a limit looks every 50 ms only
        return (time.monotonic() - began) * 1000


def _watching(side: Side, *args: str) -> float:
    """The CPU of a command that watches, in % of a core, once it has begun."""
    with on_terminal(side.sandbox.command(*args), side.sandbox) as shown:
        time.sleep(SETTLING)
        began, used = time.monotonic(), busy(shown.process.pid)
        time.sleep(WAITING)
        return (busy(shown.process.pid) - used) / (time.monotonic() - began) * 100


# --- a large repository -------------------------------------------------------------------------------------------


def large(samples: Samples, runs: int) -> None:
    """Starting in a large repository beside a small one."""
    with chatml_side(HELD) as big, chatml_side(HELD) as small:
        fill(big, 50_000)
        fill(small, 50)
        for number in range(2 * runs + 1):
            took = {}
            for key, side in (("ours", big), ("other", small)):
                took[key], said = side.run(side.start_argv(f"task number {number}"))
                side.end_one(said)
                worktree = side.sandbox.chatml("path", said.strip()).out.strip()
                side.sandbox.git("worktree", "remove", "--force", worktree)
            if number:  # the first one warms up
                samples.add("new-large", took["ours"], took["other"])


def diff(samples: Samples, runs: int) -> None:
    """The changes of three files among 50,000, beside `git status` in the same worktree."""
    with chatml_side(AT_ONCE) as side:
        if side.sandbox.chatml("diff", "--help", code=None).code:
            samples.unavailable["diff-large"] = "this chatml has no diff command"
            return
        fill(side, 50_000)
        side.sandbox.chatml("new", "--wait", "-q", "--name", "big", "a task")
        worktree = Path(side.sandbox.session("big")["worktree"])
        for number in (1, 20_000, 49_999):
            _file(worktree, number).write_text("changed\n")
        sides: dict[str, Callable[[], float]] = {
            "ours": lambda: side.run(side.sandbox.command("diff", "big", "--stat"))[0],
            "other": lambda: side.run(["git", "status"], cwd=worktree)[0],
        }
        for number in range(2 * runs + 1):
            took = {key: measure() for key, measure in sides.items()}
            if number:
                samples.add("diff-large", took["ours"], took["other"])


def merge(samples: Samples, runs: int) -> None:
    """One session of two changed files landed in the branch that is checked out, beside git alone."""
    with chatml_side(AT_ONCE) as side:
        fill(side, 1_000)
        sandbox = side.sandbox
        start = sandbox.git("rev-parse", "main")
        for number in range(2 * runs + 1):
            name = f"s{number}"
            commit(sandbox, make_session(sandbox, name), name, new=name, **{f"part000__file{number:02}_dot_txt": "x\n"})
            plain = ["sh", "-c", f"git merge -q --squash chatml/{name} && git commit -q -m {name}"]
            took = {}
            for key, argv in (("other", plain), ("ours", sandbox.command("merge", name))):
                sandbox.git("reset", "-q", "--hard", start)
                took[key] = side.run(argv, cwd=sandbox.repo)[0]
            if number:
                samples.add("merge", took["ours"], took["other"])


BARE = """
for top in "$0"/*; do
    admin=$(git -C "$top" rev-parse --absolute-git-dir)
    export GIT_INDEX_FILE="$admin/bare"
    cp "$admin/index" "$GIT_INDEX_FILE" && git -C "$top" add -A && tree=$(git -C "$top" write-tree) || exit 1
    unset GIT_INDEX_FILE
    made="$made $(git -C "$top" commit-tree "$tree" -p HEAD -m -)" || exit 1
done
for a in $made; do
    for b in $made; do
        test "$a" = "$b" && break
        echo "$a $b"
    done
    echo "$a main"
done | git merge-tree --write-tree -z --messages --stdin
"""
"""All that is merged, by git alone: a commit of each worktree, then each two of them and each with its base."""

LOOK = 'for top in "$0"/*; do git -C "$top" status --porcelain || exit 1; done'


def conflicts(samples: Samples, runs: int) -> None:
    """Fifty sessions with uncommitted work, met with each other for the first time, and again."""
    for _ in range(runs):
        with chatml_side(AT_ONCE) as side:
            fill(side, 1_000)
            sandbox = side.sandbox
            for number in range(FIFTY):
                top = make_session(sandbox, f"s{number}")
                (top / "part000" / f"file{number % 40:02}.txt").write_text(f"{number}\n")
                (top / f"new{number}").write_text("new\n")
            tops = f"{sandbox.repo}.chatml"
            bare = side.run(["sh", "-c", BARE, tops], cwd=sandbox.repo)[0]
            samples.add("conflicts-cold", side.run(sandbox.command("conflicts", "--json"))[0], bare)
            listed = side.run(side.list_argv())[0] + side.run(["sh", "-c", LOOK, tops], cwd=sandbox.repo)[0]
            samples.add("conflicts-warm", side.run(sandbox.command("conflicts", "--json"))[0], listed)


def fill(side: Side, files: int) -> None:
    """Commit so many small files to the side's repository, a hundred a folder, and check them out."""
    stream = [
        b"commit refs/heads/main\ncommitter Ada <ada@example.com> 0 +0000\ndata 4\nmany\nfrom refs/heads/main^0\n"
    ]
    for number in range(files):
        text = f"content of file {number}\n".encode()
        name = _file(Path(), number).as_posix().encode()
        stream.append(b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(text), text))
    sandbox = side.sandbox
    subprocess.run(
        ["git", "fast-import", "--quiet"],
        cwd=sandbox.repo,
        env=sandbox.env,
        input=b"".join(stream),
        check=True,
        timeout=TIMEOUT,
    )
    sandbox.git("reset", "-q", "--hard")


def _file(root: Path, number: int) -> Path:
    return root / f"part{number // 100:03}" / f"file{number % 100:02}.txt"


# --- a worktree to live in ----------------------------------------------------------------------------------------

SERVER = (
    "import http.server as h, time; time.sleep(1); h.test(h.SimpleHTTPRequestHandler, port={port}, bind='127.0.0.1')"
)
"""A server that takes a second to come up, as those of projects do, and more."""


def living(samples: Samples, runs: int) -> None:
    """Files copied into a worktree, a command run there, a server started there; each beside the plain way."""
    with chatml_side(AT_ONCE) as side:
        sandbox = side.sandbox
        commit(sandbox, sandbox.repo, "ignore", _dot_gitignore="node_modules/\n")
        _node_modules(sandbox.repo, 20_000)
        worktree = make_session(sandbox, "x")
        for number in range(runs + 1):
            began = time.monotonic()
            copying.copy(sandbox.repo, worktree, ["node_modules"], [worktree], lambda: False)
            ours = 1000 * (time.monotonic() - began)
            shutil.rmtree(worktree / "node_modules")
            plain = ["cp", "-a", "--reflink=auto", str(sandbox.repo / "node_modules"), str(worktree)]
            other = side.run(plain)[0]
            shutil.rmtree(worktree / "node_modules")
            if number:
                samples.add("copy", ours, other)
        for number in range(4 * runs + 1):
            bare = side.run(["true"], cwd=worktree)[0]
            took = side.run(sandbox.command("exec", "x", "--", "true"))[0]
            if number:
                samples.add("exec", took - bare)
        config = sandbox.repo / ".git" / "chatml" / "config.yaml"
        config.write_text(f'ports: [web]\nrun: {{web: "exec {sys.executable} -c \\"{SERVER}\\""}}\n')
        for number in range(runs + 1):
            took = side.run(sandbox.command("run", "x", "-q"))[0]
            port = sandbox.session("x")["ports"]["web"]
            sandbox.chatml("run", "x", "--stop", "-q")
            bare = _answers([sys.executable, "-c", SERVER.replace("{port}", str(port))], port)
            if number:
                samples.add("run", took, bare)


def _node_modules(repo: Path, files: int) -> None:
    for number in range(files):
        path = repo / "node_modules" / f"package{number // 25}" / "lib" / f"file{number % 25}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"module.exports = {number};\n" * 20)


def _answers(argv: list[str], port: int) -> float:
    """Milliseconds until the bare command answers on its port."""
    began = time.monotonic()
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(lambda: ports.answers(port), "the server to answer")
        return 1000 * (time.monotonic() - began)
    finally:
        server.terminate()
        server.wait(TIMEOUT)


# --- a message to a running agent ---------------------------------------------------------------------------------


def send(samples: Samples, runs: int) -> None:
    """From the start of `send` until the CLI has read so many bytes more: it is idle but for that.

    The CLI's own echo would tell when the *model* gets the message, which is at the next tool boundary. What the CLI
    has read from its standard input counts at once in the kernel's account of it (proc(5), io).
    """
    text = "look here " * 400
    with chatml_side(HELD) as side:
        side.sandbox.chatml("new", "-q", "--name", "busy", "a task")
        side.api.wait_for(lambda: side.api.requests, PATIENCE)
        time.sleep(1.0)
        (cli,) = (pid for pid, command in side.processes().items() if "--output-format" in command)
        for number in range(2 * runs + 1):
            before, began = read_bytes(cli), time.monotonic()
            argv = side.sandbox.command("send", "-q", "busy", text)
            sender = subprocess.Popen(argv, cwd=side.sandbox.repo, env=side.sandbox.env, stdin=subprocess.DEVNULL)
            while read_bytes(cli) < before + len(text):
                time.sleep(0.001)
                if time.monotonic() > began + PATIENCE:
                    raise TimeoutError("the message did not reach the CLI")
            took = (time.monotonic() - began) * 1000
            if sender.wait(PATIENCE):
                raise RuntimeError("chatml send failed")
            if number:
                samples.add("send", ours=took)
                samples.add("send-import", took, side.run(IMPORT)[0])


# --- all ----------------------------------------------------------------------------------------------------------

STAGES: dict[Callable[[Samples, int], None], tuple[str, ...]] = {
    many: ("ls-many",),
    with_pulls: ("ls-pulls",),
    rest: ("ls-rest", "ls-import", "ls-terminal", "attach-rest", "watch-rest"),
    send: ("send", "send-import"),
    start: ("new-returns", "first-request"),
    large: ("new-large",),
    merge: ("merge",),
    conflicts: ("conflicts-cold", "conflicts-warm"),
    diff: ("diff-large",),
    living: ("copy", "exec", "run"),
    fifty: ("list-returns",),
    from_a_list: ("list-started",),
    ten: ("ls-running", "ten-started", "memory", "cpu", "rest-processes", "rest-memory"),
}
"""What measures which figures, cheapest first."""


def measure(names: Iterable[str], runs: int, tell: Callable[[str], None] = lambda _: None) -> Samples:
    """Run the stages that these figures need, `runs` times each (quick ones a multiple of that)."""
    wanted = set(names)
    samples = Samples()
    for stage, serves in STAGES.items():
        if wanted & set(serves):
            tell(f"measuring {', '.join(serves)}")
            stage(samples, runs)
    return samples
