"""Whether a session's work has landed in its base, also after a squash or a rebase."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Sequence

from chatml.errors import ChatmlError, GitError
from chatml.model import Session
from chatml.repo import Repository, git
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
    main = repository.git("symbolic-ref", "--quiet", "HEAD", check=False).text.split()
    return _refs(repository, *main, *(f"{start}HEAD" for start in remotes))


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
    known = [session.base.commit] if has_base or session.terms.reviews is not None else []
    known += repository.git("rev-parse", "--verify", "--quiet", "HEAD", check=False).text.split()
    found = repository.git("rev-list", "--count", tip, "--not", *known, *own, "--branches", "--remotes", "--tags")
    return int(found.text)


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
    said = repository.git("rev-parse", "--verify", "--quiet", "--symbolic-full-name", name, check=False)
    return said.text.strip() if said.code == 0 else ""


def also_on(repository: Repository, session: Session, tip: str) -> str | None:
    """Another branch, remote branch or tag that holds the commit; None where no single one does."""
    patterns = ["refs/remotes", "refs/heads", "refs/tags"]
    found = repository.git("for-each-ref", "--contains", tip, "--format=%(refname)", *patterns).text.split()
    left_out = {f"refs/heads/{branch}" for branch in (session.branch, *_reviews(repository))}
    others = [ref for ref in found if ref not in left_out]
    return next(iter([ref for ref in others if ref.endswith(f"/{session.branch}")] + others), None)


def landed_in(repository: Repository, session: Session, tip: str) -> str | None:
    """The ref whose history has all that the commit `tip` brings, or None: also after a squash or a rebase.

    Decided by the cheapest test that can; what can't be decided counts as not landed. What was landed and reverted
    later has landed: nothing of it is lost.
    """
    for ref in home_refs(repository, session):
        try:
            if _holds(repository, ref, tip):
                return ref
        except GitError:
            continue
    return None


def _holds(repository: Repository, ref: str, tip: str) -> bool:
    def tree(name: str) -> str:
        return repository.git("rev-parse", f"{name}^{{tree}}").text.strip()

    if repository.git("merge-base", "--is-ancestor", tip, ref, check=False).code == 0:  # also the very same commit
        return True
    base = repository.git("merge-base", ref, tip).text.split()[0]
    if tree(tip) in (tree(base), tree(ref)):
        return True
    return _merge_tree(repository, ref, tip) == tree(ref) or _copied(repository, base, tip, ref)


def _merge_tree(repository: Repository, ours: str, theirs: str) -> str | None:
    """The tree of a merge without conflict; None for one with conflicts, and with a git before 2.38."""
    with _scratch_objects(repository) as env:
        merged = git(
            f"--git-dir={repository.common_dir}", "merge-tree", "--write-tree", ours, theirs,
            at=repository.common_dir, env=env, check=False,
        )  # fmt: skip
    return merged.text.split("\n")[0] if merged.code == 0 else None


@contextlib.contextmanager
def _scratch_objects(repository: Repository) -> Iterator[dict[str, str]]:
    """An environment in which git's new objects go to a folder that is gone afterwards: looking leaves no trace."""
    own = repository.git("rev-parse", "--path-format=absolute", "--git-path", "objects").text.rstrip("\n")
    quoted = '"' + own.replace("\\", "\\\\").replace('"', '\\"') + '"'
    with tempfile.TemporaryDirectory(prefix="chatml-", ignore_cleanup_errors=True) as folder:
        yield {"GIT_OBJECT_DIRECTORY": folder, "GIT_ALTERNATE_OBJECT_DIRECTORIES": quoted}


def _copied(repository: Repository, base: str, tip: str, ref: str) -> bool:
    """Whether the target has the very same change as one commit (a squash), or each commit of it (rebase, picks)."""
    git_ = repository.git
    paths = git_("diff-tree", "-r", "-z", "--name-only", "--no-renames", WHOLE, base, tip).text.split("\0")[:PATHS]
    found = git_(
        "--literal-pathspecs", "rev-list", "--no-merges", "--full-history", f"--max-count={SCAN}", f"{base}..{ref}",
        "--", *filter(None, paths),
    )  # fmt: skip
    theirs = set(_changes(repository, found.text.split()))
    if not theirs:
        return False
    if _change(git_("diff-tree", *_PATCH, base, tip).stdout) in theirs:
        return True
    commits = git_("rev-list", f"--max-count={SCAN + 1}", "--parents", f"{base}..{tip}").text.splitlines()
    if len(commits) > SCAN or any(line.count(" ") != 1 for line in commits):
        return False  # what a merge brought itself shows in no patch
    return theirs.issuperset(_changes(repository, [line.split()[0] for line in commits]))


WHOLE = "--ignore-submodules=none"
"""Else submodule.NAME.ignore would hide a commit of a submodule, and what brings nothing else would count as landed."""

_PATCH = ("-r", "-p", "--binary", "--no-renames", "--full-index", "--no-ext-diff", "--no-textconv", WHOLE)


def _changes(repository: Repository, commits: Sequence[str]) -> list[bytes]:
    """What each commit changes, of those that change anything."""
    listed = "".join(f"{commit}\n" for commit in commits).encode()
    said = repository.git("diff-tree", "--stdin", "--root", "--format=%x00", *_PATCH, stdin=listed).stdout
    return [change for change in map(_change, said.split(b"\0")) if change]


def _change(patch: bytes) -> bytes:
    """A patch without what says where it applies. Unlike git-patch-id(1), it tells binary files and modes apart."""
    return re.sub(rb"^(?:index [0-9a-f]+\.\.[0-9a-f]+|@@ -\S+ \+\S+ @@.*)", b"", patch.strip(b"\n"), flags=re.MULTILINE)
