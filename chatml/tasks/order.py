"""The order of tasks that come after each other."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter


def find_cycle(graph: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Names of which each comes after the next one, the last being the first again."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1][::-1]
        return found
    return None


def in_order(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """The names, each behind those that it comes after, and else in their order."""
    places = {name: place for place, name in enumerate(graph)}
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ready: list[tuple[int, str]] = []
    found = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, (places[name], name))
        name = heapq.heappop(ready)[1]
        sorter.done(name)
        found.append(name)
    return found
