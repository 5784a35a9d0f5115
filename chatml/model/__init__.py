"""Plain typed data that all layers share: session, status and its transitions, event, changes."""

from chatml.model.event import Event
from chatml.model.parts import Base, Changes, Failure, FileChange, PullRequest, Request, Tokens, now, parse_time
from chatml.model.session import PUBLIC_KEYS, SCHEMA, Session
from chatml.model.status import TRANSITIONS, Status

__all__ = [
    "PUBLIC_KEYS",
    "SCHEMA",
    "TRANSITIONS",
    "Base",
    "Changes",
    "Event",
    "Failure",
    "FileChange",
    "PullRequest",
    "Request",
    "Session",
    "Status",
    "Tokens",
    "now",
    "parse_time",
]
