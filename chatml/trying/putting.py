"""Puts files into a checkout: each whole, by a rename, never through a link."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.repo import Repository, git
from chatml.state.store import remove_tree
from chatml.trying.kept import PLAIN, RawFile

STAGE = ".try-"
"""How the folder beside our state begins in which files are made ready."""


@contextmanager
def staged(repository: Repository, top: Path, commit: str, paths: Iterable[str]) -> Iterator[Path]:
    """A folder with these files of a commit, as git would check them out here."""
    folder = Path(tempfile.mkdtemp(prefix=STAGE, dir=repository.common_dir / "chatml"))
    try:
        env = {"GIT_INDEX_FILE": str(folder / "index")}
        wanted = b"".join(os.fsencode(path) + b"\0" for path in paths)
        (folder / "files").mkdir()
        if wanted:
            git("read-tree", commit, at=top, env=env)
            git("checkout-index", "-z", "--stdin", f"--prefix={folder}/files/", at=top, env=env, stdin=wanted)
        yield folder / "files"
    finally:
        remove_tree(folder)


def sweep(common_dir: Path) -> None:
    """Remove what one who was killed has left of that, and of files that were being replaced."""
    for folder in (common_dir / "chatml").glob(f"{STAGE}*"):
        remove_tree(folder)
    for half in (*(common_dir / "chatml").glob(".try.json.*"), *common_dir.glob(".index.*")):
        half.unlink(missing_ok=True)


def take_away(top: Path, path: str) -> None:
    """Remove a file or a link, if it is there; what stands in its place as a folder stays."""
    if not _above_is_plain(top, path) or ((top / path).is_dir() and not (top / path).is_symlink()):
        return
    with suppress(FileNotFoundError):
        (top / path).unlink()


def give(source: Path, top: Path, path: str) -> None:
    """Put a file or a link in place, over the one that is there. ChatmlError where a folder with something in it is."""
    target = top / path
    if not _above_is_plain(top, path):
        raise ChatmlError(f"{path} would be written through a link or a file", "put that out of the way")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        _remove_empty(target)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        aside = target.with_name(f".{target.name}.chatml")
        shutil.copy2(source, aside, follow_symlinks=False)
        os.replace(aside, target)


def give_raw(repository: Repository, top: Path, files: Mapping[str, RawFile]) -> None:
    """Put paths back as they lay on the disk; what is so already is left alone."""
    for path, one in files.items():
        if one.blob is None:
            take_away(top, path)
        elif not _is_so(top / path, one):
            _write(repository, top, path, one)


def _write(repository: Repository, top: Path, path: str, one: RawFile) -> None:
    content = repository.git("cat-file", "blob", str(one.blob)).stdout
    folder = Path(tempfile.mkdtemp(prefix=STAGE, dir=repository.common_dir / "chatml"))
    try:
        made = folder / "file"
        if stat.S_ISLNK(one.mode):
            made.symlink_to(os.fsdecode(content))
        else:
            made.write_bytes(content)
            made.chmod(stat.S_IMODE(one.mode))
        give(made, top, path)
    finally:
        remove_tree(folder)


def _is_so(path: Path, one: RawFile) -> bool:
    try:
        about = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if about.st_mode != one.mode:
        return False
    if stat.S_ISLNK(about.st_mode):
        same = git("hash-object", "--no-filters", "--stdin", at=path.parent, stdin=os.fsencode(os.readlink(path)))
    else:
        same = git("hash-object", "--no-filters", "--", str(path), at=path.parent)
    return same.text.strip() == one.blob


def put_modes_right(top: Path, paths: Iterable[str], odd: Mapping[str, int]) -> None:
    """Files with the modes that they had; one that is in no list had a plain one."""
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            about = os.lstat(top / path)
            now = stat.S_IMODE(about.st_mode)
            wanted = odd.get(path, PLAIN[bool(now & 0o100)])
            if stat.S_ISREG(about.st_mode) and now != wanted:
                (top / path).chmod(wanted)


def put_folders_right(top: Path, modes: Mapping[str, int], made: Iterable[str]) -> None:
    """Folders as they were: those that are new go, where nothing is in them; those that went come back."""
    for folder in sorted(made, key=len, reverse=True):
        with suppress(OSError):
            (top / folder).rmdir()
    for folder, mode in sorted(modes.items(), key=lambda one: len(one[0])):
        if not os.path.lexists(top / folder):
            (top / folder).mkdir()
            (top / folder).chmod(mode)


def _above_is_plain(top: Path, path: str) -> bool:
    """Whether each folder above the path is one, or is not there."""
    parts = path.split("/")
    for end in range(1, len(parts)):
        place = top / "/".join(parts[:end])
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            return False
    return True


def _remove_empty(folder: Path) -> None:
    """Remove a folder of nothing but empty folders. ChatmlError where there is more in it."""
    for here, _, files in os.walk(folder, topdown=False):
        if files:
            raise ChatmlError(f"{folder} has files in it that are in the way", "put them out of the way")
        os.rmdir(here)
