"""Two sides that meet: a merge of them made in memory, what conflicts in it, and what both do to the same files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from chatml.changes.compare import Comparison
from chatml.changes.scope import named
from chatml.errors import ChatmlError
from chatml.model import Session
from chatml.repo import Repository
from chatml.repo.answers import answer
from chatml.repo.attributes import attributes_of
from chatml.repo.merging import Clash, Merging, merges
from chatml.repo.plumbing import NOBODY
from chatml.text import one_line

FILE, PROGRAM, LINK = "100644", "100755", "120000"
"""Modes, as git writes them."""


@dataclass(frozen=True)
class Party:
    """One of two that meet."""

    label: str
    commit: str
    """Made for this alone: its id, by which git names the side, stands in nobody's text."""


Change = dict[str, tuple[str, str] | None]
"""Paths, with the mode and the object that they get, or None where nothing is left there: of a rename, two."""


@dataclass(frozen=True)
class Workbench:
    """Makes commits that are gone with the objects of its environment."""

    repository: Repository
    env: Mapping[str, str]

    def git(self, *args: str, stdin: bytes | None = None) -> str:
        return self.repository.git(*args, env=self.env, stdin=stdin).text

    def texts(self, contents: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """What is in these objects, but for those that are no text."""
        if not contents:
            return
        asked = "".join(f"{content}\n" for content in contents).encode()
        said = self.repository.git("cat-file", "--batch", env=self.env, stdin=asked).stdout
        for content in contents:
            head, _, said = said.partition(b"\n")
            _, kind, *size = head.split(b" ")
            length = int(size[0]) if size else -1  # a repository of its own, whose commits are elsewhere
            if kind == b"blob":
                yield content, said[:length]
            said = said[length + 1 :]

    def party(self, session: Session, held: Comparison) -> Party:
        """All that the session holds."""
        head, tree = held.now.state(held.at)
        return Party(session.name, self.commit(tree, [head or session.base.commit], session.name))

    def commit(self, tree: str, parents: Sequence[str], message: str) -> str:
        dates = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}
        made = self.repository.git(
            "-c", "i18n.commitEncoding=UTF-8", "commit-tree", tree,
            *(word for parent in parents for word in ("-p", parent)), "-F", "-",
            env={**self.env, **NOBODY, **dates}, stdin=message.encode("utf-8", "replace"),
        )  # fmt: skip
        return made.text.strip()

    def changed(self, since: str, change: Change, message: str) -> str:
        """A commit on top of another one that has these changes."""
        nothing = ("0", "0" * len(since))
        gone_first = sorted(change.items(), key=lambda one: one[1] is not None)
        entries = "".join(
            f"{mode} {found}\t{path}\0" for path, entry in gone_first for mode, found in [entry or nothing]
        )
        self.git("read-tree", since)
        self.git("update-index", "-z", "--add", "--replace", "--index-info", stdin=_encoded(entries))
        # In a partial clone, what neither has changed may be missing.
        return self.commit(self.git("write-tree", "--missing-ok").strip(), [since], message)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# --- what was merged --------------------------------------------------------------------------------------------


class Crossing:
    """A merge of two sides; the attributes of the commit `rules` count."""

    def __init__(self, bench: Workbench, sides: tuple[Party, Party], rules: str) -> None:
        self._bench, self._sides = bench, sides
        ours, theirs = sides
        repository = bench.repository
        parted = answer(repository.git("merge-base", ours.commit, theirs.commit, env=bench.env, check=False))
        if parted is None:
            raise ChatmlError(
                f"'{ours.label}' and '{theirs.label}' have no commit in common: git does not merge them",
                "see what each of them changes with 'chatml diff NAME'",
            )
        self.since = parted.split("\n")[0]
        with attributes_of(repository, rules) as top:
            (self._merging,) = merges(repository, [(ours.commit, theirs.commit)], bench.env, top)

    def conflicts(self, title: str, only: Set[str] | None = None) -> tuple[str, ...]:
        """A commit with what conflicts, with git's markers and words for it; none where nothing does.

        With `only`, words about these files alone, as `whole` names them.
        """
        if self._merging.clean:
            return ()
        clashes = [
            clash for clash in _clashes(self._merging) if only is None or not only.isdisjoint(self._names(clash))
        ]
        said = dict.fromkeys(one_line(self._named(words)) for clash in clashes for words in self._words(clash))
        return (self._part(self._merged(self.disputed), "\n".join([title, "", *said])),)

    def _names(self, clash: Clash) -> set[str]:
        return {self._named(path, of_file=True) for path in clash.paths}

    def _words(self, clash: Clash) -> Iterator[str]:
        """What there is to say about a conflict, also where git lets the person look for it."""
        yield clash.message
        path = clash.paths[0] if clash.paths else ""
        ours, theirs = (_joined(changes).get(path) for changes in self._changes)
        if ours is None or theirs is None:
            return
        (mode, content), (other_mode, other_content) = ours, theirs
        one, other = (side.label for side in self._sides)
        if mode == other_mode == LINK and content != other_content:
            yield f"{path} is a link to {self._text(content)} in {one} and to {self._text(other_content)} in {other}."
        elif {mode, other_mode} == {PROGRAM, FILE} and not self._began_with(path):
            program, plain = (one, other) if mode == PROGRAM else (other, one)
            yield f"{path} is executable in {program}, but not in {plain}."

    def _began_with(self, path: str) -> bool:
        return bool(self._bench.git("ls-tree", "--full-tree", "--name-only", "-z", self.since, "--", path))

    def _text(self, content: str) -> str:
        return self._bench.git("cat-file", "blob", content)

    def clean(self) -> tuple[str, ...]:
        """A commit for each side, with what it does to files that both change and that merge cleanly."""
        return tuple(
            self._part(_joined(changes), f"Merges cleanly: what {side.label} changes")
            for side, changes in zip(self._sides, self._shared, strict=True)
            if changes
        )

    def whole(self, paths: Set[str]) -> str:
        """A commit with what is merged at these paths."""
        return self._part(self._merged(paths), "merged")

    def newer(self, session: Session, held: Comparison, other: Session, shared: Set[str]) -> Iterator[str]:
        """A note, where a session has some of this from a newer base than the other one."""
        if held.since == self.since or not shared:
            return
        brought = self._bench.git("diff-tree", "-r", "-z", "--name-only", "--no-renames", self.since, held.since)
        if found := sorted(shared & set(brought.split("\0"))):
            yield (
                f"{session.name} has a newer {session.base.ref} than {other.name}: "
                f"what that brings counts as its changes, in {named(found)}"
            )

    @cached_property
    def disputed(self) -> set[str]:
        """The paths that conflict, and those that they come from, as git names them."""
        found = {*self._merging.unmerged, *(path for clash in _clashes(self._merging) for path in clash.paths)}
        while more := {path for change in self._all if not found.isdisjoint(change) for path in change} - found:
            found |= more
        return found

    @property
    def shared(self) -> list[Change]:
        """What both change, and what merges cleanly."""
        return [change for changes in self._shared for change in changes]

    @cached_property
    def _shared(self) -> tuple[list[Change], list[Change]]:
        ours, theirs = self._changes
        at_ours, at_theirs = (
            {path for change in changes for path in change} - self.disputed for changes in (ours, theirs)
        )
        return (
            [one for one in ours if not at_theirs.isdisjoint(one) and self.disputed.isdisjoint(one)],
            [one for one in theirs if not at_ours.isdisjoint(one) and self.disputed.isdisjoint(one)],
        )

    @property
    def _all(self) -> list[Change]:
        return [change for changes in self._changes for change in changes]

    @cached_property
    def _changes(self) -> tuple[list[Change], list[Change]]:
        ours, theirs = (self._changes_of(side.commit) for side in self._sides)
        return ours, theirs

    def _changes_of(self, commit: str) -> list[Change]:
        """What a side has changed, renames found as a merge finds them."""
        form = ("-r", "-z", "--raw", "--no-abbrev", "--ignore-submodules=none", *self._renames)
        fields = iter(self._bench.git("diff-tree", *form, self.since, commit).split("\0"))
        found: list[Change] = []
        for field in fields:
            if field:
                _, mode, _, content, letters = field.split(" ")
                gone: Change = {next(fields): None} if letters[0] == "R" else {}
                found.append({**gone, next(fields): None if letters == "D" else (mode, content)})
        return found

    @cached_property
    def _renames(self) -> tuple[str, ...]:
        setting = self._bench.repository.setting
        wanted = (setting("merge.renames") or setting("diff.renames") or "true").lower()
        return ("--no-renames",) if wanted in ("false", "no", "off", "0") else ("-M", "-l7000")

    def _part(self, change: Change, message: str) -> str:
        return self._bench.changed(self.since, change, message)

    # --- as the person names the sides ----------------------------------------------------------------------------

    def _merged(self, paths: Set[str]) -> Change:
        """What the merge has at these paths, with the sides' labels in conflict markers and names of files."""
        return {self._named(path, of_file=True): self._outcome.get(path) for path in paths}

    @cached_property
    def _outcome(self) -> Change:
        """What the merge has at all paths that conflict, or that both change."""
        wanted = self.disputed | {path for change in self.shared for path in change}
        there: dict[str, tuple[str, str]] = {}
        for entry in self._bench.git("ls-tree", "-r", "-z", "--full-tree", self._merging.tree).split("\0")[:-1]:
            about, _, path = entry.partition("\t")
            mode, _, content = about.split(" ")
            if path in wanted:
                there[path] = (mode, content)
        marked = {content for path, (mode, content) in there.items() if path in self.disputed and mode != LINK}
        labelled = dict(self._labelled(marked))
        return {path: (mode, labelled.get(content, content)) for path, (mode, content) in there.items()}

    def _labelled(self, contents: Set[str]) -> Iterator[tuple[str, str]]:
        """The objects that have a side's commit in them, each with one that has its label in place of that."""
        labels = [(side.commit.encode(), _encoded(side.label)) for side in self._sides]
        for content, text in self._bench.texts(sorted(contents)):
            named_text = text
            for commit, label in labels:
                named_text = named_text.replace(commit, label)
            if named_text != text:
                yield content, self._bench.git("hash-object", "-w", "--stdin", stdin=named_text).strip()

    def _named(self, text: str, of_file: bool = False) -> str:
        for side in self._sides:
            text = text.replace(side.commit, side.label.replace("/", "_") if of_file else side.label)
        return text


def _clashes(merging: Merging) -> list[Clash]:
    return [clash for clash in merging.clashes if clash.kind.startswith("CONFLICT")]


def _joined(changes: Iterable[Change]) -> Change:
    return {path: entry for change in changes for path, entry in change.items()}
