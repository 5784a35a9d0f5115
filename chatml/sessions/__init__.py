"""The life of a session: create, find, reconcile with what is true, send, stop, resume."""

from chatml.sessions.answering import answers, asked, reply
from chatml.sessions.costs import By, Cost, costs
from chatml.sessions.finding import (
    Project,
    failure_of,
    load,
    load_all,
    open_project,
    recount,
    resolve,
    still_open,
    with_places,
)
from chatml.sessions.limits import AS_BEFORE, Amount, Limits
from chatml.sessions.making import Order, check_name, create, slug
from chatml.sessions.steering import check_message, locate, pending, resume, send, start_worker, stop

__all__ = [
    "AS_BEFORE",
    "Amount",
    "By",
    "Cost",
    "Limits",
    "Order",
    "Project",
    "answers",
    "asked",
    "check_message",
    "check_name",
    "costs",
    "create",
    "failure_of",
    "load",
    "load_all",
    "locate",
    "open_project",
    "pending",
    "recount",
    "reply",
    "resolve",
    "resume",
    "send",
    "slug",
    "start_worker",
    "still_open",
    "stop",
    "with_places",
]
