"""Reads merges: which files both sides have changed, what they don't agree on, and in which lines."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chatml.model.clash import Lines, SharedFile
from chatml.repo import Repository, git
from chatml.repo.merging import Merging, Side

MARKER = 61
"""How long conflict markers are while we read them, so that no heading in a text is taken for one."""

LINK, OTHER_REPOSITORY = "120000", "160000"

KINDS: Mapping[str, str] = {
    "CONFLICT (binary)": "binary",
    "CONFLICT (modify/delete)": "modify/delete",
    "CONFLICT (rename/rename)": "rename/rename",
    "CONFLICT (rename/delete)": "rename/delete",
    "CONFLICT (rename involved in collision)": "rename/add",
    "CONFLICT (file/directory)": "file/folder",
    "CONFLICT (directory rename suggested)": "folder rename",
    "CONFLICT (file in way of directory rename)": "folder rename",
    "CONFLICT(directory rename collision)": "folder rename",
    "CONFLICT (directory rename collision)": "folder rename",
    "CONFLICT(directory rename unclear split)": "folder rename",
    "CONFLICT (directory rename unclear split)": "folder rename",
}
"""Git's words for what it could not merge, of which those that say most come first, in ours."""

IN_LINES = ("content", "add/add")
"""The kinds of conflicts that are in lines."""


@dataclass(frozen=True)
class Attributed:
    """What the attributes of a repository say of merges."""

    top: Path
    """A folder that stands for a checkout with these attributes."""
    drivers: Collection[str]
    """The merge drivers that are set up here."""
    default: str | None
    """The one for all files that no attribute gives another."""


def shared_files(
    repository: Repository,
    pairs: Sequence[tuple[str, str]],
    found: Sequence[Merging],
    attributed: Attributed,
    env: Mapping[str, str],
) -> list[tuple[SharedFile, ...]]:
    """The files that both sides of each merge have changed: those in conflict, or else those that merge cleanly.

    GitError where git can't tell.
    """
    texts: dict[tuple[int, str], tuple[Side, Side]] = {}
    files: list[list[SharedFile]] = []
    for number, (one, labels) in enumerate(zip(found, pairs, strict=True)):
        conflicts = {} if one.clean else _conflicts(one, labels)
        for path, (kind, versions) in conflicts.items():
            if kind in IN_LINES:
                texts[number, path] = (versions[2], versions[3])
        shared = [SharedFile(path, kind) for path, (kind, _) in conflicts.items()]
        files.append(shared or [SharedFile(path) for path in _automatic(one)])
    lines = _lines(repository, found, texts, env) if texts else {}
    drivers = _drivers(repository, {one.path for shared in files for one in shared}, attributed, env)
    return [
        tuple(_told(one, lines.get((number, one.path)), drivers.get(one.path)) for one in shared)
        for number, shared in enumerate(files)
    ]


def _told(one: SharedFile, lines: tuple[list[Lines], list[Lines]] | None, driver: str | None) -> SharedFile:
    ours, theirs = lines or ([], [])
    return replace(one, lines=tuple(ours), other_lines=tuple(theirs), driver=driver)


def _automatic(one: Merging) -> Iterator[str]:
    return (path for clash in one.clashes if clash.kind == "Auto-merging" for path in clash.paths[:1])


# --- what they don't agree on -----------------------------------------------------------------------------------


Versions = dict[int, Side]
"""The sides of a path by their numbers."""


def _conflicts(one: Merging, labels: tuple[str, str]) -> dict[str, tuple[str, Versions]]:
    """Each path in conflict, with the kind of it."""
    unmerged: dict[str, Versions] = {}
    for side in one.sides:
        unmerged.setdefault(side.path, {})[side.number] = side
    told: dict[str, list[str]] = {}
    for clash in one.clashes:
        if clash.kind.startswith("CONFLICT"):
            for path in clash.paths:
                told.setdefault(path, []).append(clash.kind)
    found: dict[str, tuple[str, Versions]] = {}
    for path, versions in unmerged.items():
        found.setdefault(_as_it_was(path, labels), (_kind(told.get(path, []), versions), versions))
    if not found:  # such as a folder that was renamed to several
        found = {_as_it_was(path, labels): (_kind(kinds, {}), {}) for path, kinds in told.items()}
    return found


def _as_it_was(path: str, labels: tuple[str, str]) -> str:
    """The path without what git has put behind it, to make room for what the other side has there."""
    return re.sub(rf"~(?:{'|'.join(map(re.escape, labels))})(?:_\d+)?$", "", path)


def _kind(told: Sequence[str], versions: Versions) -> str:
    modes = {side.mode for side in versions.values()}
    for kind, words in KINDS.items():
        if kind in told:
            return words
    if OTHER_REPOSITORY in modes or any("submodule" in kind.lower() for kind in told):
        return "submodule"
    if LINK in modes:
        return "symlink"
    ours, theirs = versions.get(2), versions.get(3)
    if "CONFLICT (distinct modes)" in told:
        return "mode"
    if ours is None or theirs is None:
        return "modify/delete" if 1 in versions else "content"
    if ours.content == theirs.content and ours.mode != theirs.mode:
        return "mode"
    return "content" if 1 in versions else "add/add"


# --- in which lines ---------------------------------------------------------------------------------------------


def _lines(
    repository: Repository,
    found: Sequence[Merging],
    texts: Mapping[tuple[int, str], tuple[Side, Side]],
    env: Mapping[str, str],
) -> dict[tuple[int, str], tuple[list[Lines], list[Lines]]]:
    """The lines in conflict, in the first version and in the second.

    By what git itself sees between each of them and the merged text, in which the markers stand: for all of them in
    one comparison of two trees, whose files have numbers for names.
    """
    asked = "".join(f"{found[number].tree}:{path}\0" for number, path in texts).encode("utf-8", "surrogateescape")
    form = "--batch-check=%(objectname) %(objecttype)"
    merged = repository.git("cat-file", "-z", form, stdin=asked, env=env).text.split("\n")[:-1]
    if len(merged) != len(texts) or not all(line.endswith(" blob") for line in merged):
        return {}
    before, after = [], []
    for number, (line, sides) in enumerate(zip(merged, texts.values(), strict=True)):
        for letter, side in zip("ab", sides, strict=True):
            before.append(f"100644 blob {side.content}\t{letter}{number}\n")
            after.append(f"100644 blob {line.split(' ')[0]}\t{letter}{number}\n")
    trees = "\n".join("".join(sorted(entries, key=lambda one: one.split("\t")[1])) for entries in (before, after))
    made = repository.git("mktree", "--batch", stdin=trees.encode(), env=env).text.split()
    said = repository.git(*_COMPARE, *made, env={**env, "GIT_DIFF_OPTS": ""}).stdout
    read = _read(said)
    return {key: (read.get(f"a{i}", []), read.get(f"b{i}", [])) for i, key in enumerate(texts)}


_COMPARE = (
    "diff-tree", "-r", "-p", "-U0", "--text", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color",
    "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip


def _read(patch: bytes) -> dict[str, list[Lines]]:
    """The lines between the markers, by the name of the file: of `a…` those of ours, of `b…` those of theirs."""
    found: dict[str, list[Lines]] = {}
    name, old, new, begun, in_head = "", 0, 0, (0, 0), True
    begin = b"+" + b"<" * MARKER
    middle, end = b"+" + b"=" * MARKER, b"+" + b">" * MARKER
    for line in patch.split(b"\n"):
        if line.startswith(b"diff --git "):
            name, in_head = line.rpartition(b"/")[2].decode(), True
        elif line.startswith(b"@@ ") and (hunk := _HUNK.match(line)):
            old, new, in_head = int(hunk[1]) - (hunk[2] != b"0"), int(hunk[3]), False
        elif line.startswith(b"+") and not in_head:
            opens, closes = (begin, middle) if name.startswith("a") else (middle, end)
            if line.startswith(opens):
                begun = (old, new)
            elif line.startswith(closes):
                count = new - begun[1] - 1
                first = begun[0] + 1 if count else max(begun[0], 1)
                found.setdefault(name, []).append((first, first + max(count - 1, 0)))
            new += 1
    return found


_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)")


# --- who has merged ---------------------------------------------------------------------------------------------


def _drivers(
    repository: Repository, paths: Collection[str], attributed: Attributed, env: Mapping[str, str]
) -> dict[str, str]:
    """The paths for which another merge driver is set than git's own, or than a forge would run."""
    if not paths:
        return {}
    own = {
        **env,
        "GIT_DIR": str(repository.common_dir),
        "GIT_WORK_TREE": str(attributed.top),
        "GIT_INDEX_FILE": str(attributed.top / ".git-no-index"),  # else that of the main checkout would count
    }
    asked = "".join(f"{path}\0" for path in sorted(paths)).encode("utf-8", "surrogateescape")
    said = git("check-attr", "-z", "--stdin", "merge", at=attributed.top, env=own, stdin=asked).text.split("\0")
    found = {}
    for path, value in zip(said[::3], said[2::3], strict=False):
        driver = attributed.default if value == "unspecified" else value
        if driver == "union" or (driver is not None and driver in attributed.drivers):
            found[path] = driver
    return found
