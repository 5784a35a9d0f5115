"""Configuration: who wins, what is refused and how it is said, and what a committed file may not do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chatml.config import AgentCommand, Config, Role, load, role_of, worktrees_dir
from chatml.config.approvals import with_rules, with_text
from chatml.config.keys import KEYS
from chatml.errors import ChatmlError
from chatml.model import EnvSetting, Furnishing, Service, SetupStep, Terms
from chatml.state.paths import StatePaths
from tests.support import TIMEOUT

USER, TEAM, OWN = "user", "team", "own"

EVERYTHING = """\
base: origin/main
branch_prefix: ai/
worktrees: ../wt/{repo}
agent: codex
model: claude-opus-4-1[1m]
permission_mode: plan
max_parallel: 3
max_turns: 40
max_budget_usd: 2.5
notify: notify-send "$CHATML_NAME"
copy: [.env, config/local.yaml]
env_files: {.env: {APP_URL: "http://{name}.localhost:{port}", TOKEN: "${secret}", LIMIT: "5"}}
setup: [{command: npm ci, timeout: 10m, if_changed: package-lock.json}, "awk '{print}' < a"]
teardown:
  - docker compose down
run: {web: "npm run dev -- --port {port}", api: {command: "serve {port:db}", port: db}, jobs: work}
agents: {codex: {command: [codex, exec, "{prompt}"], resume: [codex, exec, resume, --last, "{prompt}"]}}
deny: ["Read(.env)"]
ask: [WebFetch]
allow: ["Bash(npm test:*)", mcp__docs__search]
sandbox: off
on_request: deny
runner: local
checks: [npm test, npm run lint]
retries: 2
check_timeout: 10m
roles:
  scribe:
    instruction: Write for people.
    permission_mode: dontAsk
    tools: [Read, Write, mcp__notes__add]
    scope: ["docs/**", "*.md", "!CHANGELOG.md"]
    model: claude-haiku-5-5
max_depth: 2
max_children: 0
link: [node_modules/]
ports: [web, db]
port_range: 4200-4299
max_setups: 2
"""


@dataclass
class Place:
    """A repository's configuration files, and an environment that knows no others."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environ["HOME"] = str(self.root / "home")
        for path in self.files.values():
            path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def files(self) -> dict[str, Path]:
        return {
            USER: self.root / "home/.config/chatml/config.yaml",
            TEAM: self.root / "repo/.chatml.yaml",
            OWN: self.root / "repo/.git/chatml/config.yaml",
        }

    def write(self, which: str, content: str | bytes) -> None:
        self.files[which].write_bytes(content.encode() if isinstance(content, str) else content)

    def load(self) -> Config:
        return load(state=StatePaths(self.files[OWN].parents[1]), top=self.files[TEAM].parent, environ=self.environ)

    def refusal(self) -> ChatmlError:
        with pytest.raises(ChatmlError) as caught:
            self.load()
        assert "\n" not in caught.value.message
        return caught.value


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# Who wins


def test_without_any_file_the_defaults_hold(place: Place) -> None:
    assert place.load() == Config()
    assert load(state=StatePaths(place.root / "none"), top=None, environ=place.environ) == Config()


def test_every_setting_of_the_contract_is_read_with_its_type(place: Place) -> None:
    place.write(OWN, EVERYTHING)
    config = place.load()
    assert config == Config(
        Terms(
            agent="codex",
            model="claude-opus-4-1[1m]",
            permission_mode="plan",
            deny=("Read(.env)",),
            ask=("WebFetch",),
            allow=("Bash(npm test:*)", "mcp__docs__search"),
            sandbox="off",
            max_parallel=3,
            max_depth=2,
            max_children=0,
            max_turns=40,
            max_budget_usd=2.5,
            on_request="deny",
            check="(\nnpm test\n) && (\nnpm run lint\n)",
            retries=2,
            check_timeout=600.0,
            notify='notify-send "$CHATML_NAME"',
        ),
        base="origin/main",
        branch_prefix="ai/",
        worktrees="../wt/{repo}",
        furnishing=Furnishing(
            copy=(".env", "config/local.yaml"),
            link=("node_modules",),
            env=(
                EnvSetting(".env", "APP_URL", "http://{name}.localhost:{port}"),
                EnvSetting(".env", "TOKEN", "${secret}"),
                EnvSetting(".env", "LIMIT", "5"),
            ),
            ports=("web", "db"),
            max_setups=2,
            setup=(SetupStep("npm ci", 600.0, ("package-lock.json",)), SetupStep("awk '{print}' < a")),
            teardown=("docker compose down",),
            services=(
                Service("web", "npm run dev -- --port {port}", "web"),
                Service("api", "serve {port:db}", "db"),
                Service("jobs", "work"),
            ),
        ),
        port_range=(4200, 4299),
        agents={
            "codex": AgentCommand(("codex", "exec", "{prompt}"), ("codex", "exec", "resume", "--last", "{prompt}"))
        },
        roles={
            "scribe": Role(
                "scribe",
                "Write for people.",
                "dontAsk",
                ("Read", "Write", "mcp__notes__add"),
                ("docs/**", "*.md", "!CHANGELOG.md"),
                "claude-haiku-5-5",
            )
        },
        origins=config.origins,
    )
    assert set(config.origins) == set(KEYS) - {"checks"}, "which is another way to set 'check'"
    assert config.origins["run"] == f"{place.files[OWN]}:16"


def test_each_layer_wins_over_those_below_it(place: Place) -> None:
    expected = None
    for layer in (USER, TEAM, OWN):
        assert place.load().terms.model == expected
        expected = f"from-{layer}"
        place.write(layer, f"model: {expected}\n")
    assert place.load().terms.model == "from-own"
    place.environ["CHATML_MODEL"] = "from-environment"
    assert place.load().terms.model == "from-environment"
    assert place.load().origins == {"model": "CHATML_MODEL"}
    place.environ["CHATML_MODEL"] = ""
    assert place.load().terms.model == "from-own"


def test_layers_are_merged_key_by_key_and_null_means_the_default(place: Place) -> None:
    place.write(USER, "model: opus\nmax_turns: 5\ncopy: [.env]\nbranch_prefix: me/\n")
    place.write(OWN, "max_turns: 7\nmodel: null\ncopy:\n")
    origins = {"max_turns": f"{place.files[OWN]}:1", "branch_prefix": f"{place.files[USER]}:4"}
    assert place.load() == Config(Terms(max_turns=7), branch_prefix="me/", origins=origins)


def test_rules_of_all_layers_hold_together(place: Place) -> None:
    """No layer takes away what another one denies; what a person allows is theirs alone."""
    place.write(USER, "deny: [WebFetch]\nallow: ['Bash(make:*)']\nsandbox: required\n")
    place.write(TEAM, "deny: ['Read(.env)', WebFetch]\nask: ['Bash(git push:*)']\nsandbox:\n")
    place.write(OWN, "deny:\nallow: ['Bash(npm test:*)']\n")
    place.environ["CHATML_ASK"] = "Bash(make install)\nWebSearch"
    config = place.load()
    assert config.terms.deny == ("WebFetch", "Read(.env)")
    assert config.terms.ask == ("Bash(git push:*)", "Bash(make install)", "WebSearch")
    assert config.terms.allow == ("Bash(make:*)", "Bash(npm test:*)")
    assert config.terms.sandbox == "required"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("allow: ['Bash(make:*)']", "'allow' can't be set in a committed file"),
        ("max_children: 100", "'max_children' can't be set to 100 in a committed file"),
        ("sandbox: off", "'sandbox' in a committed file can't be 'off'"),
        ("sandbox: auto", "'sandbox' in a committed file can't be 'auto'"),
    ],
)
def test_a_committed_file_only_restricts(place: Place, line: str, complaint: str) -> None:
    place.write(OWN, "sandbox: required\n")
    place.write(TEAM, "sandbox: required\ndeny: [Bash]\nallow: []\n")
    assert place.load().terms.deny == ("Bash",)
    place.write(TEAM, f"model: opus\n{line}\n")
    assert place.refusal().message == f".chatml.yaml:2: {complaint}"


def test_what_was_approved_for_good_is_added_to_the_rules_of_the_files(place: Place) -> None:
    rules = ["Bash(echo 'a: b' # \"c\")", "Edit(//a/{b}, c)"]
    file = place.files[OWN].parent / "approvals.json"
    file.write_text(json.dumps(with_rules(file, rules)))
    place.write(OWN, "allow: [WebFetch]\n")
    assert place.load().terms.allow == ("WebFetch", *rules)
    assert with_rules(file, [rules[1], "WebSearch"]) == {"allow": [*rules, "WebSearch"]}
    place.write(OWN, "")
    assert place.load().origins["allow"] == str(file)


@pytest.mark.parametrize("text", ["{", "[]", '{"allow": "Bash"}x', '{"allow": [1]}', '{"allow": ["bad rule ("]}'])
def test_a_damaged_file_of_approvals_is_an_error_that_names_it(place: Place, text: str) -> None:
    file = place.files[OWN].parent / "approvals.json"
    file.write_text(text)
    assert place.refusal().message.startswith(f"{file}: ")
    assert file.read_text() == text


def test_xdg_config_home_replaces_the_config_folder_if_it_is_absolute(place: Place) -> None:
    place.write(USER, "model: from-home\n")
    other = place.root / "xdg/chatml/config.yaml"
    other.parent.mkdir(parents=True)
    other.write_text("model: from-xdg\n")
    place.environ["XDG_CONFIG_HOME"] = str(place.root / "xdg")
    assert place.load().terms.model == "from-xdg"
    place.environ["XDG_CONFIG_HOME"] = "xdg"
    assert place.load().terms.model == "from-home"


def test_the_environment_sets_numbers_and_lists_and_leaves_other_variables_alone(place: Place) -> None:
    place.environ |= {
        "CHATML_MAX_TURNS": "12",
        "CHATML_MAX_BUDGET_USD": "0.5",
        "CHATML_COPY": ".env\nmy file\n",
        "CHATML_SESSION_ID": "x",
        "CHATML_MODLE": "y",
    }
    config = place.load()
    assert (config.terms.max_turns, config.terms.max_budget_usd, config.furnishing.copy) == (
        12,
        0.5,
        (".env", "my file"),
    )


# What is refused, and how

INSIDE = "must be a path inside of the checkout"
WHOLE = "must be a whole number above 0"
AMOUNT = "must be a number above 0"

# The line, the key that the message must name, what it must say, and a part of the hint.
BAD_VALUES = [
    ("modle: opus", "modle", "is not a known key", "did you mean 'model'?"),
    ("on: 1", "on", "is not a known key", None),
    ("? [a]\n: b", "?", "is not a known key", None),
    ('"a\\nmodel": 1', "a model", "is not a known key", None),
    ("model: 5", "model", "must be text, not the number 5", "quotes"),
    ("model: [a]", "model", "must be text, not a list", None),
    ("model: ''", "model", "is empty", None),
    ("model: yes", "model", "must be text, not 'yes'", "quotes"),
    ("model: 2024-13-45", "model", "must be text, not '2024-13-45'", "quotes"),
    ("model: --settings=x", "model", "may not begin with '-'", None),
    ("model: a b", "model", "may hold no space", None),
    ('model: "a\\0"', "model", "holds control characters", None),
    ('model: "\\ud800"', "model", "holds control characters, or is not valid Unicode", None),
    ("model: !!python/object/apply:os.system [id]", "model", "must be text", None),
    ("model: !!python/name:os.system x", "model", "must be text", None),
    ("base: --upload-pack=touch", "base", "may not begin with '-'", None),
    ("base: 1.0", "base", "must be text, not the number 1.0", "quotes"),
    ("agent: ../x", "agent", "must be a name", None),
    ("max_turns: 3.5", "max_turns", f"{WHOLE}, not the number 3.5", None),
    ("max_turns: 0", "max_turns", WHOLE, None),
    ("max_turns: -1", "max_turns", WHOLE, None),
    ("max_turns: true", "max_turns", f"{WHOLE}, not 'true'", None),
    ("max_turns: '5'", "max_turns", f"{WHOLE}, not '5'", None),
    ("max_turns: 0x_", "max_turns", WHOLE, None),
    ("max_turns: !!int x", "max_turns", WHOLE, None),
    ("max_turns: !!int [5]", "max_turns", WHOLE, None),
    ("copy: !!map [a]", "copy", "must be a list", None),
    ("copy: !!seq {a: b}", "copy", "must be a list", None),
    ("copy: !!seq a", "copy", "must be a list", None),
    ("max_parallel: .nan", "max_parallel", WHOLE, None),
    ("max_budget_usd: .nan", "max_budget_usd", AMOUNT, None),
    ("max_budget_usd: .inf", "max_budget_usd", AMOUNT, None),
    ("max_budget_usd: !!float nan", "max_budget_usd", AMOUNT, None),
    (f"max_budget_usd: {'9' * 400}", "max_budget_usd", AMOUNT, None),
    ("max_budget_usd: 0", "max_budget_usd", AMOUNT, None),
    ("max_budget_usd: -0.5", "max_budget_usd", AMOUNT, None),
    ("max_budget_usd: true", "max_budget_usd", AMOUNT, None),
    ("permission_mode: acceptedits", "permission_mode", "can't be 'acceptedits'", "did you mean 'acceptEdits'?"),
    ("deny: Bash", "deny", "must be a list, not 'Bash'", "put [ ] around it"),
    ("ask: ['Bash(']", "ask", "must be a rule such as Bash(npm test:*), not 'Bash('", None),
    ("allow: ['rm -rf']", "allow", "must be a rule such as Bash(npm test:*), not 'rm -rf'", None),
    ("deny: ['']", "deny", "is empty", None),
    ("sandbox: maybe", "sandbox", "can't be 'maybe'", "known: auto, required, off"),
    ("sandbox: [off]", "sandbox", "must be text, not a list", None),
    ("permission_mode: yolo", "permission_mode", "can't be 'yolo'", "bypassPermissions, dontAsk"),
    ("worktrees: .git/wt", "worktrees", "is inside .git", "beside the checkout"),
    ("worktrees: ../x/.GIT/hooks", "worktrees", "is inside .git", "beside the checkout"),
    ("worktrees: ../{name}", "worktrees", "may hold no other placeholder than {repo}", None),
    ("worktrees: ../{repo", "worktrees", "may hold no other placeholder than {repo}", None),
    ("worktrees: ~root/x", "worktrees", "may begin with '~' only as '~/'", None),
    ("copy: .env", "copy", "must be a list, not '.env'", "[ ]"),
    ("copy: [.env, 5]", "copy", "must be text, not the number 5", "quotes"),
    ("copy: [null]", "copy", "must be text, not null", None),
    ("copy: ['-rf']", "copy", "may not begin with '-'", None),
    ("copy: [/etc/passwd]", "copy", INSIDE, None),
    ("copy: [../../.ssh/id_rsa]", "copy", INSIDE, None),
    ("copy: [a/../../b]", "copy", INSIDE, None),
    ("copy: ['~/.ssh/id_rsa']", "copy", INSIDE, None),
    ("copy: [.git/config]", "copy", INSIDE, None),
    ("copy: [sub/.Git/config]", "copy", INSIDE, None),
    ("copy: ['..\\x']", "copy", INSIDE, None),
    ("copy: ['C:/x']", "copy", INSIDE, None),
    ("copy: [':(top)x']", "copy", INSIDE, None),
    ("copy: [./]", "copy", INSIDE, None),
    ("env_files: [.env]", "env_files", "must be a mapping, not a list", None),
    ("env_files: {../.env: {A: b}}", "env_files.../.env", INSIDE, None),
    ("env_files: {.env: {A-B: b}}", "env_files..env.A-B", "is not a name for a variable", None),
    ("env_files: {.env: {A: '{prot}'}}", "env_files..env.A", "holds an unknown placeholder {prot}", "'port'"),
    ("env_files: {.env: {A: 1}}", "env_files..env.A", "must be text, not the number 1", "quotes"),
    ("setup: npm ci", "setup", "must be a list, not 'npm ci'", "[ ]"),
    ("setup: [{a: b}]", "setup.a", "is not a known key", "command"),
    ("setup: [{timeout: 5}]", "setup", "needs a 'command'", None),
    ("setup: [{command: x, timeout: 0}]", "setup.timeout", "must be a time above 0", "30m"),
    ("setup: [{command: x, if_changed: [../y]}]", "setup.if_changed", INSIDE, None),
    ("setup: ['run {port}']", "setup", "holds an unknown placeholder {port}", "ports: [web]"),
    ("run: {web: 5}", "run.web", "must be text, not the number 5", "quotes"),
    ("run: {'a b': x}", "run.a b", "must be a name of letters", None),
    ("run: {web: {command: x, port: db}}", "run.web.port", "names no port: 'db'", "ports: [web]"),
    ("teardown: ['x {port:db}']", "teardown", "holds an unknown placeholder {port:db}", "ports: [web]"),
    ("env_files: {.env: {A: '{name:x}'}}", "env_files..env.A", "holds an unknown placeholder {name:x}", "{port:web}"),
    ("ports: web", "ports", "must be a list, not 'web'", "[ ]"),
    ("ports: [4100]", "ports", "must be a name, not a number", "{port:web}"),
    ("ports: [a.b, a-b]", "ports", "is the same as 'a.b': both are CHATML_PORT_A_B", None),
    ("ports: [range]", "ports", "can't be called so: CHATML_PORT_RANGE is a setting", None),
    ("port_range: 80-90", "port_range", "must be two ports from 1024 to 65535, not '80-90'", "4100-4999"),
    ("port_range: 5000-4000", "port_range", "must be two ports", None),
    ("max_setups: 0", "max_setups", WHOLE, None),
    ("link: [/etc]", "link", INSIDE, None),
    ("run: [a]", "run", "must be text, not a list", None),
    ("agents: {x: [a]}", "agents.x", "must be a mapping, not a list", None),
    ("agents: {x: {resume: ['{prompt}']}}", "agents.x", "needs a 'command'", None),
    ("agents: {x: {comand: [a]}}", "agents.x.comand", "is not a known key", "did you mean 'command'?"),
    ("agents: {x: {command: [a]}}", "agents.x.command", "needs {prompt}", None),
    ("agents: {x: {command: [a, '{promt}']}}", "agents.x.command", "holds an unknown placeholder {promt}", "'prompt'"),
    ("agents: {a b: {command: ['{prompt}']}}", "agents.a b", "must be a name", None),
    ("agents: {claude: {command: ['{prompt}']}}", "agents.claude", "is built in", None),
    ("roles: [a]", "roles", "must be a mapping, not a list", None),
    ("roles: {a b: {}}", "roles.a b", "must be a name", None),
    ("roles: {x: a}", "roles.x", "must be a mapping, not 'a'", None),
    ("roles: {x: {tool: [Read]}}", "roles.x.tool", "is not a known key", "did you mean 'tools'?"),
    ("roles: {x: {instruction: [a]}}", "roles.x.instruction", "must be text, not a list", None),
    ("roles: {x: {tools: Read}}", "roles.x.tools", "must be a list, not 'Read'", "[ ]"),
    ("roles: {x: {tools: ['Bash(rm:*)']}}", "roles.x.tools", "must be the name of a tool", None),
    ("roles: {x: {scope: [a, '!']}}", "roles.x.scope", "holds no pattern: '!'", "src/billing/**"),
    ("roles: {x: {scope: ['!a']}}", "roles.x.scope", "lets nothing in", "**"),
    ("roles: {x: {scope: [../a]}}", "roles.x.scope", "matches nothing in a worktree: '../a'", None),
    ("roles: {x: {permission_mode: yolo}}", "roles.x.permission_mode", "can't be 'yolo'", "dontAsk"),
    ("roles: {x: {model: a b}}", "roles.x.model", "may hold no space", None),
]


@pytest.mark.parametrize("which", [USER, TEAM, OWN])
@pytest.mark.parametrize(("line", "key", "complaint", "hint"), BAD_VALUES, ids=[case[0][:40] for case in BAD_VALUES])
def test_a_bad_value_is_refused_with_file_line_and_key(
    place: Place, which: str, line: str, key: str, complaint: str, hint: str | None
) -> None:
    place.write(which, f"# mine\nbranch_prefix: x/\n{line}\n")
    error = place.refusal()
    name = ".chatml.yaml" if which == TEAM else str(place.files[which])
    assert error.message.startswith(f"{name}:3: '{key}' {complaint}")
    assert hint is None or (error.hint and hint in error.hint)


def test_a_bad_item_is_named_by_its_own_line(place: Place) -> None:
    place.write(OWN, "setup:\n  - npm ci\n  - 5\n")
    assert place.refusal().message.startswith(f"{place.files[OWN]}:3: 'setup' must be text")


BAD_FILES: list[tuple[str | bytes, str, str]] = [
    ("model: [a\nbase: b\n", ":2:5: ", "not valid YAML: "),
    ("model: a\n\tbase: b\n", ":2:1: ", "not valid YAML: "),
    ("model: a: b\n", ":1:9: ", "not valid YAML: mapping values are not allowed here"),
    ("model: *x\n", ":1:8: ", "not valid YAML: found undefined alias"),
    ("model: a\n---\nmodel: b\n", ":2:1: ", "not valid YAML: "),
    ("model: a\nbase: \x01\n", ":2:7: ", "not valid YAML: special characters are not allowed"),
    ("a: " + "[" * 5000 + "\n", ": ", "nested too deeply"),
    ("# list\n- model\n", ":2: ", "must hold 'key: value' lines, not a list"),
    ("model\n", ":1: ", "must hold 'key: value' lines, not 'model'"),
    ("model: a\nbase: b\nmodel: c\n", ":3: ", "'model' is set twice, first on line 1"),
    ("agents:\n  x: {}\n  x: {}\n", ":3: ", "'agents.x' is set twice, first on line 2"),
    ("copy: &a [b]\nsetup: *a\n", ":2: ", "aliases (*) are not supported"),
    ("copy: &a\n  - *a\n", ":1: ", "aliases (*) are not supported"),
    (b"model: a\nbase: caf\xe9\n", ":2: ", "not UTF-8 text"),
    ("model: a\n".encode("utf-16"), ":1: ", "not UTF-8 text"),
    ("#" * 70_000, ": ", "too large"),
]


@pytest.mark.parametrize(("content", "spot", "complaint"), BAD_FILES, ids=[case[2] for case in BAD_FILES])
def test_a_file_that_is_not_understood_is_refused_with_its_place(
    place: Place, content: str | bytes, spot: str, complaint: str
) -> None:
    place.write(TEAM, content)
    message = place.refusal().message
    assert message.startswith(f".chatml.yaml{spot}{complaint}")


@pytest.mark.parametrize("content", ["", "\n# nothing\n", "---\n", "null\n", "{}\n", "\ufeff# mark\r\nmodel: null\r\n"])
def test_an_empty_file_is_fine(place: Place, content: str) -> None:
    place.write(OWN, content)
    assert place.load() == Config()


def test_a_folder_or_an_endless_device_in_place_of_a_file_is_refused(place: Place) -> None:
    place.files[USER].mkdir()
    assert place.refusal().message == f"{place.files[USER]}: not a regular file"
    place.files[USER].rmdir()
    place.files[TEAM].symlink_to("/dev/zero")
    assert place.refusal().message == ".chatml.yaml: not a regular file"


def test_a_file_that_cannot_be_followed_is_refused(place: Place) -> None:
    place.files[OWN].symlink_to(place.files[OWN])
    assert place.refusal().message.startswith(f"{place.files[OWN]}: could not be read: ")


def test_a_file_that_may_not_be_read_is_refused(place: Place) -> None:
    place.write(OWN, "model: a\n")
    place.files[OWN].chmod(0)
    if os.access(place.files[OWN], os.R_OK):
        pytest.skip("this user may read every file (root)")
    assert place.refusal().message == f"{place.files[OWN]}: could not be read: permission denied"


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("CHATML_MAX_TURNS", "3.5", f"'max_turns' {WHOLE}, not the number 3.5"),
        ("CHATML_MAX_TURNS", "many", f"'max_turns' {WHOLE}, not 'many'"),
        ("CHATML_MAX_PARALLEL", "-1", f"'max_parallel' {WHOLE}"),
        ("CHATML_MAX_BUDGET_USD", "nan", f"'max_budget_usd' {AMOUNT}"),
        ("CHATML_MAX_BUDGET_USD", "inf", f"'max_budget_usd' {AMOUNT}"),
        ("CHATML_PERMISSION_MODE", "ask", "'permission_mode' can't be 'ask'"),
        ("CHATML_BASE", "--x", "'base' may not begin with '-'"),
        ("CHATML_MODEL", "a\udce9", "'model' holds control characters, or is not valid Unicode"),
        ("CHATML_COPY", ".env\n/etc/passwd", f"'copy' {INSIDE}"),
        ("CHATML_COPY", ".env\n\nx", "'copy' is empty"),
        ("CHATML_AGENTS", "{}", "'agents' can't be set in the environment"),
        ("CHATML_ENV_FILES", "{}", "'env_files' can't be set in the environment"),
    ],
)
def test_a_bad_variable_is_refused_by_its_name(place: Place, variable: str, value: str, complaint: str) -> None:
    place.environ[variable] = value
    assert place.refusal().message.startswith(f"{variable}: {complaint}")


GOOD_PREFIXES = ["", "a", "a/", "ä/", "a.", "@", "a@", "x.lock", "a/-"]
BAD_PREFIXES = [
    "a//",
    "/a",
    "/",
    ".a",
    "a/.",
    "a..",
    "a b",
    "a~",
    "a^",
    "a:",
    "a?",
    "a*",
    "a[",
    "a\\",
    "a@{",
    "x.lock/",
]
BAD_PREFIXES += ["a\x7f", "a\t"]


@pytest.mark.parametrize("prefix", GOOD_PREFIXES + BAD_PREFIXES)
def test_a_branch_prefix_is_taken_when_git_takes_a_branch_that_begins_with_it(place: Place, prefix: str) -> None:
    place.write(OWN, json.dumps({"branch_prefix": prefix}))
    git = subprocess.run(["git", "check-ref-format", f"refs/heads/{prefix}x"], check=False, timeout=TIMEOUT)
    assert (git.returncode == 0) == (prefix in GOOD_PREFIXES)
    if prefix in GOOD_PREFIXES:
        assert place.load().branch_prefix == prefix
    else:
        assert "'branch_prefix' " in place.refusal().message


def test_roles_of_all_layers_come_together_by_their_names(place: Place) -> None:
    place.write(USER, "roles: {mine: {model: a}, ours: {model: a}}\n")
    place.write(TEAM, "roles: {ours: {model: b}, theirs: {model: b}}\n")
    place.write(OWN, "roles: {reviewer: {model: c}}\n")
    config = place.load()
    assert {name: role.model for name, role in config.roles.items()} == {
        "mine": "a",
        "ours": "b",
        "theirs": "b",
        "reviewer": "c",
    }
    assert role_of(config, "reviewer").tools is None


# What a committed file may not do


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("roles: {x: {permission_mode: auto}}", "'roles.x.permission_mode' in a committed file can't be 'auto'"),
        ("roles: {reviewer: {model: a}}", "'roles.reviewer' in a committed file can't replace what is built in"),
    ],
)
def test_a_role_of_a_committed_file_frees_nobody(place: Place, content: str, said: str) -> None:
    place.write(TEAM, f"{content}\n")
    assert place.refusal().message == f".chatml.yaml:1: {said}"
    place.files[TEAM].rename(place.files[OWN])
    assert len(place.load().roles) == 1


@pytest.mark.parametrize("mode", ["bypassPermissions", "auto"])
def test_a_committed_file_cannot_free_the_agent(place: Place, mode: str) -> None:
    place.write(TEAM, f"model: x\npermission_mode: {mode}\n")
    assert place.refusal().message == f".chatml.yaml:2: 'permission_mode' in a committed file can't be '{mode}'"
    place.files[TEAM].rename(place.files[OWN])
    assert place.load().terms.permission_mode == mode


@pytest.mark.parametrize(
    "worktrees", ["/etc", "~/x", "..", ".", "../..", "../../x", "../a/../../x", "a/../../../x", "{repo}/../.."]
)
def test_a_committed_file_cannot_put_worktrees_elsewhere_on_the_machine(place: Place, worktrees: str) -> None:
    place.write(TEAM, f"worktrees: '{worktrees}'\n")
    assert place.refusal().message.startswith(".chatml.yaml:1: 'worktrees' in a committed file may not lead elsewhere")
    place.files[TEAM].rename(place.files[OWN])
    assert place.load().worktrees == worktrees


def test_commands_of_a_committed_file_are_checked_and_not_taken_over_before_they_are_approved(place: Place) -> None:
    text = EVERYTHING.replace('allow: ["Bash(npm test:*)", mcp__docs__search]', "").replace("plan", "default")
    place.write(TEAM, text.replace("sandbox: off", "").replace("max_depth: 2\nmax_children: 0\n", ""))
    config = place.load()
    given = config.furnishing
    assert (config.terms.notify, config.terms.check, config.agents) == (None, None, {})
    assert (given.setup, given.teardown, given.services) == ((), (), ())
    assert (given.copy, given.ports) == ((".env", "config/local.yaml"), ("web", "db"))
    assert config.committed is not None
    assert not config.committed.approved
    assert [*config.committed.data] == ["setup", "run", "teardown", "checks", "notify", "agents"]
    file = place.files[OWN].parent / "approvals.json"
    file.write_text(json.dumps(with_text(file, config.committed.data)))
    config = place.load()
    assert config.committed is not None
    assert config.committed.approved
    assert len(config.furnishing.services) == 3
    assert config.terms.check is not None
    assert [*config.agents] == ["codex"]


def test_only_the_exact_text_is_approved_and_what_stands_around_it_may_change(place: Place) -> None:
    place.write(TEAM, "setup: [npm ci]\nrun: serve\n")
    config = place.load()
    assert config.committed is not None
    place.environ["CHATML_TRUST"] = f"sha256:0 {config.committed.digest}"
    for text in ("# well\nrun: 'serve'\nmodel: x\nsetup:\n- npm ci\n", "setup: [npm ci]\nrun: serve\ncopy: [.env]\n"):
        place.write(TEAM, text)
        assert place.load().furnishing.setup == (SetupStep("npm ci"),)
    for text in (
        "setup: [npm  ci]\nrun: serve\n",
        "setup: [npm ci, x]\nrun: serve\n",
        "setup: [npm ci]\nrun: serve\nteardown: [x]\n",
        "setup: [npm ci]\n",
        "setup: [{command: npm ci, timeout: 5}]\nrun: serve\n",
    ):
        place.write(TEAM, text)
        assert place.load().furnishing.setup == ()


def test_commands_of_a_committed_file_do_not_hide_ones_own(place: Place) -> None:
    place.write(USER, "setup: [mine]\n")
    place.write(TEAM, "setup: [theirs]\n")
    assert place.load().furnishing.setup == (SetupStep("mine"),)


# Where worktrees go

HOME = Path("/srv/code/shop")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("../{repo}.chatml", "/srv/code/shop.chatml"),
        ("trees/{repo}", "/srv/code/shop/trees/shop"),
        ("/srv/{repo}/wt", "/srv/shop/wt"),
    ],
)
def test_worktrees_are_found_from_the_main_checkout(template: str, expected: str) -> None:
    assert worktrees_dir(Config(worktrees=template), HOME, "shop", HOME / ".git") == Path(expected)


def test_worktrees_may_be_under_the_persons_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/srv/me")
    assert worktrees_dir(Config(worktrees="~/wt/{repo}"), HOME, "shop", HOME / ".git") == Path("/srv/me/wt/shop")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("/tmp/x", "is in a folder for temporary files"),
        ("/var/tmp/{repo}", "is in a folder for temporary files"),
        ("/srv/bare/x", "is inside .git"),
        ("/srv/bare", "is inside .git"),
        ("../other/.git/x", "is inside .git"),
        (".", "is the main checkout itself"),
        ("../{repo}", "is the main checkout itself"),
    ],
)
def test_worktrees_are_not_put_where_they_would_be_lost_or_in_the_way(template: str, problem: str) -> None:
    config = Config(worktrees=template, origins={"worktrees": "f.yaml:2"})
    with pytest.raises(ChatmlError) as caught:
        worktrees_dir(config, HOME, "shop", Path("/srv/bare"))
    assert caught.value.message.startswith(f"f.yaml:2: 'worktrees' {problem}")


def test_a_repository_in_a_temporary_folder_has_its_worktrees_beside_it(tmp_path: Path) -> None:
    found = worktrees_dir(Config(), tmp_path / "repo", "repo", tmp_path / "repo/.git")
    assert found == Path(os.path.realpath(tmp_path)) / "repo.chatml"


def test_a_link_in_the_checkout_does_not_lead_worktrees_out_of_it_or_into_git(tmp_path: Path) -> None:
    home = tmp_path / "repo"
    (home / ".git").mkdir(parents=True)
    (home / "out").symlink_to(tmp_path)
    (home / "in").symlink_to(".git")
    for template, problem in (("out/x", "leads out of it"), ("../repo/out/x", "leads out of it"), ("in/x", ".git")):
        with pytest.raises(ChatmlError, match=problem):
            worktrees_dir(Config(worktrees=template), home, "repo", home / ".git")


# What it costs


def test_without_files_nothing_heavy_is_imported(place: Place) -> None:
    code = (
        "import sys, pathlib; from chatml.config import load; from chatml.state.paths import StatePaths;"
        f"load(state=StatePaths(pathlib.Path({str(place.root)!r})), top=None, environ={place.environ!r});"
        "print(*sorted({'yaml', 'difflib', 'tempfile', 'click', 'git', 'filelock'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=TIMEOUT
    )
    assert result.stdout == "\n"
