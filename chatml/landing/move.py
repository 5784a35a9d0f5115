"""A branch on its way from one commit to another: what is written down before anything of it is touched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.model import Landed, Session
from chatml.state.paths import StatePaths
from chatml.state.store import write_json

MARKER = "CHATML_MOVE_ID"
"""Environment variable of every git that touches something on the way."""


@dataclass(frozen=True)
class Mark:
    """What is true of a session once the branch has moved."""

    name: str
    session_id: str
    landed: Landed | None = None
    """What it has landed as; None where that stays as it is."""
    base: str | None = None
    """The commit of its base that it is up to now; None where that stays as it is."""
    rewrote: str | None = None
    """The commit that `pr` has pushed, where the branch has others in place of those."""

    def on(self, session: Session) -> Session:
        """The session with that."""
        if session.id != self.session_id:
            return session
        marked = session.changed(landed_as=self.landed or session.landed_as)
        if self.base is None:
            return marked
        rewrote = self.rewrote or session.checkout.rewrote
        moved = replace(marked, base=replace(session.base, commit=self.base), changes_seen=None)
        return moved.with_checkout(rewrote=rewrote, resolving=None)


@dataclass(frozen=True)
class Content:
    """All that a checkout holds, also what is in no commit, on its way."""

    before: str
    """The commit or tree of it, as it is."""
    after: str
    """The same on top of the new commit."""
    staged: str
    """The tree of what is in the index, as it is."""
    index: str
    """The same as it becomes."""


@dataclass(frozen=True)
class BranchCheckout:
    """The checkout of a branch: its folder, and git's own folder for it."""

    top: Path
    admin: Path

    @property
    def index(self) -> Path:
        return self.admin / "index"

    @property
    def lock(self) -> Path:
        """Git's own lock of the index: whoever has it may change files."""
        return self.admin / "index.lock"

    @property
    def kept(self) -> Path:
        """The index as it was. The lock is a second link to it: so everybody knows whose lock that is."""
        return self.admin / "index.chatml-kept"

    @property
    def own(self) -> Path:
        """The index as it becomes, while nothing of the checkout is touched."""
        return self.admin / "index.chatml"

    @property
    def begun(self) -> Path:
        """The same from then on."""
        return self.admin / "index.chatml-begun"

    @property
    def back(self) -> Path:
        """The index by which the checkout is put back."""
        return self.admin / "index.chatml-back"

    @property
    def held(self) -> Path:
        """An index of all that the checkout held, where that comes along."""
        return self.admin / "index.chatml-held"

    @property
    def spare(self) -> tuple[Path, ...]:
        """All but the index itself and its lock, with git's locks of them."""
        paths = (self.kept, self.own, self.begun, self.back, self.held)
        return (*paths, *(path.with_name(f"{path.name}.lock") for path in paths))


@dataclass(frozen=True)
class Move:
    """One branch on its way."""

    id: str
    branch: str
    old: str
    new: str
    checkout: BranchCheckout | None
    """The one that has the branch checked out, if any."""
    marks: Sequence[Mark] = ()
    content: Content | None = None
    """None where what is in no commit stays where it is."""

    @property
    def files(self) -> tuple[str, str]:
        """The commits or trees between which the files of the checkout move."""
        return (self.content.before, self.content.after) if self.content else (self.old, self.new)

    @property
    def verb(self) -> str:
        """The command that moves it."""
        return "sync" if self.content else "merge"

    @property
    def env(self) -> dict[str, str]:
        return {MARKER: self.id}

    def write(self, paths: StatePaths) -> None:
        """Write it down, before anything is touched. OSError."""
        write_json(paths.moving, asdict(self) | {"checkout": self.checkout and _as_text(self.checkout)})


def _as_text(checkout: BranchCheckout) -> dict[str, str]:
    return {"top": str(checkout.top), "admin": str(checkout.admin)}


def read(paths: StatePaths) -> Move | None:
    """The move that has begun and was not ended, if there is one. ChatmlError for a note that is damaged."""
    try:
        data: dict[str, Any] = json.loads(paths.moving.read_bytes().decode("utf-8", "surrogatepass"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _damaged(paths, error) from error
    try:
        place = data.pop("checkout")
        marks = [Mark(**one | {"landed": one["landed"] and Landed(**one["landed"])}) for one in data.pop("marks")]
        checkout = BranchCheckout(Path(place["top"]), Path(place["admin"])) if place else None
        content = data.pop("content", None)
        return Move(**data, checkout=checkout, marks=marks, content=content and Content(**content))
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(paths, error) from error


def _damaged(paths: StatePaths, error: Exception) -> ChatmlError:
    return ChatmlError(
        f"the note of an interrupted merge or sync is damaged: {error}",
        f"see 'git status' in the checkout of the branch, and remove {paths.moving}",
    )
