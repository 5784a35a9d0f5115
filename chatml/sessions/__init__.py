"""The life of a session: create, find, reconcile with what is true, send, stop, resume."""

from chatml.sessions.allow import allow_for_all
from chatml.sessions.answer import answers, asked, reply
from chatml.sessions.control import check_message, locate, resume, send, start_worker, stop
from chatml.sessions.costs import By, Cost, costs
from chatml.sessions.create import Task, check_name, create, slug
from chatml.sessions.find import (
    Project,
    failure_of,
    find,
    load,
    load_all,
    open_project,
    recount,
    resolve,
    still_open,
    with_places,
)
from chatml.sessions.limits import AS_BEFORE, Amount, Limits
from chatml.sessions.notice import tell_crashes
from chatml.sessions.review import Finding, findings, found_nothing, message_of, review
from chatml.sessions.running import with_processes
from chatml.sessions.unsend import HANDED, QUEUED, Unsent, unsend, unsent

__all__ = [
    "AS_BEFORE",
    "HANDED",
    "QUEUED",
    "Amount",
    "By",
    "Cost",
    "Finding",
    "Limits",
    "Project",
    "Task",
    "Unsent",
    "allow_for_all",
    "answers",
    "asked",
    "check_message",
    "check_name",
    "costs",
    "create",
    "failure_of",
    "find",
    "findings",
    "found_nothing",
    "load",
    "load_all",
    "locate",
    "message_of",
    "open_project",
    "recount",
    "reply",
    "resolve",
    "resume",
    "review",
    "send",
    "slug",
    "start_worker",
    "still_open",
    "stop",
    "tell_crashes",
    "unsend",
    "unsent",
    "with_places",
    "with_processes",
]
