"""What removing a session would lose: what is in its worktree and on its branch that nothing else has."""

from __future__ import annotations

from collections.abc import Iterator

from chatml.changes.standing import Standing, same, standing
from chatml.errors import ChatmlError
from chatml.landing import landed
from chatml.landing.checkout import OPERATIONS
from chatml.model import Session
from chatml.removal.inner import refusals, shown, worktrees_inside
from chatml.removal.place import Place
from chatml.repo import Repository

NAMED = 3
"""Files that a message names, of those that it counts."""


def check(repository: Repository, session: Session, place: Place, force: bool, keep_branch: bool) -> None:
    """ChatmlError that says exactly why the session must not be removed, or even by force can't be."""
    reasons = refusals(place)
    if reasons:
        raise ChatmlError(
            f"'{session.name}' can't be removed: {'; '.join(reasons)}",
            "no restore could bring that back: save it or remove it yourself, and try again",
        )
    reasons = [] if force else objections(repository, session, place, keep_branch)
    if reasons:
        raise ChatmlError(
            f"'{session.name}' is not safe to remove: {'; '.join(reasons)}",
            f"land it ('chatml pr {session.name}'), or remove it all the same with --force: "
            f"'chatml restore {session.name}' brings it back",
        )


# --- what would be lost -----------------------------------------------------------------------------------------


def objections(repository: Repository, session: Session, place: Place, keep_branch: bool = False) -> list[str]:
    """Why removing the session would lose work. GitError where that can't be found out: then nothing is removed."""
    reasons = [*_oddities(repository, session, place), *worktrees_inside(place)]
    leaves = session.checkout.owns_branch and not keep_branch
    tip = repository.tip(session.branch)
    if place.folder is not None:
        reasons += uncommitted(place)
    if place.admin is not None:
        head = place.head()
        if head and head != tip:
            reasons += _unlanded(repository, session, head, "checked out there on no branch", leaves=False)
    if tip is not None and leaves:
        reasons += _unlanded(repository, session, tip, f"on {session.branch}", leaves)
    return reasons


def _oddities(repository: Repository, session: Session, place: Place) -> list[str]:
    reasons = []
    if standing(repository.common_dir, place.path) is Standing.CUT_OFF:
        reasons.append(f"git's own folder of its worktree is gone ('chatml resume {session.name}' makes it anew)")
    elif place.stranger:
        reasons.append(f"{place.path} is not its worktree any more")
    for worktree in repository.worktrees() if place.folder is None else ():
        if worktree.branch == session.branch and not same(worktree.path / ".git", place.path / ".git"):
            reasons.append(f"{session.branch} is checked out in {worktree.path}")
    if place.admin is not None:
        reasons += dict.fromkeys(what for name, what in OPERATIONS.items() if (place.admin / name).exists())
        if (place.admin / "locked").exists():
            why = (place.admin / "locked").read_text("utf-8", "replace").strip()
            reasons.append(f"its worktree is locked ({why})" if why else "its worktree is locked")
    return reasons


def uncommitted(place: Place) -> list[str]:
    """The files with changes that are in no commit, in a sentence; none where nobody has worked yet."""
    assert place.admin is not None
    fresh = not (place.admin / "index").exists()
    with place.index_copy() as index:
        said = place.git(
            "status",
            "--porcelain=v2",
            "-z",
            "--untracked-files=all",
            "--ignore-submodules=none",
            index=index,
        ).text
    paths = [path for state, path in _entries(said) if not (fresh and state == ".D")]
    if not paths:
        return []
    names = ", ".join([*map(shown, paths[:NAMED]), *(["…"] if len(paths) > NAMED else [])])
    return [f"{len(paths)} uncommitted {'file' if len(paths) == 1 else 'files'} ({names})"]


def _entries(status: str) -> Iterator[tuple[str, str]]:
    """State and path of each entry of `git status --porcelain=v2 -z` (git-status(1), "Porcelain Format Version 2")."""
    before = {"1": 8, "2": 9, "u": 10, "?": 1}
    fields = iter(status.split("\0"))
    for entry in fields:
        if entry[:1] in before:
            *rest, path = entry.split(" ", before[entry[0]])
            yield rest[1] if len(rest) > 1 else "??", path
        if entry[:1] == "2":
            next(fields)  # where it was before


def _unlanded(repository: Repository, session: Session, tip: str, where: str, leaves: bool) -> list[str]:
    count = landed.only_here(repository, session, tip, leaves)
    if not count:
        return []
    try:
        if landed.landed_in(repository, session, tip):
            return []
        why = f"not landed in {session.base.ref}"
    except ChatmlError as error:
        why = error.message
    commits = "1 commit" if count == 1 else f"{count} commits"
    return [f"{commits} {where} that {'is' if count == 1 else 'are'} nowhere else, {why}"]


def brought(session: Session, repository: Repository, place: Place, tip: str) -> bool | None:
    """Whether the session made commits that change something; None where it may have, and no reflog tells."""
    before, after = repository.git("rev-parse", f"{session.base.commit}^{{tree}}", f"{tip}^{{tree}}").text.split()
    if before == after or place.admin is None:
        return False
    told = place.git("log", "-g", "--format=%gs", "HEAD").text.splitlines() if place.head() else []
    told = [line for line in told if line]
    return any(line.startswith(("commit", "cherry-pick", "revert", "am")) for line in told) if told else None
