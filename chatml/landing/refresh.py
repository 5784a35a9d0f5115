"""`python -m chatml.landing.refresh COMMON_DIR LOCK_FD`: asks the forge about all open pull requests of a repository.

Started by those who list sessions, never by hand. It ends with the lock that it was given, and what it finds is in
the file that all read.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.forge import forges
from chatml.forge.door import ForgeBusyError, PullRef
from chatml.model import PullRequest, Session
from chatml.state import pulls
from chatml.state.locks import WorkerLock
from chatml.state.store import Store


def main(argv: list[str]) -> int:
    store = Store(Path(argv[0]))
    lock = WorkerLock(store.pulls_lock)
    lock.adopt(int(argv[1]))
    try:
        with suppress(OSError):  # what can't be written down is asked again
            refresh(store)
    finally:
        lock.release()
    return 0


def refresh(store: Store) -> None:
    """Ask about all that are open, and write down what there is, or why there is nothing. OSError."""
    seen = pulls.read(store)
    asked: dict[tuple[str, str], dict[int, PullRef]] = defaultdict(dict)
    for session in store.having(b'"state":"open"'):
        if session.pr is not None and seen.latest(session.pr).open and (ref := PullRef.of(session.pr.url)) is not None:
            asked[ref.host, ref.repository][ref.number] = ref
    found: list[PullRequest] = []
    trouble: list[ChatmlError] = []
    resting = 0.0
    for refs in asked.values():
        try:
            of = forges.of(next(iter(refs.values())))
            some, until = of.states([*refs.values()], store.root, time.time())
            found += some
        except ChatmlError as error:
            trouble.append(error)
            until = error.until if isinstance(error, ForgeBusyError) else 0.0
        resting = max(resting, until)
    if trouble and not found:
        pulls.write(store, seen.failed(time.time(), str(trouble[0]), resting))
        return
    pulls.write(store, seen.answered(found, resting))
    settle(store, [pull for pull in found if not pull.open])


def settle(store: Store, ended: Iterable[PullRequest]) -> None:
    """Write down in the sessions' records what is merged or closed: nobody asks for that again."""
    known = {pull.url: pull for pull in ended}

    def told(session: Session) -> Session:
        pull = known.get(session.pr.url) if session.pr is not None else None
        newer = pull is not None and session.pr is not None and (pull.at or "") > (session.pr.at or "")
        return replace(session, pr=pull) if newer else session

    for session in store.having(*(f'"url":"{url}"'.encode() for url in known)) if known else ():
        with suppress(OSError, ChatmlError):  # removed meanwhile, or damaged
            store.session(session.name).update(told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
