"""Settings: environment > this repository's own file and approvals > the team's file > the person's > defaults.

What a session is asked to be is a `Terms`: the settings give one, a role changes it, and flags change it last
(`terms_of`). In the environment a setting is `CHATML_` and its name in capitals, a list has one item a line, and an
empty variable counts as not set. In a file, `null` means the default.
Permission rules add up instead: each layer's `deny`, `ask` and `allow` hold together.
A committed file comes from other people: it starts no command, frees no agent, and names nothing outside its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from chatml.config import approvals, living, trust
from chatml.config.files import BadValueError, Source, file_data
from chatml.config.keys import ADDED, KEYS, RESTRICTING, scope
from chatml.config.living import has_git
from chatml.config.programs import PROGRAMS, AgentCommand
from chatml.config.readers import check_known
from chatml.config.roles import BUILT_IN, Role
from chatml.config.trust import CommittedCommands
from chatml.errors import ChatmlError, UsageError
from chatml.model import Furnishing, Terms
from chatml.state.paths import StatePaths, xdg_folder
from chatml.text import nearest

__all__ = [
    "COMMITTED",
    "AgentCommand",
    "CommittedCommands",
    "Config",
    "Role",
    "check_retries",
    "flag",
    "load",
    "max_parallel",
    "role_of",
    "scope_of",
    "terms_of",
    "worktrees_dir",
]

COMMITTED = ".chatml.yaml"


@dataclass(frozen=True)
class Config:
    """Every setting, checked; `origins` and `ignored` say where it came from and what was left out."""

    terms: Terms = field(default_factory=Terms)
    """What a session is asked to be where neither role nor flag says anything else."""
    base: str | None = None
    branch_prefix: str = "chatml/"
    worktrees: str = "../{repo}.chatml"
    furnishing: Furnishing = field(default_factory=Furnishing)
    """What the worktree of a session is given beside its files."""
    port_range: tuple[int, int] = (4100, 4999)
    """The first and the last port that sessions may have."""
    agents: Mapping[str, AgentCommand] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    """For each key that is set: the file and line, or the variable, that set it."""

    @property
    def programs(self) -> Mapping[str, AgentCommand]:
        """The agents that are programs: those that chatml knows, and those of the settings, which go before them."""
        return {**self.agents, **{name: one for name, one in PROGRAMS.items() if name not in self.agents}}

    committed: CommittedCommands | None = None
    """What the committed file would run; of one that is not approved, nothing is taken over."""


def load(*, state: StatePaths, top: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """All settings as they are now; `top` is the top of the checkout where the command is called, if it is in one.

    ChatmlError names the file, line and key of the first thing that is wrong.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    sources: dict[str, Source] = {}
    committed: CommittedCommands | None = None
    proposed: dict[str, Any] = {}
    for source, data in _layers(state, top, environ):
        checked = {name: _checked(source, name, raw) for name, raw in data.items()}
        if source.committed:
            asked = trust.commands(data)
            known = approvals.trusted(state.approvals) if asked else {}
            committed = trust.looked_up(source.name, asked, known, environ.get(trust.VARIABLE, ""))
            if committed is not None and not committed.approved:
                proposed = {name: checked.pop(name) for name in committed.data}
                sources |= dict.fromkeys(proposed, source)
        for written, value in checked.items():
            name = "check" if written == "checks" else written  # two ways to say the same
            if value is None:
                if name not in ADDED and not (source.committed and name in RESTRICTING):
                    values.pop(name, None)
                    origins.pop(name, None)
                continue
            if name in ADDED:
                value = tuple(dict.fromkeys((*values.get(name, ()), *value)))
            elif name == "roles":  # each by its name: one's own don't hide the team's
                value = {**values.get(name, {}), **value}
            values[name], origins[name], sources[name] = value, source.place((written,)), source
    for spot, complaint, hint in living.mistakes({**proposed, **values}):
        raise sources[str(spot[0])].error(BadValueError(complaint, hint=hint), *spot)
    given = living.furnishing({name: values.pop(name) for name in living.KEYS if name in values})
    terms = Terms(**{name: values.pop(name) for name in _ASKED & values.keys()})
    return Config(terms, furnishing=given, **values, origins=origins, committed=committed)


def max_parallel(*, state: StatePaths, top: Path | None) -> int | None:
    """How many workers may be at work at once, as set now; None also where the settings can't be read."""
    try:
        return load(state=state, top=top).terms.max_parallel
    except (ChatmlError, OSError):
        return None


def terms_of(config: Config, flags: Mapping[str, Any], role: Role | None = None) -> Terms:
    """What a session is asked to be: by the settings, by its role on top, and by the command line on top of that.

    A flag that is None says nothing. UsageError names the one that is wrong.
    """
    before = _with_role(config.terms, role) if role is not None else config.terms
    if before.reads_only:
        before = replace(before, check=None)  # it has nothing to mend, and what is configured is for those who have
    terms = replace(before, **{name: flag(name, raw) for name, raw in flags.items() if raw is not None})
    if terms.permission_mode != "plan":
        return terms
    without = before.permission_mode if before.permission_mode != "plan" else Terms.permission_mode
    return replace(terms, mode_after_plan=without)


def check_retries(terms: Terms, said: bool) -> None:
    """UsageError where a session was told how often to mend what its check finds, and has no check."""
    if said and terms.check is None:
        raise UsageError(
            "--retries goes with a check, and there is none", "add --check CMD, or 'checks:' to the configuration"
        )


def flag(name: str, raw: Any) -> Any:
    """The value of a setting as the command line gives it. UsageError where it is wrong."""
    key = KEYS.get(name)
    if key is None:
        return raw
    try:
        return key.read(key.parse(raw) if key.parse is not None and isinstance(raw, str) else raw)
    except BadValueError as wrong:
        hint = wrong.hint or "see 'chatml new --help'"
        raise UsageError(f"--{name.replace('_', '-')} {wrong.complaint}", hint) from None


def _with_role(terms: Terms, role: Role) -> Terms:
    said = {"permission_mode": role.permission_mode, "model": role.model}
    own: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    return replace(terms, role=role.name, instruction=role.instruction, tools=role.tools, scope=role.scope, **own)


_ASKED = frozenset(one.name for one in fields(Terms))
"""The settings that a session is asked by; the others are the repository's."""


def role_of(config: Config, name: str) -> Role:
    """The role of that name. UsageError for one that is neither in the configuration nor built in."""
    known = {**BUILT_IN, **config.roles}
    if name not in known:
        raise UsageError(
            f"no role named '{name}'{nearest(name, known)}",
            f"known: {', '.join(known)}; others go under 'roles:' in the configuration",
        )
    return known[name]


def scope_of(patterns: Iterable[str], top: Path) -> tuple[str, ...]:
    """A scope as the command line gives it, for the checkout `top`. UsageError for one that can't be meant so."""
    try:
        found = scope(list(patterns))
        for pattern in found:
            before, _, rest = pattern.removeprefix("!").partition("/")
            first = rest.partition("/")[0]
            if not before and first and os.path.lexists(f"/{first}") and not os.path.lexists(top / first):
                raise BadValueError(f"may not be an absolute path: {pattern}")
    except BadValueError as wrong:
        hint = wrong.hint or "from the top of the checkout: --scope 'src/billing/**'"
        raise UsageError(f"--scope {wrong.complaint}", hint) from None
    return found


def worktrees_dir(config: Config, home: Path, repo_name: str, common_dir: Path) -> Path:
    """The real path of the folder that holds the worktrees; relative means from `home`, the main checkout.

    ChatmlError where worktrees would be lost or in the way: inside .git, in a temporary folder (unless the repository
    itself is in it), in place of the main checkout, or through a link that leads out of it.
    """
    import tempfile

    home = Path(os.path.realpath(home))
    # Normalised before links are followed, so that `..` means what it says.
    wanted = Path(os.path.normpath(home / os.path.expanduser(config.worktrees).replace("{repo}", repo_name)))
    folder = Path(os.path.realpath(wanted))
    temporary = {os.path.realpath(path) for path in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")}
    if folder.is_relative_to(os.path.realpath(common_dir)) or has_git(folder.parts):
        problem = "is inside .git"
    elif any(folder.is_relative_to(path) and not home.is_relative_to(path) for path in temporary):
        problem = "is in a folder for temporary files, which the system empties"
    elif folder == home or (wanted.is_relative_to(home) and not folder.is_relative_to(home)):
        problem = "is the main checkout itself, or leads out of it through a link"
    else:
        return folder
    place = f"{config.origins['worktrees']}: " if "worktrees" in config.origins else ""
    raise ChatmlError(
        f"{place}'worktrees' {problem}: {folder}", hint="use a folder beside the checkout: ../{repo}.chatml"
    )


def _layers(state: StatePaths, top: Path | None, environ: Mapping[str, str]) -> Iterable[tuple[Source, dict[str, Any]]]:
    """Each source with its plain data, the weakest first."""
    user = _user_file(environ)
    sources: list[tuple[Path, Source]] = []
    if user is not None:
        sources.append((user, Source(str(user))))
    if top is not None:
        sources.append((top / COMMITTED, Source(COMMITTED, committed=True)))
    sources.append((state.config, Source(str(state.config))))
    for path, source in sources:
        yield source, file_data(path, source)
    yield Source(str(state.approvals)), approvals.approved(state.approvals)
    told = {"base"} if "CHATML_WORKTREE" in environ else set()  # in a session it tells which base that has
    for name, key in KEYS.items():
        variable = f"CHATML_{name.upper()}"
        if (text := environ.get(variable)) and name not in told:
            if key.parse is None:
                raise ChatmlError(f"{variable}: '{name}' can't be set in the environment", hint="set it in a file")
            yield Source(variable), {name: key.parse(text)}


def _user_file(environ: Mapping[str, str]) -> Path | None:
    folder = xdg_folder("XDG_CONFIG_HOME", ".config", environ)
    return folder / "chatml" / "config.yaml" if folder.is_absolute() else None


def _checked(source: Source, name: str, raw: Any) -> Any:
    """The typed value of one setting; None for null."""
    try:
        check_known(name, KEYS)
        if raw is None:
            return None
        value = KEYS[name].read(raw)
        if source.committed:
            KEYS[name].team(value)
    except BadValueError as wrong:
        raise source.error(wrong, name) from None
    return value
