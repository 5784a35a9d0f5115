"""What kind of project stands in a checkout: read from the files that its own tools read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatml.config.living import PLAIN

LIMIT = 1 << 20
"""Bytes of a project's file that are looked at."""

COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""What Compose looks for, the first of them first."""

WEB = "{port:web}"


@dataclass(frozen=True)
class Install:
    """A step of the setup, and the file that makes it due again."""

    command: str
    if_changed: str | None = None


@dataclass(frozen=True)
class Proposal:
    """What one kind of project needs, and how that was seen."""

    kind: str
    setup: tuple[Install, ...] = ()
    run: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    teardown: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def proposals(top: Path) -> list[Proposal]:
    """What is found at the top of a checkout, in the order in which it is set up."""
    found = (detect(top) for detect in DETECTORS)
    return [one for one in found if one is not None]


def text_of(path: Path) -> str | None:
    """What a small file holds; None where it isn't there, or is no file."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(LIMIT).decode("utf-8", "replace")
    except OSError:
        return None


def first_of(top: Path, *names: str) -> str | None:
    """The first of these files that is there."""
    return next((name for name in names if (top / name).is_file()), None)


NODE = {
    "pnpm-lock.yaml": ("pnpm", "pnpm install --frozen-lockfile"),
    "bun.lock": ("bun", "bun install --frozen-lockfile"),
    "bun.lockb": ("bun", "bun install --frozen-lockfile"),
    "yarn.lock": ("yarn", "yarn install --frozen-lockfile"),
    "package-lock.json": ("npm", "npm ci"),
    "npm-shrinkwrap.json": ("npm", "npm ci"),
}
"""What installs, by the lock file."""

TAKE_PORT = ("vite", "next", "astro", "nuxt", "ng serve", "remix", "webpack")
"""Servers that are told their port by an option, `--port`."""


def _node(top: Path) -> Proposal | None:
    data = _json(text_of(top / "package.json"))
    if data is None:
        return None
    lock = first_of(top, *NODE)
    manager, install = NODE[lock] if lock else ("npm", "npm install")
    if lock == "yarn.lock" and (top / ".yarnrc.yml").is_file():
        install = "yarn install --immutable"  # Yarn 2 and later
    found = data.get("scripts")
    scripts: dict[str, Any] = found if isinstance(found, dict) else {}
    run = {}
    if start := next((name for name in ("dev", "start", "serve") if name in scripts), None):
        command = f"{manager} run {start}"
        if any(word in str(scripts[start]) for word in TAKE_PORT):
            run = {PLAIN: f"{command} {'-- ' if manager == 'npm' else ''}--port {WEB}"}
        else:
            run = {PLAIN: f"PORT={WEB} {command}"}
    checks = (f"{manager} {'run ' if manager == 'bun' else ''}test",) if "test" in scripts else ()
    return Proposal(manager, (Install(install, lock or "package.json"),), run, checks)


def _python(top: Path) -> Proposal | None:
    project = text_of(top / "pyproject.toml")
    requirements = first_of(top, "requirements.txt", "requirements-dev.txt", "requirements/dev.txt")
    if project is None and requirements is None and not (top / "setup.py").is_file():
        return None
    in_venv, venv = ".venv/bin/", "python3 -m venv .venv && .venv/bin/pip install --quiet"
    if (top / "uv.lock").is_file() or "[tool.uv]" in (project or ""):
        kind, install, within = "uv", Install("uv sync", first_of(top, "uv.lock")), "uv run "
    elif (top / "poetry.lock").is_file() or "[tool.poetry]" in (project or ""):
        kind, install, within = "poetry", Install("poetry install", first_of(top, "poetry.lock")), "poetry run "
    elif requirements is not None:
        kind, install, within = "pip", Install(f"{venv} -r {requirements}", requirements), in_venv
    else:
        kind, install, within = "pip", Install(f"{venv} -e .", first_of(top, "pyproject.toml", "setup.py")), in_venv
    run = {PLAIN: f"{within}python manage.py runserver {WEB}"} if (top / "manage.py").is_file() else {}
    tested = (
        "pytest" in (project or "")
        or (top / "pytest.ini").is_file()
        or "pytest" in (text_of(top / (requirements or "-")) or "")
    )
    return Proposal(kind, (install,), run, (f"{within}pytest",) if tested else ())


def _cargo(top: Path) -> Proposal | None:
    if not (top / "Cargo.toml").is_file():
        return None
    return Proposal(
        "cargo", (Install("cargo fetch", first_of(top, "Cargo.lock") or "Cargo.toml"),), checks=("cargo test",)
    )


def _go(top: Path) -> Proposal | None:
    if not (top / "go.mod").is_file():
        return None
    return Proposal("go", (Install("go mod download", first_of(top, "go.sum") or "go.mod"),), checks=("go test ./...",))


def _bundler(top: Path) -> Proposal | None:
    if not (top / "Gemfile").is_file():
        return None
    run = {PLAIN: f"bin/rails server --port {WEB}"} if (top / "bin" / "rails").is_file() else {}
    checks = ("bin/rails test",) if run else ("bundle exec rake test",) if (top / "Rakefile").is_file() else ()
    return Proposal("bundler", (Install("bundle install", first_of(top, "Gemfile.lock")),), run, checks)


def _composer(top: Path) -> Proposal | None:
    if not (top / "composer.json").is_file():
        return None
    run = {PLAIN: f"php artisan serve --port {WEB}"} if (top / "artisan").is_file() else {}
    return Proposal("composer", (Install("composer install", first_of(top, "composer.lock")),), run)


def _gradle(top: Path) -> Proposal | None:
    build = first_of(top, "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts")
    if build is None:
        return None
    command = "./gradlew" if (top / "gradlew").is_file() else "gradle"
    return Proposal("gradle", (Install(f"{command} --quiet classes"),), checks=(f"{command} test",))


def _compose(top: Path) -> Proposal | None:
    name = first_of(top, *COMPOSE_FILES)
    if name is None:
        return None
    fixed = re.search(r"^\s*-\s*[\"']?(?:[\d.]+:)?\d+:\d+", text_of(top / name) or "", re.MULTILINE)
    remark = (
        f"{name} publishes fixed ports, so a second session's containers could not start.",
        'Have it publish "${CHATML_PORT_DB:-5432}:5432", and add db to the ports here.',
    )
    return Proposal(
        "docker compose",
        (Install("docker compose up --detach --wait", name),),
        teardown=("docker compose down --volumes --remove-orphans",),
        remarks=remark if fixed else (),
    )


def _make(top: Path) -> Proposal | None:
    text = text_of(top / (first_of(top, "GNUmakefile", "makefile", "Makefile") or "-"))
    if text is None:
        return None
    targets = set(re.findall(r"^([A-Za-z][\w-]*)\s*:(?!=)", text, re.MULTILINE))
    setup = next((name for name in ("setup", "bootstrap", "deps") if name in targets), None)
    start = next((name for name in ("dev", "serve", "run") if name in targets), None)
    test = next((name for name in ("test", "check") if name in targets), None)
    return Proposal(
        "make",
        (Install(f"make {setup}"),) if setup else (),
        {PLAIN: f"PORT={WEB} make {start}"} if start else {},
        (f"make {test}",) if test else (),
    )


def _devcontainer(top: Path) -> Proposal | None:
    name = first_of(top, ".devcontainer/devcontainer.json", ".devcontainer.json")
    data = _json(text_of(top / (name or "-")))
    if data is None:
        return None
    command = data.get("postCreateCommand")
    if isinstance(command, list):
        import shlex

        command = shlex.join(map(str, command))
    return Proposal("devcontainer.json", (Install(command),) if isinstance(command, str) and _one_line(command) else ())


def _one_line(command: str) -> bool:
    return bool(command.strip()) and command.isprintable()


DETECTORS: Sequence[Callable[[Path], Proposal | None]] = (
    *(_compose, _node, _python, _cargo, _go, _bundler, _composer, _gradle, _make, _devcontainer),
)


def _json(text: str | None) -> dict[str, Any] | None:
    """An object of a JSON file, also with the comments and commas that editors let people write there."""
    if text is None:
        return None
    plain = re.sub(
        r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', lambda found: found[1] or "", text.lstrip("\ufeff"), flags=re.DOTALL
    )
    plain = re.sub(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])', lambda found: found[1] or "", plain, flags=re.DOTALL)
    try:
        data = json.loads(plain)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
