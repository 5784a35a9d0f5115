"""Whether a check runs in a sandbox: it runs what an agent has written, so it is as free as that agent's commands."""

from __future__ import annotations

from chatml import containment
from chatml.agents import table
from chatml.errors import ChatmlError, Kind
from chatml.model import Terms


def confined(terms: Terms) -> bool:
    """Whether a check of a session with these terms is to be in a sandbox.

    ChatmlError where it must be, and can't.
    """
    if not table.row_of(terms).traits.sandboxed or not containment.wanted(terms):
        return False
    lack = containment.lack()
    if lack is not None and terms.sandbox == "required":
        raise ChatmlError(f"the check can't run: no sandbox here: {lack.reason}", lack.remedy, Kind.CHECK)
    return lack is None
