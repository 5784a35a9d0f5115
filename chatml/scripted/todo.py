"""The demo's sample project: its files, and how it becomes a repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chatml.repo import git

TASKS_PY = '''\
"""Tasks in a text file, one a line: `[ ] buy milk`, `[x] call Ada`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Task:
    title: str
    done: bool = False

    def __str__(self) -> str:
        return f"[{'x' if self.done else ' '}] {self.title}"


def parse(line: str) -> Task:
    return Task(line[4:], line.startswith("[x]"))


def load(path: Path) -> list[Task]:
    return [parse(line) for line in path.read_text().splitlines()]


def save(path: Path, tasks: list[Task]) -> None:
    path.write_text("".join(f"{task}\\n" for task in tasks))
'''

CLI_PY = '''\
"""The command line: `python3 -m todo add buy milk`, `list`, `done 1`."""

import sys
from pathlib import Path

from todo.tasks import Task, load, save

FILE = Path("todo.txt")


def main(args: list[str]) -> None:
    command, *rest = args or ["list"]
    tasks = load(FILE)
    if command == "add":
        tasks.append(Task(" ".join(rest)))
    elif command == "done":
        tasks[int(rest[0]) - 1].done = True
    for number, task in enumerate(tasks, 1):
        print(number, task)
    save(FILE, tasks)


if __name__ == "__main__":
    main(sys.argv[1:])
'''

TEST_PY = """\
import tempfile
import unittest
from pathlib import Path

from todo.tasks import Task, load, save


class TasksTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "todo.txt")

    def test_what_is_saved_is_loaded(self) -> None:
        tasks = [Task("buy milk"), Task("call Ada", done=True)]
        save(self.path, tasks)
        self.assertEqual(load(self.path), tasks)
"""

README = """\
# todo

A to-do list in a text file.

    python3 -m todo add buy milk
    python3 -m todo done 1

Tests: `python3 -m unittest`
"""

FILES: Mapping[str, str] = {
    "README.md": README,
    ".gitignore": "__pycache__/\ntodo.txt\n",
    "todo/__init__.py": "",
    "todo/__main__.py": CLI_PY,
    "todo/tasks.py": TASKS_PY,
    "tests/__init__.py": "",
    "tests/test_tasks.py": TEST_PY,
}

GUIDE_MD = """\
# User guide

The list lives in `todo.txt`, in the folder where you call it.

| command | what it does |
| --- | --- |
| `add TITLE` | adds a task at the end |
| `done NUMBER` | ticks a task off |
| `list` | shows all tasks, numbered; also without a command |

## A day with it

    $ python3 -m todo add buy milk
    1 [ ] buy milk
    $ python3 -m todo done 1
    1 [x] buy milk

The file is plain text: edit it with whatever you like.
"""


def make_repository(folder: Path, env: Mapping[str, str]) -> None:
    """The sample project with one commit; its identity is its own, as the agents' commits need one."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    git("init", "--quiet", "--initial-branch=main", "--template=", at=folder, env=env)
    settings = {"user.name": "Demo", "user.email": "demo@example.com", "commit.gpgSign": "false"}
    for key, value in settings.items():
        git("config", key, value, at=folder, env=env)
    git("add", "--all", at=folder, env=env)
    git("commit", "--quiet", "--message=A to-do list in a text file", at=folder, env=env)
