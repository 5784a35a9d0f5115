"""The demo's three tasks, and what the scripted model does about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chatml.model import Changes
from chatml.scripted.script import Script
from chatml.scripted.todo import GUIDE_MD

NAME = "todo"
"""The folder of the sample repository."""

REDIRECT = "ISO dates like 2026-01-31, please, not words"
HOLD = "redirect"
"""Where the scripted model waits until the person has redirected it, so that the message arrives within the turn."""

QUESTION = {
    "question": "Who is the guide for?",
    "header": "Readers",
    "options": [
        {"label": "Users", "description": "who call the program"},
        {"label": "Developers", "description": "who change it"},
    ],
    "multiSelect": False,
}
"""What the agent asks that writes the guide: it waits for the answer."""


@dataclass(frozen=True)
class Scene:
    """What a session is asked for, the name that follows from it, and what it must have changed at the end."""

    prompt: str
    name: str
    changes: Changes


DATES = Scene("Add due dates", "add-due-dates", Changes(2, 13, 2, 1, False))
CRASH = Scene("Fix first-run crash", "fix-first-run-crash", Changes(2, 5, 0, 1, False))
GUIDE = Scene("Write a guide", "write-a-guide", Changes(2, 20, 0, 2, False))
TASKS = (DATES, CRASH, GUIDE)


def script(pause: float) -> Script:
    """What the model does; `pause` is in seconds, before each of its answers."""
    after = [[_only_a_script(pause)]] * 50
    return {
        DATES.prompt: {"turns": [_dates(pause), *after], "on": {"ISO dates": _dates_redirected(pause)}},
        CRASH.prompt: {"turns": [_crash(pause), *after]},
        GUIDE.prompt: {"turns": [_guide(pause), *after]},
        "*": {"turns": [_anything(pause), *after]},
    }


def _step(pause: float, *parts: Any) -> list[Any]:
    """One answer of the model, after a while; a wait inside of a text would be part of its block."""
    return [{"pause": pause}, *parts]


def _read(path: str) -> dict[str, Any]:
    return {"Read": {"file_path": f"{{cwd}}/{path}", "limit": 5}}


def _write(path: str, text: str) -> dict[str, Any]:
    return {"Write": {"file_path": f"{{cwd}}/{path}", "content": text}}


def _edit(path: str, old: str, new: str) -> dict[str, Any]:
    return {"Edit": {"file_path": f"{{cwd}}/{path}", "old_string": old, "new_string": new}}


def _commit(message: str) -> dict[str, Any]:
    return {"Bash": {"command": f"git add -A && git commit -q -m '{message}'"}}


def _dates(pause: float) -> list[Any]:
    return [
        _step(pause, "I look at how a task is stored. ", _read("todo/tasks.py"), _read("tests/test_tasks.py")),
        # The thought ends the text, so that `ls` shows it; a message that comes while it lasts is read after the call.
        _step(pause, 'I store dates as words: "next friday".', {"think": "People write them like that."},
              {"hold": HOLD}, {"Bash": {"command": "git log --oneline -3"}}),
        _step(pause, _read("README.md")),
        "Before I write it: words, or real dates?",
    ]  # fmt: skip


def _dates_redirected(pause: float) -> list[Any]:
    return [
        _step(
            pause,
            "Right: real dates, so that they sort. ",
            _edit("todo/tasks.py", "from dataclasses import dataclass\n",
                  "from dataclasses import dataclass\nfrom datetime import date\n"),
            _edit("todo/tasks.py", '''    done: bool = False

    def __str__(self) -> str:
        return f"[{'x' if self.done else ' '}] {self.title}"


def parse(line: str) -> Task:
    return Task(line[4:], line.startswith("[x]"))
''', '''    done: bool = False
    due: date | None = None

    def __str__(self) -> str:
        due = f" due:{self.due}" if self.due else ""
        return f"[{'x' if self.done else ' '}] {self.title}{due}"


def parse(line: str) -> Task:
    title, _, due = line[4:].partition(" due:")
    when = date.fromisoformat(due) if due else None
    return Task(title, line.startswith("[x]"), when)
'''),
        ),
        _step(
            pause,
            _edit("tests/test_tasks.py", "import unittest\nfrom pathlib",
                  "import unittest\nfrom datetime import date\nfrom pathlib"),
            _edit("tests/test_tasks.py", "        self.assertEqual(load(self.path), tasks)\n",
                  '''        self.assertEqual(load(self.path), tasks)

    def test_a_due_date_is_an_iso_date(self) -> None:
        save(self.path, [Task("pay", due=date(2026, 1, 31))])
        self.assertEqual(self.path.read_text(), "[ ] pay due:2026-01-31\\n")
        self.assertEqual(load(self.path)[0].due, date(2026, 1, 31))
'''),
        ),
        _step(pause, _commit("Give a task a due date")),
        _step(pause, "Tasks take ISO dates.\n\nStored as due:2026-01-31 behind the title; one commit, with a test."),
    ]  # fmt: skip


def _crash(pause: float) -> list[Any]:
    return [
        _step(pause, "I look where the file is read. ", _read("todo/tasks.py"), _read("tests/test_tasks.py")),
        [{"fail": 529, "message": "Overloaded", "times": 1, "headers": {"retry-after": f"{round(3 * pause)}"}},
         *_step(pause, "No file yet means no tasks yet. ",
                _edit("todo/tasks.py", "    return [parse(line) for",
                      "    if not path.exists():\n        return []\n    return [parse(line) for"))],
        _step(pause, _edit("tests/test_tasks.py", "    def test_what",
                           '''    def test_no_file_is_an_empty_list(self) -> None:
        self.assertEqual(load(self.path), [])

    def test_what''')),
        _step(pause, _commit("Start with an empty list where there is no file yet")),
        _step(pause, "No file, no crash.\n\nThe first run starts with an empty list; one commit, with a test."),
    ]  # fmt: skip


def _guide(pause: float) -> list[Any]:
    return [
        _step(pause, "I read the commands first. ", _read("todo/__main__.py"), _read("README.md")),
        _step(pause, {"AskUserQuestion": {"questions": [QUESTION]}}),
        _step(2 * pause, _write("docs/guide.md", GUIDE_MD)),
        _step(pause, _commit("Write a user guide")),
        _step(pause, _edit("README.md", "Tests: ", "How to use it: [docs/guide.md](docs/guide.md)\n\nTests: ")),
        _step(pause, _commit("Link the guide from the README")),
        _step(pause, "See docs/guide.md.\n\nIt is linked from the README; two commits."),
    ]


def _anything(pause: float) -> list[Any]:
    """What it does about a task that it doesn't know: enough to have something to look at."""
    return [
        _step(pause, "I note what you want. ", {"Bash": {"command": "ls"}}),
        _step(pause, _write("docs/wishes.md", "# Wishes\n\n- {prompt}\n")),
        _step(pause, _commit("Note a wish")),
        _only_a_script(pause),
    ]


def _only_a_script(pause: float) -> list[Any]:
    text = 'I am only the script of the demo, so this is all that I do about "{prompt}".'
    return _step(pause, text)
