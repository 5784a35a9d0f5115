"""Random histories of a repository, for tests that compare with what git itself makes of them."""

from __future__ import annotations

import random
from pathlib import Path

from tests.support import Sandbox

NAMES = ("a", "b", "sub/c", "sub/deep/d", "new\nline")
"""The files with which a history begins."""


def begin(sandbox: Sandbox, chance: random.Random) -> str:
    """Commit the files with which all begin; returns the commit."""
    for name in NAMES:
        path = sandbox.repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name} {number} 0.\n" for number in range(chance.randint(2, 12))))
    return sandbox.commit("start")


def work(sandbox: Sandbox, chance: random.Random, who: str, top: Path | None = None, *, commits: bool = True) -> None:
    """One to three commits, in this checkout, of changed, added, removed, renamed and linked files; or all staged."""
    place = top or sandbox.repo
    for number in range(chance.randint(1, 3)):
        for _ in range(chance.randint(1, 3)):
            change(place, chance, who, number)
        sandbox.git("add", "-A", cwd=place)
        if commits:
            sandbox.git("commit", "-q", "--allow-empty", "-m", f"{who} {number}", cwd=place)


def change(top: Path, chance: random.Random, who: str, number: int) -> None:
    """Change one file of a checkout in some way, or none."""
    path = top / chance.choice([*NAMES, f"{who}{number}", f"own/{who}"])
    if any(above.is_file() or above.is_symlink() for above in path.parents) or path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    what = chance.choice(["line", "line", "line", "remove", "rename", "mode", "binary", "link"])
    there = path.is_file() and not path.is_symlink()
    if what == "line" or not there:
        lines = path.read_bytes().split(b"\n") if there else []
        lines.insert(chance.randint(0, len(lines)), f"{who} {number} {chance.random()}".encode())
        if path.is_symlink():
            path.unlink()
        path.write_bytes(b"\n".join(lines))
    elif what == "rename":
        target = path.with_name(f"{path.name}-{who}")
        if not target.exists():
            path.rename(target)
    elif what == "mode":
        path.chmod(0o755)
    elif what == "binary":
        path.write_bytes(bytes(chance.randrange(256) for _ in range(50)) + b"\0")
    else:
        path.unlink()
        if what == "link":
            path.symlink_to(who)
