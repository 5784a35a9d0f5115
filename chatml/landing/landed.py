"""Whether a session's work has landed in its base, also after a squash or a rebase."""

from __future__ import annotations

from chatml.errors import GitError
from chatml.model import Session
from chatml.repo import Repository

SCAN = 300
"""Commits of the base that are looked through for a squash of the session: more are too slow for `rm`."""


def home_refs(repository: Repository, session: Session) -> list[str]:
    """The refs where the session's work may have landed, those that exist: its base, locally and on remotes."""
    name = session.base.ref
    short = name.split("/", 1)[1] if f"refs/remotes/{name}" in _refs(repository, f"refs/remotes/{name}") else name
    wanted = [f"refs/heads/{short}", "refs/remotes/*/" + short]
    found = [ref for pattern in wanted for ref in _refs(repository, pattern)]
    return found or ([name] if name == session.base.commit else [])


def _refs(repository: Repository, pattern: str) -> list[str]:
    return repository.git("for-each-ref", "--format=%(refname)", pattern).text.split()


def landed_in(repository: Repository, session: Session, tip: str) -> str | None:
    """The ref that holds all that the commit `tip` brings, or None: also after a squash or a rebase.

    Decided by the cheapest test that can; what can't be decided counts as not landed.
    """
    for ref in home_refs(repository, session):
        try:
            if _holds(repository, ref, tip):
                return ref
        except GitError:
            continue
    return None


def _holds(repository: Repository, ref: str, tip: str) -> bool:
    def says(*args: str) -> bool:
        return repository.git(*args, check=False).code == 0

    def tree(name: str) -> str:
        return repository.git("rev-parse", f"{name}^{{tree}}").text.strip()

    if says("merge-base", "--is-ancestor", tip, ref):  # also the very same commit
        return True
    base = repository.git("merge-base", ref, tip).text.split()[0]
    if tree(base) == tree(tip) or tree(ref) == tree(tip):
        return True
    merged = repository.git("merge-tree", "--write-tree", ref, tip, check=False)  # git 2.38; older: not decided here
    if merged.code == 0 and merged.text.split("\0")[0].split("\n")[0] == tree(ref):
        return True
    return _squashed(repository, base, tip, ref)


def _squashed(repository: Repository, base: str, tip: str, ref: str) -> bool:
    """Whether one commit of the target makes the same change as the whole session."""
    ours = _patch_ids(repository, repository.git("diff", "--full-index", base, tip).stdout)
    log = repository.git("log", "-p", "--full-index", "--no-merges", f"--max-count={SCAN}", f"{base}..{ref}").stdout
    return bool(ours & _patch_ids(repository, log))


def _patch_ids(repository: Repository, patch: bytes) -> set[str]:
    found = repository.git("patch-id", "--stable", stdin=patch).text
    return {line.split(" ")[0] for line in found.splitlines()}


def pushed_to(repository: Repository, tip: str) -> str | None:
    """A remote branch, as last seen, that holds the commit; None where it is only here."""
    found = repository.git("for-each-ref", "--contains", tip, "--count=1", "--format=%(refname:short)", "refs/remotes")
    return found.text.strip() or None
