"""What agents ask, with all that a person decides by; and a whole session on a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chatml.model import CheckResult, Reply, Request, SeenService, Session, Status, questions_of
from chatml.model.event import Replied
from chatml.render import pulls
from chatml.render.rows import NEEDS, STATUS_COLORS, age, changes
from chatml.text import beginning, counted, one_line, paint, printable, shorten

SHOWN_LINES = 30
"""Lines shown of a task, and of what a call would write."""


def page(session: Session, check_began: str | None = None) -> Iterator[str]:
    """One session on a page: what it is at, and what a person needs to know to go on with it.

    `check_began` is when the check began that runs now.
    """
    status = paint(session.status.value, fg=STATUS_COLORS[session.status])
    yield f"{paint(session.name, bold=True)}  {status}"
    if session.status is Status.WAITING:
        for one in session.requests:
            yield ""
            yield from request(one)
            how = f"answer {session.name} …" if one.kind == "question" else f"approve {session.name}"
            which = f" --id {one.id}" if len(session.requests) > 1 else ""
            yield paint(f"  asked {age(one.since)} ago; chatml {how}{which}, or chatml deny …", dim=True)
    yield ""
    task = printable(session.terms.prompt).splitlines()
    for line in task[:SHOWN_LINES]:
        yield f"> {line}"
    if len(task) > SHOWN_LINES:
        yield paint(f"  … and {counted(len(task) - SHOWN_LINES, 'line')} more: chatml logs {session.name}", dim=True)
    yield ""
    mode = f", {session.terms.permission_mode}" + (
        f", then {session.terms.after_plan}" if session.terms.mode_after_plan else ""
    )
    facts = {
        "branch": f"{session.branch} from {session.base.ref} ({session.base.commit[:9]})",
        "worktree": session.worktree,
        "ports": ", ".join(f"{name} {port}" for name, port in session.furnished.ports.items()),
        "agent": f"{session.terms.agent}{f' ({session.model})' if session.model else ''}{mode}",
        "role": session.terms.role or "",
        "started by": f"the agent of {session.family.parent}" if session.family.parent else "",
        "scope": ", ".join(session.terms.scope),
        "allowed": ", ".join(session.terms.allow),
        "asked about": ", ".join(session.terms.ask),
        "denied": ", ".join(session.terms.deny),
        "changes": session.seen.not_counted or changes(session),
        "hint": session.seen.not_counted_hint or "",
        "check": _check(session, check_began),
        "queue": _queue(session) if session.status is Status.QUEUED else "",
        "after": ", ".join(session.terms.after),
        "sync": _sync(session),
        "landed": _landed(session),
        "cost": f"${session.spent_usd:.2f}" if session.spent_usd else "",  # a program tells none
        "turns": str(session.turns),
        "limits": _limits(session),
        "issue": f"{session.issue.shown} {session.issue.url}" if session.issue else "",
        "pull request": pulls.line(session.pr),
        "error": f"{session.error.kind}: {session.error.message}" if session.error else "",
        "age": age(session.created_at),
    }
    running = [("still running", f"{one.pid} {one.command}") for one in session.seen.processes or ()]
    serving = [(one.name, _service(one)) for one in session.seen.services or ()]
    for name, value in (*facts.items(), *serving, *running):
        if value:
            yield f"{paint(f'{name}:', dim=True)} {one_line(value)}"
    if session.error is not None and session.error.output:
        yield paint("it printed, at last:", dim=True)
        for line in printable(session.error.output).splitlines():
            yield f"  {line}"
    if session.check is not None and session.check.output:
        yield paint("the check printed, at last:", dim=True)
        for line in printable(session.check.output).splitlines():
            yield f"  {line}"


def _service(one: SeenService) -> str:
    """A service, and whether it runs: `http://x.localhost:4100, since 2m`."""
    what = one.url or beginning(one.command)
    return f"{what}, for {age(one.started_at)}" if one.status == "running" else f"has ended ({what})"


def _check(session: Session, began: str | None) -> str:
    checked = session.checked
    if checked is None:
        return ""
    command = beginning(checked.command)
    if began is not None:
        return f"{command}: is running, for {age(began)}"
    if checked.ok is None or checked.at is None:
        return f"{command}: has not run yet"
    where = f" on {checked.commit[:9]}" if checked.commit else ""
    tries = f", {checked.tries} tries" if checked.tries > 1 else ""
    return f"{command}: {checked.said}{where}{tries}, {age(checked.at)} ago{_since_then(session, checked)}"


def _since_then(session: Session, checked: CheckResult) -> str:
    """What has become of that which was checked, where it's not the same any more."""
    if session.status.active or checked.current:
        return ""
    if checked.current is None:
        return "; could not look whether that still stands there"
    again = f": 'chatml resume {session.name}' runs it on that" if checked.ok and session.status is Status.DONE else ""
    return f"; something else stands there now{again}"


def _sync(session: Session) -> str:
    """How far its agent is with the conflict that `sync` has given to it."""
    given, check = session.checkout.resolving, session.checked
    if given is None or session.seen.resolved is None:
        return ""
    what = f"{session.base.ref} {given[:7]}"
    if not session.seen.resolved:
        return f"its agent is to resolve the conflicts with {what}"
    passed = check is None or (check.ok and check.current is not False)
    return f"merged {what}" if passed else f"merged {what}; its check has not passed yet"


def _landed(session: Session) -> str:
    """As what it has landed, as far as that is known, and that it has."""
    own = session.landed_as
    known = f"as {own.commit[:9]} in {own.into}" if own is not None else "yes" if session.seen.landed else ""
    more = "" if session.seen.landed or own is None else "; it may have more since"
    return known + more


def _queue(session: Session) -> str:
    return f"number {session.seen.queue_place}" if session.seen.queue_place else session.activity or ""


def _limits(session: Session) -> str:
    budget = f"${session.spent_usd:.2f} of ${session.terms.max_budget_usd:.2f}" if session.terms.max_budget_usd else ""
    most, had = session.terms.max_turns, session.exchange.agent_turns
    turns = f"{had} of {most} model turns" if most else ""
    return ", ".join(filter(None, [budget, turns]))


def request(one: Request) -> Iterator[str]:
    """A request with all that a person decides by, over several lines."""
    yield paint(f"? {one_line(f'{NEEDS.get(one.kind, one.kind)} {one.summary}')}", fg="yellow", bold=True)
    if one.kind == "plan":
        for line in printable(str(one.detail.get("plan") or "")).splitlines():
            yield f"  {line}"
    elif one.kind == "question":
        for number, question in enumerate(questions := questions_of(one), 1):
            if len(questions) > 1:
                yield f"  {number}. {one_line(question.text)}"
            for choice, (label, description) in enumerate(question.options, 1):
                said = one_line(label) + (paint(f"  {one_line(description)}", dim=True) * bool(description))
                yield f"    {choice}  {said}"
            if question.several:
                yield paint("    several: their numbers, with commas", dim=True)
    else:
        yield from _asked_call(one)


def _lines(text: object) -> list[str]:
    return printable(text).splitlines() if isinstance(text, str) else []


def _asked_call(one: Request) -> Iterator[str]:
    """What the summary of a call leaves out: a command's other lines, what a file would get, why it is asked about."""
    given = one.detail.get("input") or {}
    lines = [f"  {line}" for line in _lines(given.get("command"))[1:]]
    lines += [f"- {line}" for line in _lines(given.get("old_string"))]
    lines += [f"+ {line}" for line in _lines(given.get("new_string")) + _lines(given.get("content"))]
    for line in lines[:SHOWN_LINES]:
        yield f"  {line}"
    if len(lines) > SHOWN_LINES:
        yield paint(f"    … {len(lines) - SHOWN_LINES} more lines ('chatml logs --json' has all)", dim=True)
    if one.detail.get("reason"):
        yield paint(f"  {one_line(str(one.detail['reason']))}", dim=True)


DECISIONS: Mapping[str, str] = {"approve": "approved", "deny": "denied", "answer": "answered", "withdrawn": "withdrawn"}


def decision(reply: Replied) -> str:
    """What became of a request, in one line."""
    said = [DECISIONS.get(reply.decision, reply.decision)]
    if reply.input:
        said.append("changed")
    if reply.rules:
        said.append(f"from now on: {', '.join(reply.rules)}")
    said += map(str, (reply.answers or {}).values())
    if reply.message:
        said.append(reply.message)
    return one_line(f"{said[0]}{': ' if said[1:] else ''}{'; '.join(said[1:])}")


def how(one: Request) -> str:
    """How to answer it in `attach`, in one line."""
    if one.kind == "question":
        several = "; one for each question, ';' between" if len(questions_of(one)) > 1 else ""
        return f"type the number, or an answer in words{several}"
    rules = ", ".join(one.detail.get("rules") or ())
    always = f" · a always {one_line(rules)}" if rules else ""
    return f"y yes{always} · n [REASON] no"


def decided(one: Request, reply: Reply) -> str:
    """What was decided just now, for the person who did."""
    rules = f"; from now on without asking: {', '.join(reply.rules)}" if reply.rules else ""
    said = f": {', '.join(map(str, reply.answers.values()))}" if reply.answers else ""
    return f"{DECISIONS[reply.decision]} {shorten(one_line(one.summary), 60)}{said}{rules}"
