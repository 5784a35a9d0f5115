"""Whether a session's work has landed in its base, also after a squash or a rebase."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from chatml.changes.snapshot import scratch_objects
from chatml.errors import ChatmlError, GitError
from chatml.model import Session
from chatml.proc import Result
from chatml.repo import Repository, git
from chatml.repo.answers import OFFLINE, answer, holds
from chatml.state.store import Store

SCAN = 300
"""Commits of the base that are looked through for a squash of the session: more are too slow for `rm`."""

PATHS = 500
"""Paths of the session that such commits are looked for by: more don't fit into a command line everywhere."""


def home_refs(repository: Repository, session: Session) -> list[str]:
    """The refs where the session's work may have landed, those that exist, in full.

    Its base, locally and on every remote; where that is no branch or is gone, the branch of the main checkout and
    what the remotes call their default.
    """
    remotes = [f"refs/remotes/{remote}/" for remote in repository.git("remote").text.split("\n") if remote]
    full = _full(repository, session.base.ref)
    branch = next((full.removeprefix(start) for start in ["refs/heads/", *remotes] if full.startswith(start)), None)
    found = _refs(repository, *(start + branch for start in ["refs/heads/", *remotes])) if branch else []
    if found:
        return found
    main = answer(repository.git("symbolic-ref", "--quiet", "HEAD", check=False))
    return _refs(repository, *filter(None, [main]), *(f"{start}HEAD" for start in remotes))


def _refs(repository: Repository, *patterns: str) -> list[str]:
    return repository.git("for-each-ref", "--format=%(refname)", *patterns).text.split() if patterns else []


def short(ref: str) -> str:
    """A full ref as people write it."""
    return re.sub(r"^refs/(heads|remotes|tags)/", "", ref)


def only_here(repository: Repository, session: Session, tip: str, leaves: bool) -> int:
    """How many commits of `tip` no branch, remote branch, tag or main checkout has; `leaves` if its own branch goes.

    What the session started from is left to its base to keep, as long as there is one: a person may have amended it.
    A review starts from a copy of what another session holds: that one keeps it, and the copy keeps nothing.
    """
    left_out = [*_reviews(repository), *([session.branch] if leaves else [])]
    own = [f"--exclude={branch}" for branch in left_out]
    has_base = session.base.ref != session.base.commit and bool(_full(repository, session.base.ref))
    base = [session.base.commit] if has_base or session.terms.reviews is not None or session.terms.after else []
    known = [*filter(None, [answer(repository.git("rev-parse", "--verify", "--quiet", "HEAD", check=False))]), *own]
    elsewhere = (*known, "--branches", "--remotes", "--tags")
    count = int(repository.git("rev-list", "--count", tip, "--not", *base, *elsewhere).text)
    if session.terms.after:  # its base is a merge of ours, and maybe the last to hold what others have brought
        inherited = ("rev-list", "--count", "--no-merges", session.base.commit, "--not", *elsewhere)
        count += int(repository.git(*inherited).text)
    return count


def _reviews(repository: Repository) -> Iterator[str]:
    """The branches of reviews, which go without a question."""
    store = Store(repository.common_dir)
    for name in store.names():
        with contextlib.suppress(OSError, ChatmlError):
            record = store.session(name).read()
            if record.terms.reviews is not None:
                yield record.branch


def _full(repository: Repository, name: str) -> str:
    """The full name of a ref; empty where it is none, or not there any more."""
    return answer(repository.git("rev-parse", "--verify", "--quiet", "--symbolic-full-name", name, check=False)) or ""


def also_on(repository: Repository, session: Session, tip: str) -> str | None:
    """Another branch, remote branch or tag that holds the commit; None where no single one does."""
    patterns = ["refs/remotes", "refs/heads", "refs/tags"]
    found = repository.git("for-each-ref", "--contains", tip, "--format=%(refname)", *patterns).text.split()
    left_out = {f"refs/heads/{branch}" for branch in (session.branch, *_reviews(repository))}
    others = [ref for ref in found if ref not in left_out]
    return next(iter([ref for ref in others if ref.endswith(f"/{session.branch}")] + others), None)


def landed_in(repository: Repository, session: Session, tip: str) -> str | None:
    """The ref whose history has all that the commit `tip` brings, or None: also after a squash or a rebase.

    Decided by the cheapest test that can, and without fetching anything into a partial clone: ChatmlError where no test
    says yes and one could not look. What was landed and reverted later has landed: nothing of it is lost.
    """
    if (known := _as_merged(repository, session, tip)) is not None:
        return known
    unknown: GitError | None = None
    for ref in home_refs(repository, session):
        try:
            if _in_history(repository, ref, tip):
                return ref
        except GitError as error:
            unknown = unknown or error
    if unknown is not None:
        raise ChatmlError(f"could not find out whether it has landed: {unknown.message}", unknown.hint) from unknown
    return None


def _as_merged(repository: Repository, session: Session, tip: str) -> str | None:
    """The branch that `merge` has landed this very commit in, if that still has what was made of it."""
    own = session.landed_as
    if own is None or own.tip != tip or repository.tip(own.into) is None:
        return None
    ref = f"refs/heads/{own.into}"
    asked = repository.git("merge-base", "--is-ancestor", own.commit, ref, check=False, env=OFFLINE)
    return ref if asked.code == 0 else None


def news(repository: Repository, session: Session, since: str) -> bool:
    """Whether a ref where the session may have landed has anything that the commit `since` lacks; GitError.

    Without, nothing that was begun there has landed. The same for all sessions of one base.
    """
    refs = home_refs(repository, session)
    return bool(refs) and repository.git("rev-list", "--max-count=1", *refs, "--not", since, "--").text != ""


@dataclass(frozen=True)
class _Question:
    """Whether `ref` has what `tip` brings, for git that fetches no missing object."""

    repository: Repository
    ref: str
    tip: str
    base: str
    """Where the two have parted."""

    def git(self, *args: str, check: bool = True, stdin: bytes | None = None) -> Result:
        return self.repository.git(*args, check=check, stdin=stdin, env=OFFLINE)

    def tree(self, name: str) -> str:
        return self.git("rev-parse", f"{name}^{{tree}}").text.strip()

    @cached_property
    def theirs(self) -> list[str]:
        """The commits of the target that may have brought it: those that touch its paths, the newest of them."""
        form = ("-r", "-z", "--name-only", "--no-renames", WHOLE)
        paths = self.git("diff-tree", *form, self.base, self.tip).text.split("\0")
        found = self.git(
            "--literal-pathspecs", "rev-list", "--no-merges", "--full-history", f"--max-count={SCAN}",
            f"{self.base}..{self.ref}", "--", *filter(None, paths[:PATHS]),
        )  # fmt: skip
        return found.text.split()

    @cached_property
    def ours(self) -> list[str]:
        """The commits to be found there one by one; none where a merge or their number forbids that."""
        listed = self.git("rev-list", f"--max-count={SCAN + 1}", "--parents", f"{self.base}..{self.tip}")
        commits = listed.text.splitlines()
        if len(commits) > SCAN or any(line.count(" ") != 1 for line in commits):
            return []  # what a merge brought itself shows in no patch
        return [line.split()[0] for line in commits]


def _in_history(repository: Repository, ref: str, tip: str) -> bool:
    """Whether any test says so, the cheapest first. GitError where none does and one could not look."""
    ancestor = repository.git("merge-base", "--is-ancestor", tip, ref, check=False, env=OFFLINE)
    if holds(ancestor):  # also for the very same commit
        return True
    parted = answer(repository.git("merge-base", ref, tip, check=False, env=OFFLINE))
    if parted is None:
        return False
    asked = _Question(repository, ref, tip, parted.split()[0])
    unknown: GitError | None = None
    for test in (_same_tree, _merges_to_nothing, _copied_whole, _copied):
        try:
            if test(asked):
                return True
        except GitError as error:
            unknown = unknown or error
    if unknown is not None:
        raise unknown
    return False


def _same_tree(asked: _Question) -> bool:
    return asked.tree(asked.tip) in (asked.tree(asked.base), asked.tree(asked.ref))


def _merges_to_nothing(asked: _Question) -> bool:
    """Whether a merge would change nothing; not where it has conflicts, and not with a git before 2.38."""
    repository = asked.repository
    with scratch_objects(repository.common_dir) as env:
        merged = git(
            f"--git-dir={repository.common_dir}", "merge-tree", "--write-tree", asked.ref, asked.tip,
            at=repository.common_dir, env={**env, **OFFLINE}, check=False,
        )  # fmt: skip
    if merged.code == 129:  # how git says that it doesn't know an option
        return False
    return holds(merged) and merged.text.split("\n")[0] == asked.tree(asked.ref)


def _copied_whole(asked: _Question) -> bool:
    """The same as `_copied` for a target that had the very files that the session began with: needs no content."""
    theirs = set(_changes(asked, asked.theirs, _RAW))
    return _among(asked, theirs, _RAW)


def _copied(asked: _Question) -> bool:
    """Whether the target has the very same change as one commit (a squash), or each commit of it (rebase, picks)."""
    return _among(asked, set(_changes(asked, asked.theirs, _PATCH)), _PATCH)


def _among(asked: _Question, theirs: set[bytes], form: tuple[str, ...]) -> bool:
    if not theirs:
        return False
    if _change(asked.git("diff-tree", *form, asked.base, asked.tip).stdout) in theirs:
        return True
    return bool(asked.ours) and theirs.issuperset(_changes(asked, asked.ours, form))


WHOLE = "--ignore-submodules=none"
"""Else submodule.NAME.ignore would hide a commit of a submodule, and what brings nothing else would count as landed."""

_RAW = ("-r", "--raw", "--no-abbrev", "--no-renames", WHOLE)

_PATCH = ("-r", "-p", "--binary", "--no-renames", "--full-index", "--no-ext-diff", "--no-textconv", WHOLE)


def _changes(asked: _Question, commits: Sequence[str], form: tuple[str, ...]) -> list[bytes]:
    """What each commit changes, of those that change anything."""
    listed = "".join(f"{commit}\n" for commit in commits).encode()
    said = asked.git("diff-tree", "--stdin", "--root", "--format=%x00", *form, stdin=listed).stdout
    return [change for change in map(_change, said.split(b"\0")) if change]


def _change(patch: bytes) -> bytes:
    """A patch without what says where it applies. Unlike git-patch-id(1), it tells binary files and modes apart."""
    return re.sub(rb"^(?:index [0-9a-f]+\.\.[0-9a-f]+|@@ -\S+ \+\S+ @@.*)", b"", patch.strip(b"\n"), flags=re.MULTILINE)
