"""Merge requests on GitLab as they are now: any number of one project's by one question; and how they are merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.forge import glab
from chatml.forge.door import Candidate, PullRef
from chatml.forge.gitlab import STATES, verdict
from chatml.forge.glab import project
from chatml.model import PullRequest, stamp

AT_ONCE = 50
"""Merge requests asked for by one question: GitLab counts how much one asks, and refuses what is too much."""

STATE = (
    "iid state draft conflicts detailedMergeStatus diffHeadSha targetBranch approved "
    "approvedBy(first:1){nodes{username}} reviewers(first:20){nodes{mergeRequestInteraction{reviewState}}} "
    "headPipeline{id status project{fullPath}}"
)
_UNKNOWN = frozenset({"CHECKING", "UNCHECKED", "PREPARING"})
"""What GitLab says of one that it has not tried to merge yet."""


def states(refs: Sequence[PullRef], at: Path, moment: float) -> tuple[list[PullRequest], float]:
    """These, all of one project, as they are; see `Forge`."""
    found: list[PullRequest] = []
    resting = 0.0
    query = (
        "query MergeStates($path:ID!,$iids:[String!]){project(fullPath:$path){"
        f"mergeRequests(iids:$iids){{nodes{{{STATE}}}}}}}}}"
    )
    for start in range(0, len(refs), AT_ONCE):
        some = {str(ref.number): ref for ref in refs[start : start + AT_ONCE]}
        path, host = refs[0].repository, refs[0].host
        data, resting = glab.graphql(query, {"path": path, "iids": [*some]}, host, at)
        nodes = (data.get("mergeRequests") or {}).get("nodes") or ()
        found += [state_of(some[str(one["iid"])], one, moment) for one in nodes if str(one["iid"]) in some]
        if resting:
            break
    return found, resting


def one(ref: PullRef, at: Path) -> Mapping[str, Any]:
    """A merge request as GitLab shows it. ChatmlError where there is none, or it can't be asked for."""
    query = (
        f"query MergeRequest($path:ID!,$iid:String!){{project(fullPath:$path){{mergeRequest(iid:$iid){{{STATE}}}}}}}"
    )
    data, _ = glab.graphql(query, {"path": ref.repository, "iid": str(ref.number)}, ref.host, at)
    found: Mapping[str, Any] | None = data.get("mergeRequest")
    if found is None:
        raise ChatmlError(
            f"{ref.repository} has no merge request {ref.label} that this login may see", glab.login(ref.host)
        )
    return found


def state_of(ref: PullRef, data: Mapping[str, Any], moment: float) -> PullRequest:
    """One as GitLab shows it."""
    try:
        return PullRequest(
            number=ref.number,
            url=ref.url,
            state=STATES[data["state"]],
            checks=verdict((data.get("headPipeline") or {}).get("status")),
            draft=bool(data["draft"]),
            review=_review(data),
            mergeable=_mergeable(data),
            at=stamp(moment),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ChatmlError(f"glab gave no proper answer about {ref.label}: {error}", glab.INSTALL) from error


def _review(data: Mapping[str, Any]) -> str | None:
    """What reviewers have decided. Where no approval is needed, GitLab calls each one approved: somebody must have."""
    status = data.get("detailedMergeStatus")
    nodes = (data.get("reviewers") or {}).get("nodes") or ()
    asked = {(one.get("mergeRequestInteraction") or {}).get("reviewState") for one in nodes}
    if status == "REQUESTED_CHANGES" or "REQUESTED_CHANGES" in asked:
        return "changes_requested"
    somebody = bool((data.get("approvedBy") or {}).get("nodes"))
    if status == "NOT_APPROVED" or (somebody and data.get("approved") is False):
        return "review_required"
    return "approved" if somebody else None


def _mergeable(data: Mapping[str, Any]) -> bool | None:
    if data.get("conflicts") or data.get("detailedMergeStatus") == "CONFLICT":
        return False
    return None if data.get("detailedMergeStatus") in (None, *_UNKNOWN) else True


def candidate(ref: PullRef, at: Path, moment: float) -> Candidate:
    """One as it is, with what is needed to merge it. ChatmlError where there is none, or it can't be asked for."""
    about = glab.ask(ref.host, project(ref.repository), at).data
    shown = glab.ask(ref.host, _place(ref), at).data
    pull = state_of(ref, one(ref, at), moment)
    merged = shown.get("merge_commit_sha") or shown.get("squash_commit_sha") or shown.get("sha")
    return Candidate(
        pull,
        shown["target_branch"],
        shown["sha"],
        merged if pull.state == "merged" else None,
        _methods(about),
        (shown.get("user") or {}).get("can_merge") is False,
    )


def _methods(about: Mapping[str, Any]) -> tuple[str, ...]:
    """A project has one way to merge, and says whether commits are squashed before that."""
    squash, whole = (
        about.get("squash_option") or "default_off",
        "rebase" if about.get("merge_method") == "ff" else "merge",
    )
    return tuple(how for how, allowed in (("squash", squash != "never"), (whole, squash != "always")) if allowed)


def merge(ref: PullRef, head: str, method: str, at: Path) -> None:
    """Merge it as it is at that commit. ChatmlError where GitLab does not."""
    body = {"sha": head, "squash": method == "squash"}
    try:
        glab.ask(ref.host, f"{_place(ref)}/merge", at, method="PUT", body=body)
    except glab.RefusedError as error:
        known = {
            405: ("what it lacks stands on its page (chatml pr NAME --web), and 'chatml pr NAME --fix' gives it to the "
                  "agent"),
            409: "somebody has pushed to it just now: look at what came in, and call it again",
        }  # fmt: skip
        raise ChatmlError(
            f"GitLab does not merge it: {error.said or error.message}", known.get(error.status, error.hint)
        ) from error


def _place(ref: PullRef) -> str:
    return f"{project(ref.repository)}/merge_requests/{ref.number}"
