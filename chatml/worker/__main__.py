"""`python -m chatml.worker FOLDER LOCK_FD`: started by a runner, never by hand."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from chatml.errors import ChatmlError
from chatml.state.store import SessionStore
from chatml.worker.journal import fail, failure_of
from chatml.worker.life import Worker
from chatml.worker.places import let_next


def main(argv: list[str]) -> int:
    store = SessionStore(Path(argv[0]))
    store.worker_lock.adopt(int(argv[1]))
    try:
        asyncio.run(_run(store))
    except (OSError, ChatmlError) as error:
        fail(store, failure_of(error))
    finally:
        let_next(store)
    return 0


async def _run(store: SessionStore) -> None:
    await Worker(store).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
