"""What came of sessions, as a page for people and as Markdown for the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from chatml.model import Status
from chatml.render.rows import PASSED, STATUS_COLORS, activity, address, changes, need
from chatml.sessions.summary import Summary, shared_paths
from chatml.sessions.tested import RanTests
from chatml.text import beginning, display_width, one_line, paint, shorten

LINES = 4
"""Lines that the page has at most for what an agent said, and for a list: it is read in a minute. A pipe gets all."""

WORDS = {
    **{Status.DONE: "done", Status.WAITING: "needs you", Status.FAILED: "failed", Status.CRASHED: "crashed"},
    **{Status.STOPPED: "stopped", Status.RUNNING: "at work", Status.PREPARING: "at work", Status.QUEUED: "queued"},
}
"""How the headline counts sessions, in its order."""


def headline(summaries: Sequence[Summary]) -> str:
    """`3 done, 1 needs you, $0.11`."""
    counts: dict[str, int] = dict.fromkeys(WORDS.values(), 0)
    for one in summaries:
        counts[WORDS[one.session.status]] += 1
    parts = [f"{number} {word}" for word, number in counts.items() if number]
    usd = sum(one.session.spent_usd for one in summaries)
    return ", ".join([*(parts or ["no sessions"]), *([f"${usd:.2f}"] if usd else [])])


def time_at_work(seconds: float | None) -> str:
    """`45s`, `3m 20s`, `2h 05m`; nothing where it has not begun."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    return f"{whole // 60}m {whole % 60:02}s" if whole < 3600 else f"{whole // 3600}h {whole % 3600 // 60:02}m"


def said(summary: Summary) -> str:
    """What the session has to say for itself, in one line: its answer, or what it needs, does or failed of.

    What to do about that is said below, once for all.
    """
    session = summary.session
    if session.status is Status.WAITING and session.requests:
        return one_line(need(session))
    if session.status in (Status.DONE, Status.STOPPED):
        return one_line(summary.result or "")
    if session.status is Status.CRASHED:
        return "its worker died"
    checked = session.checked if session.status is Status.FAILED else None
    # The check's own line has its command.
    return activity(session).replace(f"'{beginning(checked.command)}' ", "", 1) if checked else activity(session)


def warnings(summaries: Sequence[Summary]) -> Iterator[str]:
    """What a person has to know before anything is landed, a line each."""
    for one in summaries:
        name, session = one.session.name, one.session
        if session.seen.not_counted is not None:
            hint = f" ({session.seen.not_counted_hint})" if session.seen.not_counted_hint else ""
            yield one_line(f"{name}: could not find out what it has changed: {session.seen.not_counted}{hint}")
        yield from (one_line(f"{name}: {note}") for note in one.notes)
    yield from (one_line(f"{path} is changed by {', '.join(names)}") for path, names in shared_paths(summaries).items())


def steps(summaries: Sequence[Summary]) -> list[str]:
    """The next command of each session: answer, fix, land, remove, and last those that are at work."""
    order = {"approve": 0, "answer": 0, "resume": 1, "show": 1, "diff": 1, "pr": 2, "rm": 3}

    def place(one: Summary) -> int:
        if one.session.status is Status.WAITING:
            return 0
        program, verb = one.next.split()[:2]
        return order["pr"] if program == "git" else order.get(verb, 4)

    return [one_line(one.next) for one in sorted(summaries, key=place)]


# --- a page -----------------------------------------------------------------------------------------------------


def page(summaries: Sequence[Summary], width: int | None) -> Iterator[str]:
    """The lines of the page, painted, for a terminal of so many columns; None for a pipe, where nothing is cut."""
    yield paint(headline(summaries), bold=True)
    for one in summaries:
        yield ""
        yield from _block(one, width)
    warned = list(warnings(summaries))
    if warned:
        yield ""
    for line in _few([f"! {line}" for line in warned], width, 3 * LINES):
        yield from (paint(part, fg="yellow") for part in _wrapped(line, width, LINES, "  "))
    yield ""
    yield paint("next:", dim=True)
    yield from (f"  {line}" for line in steps(summaries))


def _block(one: Summary, width: int | None) -> Iterator[str]:
    session = one.session
    usd = f"${session.spent_usd:.2f}" if session.spent_usd else ""
    denied = f"{session.exchange.denied} denied" if session.exchange.denied else ""
    facts = "  ".join(filter(None, [changes(session) or "no changes", usd, time_at_work(one.duration_s), denied]))
    yield f"{paint(session.name, bold=True)}  {paint(session.status.value, fg=STATUS_COLORS[session.status])}  {facts}"
    yield from _wrapped(f"  {said(one)}", width, LINES, "  ") if said(one) else ()
    yield from _listed("commits", [f"{i[:9]} {one_line(text)}" for i, text in one.commits or ()], width)
    yield from _listed("tests", ["?"] if one.tests is None else list(map(_test, one.tests[::-1])), width)
    if one.check is not None:
        yield from _listed("check", [_checked(one, beginning(str(one.check.get("command"))))], width)
    if session.conflicts:
        yield from _listed("conflicts", [", ".join(map(one_line, session.conflicts))], width)
    if serves := address(session):
        yield from _listed("serves", [serves], None)
    if session.pr is not None:
        yield from _listed("pr", [f"{one_line(session.pr.url)} ({one_line(session.pr.state)})"], None)


def mark(ok: object) -> str:
    """`✓`, `✗`, or `?` where nobody knows."""
    return "?" if ok is None else "✓" if ok else "✗"


def verdict(one: Summary) -> str:
    """What the check says of what stands there: `✓`, `✗`, `due` once more, `✓?` where nobody could look, `?`."""
    if one.check is None:
        return ""
    ok, current = one.check.get("ok"), one.check.get("current")
    return mark(ok) if not ok else "due" if current is False else PASSED[current]


def _checked(one: Summary, command: str) -> str:
    said = verdict(one)
    return f"{command}: due once more" if said == "due" else f"{said} {command}"


def _test(run: RanTests) -> str:
    passed = f": {run.count} passed" if run.count is not None else ""
    return f"{mark(run.ok)} {one_line(run.command)}{passed}"


def _listed(head: str, lines: Sequence[str], width: int | None) -> Iterator[str]:
    """A list behind its heading, cut to the terminal."""
    for place, line in enumerate(_few(lines, width, LINES)):
        colour = {"✓": "green", "✗": "red"}.get(line[:1])
        cut = line if width is None else shorten(line, max(20, width - 11))
        shown = paint(cut[:1], fg=colour) + cut[1:] if colour else cut
        yield f"  {paint((head if place == 0 else '').ljust(8), dim=True)} {shown}"


def _few(lines: Sequence[str], width: int | None, most: int) -> Sequence[str]:
    """On a terminal no more than so many; the last one says how many there are beside."""
    if width is None or len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"… {len(lines) - most + 1} more"]


def _wrapped(text: str, width: int | None, most: int, indent: str) -> Iterator[str]:
    """Lines of at most so many columns, no more than `most` of them; one uncut line without a width."""
    if width is None or display_width(text) <= width:
        yield text
        return
    line, lines = "", 1
    words = text.split(" ")
    for place, word in enumerate(words):
        longer = f"{line} {word}" if place else word
        if lines == most or not line.strip():  # what remains is on the last line, and a long word is cut
            line = longer
        elif display_width(longer) > width:
            yield line
            line, lines = indent + word, lines + 1
        else:
            line = longer
    yield shorten(line, width)


# --- Markdown ---------------------------------------------------------------------------------------------------


def markdown(summaries: Sequence[Summary]) -> Iterator[str]:
    """The lines of GitHub's Markdown; what others wrote is in it as text, and as nothing else."""
    yield f"## chatml: {escaped(headline(summaries))}"
    if not summaries:
        return
    yield ""
    yield "| session | status | changes | tests | check | cost | time | pull request |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    yield from map(_row, summaries)
    warned = list(warnings(summaries))
    yield from ["", "**Warnings**", ""] if warned else []
    yield from (f"- {escaped(line)}" for line in warned)
    for one in summaries:
        yield from _details(one)
    # No line of it can end the block: each begins with `chatml` or `git`.
    yield from ["", "**Next**", "", "```sh", *steps(summaries), "```"]


def _row(one: Summary) -> str:
    session = one.session
    tests = "?" if one.tests is None else ", ".join(dict.fromkeys(_outcome(run) for run in one.tests))
    cells = [
        code(session.name),
        WORDS[session.status] + (f", {session.exchange.denied} denied" if session.exchange.denied else ""),
        escaped(changes(session)),
        tests,
        verdict(one),
        escaped(f"${session.spent_usd:.2f}") if session.spent_usd else "",
        time_at_work(one.duration_s),
        "" if session.pr is None else _link(session.pr.url, f"{session.pr.label} {session.pr.state}"),
    ]
    return f"| {' | '.join(cells)} |"


def _outcome(run: RanTests) -> str:
    return f"{mark(run.ok)} {run.count} passed" if run.count is not None else mark(run.ok)


def _link(url: str, text: str) -> str:
    return f"[{escaped(text)}](<{url}>)" if re.fullmatch(r"https?://[\w.:/%~+@?&=#-]+", url) else escaped(url)


def _details(one: Summary) -> Iterator[str]:
    session = one.session
    yield from ["", f"<details><summary>{code(session.name)} {WORDS[session.status]}</summary>", ""]
    yield from (f"> {escaped(said(one))}", "") if said(one) else ()
    items = [f"- commit {code(i[:9])} {escaped(text)}" for i, text in one.commits or ()]
    items += [f"- {_outcome(run)} {code(run.command)}" for run in one.tests or ()]
    if one.check is not None:
        items.append(f"- check {_checked(one, code(str(one.check.get('command'))))}")
    yield from [*items, ""] if items else ()
    yield "</details>"


def code(text: str) -> str:
    """A name or a command, as it is, for a table too: GitHub sees no mention, link or markup in it."""
    return f"<code>{escaped(text)}</code>"


def escaped(text: str) -> str:
    """Somebody's text as one line of Markdown that shows it and does nothing else.

    A character written by its number never counts as markup (CommonMark, "Entity and numeric character references").
    GitHub looks for mentions after that: what follows an `@` is parted from it by a space of no width.
    """
    line = re.sub(r"[^\w .,;/?%='\"^-]", lambda found: _numbered(found[0]), one_line(text), flags=re.ASCII)
    line = re.sub(r"^([-=]|\d+\.)", lambda found: found[0][:-1] + f"&#{ord(found[0][-1])};", line)
    return re.sub(r"_|www\.", lambda found: found[0][:-1] + f"&#{ord(found[0][-1])};", line, flags=re.IGNORECASE)


def _numbered(char: str) -> str:
    return char if ord(char) > 127 else f"&#{ord(char)};" + ("&#8203;" if char == "@" else "")
