"""Plain typed data that all layers share: session, status and its transitions, event, changes."""

from chatml.model import transitions
from chatml.model.feedback import BaseConflict, FailedCheck, Feedback, Remark, ReviewThread
from chatml.model.issue import Issue, IssueComment, IssueRef
from chatml.model.parts import (
    Base,
    Changes,
    Checkout,
    CheckResult,
    Exchange,
    Failure,
    Family,
    FileChange,
    Landed,
    Predecessor,
    Process,
    PullRequest,
    Queueing,
    RemovedChild,
    Seen,
    Tokens,
    now,
    parse_time,
    stamp,
)
from chatml.model.request import Question, Reply, Request, questions_of
from chatml.model.session import PUBLIC_KEYS, SCHEMA, Session
from chatml.model.status import TRANSITIONS, Status
from chatml.model.terms import Terms

__all__ = [
    "PUBLIC_KEYS",
    "SCHEMA",
    "TRANSITIONS",
    "Base",
    "BaseConflict",
    "Changes",
    "CheckResult",
    "Checkout",
    "Exchange",
    "FailedCheck",
    "Failure",
    "Family",
    "Feedback",
    "FileChange",
    "Issue",
    "IssueComment",
    "IssueRef",
    "Landed",
    "Predecessor",
    "Process",
    "PullRequest",
    "Question",
    "Queueing",
    "Remark",
    "RemovedChild",
    "Reply",
    "Request",
    "ReviewThread",
    "Seen",
    "Session",
    "Status",
    "Terms",
    "Tokens",
    "now",
    "parse_time",
    "questions_of",
    "stamp",
    "transitions",
]
