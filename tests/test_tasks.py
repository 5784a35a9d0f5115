"""Lists of tasks, tables, and a number of the same: read as people write them, checked whole, and each made once."""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatml.errors import ChatmlError
from chatml.project import Project
from chatml.sessions.names import numbered, slug
from chatml.sessions.naming import Naming
from chatml.tasks import BadTasksError, TaskList, TaskRow, read_each, read_file
from chatml.tasks.lists import read_list
from chatml.tasks.tables import filled
from tests.faults import Serve, agents, all_gone, kill, worker
from tests.made import traces
from tests.support import Sandbox, wait_until

SHELL = r"""
agent: sh
agents:
  sh:
    command:
    - sh
    - -c
    - |
      task=$0
      blank="

      "
      case $task in "[from chatml] Other"*) task=${task#*"$blank"};; esac
      echo "did $task" > did.txt
      case $task in *sleep*) exec sleep 600;; *fail*) exit 1;; esac
    - "{prompt}"
"""
"""An agent that writes its task down, and does what a word in it says; what others are at stands before it."""


@pytest.fixture
def shell(sandbox: Sandbox) -> Sandbox:
    folder = sandbox.home / ".config" / "chatml"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(SHELL)
    return sandbox


def prompts(listed: TaskList) -> list[str]:
    assert not listed.problems
    return [row.prompt for row in listed.rows]


LISTS: dict[str, tuple[str, list[str]]] = {
    "each kind of bullet": ("- a\n* b\n+ c\n1. d\n2) e\n• f\n", ["a", "b", "c", "d", "e", "f"]),
    "check list": ("- [ ] a\n- [x] b\n  - of b\n- [X] c\n* [ ] d", ["a", "d"]),
    "continuation": ("- a\n  more\n\n  and more\n- b\nlazy", ["a\nmore\n\nand more", "b\nlazy"]),
    "nested": ("1. a\n   - x\n     - y\n2. b\n  - z\n", ["a\n- x\n  - y", "b\n- z"]),
    "deeper continuation": ("- [ ] a\n      more\n- [ ] b\n    more", ["a\nmore", "b\nmore"]),
    "code": (
        "- a\n  ```sh\n  - not a task\n\n  # no heading\n  ```\n- b",
        ["a\n```sh\n- not a task\n\n# no heading\n```", "b"],
    ),
    "code without indentation": ("- a\n```\n- no\n```\n- b", ["a\n```\n- no\n```", "b"]),
    "code keeps its tabs": ("- a\n  ```\n  x:\n  \techo\n  ```", ["a\n```\nx:\n\techo\n```"]),
    "line ends and mark": ("\ufeff- a\r\n  more\r\n\r\n- b\r- c", ["a\nmore", "b", "c"]),
    "tabs": ("-\ta\n\tmore\n\t- sub\n-\tb", ["a\nmore\n- sub", "b"]),
    "headings separate": ("# One\n- a\n## Two\ntext\n- b\n\nThree\n=====\n\n- c\n***\n- d", ["a", "b", "c", "d"]),
    "numbers set to the right": (" 9. a\n10. b\n", ["a", "b"]),
    "no bullets": ("# Tasks\n\nfix this\nfix that\n\nTwo\n---\nand more\n", ["fix this", "fix that", "and more"]),
    "text on the next line": ("-\n  a\n-\n- b", ["a", "b"]),
    "no bullets within words": ("-a\n1.5 of it\n**bold** move", ["-a", "1.5 of it", "**bold** move"]),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_is_read_as_people_write_it(case: str) -> None:
    text, wanted = LISTS[case]
    assert prompts(read_list(text, "t.md")) == wanted


def test_what_is_no_task_is_said_and_places_are_told() -> None:
    listed = read_list("Some words.\n\n- a\n  b\n\n- c\n\nMore words.\n", "t.md")
    assert [row.place for row in listed.rows] == ["t.md:3", "t.md:6"]
    assert listed.left_out == ("t.md:1: part of no task: Some words.", "t.md:8: part of no task: More words.")


@pytest.mark.parametrize(("text", "message"), [("", "t.md: holds no task"), ("- a\n```\n- b", "t.md:2: ")])
def test_a_list_that_cannot_be_meant_is_an_error(text: str, message: str) -> None:
    (problem,) = read_list(text, "t.md").problems
    assert problem.message.startswith(message)
    assert problem.hint


FAMILY = ["add x", "Add x!", "add x?", "add x 2", "add x 2!", "add x 3", "add x 2 2"]
"""Prompts whose names get in each other's way."""


class Shelf:
    """What a planner asks of a project: names, and the prompt behind each."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}
        self.store = self

    def names(self) -> list[str]:
        return [*self.made]

    def session(self, name: str) -> Any:
        return SimpleNamespace(read=lambda: SimpleNamespace(terms=SimpleNamespace(prompt=self.made[name])))


def _refused(row: TaskRow, error: ChatmlError) -> None:
    raise AssertionError(f"{row}: {error}")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_task_is_ever_given_a_second_name(data: st.DataObject) -> None:
    """However the list changes from run to run, and whichever of its sessions were made, or are removed again."""
    shelf = Shelf()
    for _ in range(data.draw(st.integers(2, 4))):
        prompts = data.draw(st.lists(st.sampled_from(FAMILY), unique=True))
        rows = [TaskRow(prompt, f"t.md:{number}", number) for number, prompt in enumerate(prompts, 1)]
        named = Naming(cast(Project, shelf), _refused, {}).named(rows)
        assert sorted(row.prompt for row in named.values()) == sorted(prompts)
        for name, prompt in shelf.made.items():
            assert prompt not in prompts or named[name].prompt == prompt
        new = {name: row.prompt for name, row in named.items() if name not in shelf.made}
        some = data.draw(st.sets(st.sampled_from(sorted(new)))) if new else set()
        shelf.made |= {name: new[name] for name in some}
        again = Naming(cast(Project, shelf), _refused, {}).named(rows)
        assert again == named, "another run at the same time means the same"
        for name in data.draw(st.sets(st.sampled_from(sorted(shelf.made)))) if shelf.made else ():
            del shelf.made[name]


def _read(folder: Path, name: str, text: str) -> TaskList:
    """What the file comes to, also where it can't be read at all."""
    (folder / name).write_bytes(text.encode())
    try:
        return read_file(str(folder / name))
    except BadTasksError as error:
        return TaskList(problems=error.problems)


WORD = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="`~"), min_size=1, max_size=8)
LINE = st.builds("{}{} {}".format, st.sampled_from(["", "  ", "\t", "- ", "1. ", "# ", "    "]), WORD, WORD)
PROMPT = st.builds(
    lambda first, rest, code: "\n".join([f"do {first}", *rest, *(["```", *code, "```"] if code else [])]).rstrip(),
    WORD, st.lists(st.one_of(st.just(""), LINE), max_size=4), st.lists(LINE, max_size=3),
)  # fmt: skip


def _written(prompt: str, bullet: str) -> str:
    first, *rest = prompt.split("\n")
    margin = " " * len(bullet)
    return "\n".join([bullet + first, *(margin + line if line else "" for line in rest)])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(PROMPT, st.sampled_from(["- ", "* ", "1. ", "12) ", "- [ ] "])), min_size=1, max_size=5))
def test_what_is_written_as_a_list_is_read_as_it_was(tasks: list[tuple[str, str]]) -> None:
    text = "\n".join(_written(*task) for task in tasks)
    assert prompts(read_list(text, "t.md")) == [prompt for prompt, _ in tasks]


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from('- *+1.)[]x#=`~\t\r\n ab{}":,\\'), max_size=60), st.sampled_from(["md", "yaml", "json"]))
def test_whatever_a_file_holds_is_read_or_refused(text: str, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        listed = _read(Path(folder), f"any.{kind}", text)
    assert listed.rows or listed.problems or listed.ticked
    assert all(row.prompt.strip() for row in listed.rows)


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_and_yaml_mean_the_same(tmp_path: Path, indent: Any) -> None:
    data = {
        "model": "opus", "scope": "src/**",
        "tasks": [
            "one",
            {"prompt": "two 😀", "name": "b", "after": "one", "max_turns": 3, "model": None, "scope": ["a", "b"]},
        ],
    }  # fmt: skip
    as_json = _read(tmp_path, "t.json", json.dumps(data, indent=indent))
    yaml = "model: opus\nscope: src/**\ntasks:\n- one\n"
    yaml += "- {prompt: two 😀, name: b, after: [one], max_turns: 3, scope: [a, b]}\n"
    as_yaml = _read(tmp_path, "t.yaml", yaml)
    for listed in (as_json, as_yaml):
        one, two = listed.rows
        assert not listed.problems
        assert (one.prompt, one.name, one.scope, one.settings) == ("one", None, ("src/**",), {"model": "opus"})
        assert (two.prompt, two.name, two.scope, two.after) == ("two 😀", "b", ("a", "b"), ("one",))
        assert two.settings == {"model": "opus", "max_turns": 3}
    assert as_yaml.rows[1].place.endswith("t.yaml:5")
    assert indent is None or as_json.rows[1].place.endswith("t.json:6")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.yaml", "tasks: 7", "t.yaml:1: holds no list of tasks"),
        ("t.yaml", "- a: b: c", "not valid YAML"),
        ("t.yaml", "[]", "holds no task"),
        ("t.yaml", "- {prompt: x, on: true}", "'on' is not a known key"),
        ("t.yaml", "name: x\ntasks: [a]", "t.yaml:1: 'name' is not a known key"),
        ("t.yaml", "- name: x", "'prompt' is missing"),
        ("t.json", '[{"prompt": "x", "max_turns": true}]', "must be a whole number"),
        ("t.json", '[{"prompt": "x", "prompt": "y"}]', "'prompt' is set twice"),
        ("t.json", '["x",]', "t.json:1:"),
    ],
)
def test_what_is_wrong_in_a_document_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    problems = _read(tmp_path, name, text).problems
    assert message in problems[0].message


def test_a_table_makes_a_task_of_each_row(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes('\ufefffile, why\r\na.py,"it is ""old"",\r\nand slow"\r\n\r\nb.py,{file}\r\n'.encode())
    listed = read_each(str(table), "Mend {file}: { why } {{x}}", "fix-{file}")
    assert prompts(listed) == ['Mend a.py: it is "old",\r\nand slow {x}', "Mend b.py: {file} {x}"]
    assert [(row.name, row.place) for row in listed.rows] == [
        ("fix-a.py", f"{table}:2"), ("fix-b.py", f"{table}:5"),
    ]  # fmt: skip
    lines = tmp_path / "t.jsonl"
    lines.write_text('{"file": "a", "n": 1.50, "list": [1, "x"]}\n\n{"file": null, "n": 2, "list": true}\n')
    assert prompts(read_each(str(lines), "{file}/{n}/{list}", None)) == ['a/1.5/[1, "x"]', "/2/true"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "a,b\n1,2\n3\n", "t.csv:3: task 2: has 1 field, and the header has 2"),
        ("t.csv", 'a\n"x"y\n', "t.csv:2: task 1: not valid CSV"),
        ("t.csv", "b\n1\n", "t.csv:2: task 1: no field named 'a'"),
        ("t.csv", "a\n", "holds no row"),
        ("t.csv", "a,a\n1,2\n", "names 'a' twice"),
        ("t.jsonl", '{"a": 1}\n[1]\n', "t.jsonl:2: task 2: must be an object"),
        ("t.jsonl", '{"a": 1}\n{"b": 1}\n', "t.jsonl:2: task 2: no field named 'a'"),
        ("t.jsonl", "{\n", "t.jsonl:1: task 1: not valid JSON"),
        ("t.txt", "a\n1\n", "not a table"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    try:
        problems = read_each(str(tmp_path / name), "do {a}", None).problems
    except BadTasksError as error:
        problems = error.problems
    assert message in problems[-1].message


@given(st.text("{}a ", max_size=12))
def test_a_text_is_filled_or_refused(text: str) -> None:
    if not re.fullmatch(r"(\{\{|\}|\{ *a *\}|[a ])*", text):
        return
    assert "{" not in filled(text.replace("{{", ""), {"a": "x"})
    assert filled(text.replace("{", "{{").replace("}", "}}"), {"a": "x"}) == text


WRONG = """\
model: a b
tasks:
- prompt: first
  naem: x
- {prompt: second, base: nowhere, agent: nobody}
- {prompt: third, role: nothing}
- {prompt: fourth, name: same}
- {prompt: fifth, name: same}
- {prompt: sixth, after: [seventh, unheard]}
- {prompt: seventh, after: eighth}
- {prompt: eighth, after: sixth}
- {prompt: ninth, name: a/b}
- {prompt: tenth, name: there}
- sixth
- 11
"""


def test_one_report_names_every_error_and_nothing_is_made(shell: Sandbox) -> None:
    shell.chatml("new", "something else", "--name", "there", "--wait")
    shell.git("branch", "chatml/left")
    (shell.repo / "t.yaml").write_text(WRONG + "- {prompt: on a branch, name: left}\n")
    before = traces(shell)
    for flags in ([], ["--dry-run"]):
        refused = shell.chatml("new", "-f", "t.yaml", *flags, code=2)
        assert traces(shell) == before
    assert refused.out == ""
    for line, task, said in [
        (1, "", "'model' may hold no space"),
        (4, "task 1 (first)", "'naem' is not a known key"),
        (5, "task 2 (second)", "not a commit: 'nowhere'"),
        (5, "task 2 (second)", "no agent named 'nobody'"),
        (6, "task 3 (third)", "no role named 'nothing'"),
        (8, "task 5 (same)", "task 4 (t.yaml:7) has the name 'same' too"),
        (9, "task 6 (sixth)", "comes after 'unheard', which is unknown"),
        (9, "task 6 (sixth)", "sixth after seventh after eighth after sixth"),
        (12, "task 9 (a/b)", "not a valid name"),
        (13, "task 10 (there)", "a session named 'there' exists already, with another prompt"),
        (14, "task 11 (sixth)", "is the same as task 6"),
        (15, "task 12", "must be text"),
        (16, "task 13 (left)", "a branch named 'chatml/left' exists already"),
    ]:
        assert re.search(rf"^error: t\.yaml:{line}: {re.escape(task)}.*{re.escape(said)}", refused.err, re.M), said
    assert refused.err.endswith("nothing was made: 13 errors in the list of tasks\n")


def test_a_list_is_made_once_and_gone_on_with(shell: Sandbox) -> None:
    text = "- one\n- two\n  - with more\n- [x] three\n"
    plan = shell.chatml("new", "-f", "-", "--dry-run", stdin=text)
    assert [line.split()[:4] for line in plan.out.splitlines()] == [
        ["1", "one", "from", "main"], ["2", "two-with-more", "from", "main"],
    ]  # fmt: skip
    assert shell.chatml("ls", "-q").out == ""

    made = shell.chatml("new", "-f", "-", "--wait", stdin=text)
    assert "2 made, 1 ticked off" in made.err
    assert "one on chatml/one from main (" in made.out
    assert "\x1b" not in made.err
    worktree = Path(shell.session("two-with-more")["worktree"])
    assert (worktree / "did.txt").read_text() == "did two\n- with more\n"

    (shell.repo / "t.md").write_text(text + "- four\n- to fail\n")
    again = shell.chatml("new", "-f", "t.md", "--wait", "--json", "--max-turns", "7", code=1)
    assert [(one["name"], one["outcome"], one["status"]) for one in again.json] == [
        ("one", "there", "done"),
        ("two-with-more", "there", "done"),
        ("four", "made", "done"),
        ("to-fail", "made", "failed"),
    ]
    assert shell.written("four")["terms"]["max_turns"] == 7
    before = len(shell.events("to-fail"))
    third = shell.chatml("new", "-f", "t.md", "-q")
    assert third.out.split() == ["one", "two-with-more", "four", "to-fail"]
    assert len(shell.events("to-fail")) == before
    shell.chatml("new", "-f", "t.md", "--retry", "--wait", code=1)
    assert len(shell.events("to-fail")) > before
    assert "there already: failed" in shell.chatml("new", "-f", "t.md", "--dry-run").out


def test_tasks_with_the_same_beginning_keep_their_numbers(shell: Sandbox) -> None:
    text = "Write the missing tests for the module called {file}"
    table = shell.repo / "t.csv"
    table.write_text("file\na\nb\n")
    stem = slug(text)
    first = shell.chatml("new", "--each", "t.csv", text, "--wait", "-q").out.split()
    assert first == [stem, numbered(stem, 2)]
    shell.chatml("rm", stem, "--force")
    table.write_text("file\nc\nb\na\n")
    again = shell.chatml("new", "--each", "t.csv", text, "--json", "--wait").json
    assert [(one["name"], one["prompt"][-1], one["outcome"]) for one in again] == [
        (stem, "c", "made"), (numbered(stem, 2), "b", "there"), (numbered(stem, 3), "a", "made"),
    ]  # fmt: skip


def _opened(pid: int) -> list[str]:
    """Names of the files that a process has open; it may close any of them meanwhile."""
    names = []
    for number in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            names.append(os.path.basename(os.readlink(number)))
    return names


def test_a_number_of_the_same_can_be_raised_and_each_can_be_stopped(shell: Sandbox) -> None:
    """Also that what is forked is seen, signalled and swept like any worker."""
    assert shell.chatml("new", "-n", "2", "try to sleep", "-q").out.split() == ["try-to-sleep-1", "try-to-sleep-2"]
    told = shell.chatml("new", "-n", "3", "try to sleep")
    assert "1 made, 2 there already" in told.err
    names = [f"try-to-sleep-{number}" for number in (1, 2, 3)]
    for name in names:
        pid = shell.until(name, "running")["pid"]
        assert os.getsid(pid) == os.getpgid(pid) == pid
        assert _opened(pid).count("worker.lock") == 1
    shell.chatml("stop", names[1])
    assert [shell.session(name)["status"] for name in names] == ["running", "stopped", "running"]
    shell.chatml("stop", "--all")
    all_gone(shell)


def test_two_runs_at_once_make_each_task_once(shell: Sandbox) -> None:
    (shell.repo / "t.md").write_text("".join(f"- do the same long thing for the part number {n}\n" for n in range(8)))
    runs = [shell.start("new", "-f", "t.md", "--json") for _ in range(2)]
    became = []
    for run in runs:
        out, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
        became.append({one["name"]: one["outcome"] for one in json.loads(out)})
    assert [*became[0]] == [*became[1]]
    assert all(sorted((became[0][name], became[1][name])) == ["made", "there"] for name in became[0])
    shell.chatml("wait")
    assert len(shell.chatml("ls", "-q").out.split()) == 8


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-f", "t.md", "x"], "-f takes no prompt"),
        (["-f", "t.md", "-n", "2"], "choose one of -f and -n"),
        (["-f", "t.md", "--name", "x"], "--name is for one session"),
        (["-f", "none.md"], "no such file"),
        (["--each", "t.csv"], "--each needs a prompt"),
        (["x", "--dry-run"], "--dry-run goes with"),
        (["-n", "2", "x", "--branch", "b"], "--branch is for one session"),
        (["-n", "0", "x"], "0"),
        (["-f", "t.md", "--role", "nobody"], "no role named"),
        (["-f", "t.md", "--base", "nowhere"], "not a commit: 'nowhere'"),
    ],
)
def test_what_does_not_go_together_is_refused(shell: Sandbox, args: list[str], message: str) -> None:
    (shell.repo / "t.md").write_text("- a\n- b\n")
    refused = shell.chatml("new", *args, code=None)
    assert refused.code in (1, 2)
    assert message in refused.err
    assert refused.err.count("error: ") <= 1
    assert shell.chatml("ls", "-q").out == ""


@pytest.mark.long
def test_fifty_tasks_are_made_once_and_done_though_their_maker_is_killed(shell: Sandbox) -> None:
    """Killed at different times, again and again, until one comes to its end; five at work at a time."""
    shell.env["CHATML_MAX_PARALLEL"] = "5"
    (shell.repo / "t.md").write_text("".join(f"- number {n} of fifty\n" for n in range(50)))
    for share in (1, 7, 20, 21, 35):
        maker = shell.start("new", "-f", "t.md")
        _until_made(shell, share)
        kill(maker.pid)
        maker.communicate(timeout=60)
    last = shell.chatml("new", "-f", "t.md", "--wait", "--json", timeout=170)
    assert [one["prompt"] for one in last.json] == [f"number {n} of fifty" for n in range(50)]
    assert {one["status"] for one in last.json} == {"done"}
    assert sorted(_made(shell)) == sorted(one["name"] for one in last.json)
    for one in last.json:
        assert (Path(one["worktree"]) / "did.txt").read_text() == f"did {one['prompt']}\n"
        assert len(shell.events(one["name"], "message")) == 1
    left = list((shell.repo / ".git" / "chatml" / "sessions").glob(".new-*"))
    assert not left
    assert len(shell.git("worktree", "list").splitlines()) == 51


def _made(sandbox: Sandbox) -> list[str]:
    folder = sandbox.repo / ".git" / "chatml" / "sessions"
    return [path.name for path in folder.iterdir() if path.name[0] != "."] if folder.exists() else []


def _until_made(sandbox: Sandbox, least: int) -> None:
    wait_until(lambda: len(_made(sandbox)) >= least, f"{least} sessions", lambda: _made(sandbox))


def test_a_maker_killed_at_once_has_left_none_that_is_not_gone_on_with(shell: Sandbox) -> None:
    """Without a queue too, where what was just made may not have been started."""
    (shell.repo / "t.md").write_text("".join(f"- number {n} of six\n" for n in range(6)))
    maker = shell.start("new", "-f", "t.md")
    _until_made(shell, 3)
    kill(maker.pid)
    maker.communicate(timeout=60)
    last = shell.chatml("new", "-f", "t.md", "--wait", "--json").json
    assert [(one["name"], one["status"]) for one in last] == [(f"number-{n}-of-six", "done") for n in range(6)]
    assert all(len(shell.events(one["name"], "message")) == 1 for one in last)


@pytest.mark.long
def test_what_is_forked_together_dies_alone(sandbox: Sandbox, serve: Serve) -> None:
    """Claude Code in each of two: one worker is killed, and its agent with it; the other goes on, and both end well."""
    api = serve({"*": [{"hold": "both"}, "Fine."]})
    sandbox.chatml("new", "-n", "2", "--name", "twin", "say fine")
    api.wait_for(lambda: len(api.requests) >= 2)
    # For a moment there may be one more, which an agent has forked to start something.
    wait_until(lambda: len(agents(sandbox)) == 2, "two agents", lambda: agents(sandbox))
    kill(worker(sandbox, "twin-1"))
    wait_until(lambda: len(agents(sandbox)) == 1, "its agent to end")
    assert [sandbox.session(name)["status"] for name in ("twin-1", "twin-2")] == ["crashed", "running"]
    api.release("both")
    again = sandbox.chatml("new", "-n", "2", "--name", "twin", "say fine", "--retry", "--wait", "--json").json
    assert [(one["outcome"], one["status"]) for one in again] == [("resumed", "done"), ("there", "done")]


def test_a_retry_has_the_agent_try_anew_where_its_check_failed(shell: Sandbox) -> None:
    args = ["new", "-f", "-", "--check", "test -e once || { touch once; false; }", "--retries", "0", "--wait"]
    shell.chatml(*args, stdin="- one\n", code=1)
    assert shell.session("one")["error"]["kind"] == "check"
    shell.chatml(*args, "--retry", stdin="- one\n")
    assert len(shell.events("one", "message")) == 2


def test_who_stops_reading_stops_no_making(shell: Sandbox) -> None:
    """As `chatml new -f tasks.md | head -1` does."""
    (shell.repo / "t.md").write_text("".join(f"- number {n}\n" for n in range(8)))
    maker = shell.start("new", "-f", "t.md")
    maker.stdout.close()
    wait_until(lambda: len(_made(shell)) == 8, "all to be made", lambda: _made(shell))
    assert maker.wait(60) == 0
