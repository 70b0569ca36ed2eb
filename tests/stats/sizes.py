"""Evidence of any size, and how long a verdict on it takes."""

from __future__ import annotations

import time

from stats.soak_runs import RULE, stack

from heaptrail.analysis.verdict import judge
from heaptrail.model.evidence import Evidence, LiveDump
from heaptrail.model.observations import Block, Dump, HeapSample
from heaptrail.model.verdict import JudgeSettings


def big_run(cycles: int, samples_per_cycle: int, sites: int, dumps: int) -> Evidence:
    """Every site holds a few blocks in each dump and one in ten leaks one per dump."""
    stacks = [stack(site) for site in range(sites)]
    samples = tuple(
        HeapSample(line=i, cycle=i // samples_per_cycle, t_s=float(i), free_bytes=200_000 - i // 40 - 8 * (i % 7))
        for i in range(cycles * samples_per_cycle)
    )
    listings = tuple(
        LiveDump(
            dump=Dump(line=1, dump=number, cycle=(number + 1) * cycles // dumps),
            blocks=tuple(
                Block(
                    line=1,
                    dump=number,
                    address=0x2000_0000 + site * 0x10000 + slot * 64,
                    size_bytes=56,
                    size_kind="requested",
                    frames=stacks[site],
                )
                for site in range(sites)
                for slot in range(3 + (number if site % 10 == 0 else 0))
            ),
            armed_cycle=0,
            workload="running",
        )
        for number in range(dumps)
    )
    return Evidence(samples=samples, dumps=listings, cycles_from="marks", footprint=RULE)


def seconds(evidence: Evidence) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        judge(evidence, JudgeSettings(warmup_cycles=20))
        best = min(best, time.perf_counter() - start)
    return best
