"""The wheel brings all of it: the command, the demo's data, manual pages and completions in their places."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from chatml import __version__
from chatml.cli import COMMANDS
from tests.support import ROOT


def _run(*args: str | Path, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [str(arg) for arg in args],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_wheel_is_complete(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path, ROOT, cwd=tmp_path)
    (wheel,) = tmp_path.glob("chatml-*.whl")
    venv = tmp_path / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    python = venv / "bin" / "python"
    _run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)

    share = venv / "share"
    pages = {"chatml.1", *(f"chatml-{name}.1" for name in COMMANDS)}
    assert {page.name for page in (share / "man" / "man1").iterdir()} == pages
    for place in (
        "bash-completion/completions/chatml",
        "zsh/site-functions/_chatml",
        "fish/vendor_completions.d/chatml.fish",
    ):
        assert (share / place).is_file()

    others = sysconfig.get_paths()["purelib"]  # what it depends on, from the environment of the tests
    assert _run(venv / "bin" / "chatml", "--version", cwd=tmp_path, PYTHONPATH=others) == f"chatml {__version__}\n"
    installed = Path(
        _run(python, "-c", "import chatml; print(*chatml.__path__)", cwd=tmp_path, PYTHONPATH=others).strip()
    )
    assert installed.is_relative_to(venv)
    assert _files(installed) == _files(ROOT / "chatml")


def _files(package: Path) -> set[str]:
    found = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(package)) for path in found}
