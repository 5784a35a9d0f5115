"""Random file trees with all that git can hold, and random work on them, for tests of what `diff` shows."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support import TIMEOUT

NAMES = [
    "plain.txt", "with space", " lead", "trail ", "new\nline", "tab\there", 'quo"te', "it's", "back\\slash",
    "-dash", "--", ":(top)x", ":!x", "*", "[a]", "a => b", "{a => b}", "ünïcödé", "日本", "\x01\x7f", "index",
    "HEAD", "x.lock", "n" * 120, "%s", "$HOME", "#c", "~", ".hidden", "a\u2028b",
]  # fmt: skip
if sys.platform == "linux":
    NAMES += [os.fsdecode(b"\xff\xfe raw"), "e\u0301", "\u00e9"]

LINES = [f"line {number} of a file that is long enough to be told apart\n" for number in range(40)]
CONTENTS = [
    b"", b"one\n", b"no end of line", b"crlf\r\nfile\r\n", b"nul\0byte" * 20, bytes(range(256)), b"caf\xe9\n",
    b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", b"<<<<<<< HEAD\na\n=======\nb\n>>>>>>> x\n", b"-- \n2.39\n",
    b"\x1b[31mred\n", b"\n\n\n", b"x" * 5000, "".join(LINES).encode(),
]  # fmt: skip
IGNORED = ".ign"


class Tree:
    """A folder of files that is changed at random: the same seed, the same changes."""

    def __init__(self, top: Path, rng: random.Random, nested: Path, env: Mapping[str, str]) -> None:
        self.top, self.rng, self.nested, self.env = top, rng, nested, env

    def git(self, *args: str, check: bool = True) -> str:
        done = subprocess.run(
            ["git", *args], cwd=self.top, env=dict(self.env), capture_output=True, check=False, timeout=TIMEOUT
        )
        assert done.returncode == 0 or not check, (args, done)
        return os.fsdecode(done.stdout)

    def grow(self, count: int) -> None:
        """Make new files, links, folders and nested repositories."""
        for _ in range(count):
            self.make(self.free())

    def work(self, count: int) -> None:
        """Change what is there, at random, and stage or commit some of it."""
        steps = [self.edit, self.edit, self.remove, self.rename, self.chmod, self.replace, self.move_nested, self.index]
        for _ in range(count):
            self.rng.choice(steps)()

    def free(self) -> Path:
        """A path where nothing is."""
        while True:
            parts = self.rng.choices(NAMES, k=self.rng.choice([1, 1, 2, 3]))
            if "trail " in parts[:-1]:
                continue  # git-apply(1) can't read the header of a binary file below such a folder
            if self.rng.random() < 0.05:
                parts[-1] += IGNORED
            path = self.top.joinpath(*parts)
            parents = [parent for parent in path.parents if parent != self.top and parent.is_relative_to(self.top)]
            blocked = any(p.is_symlink() or (p / ".git").exists() or p.is_file() for p in parents)
            if not os.path.lexists(path) and not blocked:
                return path

    def paths(self) -> list[Path]:
        """All files and links, and the folders of nested repositories."""
        found: list[Path] = []
        for folder, names, files in os.walk(self.top):
            here = Path(folder)
            links = [name for name in names if (here / name).is_symlink()]
            nested = [name for name in names if name not in links and (here / name / ".git").exists()]
            found += [here / name for name in [*files, *links, *nested] if name not in (".git", ".gitignore")]
            names[:] = sorted(set(names) - set(nested) - set(links) - {".git"})
        return sorted(found)

    def pick(self) -> Path | None:
        found = self.paths()
        return self.rng.choice(found) if found else None

    def make(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = self.rng.random()
        if kind < 0.15:
            path.symlink_to(self.rng.choice([*NAMES, "/nowhere", "../.."]))
        elif kind < 0.2:
            shutil.copytree(self.nested, path)
        else:
            path.write_bytes(self.rng.choice(CONTENTS))
            path.chmod(self.rng.choice([0o644, 0o644, 0o755]))

    def edit(self) -> None:
        path = self.pick()
        if path is None or path.is_symlink() or path.is_dir():
            self.make(self.free())
            return
        lines = path.read_bytes().splitlines(keepends=True)
        place = self.rng.randrange(len(lines) + 1)
        lines[place : place + self.rng.randrange(2)] = [self.rng.choice([b"changed\n", b"", b"\0", b"\xff\n"])]
        path.write_bytes(b"".join(lines))

    def remove(self) -> None:
        if path := self.pick():
            self.clear(path)
            parent = path.parent
            while parent != self.top and not os.listdir(parent):
                parent.rmdir()
                parent = parent.parent

    def clear(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    def rename(self) -> None:
        if path := self.pick():
            target = self.free()
            if not target.is_relative_to(path):
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)

    def chmod(self) -> None:
        path = self.pick()
        if path and path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode ^ 0o111)

    def replace(self) -> None:
        """Something else where a file, a link, a folder or a nested repository was."""
        path = self.pick()
        if path is None:
            return
        if path.parent != self.top and self.rng.random() < 0.4:
            path = self.top / path.relative_to(self.top).parts[0]
        self.clear(path)
        self.make(path / "inner" if self.rng.random() < 0.4 and path.name != "trail " else path)

    def move_nested(self) -> None:
        for path in self.paths():
            if path.is_dir() and not path.is_symlink():
                commits = (path / ".git" / "commits").read_text().split()
                (path / ".git" / "HEAD").write_text(self.rng.choice(commits) + "\n")

    def index(self) -> None:
        """What agents do to their index: stage all or one, forget one, announce one, commit."""
        name = os.path.relpath(path, self.top) if (path := self.pick()) else "."
        step = self.rng.choice(
            [
                ["add", "-A"],
                ["add", "-f", "--", f":(literal){name}"],
                ["add", "-N", "-f", "--", f":(literal){name}"],
                ["rm", "-q", "--cached", "-r", "--", f":(literal){name}"],
                ["update-index", "--chmod=+x", "--", name],
                ["commit", "-q", "--allow-empty", "-m", "some"],
                ["commit", "-q", "--allow-empty", "-a", "-m", "all"],
                ["read-tree", "HEAD"],
                ["reset", "-q"],
            ]
        )
        self.git("-c", "advice.addEmbeddedRepo=false", *step, check=False)

    def expected(self) -> dict[str, tuple[str, str]]:
        """Mode and object of every path that a commit of all this would hold, found without git's help."""
        tracked = self._tracked()
        empty = {name for name, (mode, _) in tracked.items() if mode == "160000" and self._unpopulated(name)}
        found = {".gitignore": _entry(self.top / ".gitignore"), **{name: tracked[name] for name in empty}}
        for path in self.paths():
            name = os.path.relpath(path, self.top)
            parts = name.split("/")
            if any("/".join(parts[:end]) in empty for end in range(1, len(parts))):
                continue  # git takes the folder of a submodule for one, though somebody put files there
            if path.is_dir() and not path.is_symlink() and any(other.startswith(name + "/") for other in tracked):
                # What git has known as a folder of files stays one to it, whatever was made in there.
                found[f"{name}/inside"] = _entry(path / "inside")
            elif name in tracked or not any(part.endswith(IGNORED) for part in parts):
                found[name] = _entry(path)
        return found

    def _tracked(self) -> dict[str, tuple[str, str]]:
        entries = (entry.split("\t", 1) for entry in self.git("ls-files", "-s", "-z").split("\0") if entry)
        return {name: (about.split(" ")[0], about.split(" ")[1]) for about, name in entries}

    def _unpopulated(self, name: str) -> bool:
        path = self.top / name
        return path.is_dir() and not path.is_symlink() and not (path / ".git").exists()


def _entry(path: Path) -> tuple[str, str]:
    if path.is_symlink():
        return "120000", _blob(os.fsencode(os.readlink(path)))
    if path.is_dir():
        return "160000", (path / ".git" / "HEAD").read_text().strip()
    return "100755" if path.stat().st_mode & 0o100 else "100644", _blob(path.read_bytes())


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def nested_repository(path: Path, env: Mapping[str, str]) -> Path:
    """A repository to put into trees: HEAD is detached, `.git/commits` lists where it can move to."""
    path.mkdir()

    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", *args], cwd=path, env=dict(env), check=True, capture_output=True, text=True, timeout=TIMEOUT
        )
        return done.stdout.strip()

    git("init", "-q", "--template=")
    commits = []
    for number in range(3):
        (path / "inside").write_text(f"{number}\n")
        git("add", "-A")
        git("commit", "-q", "-m", str(number))
        commits.append(git("rev-parse", "HEAD"))
    git("checkout", "-q", "--detach")
    (path / ".git" / "commits").write_text("\n".join(commits))
    return path
