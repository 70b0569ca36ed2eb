"""The full event stream is judged as its listings are, by `lifetimes` and by `judge`, on runs with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from stats.soak_runs import STACKS, Run, all_blocks, make_run
from streams import FREER, Row, stream

from heaptrail.analysis.lifetimes import judge_histories
from heaptrail.analysis.verdict import judge
from heaptrail.model.evidence import Evidence
from heaptrail.model.observations import Event
from heaptrail.model.stream import Kind, MarkKind
from heaptrail.model.verdict import JudgeSettings

SETTINGS = JudgeSettings(warmup_cycles=50)


def told_twice(run: Run) -> tuple[list[Row], tuple[Event, ...]]:
    """All allocations and frees of a run, as rows of a binary stream and as events of a log."""
    blocks = all_blocks(run)
    numbers = {int(site): number + 1 for number, site in enumerate(np.unique(blocks.site))}
    moments = [(float(moment), 0, index) for index, moment in enumerate(blocks.birth)]
    moments += [(float(moment), 1, index) for index, moment in enumerate(blocks.death) if moment < run.cycles]
    moments += [(cycle - 1e-6, 2, cycle) for cycle in range(1, run.cycles + 1)]
    rows: list[Row] = []
    events: list[Event] = []
    cycle = 0
    for _, what, index in sorted(moments):
        line, address = len(events) + 1, 0x1000 + 16 * index
        if what == 2:
            cycle = index
            rows.append(Row(Kind.MARK, size=index, task=MarkKind.CYCLE))
        elif what == 1:
            rows.append(Row(Kind.FREE_AT, address, 0, FREER, 1))
            events.append(Event(line=line, cycle=cycle, op="free", address=address))
        else:
            site, size = int(blocks.site[index]), int(blocks.size[index])
            rows.append(Row(Kind.ALLOC, address, size, numbers[site], 1))
            events.append(
                Event(line=line, cycle=cycle, op="alloc", address=address, size_bytes=size, frames=STACKS[site])
            )
    return rows, tuple(events)


@pytest.mark.parametrize(
    ("regime", "leaks"),
    [
        ("constant", True),
        ("accelerating", True),
        ("lost_sessions", True),
        ("late_onset", True),
        ("zipf_table", False),
        ("lru_cache", False),
        ("session_churn", False),
        ("batch_upload", False),
    ],
)
def test_the_stream_and_its_listings_give_one_verdict(regime: str, *, leaks: bool) -> None:
    rows, events = told_twice(make_run(regime, 1))
    by_lives = judge_histories(stream(rows), SETTINGS).verdict
    by_listings = judge(Evidence(events=events, cycles_from="marks"), SETTINGS)
    assert (by_lives.verdict == "leak") == (by_listings.verdict == "leak") == leaks
