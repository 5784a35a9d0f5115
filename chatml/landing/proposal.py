"""In which order sessions are best landed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatml.model import Session

LARGE = 1 << 62
"""The size of a change of which nobody knows how large it is: those that are known come first."""


def proposed(
    sessions: Sequence[Session], conflicts: Mapping[str, int], sizes: Mapping[str, int | None]
) -> list[Session]:
    """The sessions in the order in which they are best landed: always the same for the same ones.

    Those with the fewest conflicts first, then those that change the least, then the oldest; but none before one that
    it comes after. `conflicts` and `sizes` (in lines) are by the sessions' names.
    """

    def rank(session: Session) -> tuple[int, int, str, str]:
        size = sizes.get(session.name)
        return (conflicts.get(session.name, 0), LARGE if size is None else size, session.created_at, session.name)

    ordered = sorted(sessions, key=rank)
    by_name = {session.name: session for session in ordered}
    done: dict[str, Session] = {}
    while len(done) < len(ordered):
        waiting = [session for session in ordered if session.name not in done]
        free = (one for one in waiting if all(name in done or name not in by_name for name in one.terms.after))
        following = next(free, waiting[0])  # a ring, which nobody can have made in order
        done[following.name] = following
    return list(done.values())
