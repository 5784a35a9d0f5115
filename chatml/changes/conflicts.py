"""What becomes of sessions that meet: real merges in memory of what they hold, none of them made twice."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from chatml.changes.clashes import MARKER, Attributed, shared_files
from chatml.errors import GitError
from chatml.model.clash import Encounter, Meeting, meeting_of
from chatml.repo import Repository
from chatml.repo.answers import answer
from chatml.repo.attributes import NAME, attribute_files, attributes_of
from chatml.repo.merging import Merging, merges
from chatml.state.conflicts import ConflictCache, Met, key

DECIDE = r"^(merge|diff|filter|core)\."
"""The settings that may decide how git merges."""

SETTINGS = {
    "merge.conflictStyle": "merge",  # conflict markers as we read them, whatever the person likes to see
    # What is merged goes at once: not worth compressing, or keeping through a power cut.
    "core.looseCompression": "0",
    "core.fsync": "none",
}


def settled(env: Mapping[str, str]) -> dict[str, str]:
    """An environment in which git has these settings too (git-config(1), GIT_CONFIG_COUNT)."""
    numbered = {"GIT_CONFIG_COUNT": str(len(SETTINGS))}
    for number, (name, value) in enumerate(SETTINGS.items()):
        numbered |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return {**env, **numbered}


@dataclass(frozen=True)
class Due:
    """A merge that somebody asks for."""

    a: str
    b: str
    ours: str
    theirs: str
    rules: str
    """The commit whose attributes count."""
    sized: bool = False
    """Whether it is to be found out how much it changes in `theirs`."""


class Merger:
    """Merges in memory; git runs in `env` (`settled`), which says where new objects go."""

    def __init__(self, repository: Repository, cache: ConflictCache, env: Mapping[str, str]) -> None:
        self._repository, self._cache, self._env = repository, cache, env
        self._hows: dict[str, str] = {}

    def encounters(self, due: Sequence[Due]) -> list[Encounter]:
        """What becomes of each of these. ChatmlError with a git that can't merge in memory."""
        known: dict[Due, Met | str | None] = {one: self._known(one) for one in due}
        missing: dict[str, list[Due]] = {}
        for one, met in known.items():
            if met is None:
                missing.setdefault(one.rules, []).append(one)
        for rules, some in missing.items():
            known |= self._merged(rules, some)
        return [_encounter(one, known[one]) for one in due]

    def missing(self, due: Sequence[Due]) -> list[Due]:
        """Those of them that would have to be made."""
        return [one for one in due if self._known(one) is None]

    def _known(self, one: Due) -> Met | None:
        found = self._cache.met(key(self.how(one.rules), one.ours, one.theirs))
        return None if found is None or (one.sized and found.size is None) else found

    def how(self, rules: str) -> str:
        """What tells how merges are made, with the attributes of this commit, from other ways. GitError."""
        if rules not in self._hows:
            self._hows[rules] = hashlib.sha256(f"{self._settings} {self._attributes(rules)}".encode()).hexdigest()
        return self._hows[rules]

    def _attributes(self, rules: str) -> str:
        found = self._cache.attributes.get(rules)
        if found is None:
            files = attribute_files(self._repository, rules)
            found = hashlib.sha256(repr(sorted(files.items())).encode("utf-8", "surrogateescape")).hexdigest()
            self._cache.attributes[rules] = found
            self._cache.changed = True
        return found

    # --- how git merges here ------------------------------------------------------------------------------------

    @cached_property
    def _configured(self) -> str:
        asked = self._repository.git("config", "-z", "--get-regexp", DECIDE, check=False)
        return answer(asked) or ""

    @cached_property
    def _settings(self) -> str:
        """Changes with all but the attributes of a commit that decides how git merges."""
        digest = hashlib.sha256(self._configured.encode("utf-8", "surrogateescape"))
        program = shutil.which("git")
        digest.update(repr(program and os.stat(program).st_mtime_ns).encode())
        for path in (self._repository.common_dir / "info" / "attributes", *self._own_attributes()):
            try:
                content = path.read_bytes()
            except OSError:
                content = b""
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()

    def _own_attributes(self) -> Iterator[Path]:
        """The person's own file of attributes (gitattributes(5))."""
        found = re.findall(r"(?:^|\0)core\.attributesfile\n([^\0]*)", self._configured)
        if found:
            yield Path(os.path.expanduser(found[-1]))
            return
        home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        yield Path(home, "git", "attributes")

    @cached_property
    def _drivers(self) -> frozenset[str]:
        found: list[str] = re.findall(r"(?:^|\0)merge\.([^\n\0]*)\.driver\n", self._configured)
        return frozenset(found)

    @cached_property
    def _default(self) -> str | None:
        found: list[str] = re.findall(r"(?:^|\0)merge\.default\n([^\0]*)", self._configured)
        return found[-1] if found else None

    # --- the merges ---------------------------------------------------------------------------------------------

    def _merged(self, rules: str, due: Sequence[Due]) -> dict[Due, Met | str]:
        """What becomes of merges that are not known yet; why that is unknown, where git can't merge two at all."""
        with attributes_of(self._repository, rules) as top:
            own = top / NAME
            before = own.read_bytes() if own.exists() else b""
            own.write_bytes(b"* conflict-marker-size=%d\n" % MARKER + before)
            found = self._tried([(one.ours, one.theirs) for one in due], top)
            done = [(one, met) for one, met in zip(due, found, strict=True) if isinstance(met, Merging)]
            files = shared_files(
                self._repository,
                [(one.ours, one.theirs) for one, _ in done],
                [met for _, met in done],
                Attributed(top, self._drivers, self._default),
                self._env,
            )
        sizes = self._sizes([(one.theirs, met.tree) for one, met in done if one.sized])
        known: dict[Due, Met | str] = {
            one: why for one, why in zip(due, found, strict=True) if not isinstance(why, Merging)
        }
        how = self.how(rules)
        for (one, _), shared in zip(done, files, strict=True):
            met = Met(shared, next(sizes) if one.sized else None)
            self._cache.note(key(how, one.ours, one.theirs), met)
            known[one] = met
        return known

    def _tried(self, pairs: Sequence[tuple[str, str]], top: Path) -> list[Merging | str]:
        """The merges; git gives up all of them where it can't make one, so those beside it are found by halving."""
        try:
            return [*merges(self._repository, pairs, self._env, top)]
        except GitError as error:
            if len(pairs) == 1:
                return [error.message]
            half = len(pairs) // 2
            return self._tried(pairs[:half], top) + self._tried(pairs[half:], top)

    def _sizes(self, pairs: Sequence[tuple[str, str]]) -> Iterator[int]:
        """How many lines differ between each commit and tree."""
        if not pairs:
            return iter(())
        commits = list(dict.fromkeys(commit for commit, _ in pairs))
        named = self._repository.git("rev-parse", *(f"{commit}^{{tree}}" for commit in commits), env=self._env)
        trees = dict(zip(commits, named.text.split(), strict=True))
        asked = "".join(f"{trees[commit]} {tree}\n" for commit, tree in pairs)
        form = ("diff-tree", "--stdin", "-r", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv")
        said = self._repository.git(*form, stdin=asked.encode(), env=self._env).text
        return iter(_counts(said, len(pairs)))


def _counts(said: str, number: int) -> list[int]:
    """The lines that `--numstat` counts for so many pairs of trees; a file that has none counts as one."""
    found = [0] * number
    current = -1
    for line in said.splitlines():
        added, *rest = line.split("\t", 2)
        if not rest:  # the two trees
            current += 1
        else:
            found[current] += 1 if added == "-" else max(1, int(added) + int(rest[0]))
    return found


def _encounter(one: Due, met: Met | str | None) -> Encounter:
    if not isinstance(met, Met):
        return Encounter(one.a, one.b, Meeting.UNKNOWN, why=met)
    return Encounter(one.a, one.b, meeting_of(met.files), met.files, size=met.size)
