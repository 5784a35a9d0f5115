"""`chatml init`: what a project is, and a `.chatml.yaml` that fits it, valid as it stands."""

from __future__ import annotations

from typing import Any

import pytest

from chatml.config import Config, load
from chatml.config.files import Source, text_data
from chatml.config.trust import commands, digest
from chatml.state.paths import StatePaths
from tests.support import Sandbox


def proposed(sandbox: Sandbox, files: dict[str, str]) -> tuple[str, Config]:
    """What is printed for a project of these files, and what it says once it is approved."""
    for name, text in files.items():
        path = sandbox.repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    text = sandbox.chatml("init", "--print").out
    (sandbox.repo / ".chatml.yaml").write_text(text)
    data: dict[str, Any] = text_data(text, Source("x"))
    environ = {"HOME": str(sandbox.home), "CHATML_TRUST": digest(commands(data))}
    return text, load(state=StatePaths(sandbox.repo / ".git"), top=sandbox.repo, environ=environ)


PACKAGE = '{"scripts": {"dev": "vite", "test": "vitest"}}'

# The files, what the setup must hold, what runs, and what is proposed as a check.
PROJECTS: dict[str, tuple[dict[str, str], list[str], str | None, str | None]] = {
    "npm": (
        {"package.json": PACKAGE, "package-lock.json": "{}"},
        ["npm ci"],
        "npm run dev -- --port {port:web}",
        "npm test",
    ),
    "npm without a lock": ({"package.json": "{}"}, ["npm install"], None, None),
    "pnpm": (
        {"package.json": PACKAGE, "pnpm-lock.yaml": ""},
        ["pnpm install --frozen-lockfile"],
        "pnpm run dev --port {port:web}",
        "pnpm test",
    ),
    "yarn": (
        {"package.json": '{"scripts": {"start": "node x"}}', "yarn.lock": ""},
        ["yarn install --frozen-lockfile"],
        "PORT={port:web} yarn run start",
        None,
    ),
    "yarn 4": ({"package.json": "{}", "yarn.lock": "", ".yarnrc.yml": ""}, ["yarn install --immutable"], None, None),
    "bun": (
        {"package.json": PACKAGE, "bun.lock": ""},
        ["bun install --frozen-lockfile"],
        "bun run dev --port {port:web}",
        "bun run test",
    ),
    "uv": ({"pyproject.toml": "[project]\n# pytest", "uv.lock": ""}, ["uv sync"], None, "uv run pytest"),
    "poetry": (
        {"pyproject.toml": "[tool.poetry]\n", "manage.py": ""},
        ["poetry install"],
        "poetry run python manage.py runserver {port:web}",
        None,
    ),
    "pip": (
        {"requirements.txt": "flask\npytest\n"},
        ["python3 -m venv .venv && .venv/bin/pip install --quiet -r requirements.txt"],
        None,
        ".venv/bin/pytest",
    ),
    "pip of a package": (
        {"pyproject.toml": "[project]\n"},
        ["python3 -m venv .venv && .venv/bin/pip install --quiet -e ."],
        None,
        None,
    ),
    "cargo": ({"Cargo.toml": "", "Cargo.lock": ""}, ["cargo fetch"], None, "cargo test"),
    "go": ({"go.mod": "", "go.sum": ""}, ["go mod download"], None, "go test ./..."),
    "bundler": (
        {"Gemfile": "", "Gemfile.lock": "", "bin/rails": ""},
        ["bundle install"],
        "bin/rails server --port {port:web}",
        "bin/rails test",
    ),
    "composer": (
        {"composer.json": "{}", "artisan": ""},
        ["composer install"],
        "php artisan serve --port {port:web}",
        None,
    ),
    "gradle": ({"build.gradle.kts": "", "gradlew": ""}, ["./gradlew --quiet classes"], None, "./gradlew test"),
    "make": (
        {"Makefile": "deps:\n\ttrue\ndev: deps\n\ttrue\ncheck:\n\ttrue\n"},
        ["make deps"],
        "PORT={port:web} make dev",
        "make check",
    ),
    "docker compose": ({"compose.yaml": "services: {}\n"}, ["docker compose up --detach --wait"], None, None),
    "an example": ({".env.example": "PORT=1\n"}, ["cp -n .env.example .env"], None, None),
    "devcontainer.json": (
        {".devcontainer/devcontainer.json": '{// c\n"postCreateCommand": "sh //setup.sh", /* x */ }'},
        ["sh //setup.sh"],
        None,
        None,
    ),
    "make beside npm": ({"package.json": "{}", "Makefile": "setup:\n\ttrue\n"}, ["npm install"], None, None),
    "nothing known": ({}, [], None, None),
    "what is broken": (
        {"package.json": "{", "compose.yaml": "\0", "Cargo.toml/x": "", ".devcontainer.json": "[1]"},
        ["docker compose up --detach --wait"],
        None,
        None,
    ),
    "a hostile one": (
        {
            "package.json": '{"scripts": [1]}',
            "Makefile": "x y\n" * 3,
            ".devcontainer.json": '{"postCreateCommand": ["echo", "a\'b; {port:x}"]}',
        },
        ["npm install"],
        None,
        None,
    ),
}


@pytest.mark.parametrize("kind", PROJECTS)
def test_what_is_proposed_is_valid_and_fits_the_project(sandbox: Sandbox, kind: str) -> None:
    files, setup, run, check = PROJECTS[kind]
    text, config = proposed(sandbox, files)
    given = config.furnishing
    assert [step.command for step in given.setup] == setup
    assert [service.command for service in given.services] == ([run] if run else [])
    assert given.ports == (("web",) if run else ())
    assert check is None or f"# checks: [{check}]" in text or f'# checks: ["{check}"]' in text
    assert config.terms.check is None, "which is for the person to decide"
    assert all(len(line) <= 110 for line in text.splitlines())
    uncommented = "\n".join(
        line.removeprefix("# ") if ": " in line and line.startswith("# run") else line for line in text.splitlines()
    )
    text_data(uncommented, Source("x"))


def test_ignored_files_are_copied_and_a_port_set_in_them(sandbox: Sandbox) -> None:
    files = {
        ".gitignore": ".env\nconfig/master.key\n",
        ".env": "PORT=3000\n",
        ".env.local": "x",
        "config/master.key": "k",
    }
    _, config = proposed(sandbox, {**files, "package.json": PACKAGE})
    assert config.furnishing.copy == (".env", "config/master.key")
    assert [(one.file, one.name, one.value) for one in config.furnishing.env] == [(".env", "PORT", "{port:web}")]


def test_published_ports_that_would_clash_are_pointed_out(sandbox: Sandbox) -> None:
    text, config = proposed(sandbox, {"compose.yaml": 'services:\n  db:\n    ports:\n      - "5432:5432"\n'})
    assert (config.furnishing.setup, config.furnishing.teardown) == ((), ())
    assert "compose.yaml publishes fixed ports" in text
    assert "#  - docker compose up --detach --wait   # docker compose" in text


def test_a_file_that_is_there_is_never_replaced(sandbox: Sandbox) -> None:
    made = sandbox.chatml("init")
    path = sandbox.repo / ".chatml.yaml"
    assert made.out == f"{path}\n"
    assert "chatml trust" in made.err
    path.write_text("model: mine\n")
    for args in (["init"], ["init", "--json"]):
        assert (
            "is never replaced\nhint: see what would be written: chatml init --print"
            in sandbox.chatml(*args, code=1).err
        )
    sandbox.chatml("init", "--force", code=2)
    assert path.read_text() == "model: mine\n"
    printed = sandbox.chatml("init", "--print", "--json").json
    assert printed["outcome"] == "printed"
    path.unlink()
    path.symlink_to(sandbox.home / "elsewhere")
    sandbox.chatml("init", code=1)
    assert not (sandbox.home / "elsewhere").exists()
    path.unlink()
    assert sandbox.chatml("init", "--json").json == {"path": str(path), "outcome": "written"}
    assert path.read_text() == printed["text"]
