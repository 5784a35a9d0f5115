"""What GitHub has against a pull request as it is now, bounded to what an agent can be told at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chatml.errors import ChatmlError
from chatml.forge import gh
from chatml.forge.cut import (
    HUNK,
    LINES,
    MAX_CHECKS,
    MAX_REVIEWS,
    OUTPUT,
    REMARK,
    REVIEW,
    beginning,
    bounded,
    ending,
    talk,
)
from chatml.forge.door import PullRef
from chatml.forge.pulls import STATE, state_of
from chatml.model import FailedCheck, Feedback, Remark, ReviewThread
from chatml.text import counted, one_line, shorten

PAGE = 100
"""Checks and threads that are asked for; GitHub gives no more at once."""

ACTIONS = "github-actions"
"""How GitHub calls its own runner of checks, whose outputs it keeps."""

_QUERY = (
    "query PullFeedback($owner:String!,$name:String!,$number:Int!){repository(owner:$owner,name:$name){"
    f"pullRequest(number:$number){{{STATE} headRefOid baseRefName "
    f"commits(last:1){{nodes{{commit{{statusCheckRollup{{contexts(first:{PAGE}){{totalCount nodes{{__typename "
    "... on CheckRun{databaseId name status conclusion title summary text "
    "checkSuite{app{slug} workflowRun{workflow{name}}}} "
    "... on StatusContext{context state description targetUrl}}}}}}} "
    f"reviewThreads(last:{PAGE}){{totalCount nodes{{isResolved isOutdated path line originalLine "
    "comments(first:50){totalCount nodes{body diffHunk isMinimized author{login}}}}} "
    "latestReviews(first:50){nodes{state body author{login}}}}}}"
)
_FAILED = frozenset({"ERROR", "FAILURE", "CANCELLED", "TIMED_OUT", "ACTION_REQUIRED", "STARTUP_FAILURE"})


def feedback(ref: PullRef, at: Path, moment: float) -> Feedback:
    """What there is against it at that moment; the conflicts with its base are not looked at.

    ChatmlError where there is none, or it can't be asked for.
    """
    data = gh.graphql(_QUERY, {**ref.variables, "number": ref.number}, ref.host, at)
    one = data["repository"].get("pullRequest")
    if one is None:
        raise ChatmlError(f"{ref.repository} has no pull request #{ref.number} that this login may see", gh.LOGIN)
    try:
        left_out = [f"what this login may not see: {shorten(one_line(said), 200)}" for said in data["unseen"][:3]]
        checks = _checks(ref, one, at, left_out)
        threads = _threads(one.get("reviewThreads") or {}, left_out)
        reviews = _reviews((one.get("latestReviews") or {}).get("nodes") or (), left_out)
        pull = state_of(ref, one, moment)
        place = f"{ref.repository} on GitHub"
        found = (tuple(checks), tuple(threads), tuple(reviews))
        return Feedback(pull, place, one["baseRefName"], one["headRefOid"], *found, left_out=tuple(left_out))
    except (LookupError, TypeError, AttributeError) as error:
        raise ChatmlError(f"gh gave no proper answer about #{ref.number}: {error}", gh.INSTALL) from error


# --- checks -----------------------------------------------------------------------------------------------------


def _checks(ref: PullRef, one: Mapping[str, Any], at: Path, left_out: list[str]) -> list[FailedCheck]:
    commits = (one.get("commits") or {}).get("nodes") or [{}]
    rollup = (commits[-1].get("commit") or {}).get("statusCheckRollup") or {}
    contexts = rollup.get("contexts") or {}
    nodes = contexts.get("nodes") or []
    failed = [check for check in nodes if _outcome(check) in _FAILED]
    if (more := contexts.get("totalCount", 0) - len(nodes)) > 0:
        left_out.append(f"{counted(more, 'check')} beyond the first {len(nodes)}")
    if rest := failed[MAX_CHECKS:]:
        names = ", ".join(_name(check) for check in rest[:MAX_CHECKS])
        left_out.append(f"{counted(len(rest), 'other failing check')} ({names}{', …' * (len(rest) > MAX_CHECKS)})")
    return [FailedCheck(_name(check), _output(ref, check, at)) for check in failed[:MAX_CHECKS]]


def _outcome(check: Mapping[str, Any]) -> str:
    return str(check.get("state") or check.get("conclusion") or "")


def _name(check: Mapping[str, Any]) -> str:
    """As GitHub shows it: a job behind the workflow that it belongs to."""
    run = (check.get("checkSuite") or {}).get("workflowRun") or {}
    workflow = (run.get("workflow") or {}).get("name")
    own = str(check.get("name") or check.get("context") or "")
    return shorten(one_line(f"{workflow} / {own}" if workflow else own), 100)


def _output(ref: PullRef, check: Mapping[str, Any], at: Path) -> str:
    """What a check has printed, or says of itself."""
    suite = check.get("checkSuite") or {}
    if (suite.get("app") or {}).get("slug") == ACTIONS and check.get("databaseId"):
        path = f"repos/{ref.repository}/actions/jobs/{check['databaseId']}/logs"
        try:
            said = gh.run(["api", "--hostname", ref.host, path], at).stdout.decode("utf-8", "replace")
            return ending(of_job(said), LINES, OUTPUT)
        except ChatmlError as error:
            return f"(its log could not be had: {one_line(error.message)})"
    parts = (check.get(key) for key in ("title", "summary", "text", "description", "targetUrl"))
    return ending("\n".join(str(part) for part in parts if part), LINES, OUTPUT)


def of_job(log: str) -> str:
    """A job's log up to its last error, without times: what follows is only the runner's tidying up."""
    lines = [re.sub(r"^\ufeff?\d{4}-\d\d-\d\dT[\d:.]+Z ?", "", line) for line in log.splitlines()]
    errors = [place for place, line in enumerate(lines) if line.startswith("##[error]")]
    return "\n".join(lines[: errors[-1] + 1] if errors else lines)


# --- what people say --------------------------------------------------------------------------------------------


def _threads(data: Mapping[str, Any], left_out: list[str]) -> list[ReviewThread]:
    nodes = data.get("nodes") or []
    if (more := data.get("totalCount", 0) - len(nodes)) > 0:
        left_out.append(f"{counted(more, 'older comment')}, resolved or not")
    return bounded([thread for one in nodes if not one["isResolved"] and (thread := _thread(one)).remarks], left_out)


def _thread(one: Mapping[str, Any]) -> ReviewThread:
    comments = (one.get("comments") or {}).get("nodes") or []
    hunk = str(comments[0].get("diffHunk") or "") if comments else ""
    remarks = talk([(_login(one), str(one["body"])) for one in comments if not one.get("isMinimized")])
    line = one.get("line") or one.get("originalLine")
    return ReviewThread(one["path"], line, bool(one["isOutdated"]), ending(hunk, HUNK, REMARK), remarks)


def _reviews(nodes: Sequence[Mapping[str, Any]], left_out: list[str]) -> Iterable[Remark]:
    said = [one for one in nodes if one["state"] == "CHANGES_REQUESTED" and str(one.get("body") or "").strip()]
    if rest := len(said[MAX_REVIEWS:]):
        left_out.append(counted(rest, "other review"))
    return [Remark(_login(one), beginning(one["body"], REVIEW)) for one in said[:MAX_REVIEWS]]


def _login(data: Mapping[str, Any]) -> str:
    """Who wrote it; GitHub calls somebody whose account is gone `ghost`."""
    return (data.get("author") or {}).get("login") or "ghost"
