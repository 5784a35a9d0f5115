"""An issue of a forge: what somebody wrote there, and how a session remembers it."""

from __future__ import annotations

from chatml.record import record


@record(frozen=True)
class IssueRef:
    """The issue that a session works on, as `--json` shows it."""

    forge: str
    """`github` or `linear`."""
    ref: str
    """What `new --issue` takes: `12`, `ENG-123`."""
    url: str
    title: str

    @property
    def shown(self) -> str:
        """The issue for people: `#12`, `ENG-123`."""
        return f"#{self.ref}" if self.forge == "github" else self.ref


@record(frozen=True)
class IssueComment:
    """What somebody added to an issue."""

    author: str
    text: str


@record(frozen=True)
class Issue:
    """An issue as its forge has it: all of it the words of others, as they wrote them."""

    ref: IssueRef
    place: str
    """Whose it is, for people: `octo/app on GitHub`."""
    body: str
    author: str
    closed: bool = False
    labels: tuple[str, ...] = ()
    comments: tuple[IssueComment, ...] = ()
    """Oldest first."""
    left_out: tuple[str, ...] = ()
    """What its forge has of it that is not in here, in words."""
