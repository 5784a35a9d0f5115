"""Makes git's own folder of a worktree anew where it was deleted, around the files as they are."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from chatml.changes.standing import Standing, pointed, standing
from chatml.errors import ChatmlError, Kind
from chatml.model import Session
from chatml.repo import Repository, git
from chatml.state.store import Store

TOLD = "git's own folder of the worktree was gone: made anew around the files; what was staged shows as not staged"
"""What a person has to know about it."""


def mend(repository: Repository, session: Session) -> bool:
    """Make the folder anew, at once and whole, on the session's branch; False where nothing is amiss.

    ChatmlError of kind `worktree` where the branch is gone or is checked out elsewhere: nothing was changed then.
    """
    worktree = Path(session.worktree)
    store = Store(repository.common_dir)
    with store.lock():
        if standing(repository.common_dir, worktree) is not Standing.CUT_OFF:
            return False
        tip = _free_tip(repository, session)
        admin = pointed(worktree / ".git")
        assert admin is not None
        made = Path(tempfile.mkdtemp(prefix=store.mending))
        try:
            _fill(repository, session, made, tip)
            admin.parent.mkdir(exist_ok=True)
            made.rename(admin)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    _mark_left_out(worktree)
    return True


def _free_tip(repository: Repository, session: Session) -> str:
    """The commit of the session's branch, if that can be checked out here."""
    tip = repository.tip(session.branch)
    if tip is None:
        raise ChatmlError(
            f"git's own folder of the worktree of '{session.name}' is gone, and so is its branch {session.branch}",
            f"make the branch where it was ('git branch {session.branch} COMMIT'; 'git fsck --lost-found' finds "
            "commits); the files are all there",
            Kind.WORKTREE,
        )
    for other in repository.worktrees():
        if other.branch == session.branch:
            raise ChatmlError(
                f"git's own folder of the worktree of '{session.name}' is gone, and its branch {session.branch} is "
                f"checked out in {other.path}",
                "check out another branch there, and try again",
                Kind.WORKTREE,
            )
    return tip


def _fill(repository: Repository, session: Session, made: Path, tip: str) -> None:
    """All that git keeps of a worktree (gitrepository-layout(5)), as `git worktree add` makes it."""
    (made / "commondir").write_text("../..\n")
    (made / "gitdir").write_bytes(os.fsencode(f"{session.worktree}/.git") + b"\n")
    (made / "HEAD").write_text(f"ref: refs/heads/{session.branch}\n", "utf-8")
    (made / "logs").mkdir()
    (made / "logs" / "HEAD").touch()  # git goes on with one that is there, whatever the person's setting
    for name in ("config.worktree", "info/sparse-checkout"):
        if (repository.common_dir / name).is_file():
            (made / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(repository.common_dir / name, made / name)
    repository.git("-c", "core.splitIndex=false", "read-tree", tip, env={"GIT_INDEX_FILE": str(made / "index")})


def _mark_left_out(worktree: Path) -> None:
    """In a sparse checkout, what is not there counts as left out, not as deleted."""
    if git("config", "--type=bool", "--default=false", "core.sparseCheckout", at=worktree).text.strip() != "true":
        return
    absent = git("ls-files", "-z", "--deleted", at=worktree).stdout
    git("update-index", "-z", "--skip-worktree", "--stdin", at=worktree, stdin=absent)
