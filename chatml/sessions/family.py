"""Sessions that an agent has started: how many and how deep, with what money, and no freer than their parent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from chatml.agents import table
from chatml.errors import ChatmlError, Kind, UsageError
from chatml.model import Family, RemovedChild, Session, Terms
from chatml.project import Project
from chatml.sessions.caller import caller, name_of
from chatml.state.store import SessionStore
from chatml.text import counted

MODES = ("plan", "dontAsk", "default", "acceptEdits", "auto", "bypassPermissions")
"""The permission modes, the one that leaves an agent the least first."""

SANDBOXES = ("required", "auto", "off")
"""The same of `sandbox`."""

NO_MORE = "do it yourself, or tell the person who started you what is left to do"


@contextlib.contextmanager
def adopted(project: Project, draft: Session) -> Iterator[Session]:
    """The session to be, as its parent's caps leave it: it is claimed within the block, under the parent's lock.

    As it is where a person calls. ChatmlError where the agent that calls may not start it.
    """
    agent = caller(project)
    if agent is None:
        yield draft
        return
    if agent.name is None:
        raise _foreign()
    store = project.store.session(agent.name)
    with store.lock():
        parent = store.read()
        made = _made(project, parent)
        _check(parent, made)
        _check_after(project, parent, draft.terms.after)
        terms = _bound(draft.terms, parent.terms)
        if parent.terms.max_budget_usd is not None:
            terms = _funded(terms, parent, _left(project, parent))
        yield replace(draft, terms=terms, family=Family(parent.name, parent.id))
        store.write(parent.with_family(children=made + 1))


def foreseen(project: Project, drafts: Sequence[Session]) -> Iterator[tuple[int | None, ChatmlError]]:
    """What keeps the agent that calls from starting these sessions, in this order: each by its place, None for all.

    Nothing where a person calls. `adopted` has the last word: what others do meanwhile is not foreseen.
    """
    agent = caller(project) if drafts else None
    if agent is None:
        return
    if agent.name is None:
        yield None, _foreign()
        return
    parent = project.store.session(agent.name).read()
    try:
        _check(parent, _made(project, parent), len(drafts))
    except ChatmlError as error:
        yield None, error
        return
    left = _left(project, parent) if parent.terms.max_budget_usd is not None else None
    for place, draft in enumerate(drafts):
        try:
            _check_after(project, parent, draft.terms.after)
            terms = _bound(draft.terms, parent.terms)
            if left is not None:
                left = round(left - (_funded(terms, parent, left).max_budget_usd or 0.0), 6)
        except ChatmlError as error:
            yield place, error


def given_back(project: Project, child: Session) -> None:
    """The child was not made after all: it doesn't count."""
    _change_parent(project, child, lambda parent: parent.with_family(children=parent.family.children - 1))


def children_of(project: Project, parent: Session) -> list[Session]:
    """The sessions that the agent of this one has started and that are still there, oldest first."""
    mine = [one for one in _everyone(project) if one.family.parent_id == parent.id]
    return sorted(mine, key=lambda one: (one.created_at, one.name))


def booked(project: Project, session: Session) -> None:
    """The session is about to be removed: what it has cost counts for its parent as long as it is not there.

    By its id: so a removal that was killed, or taken back by `restore`, leaves the account right.
    """
    cost = round(session.spent_usd + sum(one.usd for one in session.family.removed_children), 6)

    def change(parent: Session) -> Session:
        others = (one for one in parent.family.removed_children if one.id != session.id)
        return parent.with_family(removed_children=(*others, RemovedChild(session.id, cost)))

    _change_parent(project, session, change)


def removed(project: Project, session: Session) -> tuple[str, ...]:
    """The session is gone, and its children have no parent any more; returns their names."""
    names = []
    for child in children_of(project, session):
        with contextlib.suppress(ChatmlError, OSError):  # removed meanwhile, or a full disk: `ls` shows it alone anyway
            project.store.session(child.name).update(lambda now_: now_.with_family(parent=None))
            names.append(child.name)
    return tuple(names)


def keep_within(project: Project, store: SessionStore, session: Session) -> Session:
    """Give a session at rest, which an agent wakes, no more money than its parent has left by now.

    Its lock is held, and the parent's while it is looked and written: two that are woken at once share what is left.
    ChatmlError where that is none.
    """
    if session.status.open or session.family.parent_id is None or caller(project) is None:
        return session
    parent = _parent_of(project, session)
    if parent is None or parent.terms.max_budget_usd is None:
        return session
    with project.store.session(parent.name).lock():
        kept = _within(project, session, parent)
        store.write(kept)
    return kept


def _within(project: Project, session: Session, parent: Session) -> Session:
    """The session with what its parent has left for it. ChatmlError where that is nothing."""
    limit = round(session.spent_usd + _left(project, parent), 6)
    limit = min(limit, session.terms.max_budget_usd or limit)
    if limit <= session.spent_usd:
        raise _spent(parent)
    return session.with_terms(max_budget_usd=limit)


# --- the caps -------------------------------------------------------------------------------------------------------


def _foreign() -> ChatmlError:
    return ChatmlError("an agent whose own session is not in this repository can't start one here", NO_MORE)


def _made(project: Project, parent: Session) -> int:
    """How many sessions its agent has started."""
    return max(parent.family.children, sum(one.family.parent_id == parent.id for one in _everyone(project)))


def _check_after(project: Project, parent: Session, names: Sequence[str]) -> None:
    """UsageError for a child that would come after its parent, or after one from which that descends."""
    above: Session | None = parent
    passed: set[str] = set()
    while above is not None and above.name not in passed:
        passed.add(above.name)
        above = _parent_of(project, above)
    for name in names:
        if name in passed:
            whose = "its own agent starts it" if name == parent.name else f"the agent of '{parent.name}' starts it"
            raise UsageError(
                f"a session can't come after '{name}': {whose}, so the two would wait for each other",
                "leave it out of 'after': it can begin while you are at work",
            )


def _check(parent: Session, made: int, more: int = 1) -> None:
    """ChatmlError where so many more children are too many, or too deep."""
    if parent.terms.max_depth < 1:
        why = "an agent has started it itself" if parent.family.parent_id else "max_depth is 0"
        raise ChatmlError(f"the agent of '{parent.name}' may start no sessions: {why}", NO_MORE)
    most = parent.terms.max_children
    if most > made > most - more:
        raise ChatmlError(
            f"the agent of '{parent.name}' has started {counted(made, 'session')} and may start {most}: "
            f"here are {more} more",
            f"shorten the list to {most - made}, and do the rest yourself",
        )
    if made >= most:
        raise ChatmlError(f"the agent of '{parent.name}' has started {made} sessions; it may start {most}", NO_MORE)


def _bound(asked: Terms, parent: Terms) -> Terms:
    """What a child was asked to be, no freer than its parent. ChatmlError for an agent that nothing holds."""
    if asked.agent != parent.agent and not table.row_of(asked).traits.sandboxed:
        raise ChatmlError(
            f"an agent can't start the agent '{asked.agent}': chatml has no say in what that may do",
            f"take your own: --agent {parent.agent}",
        )
    same = asked.agent == parent.agent
    sandbox = _least(SANDBOXES, asked.sandbox, parent.sandbox)
    if asked.check not in (None, parent.check) and not parent.bypasses:
        sandbox = "required"  # a check runs unasked: outside of a sandbox it would be free to do anything
    mode = _least(MODES, asked.permission_mode, parent.permission_mode)
    return replace(
        asked,
        command=parent.command if same else asked.command,
        resume_command=parent.resume_command if same else asked.resume_command,
        permission_mode=mode,
        mode_after_plan=_least(MODES, asked.after_plan, parent.after_plan) if mode == "plan" else None,
        sandbox=sandbox,
        allow=tuple(rule for rule in asked.allow if rule in parent.allow),
        ask=tuple(dict.fromkeys((*asked.ask, *parent.ask))),
        deny=tuple(dict.fromkeys((*asked.deny, *parent.deny))),
        scope=parent.scope or asked.scope,
        tools=_common(asked.tools, parent.tools),
        notify=parent.notify,
        runner=parent.runner,
        max_depth=min(asked.max_depth, parent.max_depth - 1),
        max_children=min(asked.max_children, parent.max_children),
    )


def _least(words: Sequence[str], asked: str, most: str) -> str:
    return min(asked, most, key=words.index)


def _common(asked: tuple[str, ...] | None, most: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The tools of two lists, where None is all of them."""
    if asked is None or most is None:
        return most if asked is None else asked
    return tuple(tool for tool in asked if tool in most)


# --- the money ------------------------------------------------------------------------------------------------------


def _left(project: Project, parent: Session) -> float:
    """What a parent with a budget may still promise to children, in US dollars; not below 0."""
    assert parent.terms.max_budget_usd is not None
    return max(0.0, round(parent.terms.max_budget_usd - _used(project, parent), 6))


def _funded(terms: Terms, parent: Session, left: float) -> Terms:
    """The terms, with no more money than is left to the parent. ChatmlError where that is nothing."""
    if left <= 0:
        raise _spent(parent)
    return replace(terms, max_budget_usd=min(left, terms.max_budget_usd or left))


def _used(project: Project, session: Session) -> float:
    """What a session and all below it have cost, and what is promised to those of them that are at work."""
    everyone = _everyone(project)
    there = {one.id for one in everyone}

    def used(one: Session) -> float:
        below = (child for child in everyone if child.family.parent_id == one.id)
        gone = (child.usd for child in one.family.removed_children if child.id not in there)
        return one.spent_usd + sum(gone) + sum(map(promised, below))

    def promised(one: Session) -> float:
        return max(used(one), one.terms.max_budget_usd or 0.0 if one.status.open else 0.0)

    return used(session)


def _spent(parent: Session) -> ChatmlError:
    limit = parent.terms.max_budget_usd
    return ChatmlError(
        f"nothing is left of the ${limit:g} of '{parent.name}': it is spent, or promised to its children",
        "wait for those, and give each its own share: chatml new --max-budget-usd 1",
        kind=Kind.BUDGET,
    )


# --- who belongs to whom --------------------------------------------------------------------------------------------


def _everyone(project: Project) -> list[Session]:
    """The sessions that have a parent, as their records have them."""
    return [*project.store.having(b'"parent_id":"')]


def _parent_of(project: Project, child: Session) -> Session | None:
    """The parent's record; None without one, or where it is gone."""
    with contextlib.suppress(OSError, ChatmlError):
        name = name_of(project, child.family.parent_id) if child.family.parent_id is not None else None
        return project.store.session(name).read() if name is not None else None
    return None


def _change_parent(project: Project, child: Session, how: Callable[[Session], Session]) -> None:
    """Change the parent's record, where there is one."""
    parent = _parent_of(project, child)
    if parent is not None:
        with contextlib.suppress(OSError, ChatmlError):  # removed meanwhile, or a full disk
            project.store.session(parent.name).update(how)
