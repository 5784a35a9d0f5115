"""A branch on its way from one commit to another: what is written down before anything of it is touched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.model import Landed
from chatml.state.paths import StatePaths
from chatml.state.store import write_json

MARKER = "CHATML_MOVE_ID"
"""Environment variable of every git that touches something on the way."""


@dataclass(frozen=True)
class Mark:
    """A session that has landed once the branch has moved."""

    name: str
    session_id: str
    landed: Landed


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
    def spare(self) -> tuple[Path, ...]:
        """All but the index itself and its lock, with git's locks of them."""
        paths = (self.kept, self.own, self.begun, self.back)
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
        marks = [Mark(one["name"], one["session_id"], Landed(**one["landed"])) for one in data.pop("marks")]
        checkout = BranchCheckout(Path(place["top"]), Path(place["admin"])) if place else None
        return Move(**data, checkout=checkout, marks=marks)
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(paths, error) from error


def _damaged(paths: StatePaths, error: Exception) -> ChatmlError:
    return ChatmlError(
        f"the note of an interrupted merge is damaged: {error}",
        f"see 'git status' in the checkout of the branch, and remove {paths.moving}",
    )
