"""Pull requests on GitHub as they are now: any number of one repository's by one question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.forge import gh
from chatml.forge.door import Candidate, PullRef
from chatml.model import PullRequest, stamp

AT_ONCE = 100
"""Pull requests asked for by one question: GitHub answers one of this size in a second or two."""

_CHECKS = {
    "SUCCESS": "passing", "FAILURE": "failing", "ERROR": "failing", "PENDING": "pending", "EXPECTED": "pending",
}  # fmt: skip
_MERGEABLE = {"MERGEABLE": True, "CONFLICTING": False}

STATE = "number url state isDraft reviewDecision mergeable commits(last:1){nodes{commit{oid statusCheckRollup{state}}}}"


def states(refs: Sequence[PullRef], at: Path, moment: float) -> tuple[list[PullRequest], float]:
    """These, all of one repository, as they are; asked at that moment, in seconds since the epoch.

    Also the moment before which the forge is not to be asked again; 0 where it may be. What this login may not see
    is left out. ChatmlError where the forge can't be asked.
    """
    found: list[PullRequest] = []
    resting = 0.0
    for start in range(0, len(refs), AT_ONCE):
        some = refs[start : start + AT_ONCE]
        aliases = " ".join(f"p{ref.number}: pullRequest(number:{ref.number}){{{STATE}}}" for ref in some)
        query = (
            "query PullStates($owner:String!,$name:String!){"
            f"repository(owner:$owner,name:$name){{{aliases}}} rateLimit{{remaining resetAt}}}}"
        )
        data = gh.graphql(query, some[0].variables, some[0].host, at)
        shown = data.get("repository") or {}
        for ref in some:
            if one := shown.get(f"p{ref.number}"):
                found.append(state_of(ref, one, moment))
        resting = gh.resting(data.get("rateLimit"))
        if resting:
            break
    return found, resting


METHODS = {"squash": "squashMergeAllowed", "merge": "mergeCommitAllowed", "rebase": "rebaseMergeAllowed"}
"""How GitHub merges, by gh's name for it and by its own for whether a repository allows that; the first comes first."""

_READERS = ("READ", "TRIAGE")
"""What GitHub calls the rights of those who may not merge."""


def candidate(ref: PullRef, at: Path, moment: float) -> Candidate:
    """One as it is, with what is needed to merge it. ChatmlError where there is none, or it can't be asked for."""
    query = (
        "query PullToMerge($owner:String!,$name:String!,$number:Int!){repository(owner:$owner,name:$name){"
        f"viewerPermission {' '.join(METHODS.values())} "
        f"pullRequest(number:$number){{{STATE} headRefOid baseRefName mergeCommit{{oid}}}}}}}}"
    )
    shown = gh.graphql(query, {**ref.variables, "number": ref.number}, ref.host, at)["repository"]
    one = shown.get("pullRequest")
    if one is None:
        raise ChatmlError(f"{ref.repository} has no pull request #{ref.number} that this login may see", gh.LOGIN)
    return Candidate(
        state_of(ref, one, moment),
        one["baseRefName"],
        one["headRefOid"],
        (one.get("mergeCommit") or {}).get("oid"),
        tuple(method for method, allowed in METHODS.items() if shown.get(allowed)),
        shown.get("viewerPermission") in _READERS,
    )


def merge(ref: PullRef, head: str, method: str, at: Path) -> None:
    """Merge it as it is at that commit, or have it queued where its base has a queue. ChatmlError where that fails."""
    place = ["--repo", f"{ref.host}/{ref.repository}"]
    gh.run(["pr", "merge", str(ref.number), *place, f"--{method}", "--match-head-commit", head], at)


def state_of(ref: PullRef, data: Mapping[str, Any], moment: float) -> PullRequest:
    """One as GitHub shows it."""
    try:
        commits = (data.get("commits") or {}).get("nodes") or [{}]
        rollup = (commits[-1].get("commit") or {}).get("statusCheckRollup") or {}
        return PullRequest(
            number=ref.number,
            url=ref.url,
            state=data["state"].lower(),
            checks=_CHECKS.get(rollup.get("state", "")),
            draft=bool(data["isDraft"]),
            review=(data.get("reviewDecision") or "").lower() or None,
            mergeable=_MERGEABLE.get(data.get("mergeable") or ""),
            at=stamp(moment),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ChatmlError(f"gh gave no proper answer about #{ref.number}: {error}", gh.INSTALL) from error
