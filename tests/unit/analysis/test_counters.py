"""Counters of call stacks, as `memleak sites` prints them, judged without a single listed block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.analysis.counters import counted_histories
from heaptrail.analysis.verdict import judge
from heaptrail.model.evidence import Evidence, FootprintRule
from heaptrail.model.observations import Mark, Problem, RawFrame, SiteCount
from heaptrail.model.verdict import JudgeSettings, Verdict

if TYPE_CHECKING:
    from conftest import Runs

LEAKS, CHURNS = (RawFrame(0x8001, "call"),), (RawFrame(0x8002, "call"),)
RULE = FootprintRule(header_bytes=8, align_bytes=8, basis="8-byte header")


def count(
    site: int, at: int, live: int, freed: int, frames: tuple[RawFrame, ...], *, boot: int = 1, line: int = 1
) -> SiteCount:
    return SiteCount(
        line=line,
        boot=boot,
        cycle=at,
        site=site,
        live_blocks=live,
        live_bytes=56 * live,
        allocations=live + freed,
        frees=freed,
        failed=0,
        unrecorded=0,
        last_sequence=4 * at,
        oldest_death_allocations=2 if freed else None,
        frames=frames,
    )


def printed(*moments: int, boot: int = 1) -> tuple[SiteCount, ...]:
    """One block in two cycles leaks at one stack; the other holds three blocks that it replaces."""
    return tuple(
        each
        for at in moments
        for each in (
            count(1, at, at // 2, 0, LEAKS, boot=boot),
            count(2, at, 3, 3 * at, CHURNS, boot=boot),
        )
    )


def judged(sites: tuple[SiteCount, ...], **more: object) -> Verdict:
    return judge(Evidence(sites=sites, cycles_from="marks", footprint=RULE, **more), JudgeSettings())  # type: ignore[arg-type]


def test_a_stack_whose_count_keeps_rising_leaks_and_one_that_replaces_its_blocks_does_not() -> None:
    verdict = judged(printed(*range(10, 101, 10)))
    assert verdict.verdict == "leak"
    leak, churn = verdict.sites
    assert (leak.frames, leak.site_class, leak.live_blocks, leak.live_bytes) == (LEAKS, "leak", 50, 2800)
    assert (churn.frames, churn.site_class) == (CHURNS, "bounded")
    assert leak.per_cycle_blocks == 0.5
    assert leak.evidence[-1] == "Its stack allocated 50 and freed 0."
    rate = verdict.rate_bytes_per_cycle
    assert rate is not None
    assert (rate.low or 0) <= 32 <= (rate.high or 0)


def test_two_listings_are_not_enough() -> None:
    assert judged(printed(10, 20)).verdict == "inconclusive"


def test_a_count_that_falls_back_has_lost_nothing() -> None:
    wave = [
        count(1, at, live, 10 * at, LEAKS)
        for at, live in zip(range(10, 131, 10), [5, 9, 14, 20, 26, 30] * 2 + [5], strict=True)
    ]
    assert judged(tuple(wave)).verdict != "leak"


def test_a_listing_with_no_room_for_all_blocks_is_no_obstacle() -> None:
    full = Problem(line=1, what="overflow", text="40 blocks are counted, not listed")
    assert judged(printed(*range(10, 101, 10)), problems=(full,)).verdict == "leak"


def test_a_tracer_switched_on_anew_starts_a_new_record() -> None:
    found = counted_histories((*printed(10, 20, 30), *printed(5, 15)), (), RULE)
    assert found is not None
    assert [span.running for span in found.spans] == [(10, 20, 30), (5, 15)]


def test_a_reset_starts_a_new_record() -> None:
    found = counted_histories((*printed(10, 20), *printed(30, 40, boot=2)), (), RULE)
    assert found is not None
    assert [span.boot for span in found.spans] == [1, 2]


def test_counters_after_the_stop_are_left_out() -> None:
    stop = Mark(line=50, what="step", label="workload stop")
    after = (count(1, 40, 0, 20, LEAKS, line=60),)
    found = counted_histories((*printed(10, 20, 30), *after), (stop,), RULE)
    assert found is not None
    assert found.spans[0].running == (10, 20, 30)


def test_counters_add_the_stacks_that_no_listing_shows(runs: type[Runs]) -> None:
    run = runs.player()
    cycles = [live.dump.cycle or 0 for live in run.dumps]
    beside = judge(
        Evidence(
            samples=run.samples, dumps=run.dumps, sites=printed(*cycles), cycles_from="marks", footprint=run.footprint
        ),
        JudgeSettings(warmup_cycles=5),
    )
    assert {site.frames for site in beside.sites} >= {LEAKS, CHURNS}
    alone = judge(run, JudgeSettings(warmup_cycles=5))
    assert [site for site in beside.sites if site.addresses] == list(alone.sites)
