"""The benchmark's cheapest figures, measured once: that it runs and says what it found, never how fast."""

from __future__ import annotations

import pytest

from tests.bench import figures, stages

CHEAP = ("ls-many", "send")


@pytest.mark.long
def test_the_cheapest_figures_come_out() -> None:
    samples = stages.measure(CHEAP, 1)

    about = {"system": "any", "cores": 2, "memory_gb": 1.0, "load": [0.0], "python": "3", "git": "2", "cli": "2"}
    rows = {row["name"]: row for row in figures.as_json(CHEAP, samples, about)["figures"]}
    assert tuple(rows) == tuple(name for name in figures.NAMES if name in CHEAP)
    assert rows["ls-many"]["ratio"] > 0
    assert rows["send"]["chatml"] > 0
    assert rows["send"]["ratio"] is None
    assert len(rows["ls-many"]["samples"]["chatml"]) == len(rows["ls-many"]["samples"]["other"]) >= 1

    text = figures.as_text(CHEAP, samples, about)
    assert "`ls --json`, 1,000 sessions at rest / 10 sessions" in text
    assert "`send` to a running agent, until the CLI has it" in text
