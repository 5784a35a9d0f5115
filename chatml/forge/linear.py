"""Issues of Linear, through its GraphQL API: https://linear.app/developers/graphql."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from chatml.errors import ChatmlError
from chatml.model import Issue, IssueComment, IssueRef
from chatml.text import one_line, shorten

API = "https://api.linear.app/graphql"

KEY = "LINEAR_API_KEY"
"""The variable with a personal API key."""

TIMEOUT = 30.0
"""Seconds for one answer."""

MAX_ANSWER = 20_000_000
"""Bytes of one answer: far beyond a page of comments."""

PAGE = 250
"""What Linear gives at once, at the most (https://linear.app/developers/pagination)."""

MAX_COMMENTS = 5_000
"""Comments of one issue after which no more are read."""

CLOSED = frozenset({"completed", "canceled", "duplicate"})
"""Types of states whose issues are done with."""

_ISSUE = """
query Issue($id: String!, $first: Int!, $after: String) { issue(id: $id) {
  identifier title description url state { type } creator { displayName } labels { nodes { name } }
  comments(first: $first, after: $after) {
    nodes { body createdAt user { displayName } } pageInfo { hasNextPage endCursor } } } }"""

_SEARCH = """
query Search($term: String!, $first: Int!) { searchIssues(term: $term, first: $first) {
  nodes { identifier state { type } } pageInfo { hasNextPage } } }"""


def has_key() -> bool:
    """Whether this person has given a key for Linear."""
    return bool(os.environ.get(KEY, "").strip())


def issue(identifier: str) -> Issue:
    """The issue of that identifier (`ENG-123`), with its comments. ChatmlError where it can't be had."""
    comments: list[Mapping[str, Any]] = []
    asked: dict[str, Any] = {"id": identifier, "first": PAGE, "after": None}
    with _understood():
        while True:
            data = _ask(_ISSUE, asked, identifier)["issue"]
            if data is None:
                raise _missing(identifier)
            comments += data["comments"]["nodes"]
            page = data["comments"]["pageInfo"]
            whole = not page["hasNextPage"]
            if whole or len(comments) >= MAX_COMMENTS:
                return _issue(data, comments, whole)
            asked["after"] = page["endCursor"]


def search(term: str, most: int) -> list[str]:
    """The identifiers of the open issues that Linear's own search finds; more than `most` where there are more."""
    with _understood():
        found = _ask(_SEARCH, {"term": term, "first": PAGE}, "issues")["searchIssues"]
        still_open = [one["identifier"] for one in found["nodes"] if one["state"]["type"] not in CLOSED]
        more = found["pageInfo"]["hasNextPage"]
    if more and len(still_open) <= most:
        raise ChatmlError(f"Linear finds more than {PAGE} issues, closed ones among them", "narrow the search")
    return still_open


@contextmanager
def _understood() -> Iterator[None]:
    """Says so where an answer is not what Linear's documentation promises."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise ChatmlError(
            "Linear gave an answer that chatml does not understand", "is there a newer chatml?"
        ) from error


def _issue(data: Mapping[str, Any], comments: list[Mapping[str, Any]], whole: bool) -> Issue:
    by_time = sorted(comments, key=lambda one: str(one["createdAt"]))
    return Issue(
        IssueRef("linear", data["identifier"], _permanent(data["url"]), one_line(data["title"])),
        "Linear",
        data["description"] or "",
        _name(data["creator"]),
        closed=data["state"]["type"] in CLOSED,
        labels=tuple(one["name"] for one in data["labels"]["nodes"]),
        comments=tuple(IssueComment(_name(one["user"]), one["body"]) for one in by_time),
        left_out=() if whole else (f"all but {len(comments):,} comments",),
    )


def _permanent(url: str) -> str:
    """The address of an issue without its title, which changes. KeyError for what is none."""
    found = re.match(r"https://[\w.-]+/[\w-]+/issue/\w+-\d+(?![\w-])", url)
    if found is None:
        raise KeyError(url)
    return found[0]


def _name(user: Mapping[str, Any] | None) -> str:
    """Who wrote it; integrations are no users."""
    return (user or {}).get("displayName") or "an integration"


# --- the wire ---------------------------------------------------------------------------------------------------


def _ask(query: str, variables: Mapping[str, Any], about: str) -> Any:
    """What Linear answers. ChatmlError, naming what it is about, with what to do."""
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise ChatmlError(
            f"Linear is asked for {about} with an API key, and {KEY} is not set",
            f"make one at https://linear.app/settings/account/security, then: export {KEY}=lin_api_…; "
            "an issue of GitHub is named by its number",
        )
    if not key.isascii() or not key.isprintable():
        raise ChatmlError(f"{KEY} is no key: it holds characters that no key has", "copy it from Linear again")
    status, raw = _post(_address(), key, json.dumps({"query": query, "variables": variables}).encode())
    try:
        answer = json.loads(raw)
        errors = answer.get("errors") or []
        said = " ".join(str(one.get("message")) for one in errors)
        codes = {str((one.get("extensions") or {}).get("code")).upper() for one in errors}
    except (ValueError, AttributeError):
        answer, said, codes = {}, "", set()
    if status != 200 or codes or not isinstance(answer.get("data"), dict):
        raise _failure(status, said, codes, about)
    return answer["data"]


def _failure(status: int, said: str, codes: set[str], about: str) -> ChatmlError:
    """Linear says what went wrong in its answer, with status 200 or 400: https://linear.app/developers/rate-limiting."""
    if status == 429 or "RATELIMITED" in codes:
        return ChatmlError("Linear's rate limit for this key is used up", "wait an hour, then call it again")
    if status == 401 or "AUTHENTICATION_ERROR" in codes:
        return ChatmlError(
            f"Linear does not accept {KEY}", "make a new key at https://linear.app/settings/account/security"
        )
    if "Entity not found" in said:
        return _missing(about)
    if status >= 500:
        return ChatmlError(f"Linear has a problem of its own (HTTP {status})", "see https://linearstatus.com")
    if 300 <= status < 400:
        return ChatmlError(f"Linear answers with HTTP {status}: its API is elsewhere", "is CHATML_LINEAR_URL right?")
    told = shorten(one_line(said), 200) or "no proper answer"
    return ChatmlError(f"Linear says of {about} (HTTP {status}): {told}", "see https://linearstatus.com")


def _missing(identifier: str) -> ChatmlError:
    return ChatmlError(
        f"Linear shows this key no issue {identifier}", f"is it right, and may whoever made {KEY} see its team?"
    )


def _address() -> str:
    """Where Linear is asked. ChatmlError where the key would be sent in clear to another machine."""
    address = os.environ.get("CHATML_LINEAR_URL") or API
    parts = urlsplit(address)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        return address
    raise ChatmlError(f"CHATML_LINEAR_URL is no https address: {address}", "the API key is never sent in clear")


def _post(address: str, key: str, content: bytes) -> tuple[int, bytes]:
    """Status and body of the answer; nothing is followed elsewhere, where the key would go along."""
    import http.client
    import urllib.error
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    headers = {"Authorization": key, "Content-Type": "application/json", "User-Agent": "chatml"}
    request = urllib.request.Request(address, content, headers)
    direct = [urllib.request.ProxyHandler({})] if address.startswith("http:") else []  # a proxy would see the key
    deadline = time.monotonic() + TIMEOUT
    try:
        try:
            answer = urllib.request.build_opener(Stay, *direct).open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, _read(answer, deadline)
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)  # where it failed to connect
        if isinstance(why, TimeoutError):
            raise ChatmlError(
                f"Linear gave no answer within {TIMEOUT:.0f} s", "check the network and call again"
            ) from error
        raise ChatmlError(
            f"Linear could not be reached: {one_line(str(why))}", "check the network, then call it again"
        ) from error


def _read(answer: Any, deadline: float) -> bytes:
    """All of an answer. TimeoutError where it comes too slowly; ChatmlError where it doesn't end."""
    parts = []
    size = 0
    while part := answer.read1(65_536):
        size += len(part)
        parts.append(part)
        if size > MAX_ANSWER:
            raise ChatmlError(f"Linear's answer has more than {MAX_ANSWER:,} bytes", "this issue is too big")
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)
