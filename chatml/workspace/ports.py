"""Ports of this machine, claimed for sessions: no two sessions of any repository of this user have the same."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.model import PortClaim, Session
from chatml.state.locks import lock
from chatml.state.paths import UserPaths
from chatml.state.store import Store, write_json

Claims = dict[int, dict[str, str]]
"""Whose each port is: `id` and `session` (its name), `repository` (its common git directory), `port` (what for)."""


def claim(session: Session, common_dir: Path, names: Sequence[str], within: tuple[int, int]) -> tuple[PortClaim, ...]:
    """The session's ports: those that it has, else those that it had, else a block of free ones.

    ChatmlError where there are not enough.

    A claim is dropped where its session surely is no more; of a repository that is not there just now, only where
    no other port is left.
    """
    if not names:
        return ()
    paths = UserPaths()
    paths.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock(paths.ports_lock):
        claims = _read(paths.ports)
        own = {entry["port"]: number for number, entry in claims.items() if entry["id"] == session.id}
        if {*own} != {*names}:
            claims = {number: entry for number, entry in claims.items() if entry["id"] != session.id and _lives(entry)}
            had = {name: port for name, port in session.furnished.ports.items() if name not in own and is_free(port)}
            kept = {name: port for name, port in {**had, **own}.items() if name in names and port not in claims}
            new = [name for name in names if name not in kept]
            numbers = _free({*claims, *kept.values()}, len(new), within)
            if numbers is None:
                claims = {number: entry for number, entry in claims.items() if Path(entry["repository"]).exists()}
                numbers = _free({*claims, *kept.values()}, len(new), within)
            if numbers is None:
                first, last = within
                raise ChatmlError(
                    f"no {len(new)} ports in a row are free from {first} to {last}",
                    "set another 'port_range' in the configuration, or remove sessions",
                )
            own = {**kept, **dict(zip(new, numbers, strict=True))}
            about = {"id": session.id, "session": session.name, "repository": str(common_dir)}
            claims |= {number: {**about, "port": name} for name, number in own.items()}
            write_json(paths.ports, {str(number): claims[number] for number in sorted(claims)})
    return tuple(PortClaim(name, own[name]) for name in names)


def release(session_id: str) -> None:
    """Give back the ports of a session. OSError, ChatmlError."""
    paths = UserPaths()
    if not paths.ports.exists():
        return
    with lock(paths.ports_lock):
        claims = _read(paths.ports)
        left = {str(number): entry for number, entry in claims.items() if entry["id"] != session_id}
        if len(left) < len(claims):
            write_json(paths.ports, left)


def _read(path: Path) -> Claims:
    """All claims. ChatmlError where the file is damaged: nobody knows then which ports are taken."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    try:
        data: dict[str, Any] = json.loads(text)
        wanted = ("id", "session", "repository", "port")
        return {int(number): {key: str(entry[key]) for key in wanted} for number, entry in data.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ChatmlError(
            f"{path}: damaged, so nobody knows which ports are taken", f"when no session runs a server: rm {path}"
        ) from None


def _lives(entry: Mapping[str, str]) -> bool:
    """Whether the session of a claim may still be there."""
    common_dir = Path(entry["repository"])
    if not common_dir.exists():
        return True  # its disk may just not be mounted
    try:
        raw = Store(common_dir).session(entry["session"]).raw()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return f'"id":"{entry["id"]}"'.encode() in raw


def _free(taken: Container[int], count: int, within: tuple[int, int]) -> range | None:
    """So many ports in a row, all of them free; None where there are none."""
    start, last = within
    while start + count - 1 <= last:
        block = range(start, start + count)
        if (used := next((port for port in reversed(block) if port in taken or not is_free(port)), None)) is None:
            return block
        start = used + 1
    return None


def is_free(port: int) -> bool:
    """Whether a server could listen on that port of this machine, on each of the addresses that servers take."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, ""), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has just ended takes up nothing
                probe.bind((address, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False  # else there is no such address here
    return True


def answers(port: int) -> bool:
    """Whether something listens on that port of this machine."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as line:
            line.settimeout(1.0)
            line.connect((address, port))
            return True
    return False
