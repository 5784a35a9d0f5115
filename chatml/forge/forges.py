"""All forges, and which of them a host or a pull request belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chatml.forge import discussions, feedback, gh, gitlab, glab, merge_requests, pulls
from chatml.forge.door import Candidate, Forge, Hub, PullRef, Words
from chatml.forge.github import GitHubRepository
from chatml.model import Feedback, PullRequest


class _GitHub:
    @property
    def words(self) -> Words:
        return gh.WORDS

    def hub(self, ref: PullRef, at: Path) -> Hub:
        return GitHubRepository(at, ref.host, ref.repository, None)

    def states(self, refs: Sequence[PullRef], at: Path, moment: float) -> tuple[list[PullRequest], float]:
        return pulls.states(refs, at, moment)

    def candidate(self, ref: PullRef, at: Path, moment: float) -> Candidate:
        return pulls.candidate(ref, at, moment)

    def merge(self, ref: PullRef, head: str, method: str, at: Path) -> None:
        pulls.merge(ref, head, method, at)

    def feedback(self, ref: PullRef, at: Path, moment: float) -> Feedback:
        return feedback.feedback(ref, at, moment)


class _GitLab:
    @property
    def words(self) -> Words:
        return glab.WORDS

    def hub(self, ref: PullRef, at: Path) -> Hub:
        return gitlab.hub(ref, at)

    def states(self, refs: Sequence[PullRef], at: Path, moment: float) -> tuple[list[PullRequest], float]:
        return merge_requests.states(refs, at, moment)

    def candidate(self, ref: PullRef, at: Path, moment: float) -> Candidate:
        return merge_requests.candidate(ref, at, moment)

    def merge(self, ref: PullRef, head: str, method: str, at: Path) -> None:
        merge_requests.merge(ref, head, method, at)

    def feedback(self, ref: PullRef, at: Path, moment: float) -> Feedback:
        return discussions.feedback(ref, at, moment)


GITHUB: Forge = _GitHub()
GITLAB: Forge = _GitLab()


def of(ref: PullRef) -> Forge:
    """The forge that a pull request is on."""
    return GITLAB if ref.seen.on_gitlab else GITHUB


def is_gitlab(host: str, at: Path) -> bool:
    """Whether a host is GitLab's: by its name, or because glab is told so or logged in to it."""
    if "gitlab" in host or host == glab.own_host():
        return True
    return "github" not in host and glab.knows(host, at)
