"""What other packages bring along: the rows that they add to our tables by entry points, and their code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from chatml.errors import UsageError


@cache
def plugged(group: str) -> Mapping[str, str]:
    """What the installed packages offer under this group of entry points: each as `module:name`, by its name."""
    from importlib.metadata import entry_points  # here alone: what is built in needs no look at all packages

    return {one.name: one.value for one in entry_points(group=group)}


def load(place: str) -> Any:
    """What stands at `module:name`. UsageError where a package's code can't be loaded: that is no bug of ours."""
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, SyntaxError) as error:
        if module.startswith("chatml."):
            raise
        raise UsageError(f"can't load {place}: {error}", "install the package that brings it anew") from error
