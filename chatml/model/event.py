"""One entry of a session's log, as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatml.record import record


@record(frozen=True)
class Event:
    """One entry in a session's log."""

    seq: int
    time: str
    type: str
    data: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"seq": self.seq, "time": self.time, "type": self.type, **self.data}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Event:
        """The event of a line of a log; TypeError or ValueError where the line is damaged."""
        rest = {key: value for key, value in data.items() if key not in ("seq", "time", "type")}
        for key, kind in _EVENT_TYPES.items():
            if type(rest.get(key)) not in kind:
                raise TypeError(f"{key} is of the wrong type")
        if type(data["seq"]) is not int:
            raise TypeError("seq is no number")
        return cls(seq=data["seq"], time=str(data["time"]), type=str(data["type"]), data=rest)


_EVENT_TYPES: Mapping[str, set[type]] = {
    "text": {str, type(None)},
    "input": {dict, type(None)},
    "duration_ms": {int, float, type(None)},
    "cost_usd": {int, float, type(None)},
    "tokens": {dict, type(None)},
    "result": {str, type(None)},
}
"""What those who show events rely on."""
