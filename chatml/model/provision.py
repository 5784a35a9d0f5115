"""What makes a worktree habitable: asked for by the settings when its session is made, and how far that is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from chatml.record import record

SETUP_TIMEOUT = 1800.0
"""Seconds that a step of the setup may take where nothing else is said."""

LONGEST_SLUG = 63
"""Characters of a slug: as long as a name may be in PostgreSQL (NAMEDATALEN), and a label in the DNS (RFC 1035)."""


@record(frozen=True)
class EnvSetting:
    """A variable in a file of the worktree, and its value, placeholders not filled in."""

    file: str
    name: str
    value: str


@record(frozen=True)
class SetupStep:
    """A command of the shell that runs before the agent's first turn."""

    command: str
    timeout: float = SETUP_TIMEOUT
    if_changed: tuple[str, ...] = ()
    """Files of the worktree: where one of them has changed since it passed, it is due again."""


@record(frozen=True)
class Service:
    """A long-running program of the project in a worktree."""

    name: str
    command: str
    port: str | None = None
    """Which of the session's ports it answers on; None for a program that answers on none."""


@record(frozen=True)
class Furnishing:
    """What a session's worktree is given beside the files of its branch."""

    copy: tuple[str, ...] = ()
    """Which ignored files of the main checkout are copied: patterns of gitignore(5)."""
    link: tuple[str, ...] = ()
    """Paths of the main checkout that are shared with it."""
    env: tuple[EnvSetting, ...] = ()
    ports: tuple[str, ...] = ()
    """The names of the ports that it needs."""
    setup: tuple[SetupStep, ...] = ()
    max_setups: int | None = None
    """How many setups of the repository may run at once; None for as many as there are cores."""
    services: tuple[Service, ...] = ()
    teardown: tuple[str, ...] = ()
    """Commands of the shell that run before it is removed."""


@record(frozen=True)
class PortClaim:
    """A port of this machine that is the session's, under the name that the settings give it."""

    name: str
    number: int


@record(frozen=True)
class PassedStep:
    """A step of the setup that has passed, and what it looked at: a digest of its `if_changed`."""

    command: str
    seen: str | None = None


@record(frozen=True)
class RunningService:
    """A service that was started: whether it lives is seen by its lock."""

    name: str
    command: str
    pid: int
    started_at: str
    port: int | None = None


@record(frozen=True)
class SeenService:
    """A service as it is now: what `--json` shows of it."""

    name: str
    status: str
    """running or ended"""
    port: int | None
    url: str | None
    pid: int | None
    command: str
    started_at: str


@record(frozen=True)
class Furnished:
    """How far a worktree is with what it is given."""

    claims: tuple[PortClaim, ...] = ()
    files: bool = False
    """It has what is copied and linked, and its variables are set."""
    passed: tuple[PassedStep, ...] = ()
    services: tuple[RunningService, ...] = ()
    """Those that were started."""
    torn_down: bool = False
    """Its teardown has passed, and nothing was set up or started since."""

    @property
    def ports(self) -> dict[str, int]:
        """The session's ports by their names, in their order."""
        return {claim.name: claim.number for claim in self.claims}


def slug_of(name: str) -> str:
    """A session's name as a database or a compose project can be called: `[a-z0-9_]`, 63 characters at most.

    Two names never have the same: what is more than a change of `-` to `_` is told apart by a digest.
    """
    plain = name.replace("-", "_")
    if re.fullmatch(r"[a-z0-9-]+", name) and len(plain) <= LONGEST_SLUG:
        return plain
    import hashlib  # here and below alone: hardly any command needs them

    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    kept = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[: LONGEST_SLUG - 9]
    return f"{kept}_{digest}" if kept else digest


def host_of(name: str) -> str:
    """The session's host name: `NAME.localhost`, which browsers resolve to this machine (RFC 6761, section 6.3).

    Where the name could be no host's (RFC 1123, section 2.1), by its slug.
    """
    if all(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", label) for label in name.split(".")):
        return f"{name}.localhost"
    return f"{slug_of(name).replace('_', '-').strip('-')}.localhost"


def url(name: str, port: int | None) -> str | None:
    """Where a service of that session answers; None for one without a port."""
    return f"http://{host_of(name)}:{port}" if port is not None else None


PLACEHOLDERS = ("name", "branch", "slug", "port", "worktree", "repo", "base")
"""What may stand between braces in values and commands; `port` also as `port:NAME`."""

PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_]+)(?::([A-Za-z0-9][A-Za-z0-9._-]*))?\}")
"""One of them, or what looks like one; not `${VARIABLE}`."""


def variable(placeholder: str) -> str:
    """The environment variable in which stands what is put for that placeholder: `CHATML_PORT_WEB` for `port:web`."""
    return "CHATML_" + re.sub(r"[^A-Z0-9]", "_", placeholder.upper())


def unknown_placeholder(text: str, ports: tuple[str, ...], shell: bool) -> str | None:
    """The first placeholder in `text` that nothing can be put for; None where there is none.

    To a shell, `{print}` is its own affair, unless it names a port.
    """
    for found in PLACEHOLDER.finditer(text):
        word, detail = found[1], found[2]
        if word == "port":
            known = bool(ports) if detail is None else detail in ports
        else:
            known = (word in PLACEHOLDERS or shell) and (detail is None or shell)
        if not known:
            return found[0]
    return None


def filled(text: str, values: Mapping[str, str], quote: Callable[[str], str] = str) -> str:
    """`text` with its placeholders filled in: `values` by what stands between the braces; all else as it is."""

    def fill(found: re.Match[str]) -> str:
        value = values.get(found[0][1:-1])
        return found[0] if value is None else quote(value)

    return PLACEHOLDER.sub(fill, text)


def shell_filled(command: str, values: Mapping[str, str]) -> str:
    """A command of the shell with its placeholders filled in, each as one word of it, whatever it holds."""
    import shlex

    return filled(command, values, shlex.quote)
