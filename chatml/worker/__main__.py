"""`python -m chatml.worker FOLDER LOCK_FD`, or `… --many SOCKET_FD`: started by a runner, never by hand."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.runners.local import MANY
from chatml.state.store import SessionStore
from chatml.worker.journal import fail, failure_of
from chatml.worker.life import Worker
from chatml.worker.places import let_next, tell_stuck


def main(argv: list[str]) -> int:
    if argv[0] == MANY:
        from chatml.worker.nursery import serve  # here alone: most workers are started for themselves

        return serve(int(argv[1]), main)
    store = SessionStore(Path(argv[0]))
    store.worker_lock.adopt(int(argv[1]))
    try:
        asyncio.run(_run(store))
    except (OSError, ChatmlError) as error:
        fail(store, failure_of(error))
    finally:
        let_next(store)
        tell_stuck(store)
    from chatml.worker.foresight import refresh  # here alone: nothing that anybody waits for needs it

    refresh(store)
    return 0


async def _run(store: SessionStore) -> None:
    await Worker(store).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
