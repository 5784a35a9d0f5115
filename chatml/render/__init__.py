"""Sessions and events as text for people: rows of `ls`, the transcript of `attach` and `logs`, the page of `show`."""

from chatml.render.costs import cost_table
from chatml.render.requests import page
from chatml.render.rows import activity, age, by_need, changes, session_table
from chatml.render.transcript import Transcript

__all__ = ["Transcript", "activity", "age", "by_need", "changes", "cost_table", "page", "session_table"]
