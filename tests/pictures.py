"""Takes the README's pictures in a real terminal, of sessions that really run: `python -m tests.pictures --write`."""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from chatml.scripted import sample, todo
from chatml.scripted.api import ScriptedApi
from tests.made import commit, make_session
from tests.support import ROOT, Sandbox, sealed_env, wait_until
from tests.terminal import Terminal, terminal

FOLDER = ROOT / "tests" / "pictures"
COLUMNS = 88

PAUSE = 1.5
"""Seconds before each of the model's answers: long enough to meet the sessions in the middle of their work."""


def take(home: Path) -> dict[str, str]:
    """The screens, with their colours, by the name of the picture."""
    with ScriptedApi(sample.script(PAUSE), delay=PAUSE / 30) as api:
        env = {**sealed_env(home, api.url), "CLAUDE_CODE_MAX_RETRIES": "3"}
        box = Sandbox(home, home / sample.NAME, env)
        todo.make_repository(box.repo, box.env)
        try:
            with terminal(box, COLUMNS) as window:
                screens = {"ls": _ls(window, api), "attach": _attach(window, api)}
            screens["conflicts"] = _conflicts(home)
        finally:
            box.chatml("stop", "--all", "-q", code=None)
    # A temporary folder is nobody's home.
    return {name: screen.replace(str(home), "/home/ada") for name, screen in screens.items()}


def _ls(window: Terminal, api: ScriptedApi) -> str:
    window.press("C-l")
    for task in sample.TASKS:
        window.type(f'chatml new -q "{task.prompt}"')
        window.expect(f"\n{task.name}\n$")
    wait_until(lambda: bool(api.holding[sample.HOLD]), "the moment to redirect")
    window.type("chatml ls")
    window.expect("write-a-guide  ", sample.DATES.name + "  ")
    return window.colours()


def _attach(window: Terminal, api: ScriptedApi) -> str:
    window.type("clear; chatml attach " + sample.DATES.name)
    window.expect("I store dates as words")
    window.type(sample.REDIRECT)
    window.expect("(sent: ")
    api.release(sample.HOLD)
    window.expect("turn ended")
    return window.colours()


PAGE = """\
from flask import Flask, request

app = Flask(__name__)
limit = 10


@app.get("/search")
def search():
    return find(request.args["q"])[:limit]
"""

WORK = {
    "rate-limit": {"app_dot_py": PAGE.replace("limit = 10", "limit = 20\nper_minute = 60")},
    "log-in": {"app_dot_py": PAGE.replace("limit = 10", "limit = 25\nusers = {}")},
    "search-page": {"app_dot_py": PAGE + "\n\napp.run()\n", "search_dot_py": "import users_of_old\n"},
    "list-users": {"users_dot_py": "ada = 1\n"},
}
"""What each session of the picture has made."""


def _conflicts(home: Path) -> str:
    """Of sessions whose work is made here: their agents have nothing to do with how they meet."""
    box = Sandbox(home, home / "shop", sealed_env(home))
    box.repo.mkdir()
    box.git("init", "-q", "-b", "main")
    box.git("config", "user.name", "Ada")
    box.git("config", "user.email", "ada@example.com")
    box.commit("Begin", app_dot_py=PAGE)
    for name, files in WORK.items():
        commit(box, make_session(box, name, agent="sh", command=("true", "{prompt}")), f"Do {name}", **files)
    with terminal(box, COLUMNS) as window:
        window.press("C-l")
        window.type("chatml conflicts --check '! test -e users.py -a -e search.py'")
        window.expect("next  ")
        return window.colours()


def svg(screen: str, title: str) -> str:
    """A terminal's screen as a picture that loads nothing from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen.rstrip()), soft_wrap=True)
    form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title=title, code_format=form, unique_id=re.sub(r"\W", "-", title))


def main(argv: list[str]) -> int:
    if argv != ["--write"]:
        print("usage: python -m tests.pictures --write", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        for name, screen in take(Path(home)).items():
            (FOLDER / f"{name}.svg").write_text(svg(screen, f"chatml {name}"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
