"""The `.gitattributes` of a commit in a folder, for a git that reads them from a checkout alone."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chatml.repo import Repository

NAME = ".gitattributes"


def attribute_files(repository: Repository, commit: str) -> dict[str, str]:
    """The `.gitattributes` of a commit: their paths, and the ids of what they hold. GitError."""
    listed = repository.git("ls-tree", "-r", "-z", "--full-tree", commit).text.split("\0")
    found = {}
    for entry in listed:
        head, _, path = entry.partition("\t")
        mode, _, blob = (head.split(" ") if head else ["", "", ""])[:3]
        if mode.startswith("100") and (path == NAME or path.endswith(f"/{NAME}")):
            found[path] = blob
    return found


@contextlib.contextmanager
def attributes_of(repository: Repository, commit: str) -> Iterator[Path]:
    """A folder that stands for a checkout of the commit: its attributes are there, and no other file. GitError."""
    found = attribute_files(repository, commit)
    with tempfile.TemporaryDirectory(prefix="chatml-", ignore_cleanup_errors=True) as folder:
        for path, blob in found.items():
            if not {"..", ".git"} & set(path.split("/")):
                target = Path(folder, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(repository.git("cat-file", "blob", blob).stdout)
        yield Path(folder)
