"""What `judge` says of runs whose truth is known, and in which words."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
import pytest
from stats.soak_runs import make_run, observe

from heaptrail.analysis.verdict import judge
from heaptrail.model.evidence import Evidence
from heaptrail.model.observations import HeapSample, Problem
from heaptrail.model.verdict import JudgeSettings

if TYPE_CHECKING:
    from conftest import Runs

SETTINGS = JudgeSettings(warmup_cycles=5)


def test_the_case_itself_is_inconclusive_and_names_the_fall(runs: type[Runs]) -> None:
    """Two readings of unknown distance and one dump with two records of two stacks: nothing repeats."""
    evidence = Evidence(
        samples=(runs.reading(None, 547_632), runs.reading(None, 456_992)),
        dumps=(runs.listing(1, None, [runs.block(runs.SOFTVOL, 1, 1), runs.block(runs.RESAMPLE, 2, 1)], None, None),),
        footprint=runs.HEAP_4,
    )
    verdict = judge(evidence, JudgeSettings())
    assert verdict.verdict == "inconclusive"
    assert "fell by 90,640 B" in verdict.reasons[0]
    assert any("--cycle-mark" in reason for reason in verdict.reasons)
    assert any("1 dump of live blocks" in reason for reason in verdict.reasons)
    assert [site.site_class for site in verdict.sites] == ["undecided", "undecided"]
    assert any("one event is never a leak" in line for site in verdict.sites for line in site.evidence)


def test_the_players_hunt_is_a_leak_of_one_block_per_cycle_at_two_sites(runs: type[Runs]) -> None:
    verdict = judge(runs.player(), SETTINGS)
    assert verdict.verdict == "leak"
    leaks = [site for site in verdict.sites if site.site_class == "leak"]
    assert {site.frames for site in leaks} == {runs.SOFTVOL, runs.RESAMPLE}
    for site in leaks:
        assert site.per_cycle_blocks == 1.0
        assert site.per_cycle_footprint_bytes == 3848.0
        assert site.live_blocks == 15
        assert site.freed_at_teardown == 1
        assert any("14 of 15 blocks were still there after the workload had stopped" in line for line in site.evidence)
    assert verdict.books is not None
    assert verdict.books.share_explained == pytest.approx(1.0)
    rate = verdict.rate_bytes_per_cycle
    assert rate is not None
    assert rate.low is not None
    assert rate.high is not None
    assert rate.low <= 7696 <= rate.high
    assert verdict.rate_bytes_per_hour is not None
    assert verdict.rate_bytes_per_hour.estimate == pytest.approx(7696 * 120)  # a round every 30 s


def test_one_dump_after_the_stop_is_enough_when_the_heap_fell_as_much(runs: type[Runs]) -> None:
    verdict = judge(runs.player(dumps_at=()), SETTINGS)
    assert verdict.verdict == "leak"
    assert {site.per_cycle_blocks for site in verdict.sites} == {1.0}
    assert verdict.books is not None
    assert verdict.books.share_explained == pytest.approx(1.0)


def test_one_dump_without_a_falling_heap_accuses_nobody(runs: type[Runs]) -> None:
    hunt = runs.player(dumps_at=())
    verdict = judge(Evidence(dumps=hunt.dumps, footprint=hunt.footprint), SETTINGS)
    assert verdict.verdict == "inconclusive"
    assert {site.site_class for site in verdict.sites} == {"undecided"}


def test_the_mended_player_is_no_leak(runs: type[Runs]) -> None:
    verdict = judge(runs.player(leaks=False), SETTINGS)
    assert verdict.verdict == "no_leak"
    assert {site.site_class for site in verdict.sites} == {"in_flight"}
    assert verdict.upper_bound is not None
    assert "99 % confidence" in verdict.reasons[0]
    assert "single loss is at most 256 B" in verdict.reasons[0]


def test_no_leak_needs_cycles_enough_for_the_tolerance(runs: type[Runs]) -> None:
    strict = JudgeSettings(warmup_cycles=5, tolerate_bytes_per_cycle=10.0)
    verdict = judge(runs.player(leaks=False), strict)
    assert verdict.verdict == "inconclusive"
    assert any("more cycles would settle it" in reason for reason in verdict.reasons)


def test_what_teardown_frees_is_held_and_still_exhausts_the_heap(runs: type[Runs]) -> None:
    verdict = judge(runs.player(kept_at_stop=False), SETTINGS)
    assert verdict.verdict == "leak"
    assert {site.site_class for site in verdict.sites} == {"held_until_teardown"}
    assert all(site.freed_at_teardown == 15 for site in verdict.sites)
    assert any("freed at the workload's teardown" in reason for reason in verdict.reasons)


def test_growth_within_the_declared_warmup_is_no_leak_yet(runs: type[Runs]) -> None:
    verdict = judge(runs.player(), JudgeSettings(warmup_cycles=50))
    assert verdict.verdict == "inconclusive"


def test_growth_counts_only_once_the_run_has_lasted_twice_its_warmup(runs: type[Runs]) -> None:
    frees = [400_000 - 100 * cycle for cycle in range(81)]
    early = judge(Evidence(samples=runs.readings(frees)), JudgeSettings(warmup_cycles=50))
    assert early.verdict == "inconclusive"
    assert any("about 20 more cycles" in reason for reason in early.reasons)
    late = judge(
        Evidence(samples=runs.readings(400_000 - 100 * c for c in range(121))), JudgeSettings(warmup_cycles=50)
    )
    assert late.verdict == "leak"


def test_a_curve_alone_says_leak_and_that_the_site_is_unknown(runs: type[Runs]) -> None:
    verdict = judge(Evidence(samples=runs.readings(400_000 - 100 * cycle for cycle in range(60))), JudgeSettings())
    assert verdict.verdict == "leak"
    assert any("the site is unknown" in reason for reason in verdict.reasons)
    assert verdict.rate_bytes_per_cycle is not None
    assert verdict.rate_bytes_per_cycle.estimate == pytest.approx(100)
    assert verdict.rate_bytes_per_hour is None  # the log had no times


def test_too_short_a_curve_says_how_many_cycles_are_missing(runs: type[Runs]) -> None:
    verdict = judge(Evidence(samples=runs.readings(400_000 - 100 * cycle for cycle in range(15))), JudgeSettings())
    assert verdict.verdict == "inconclusive"
    assert any("more cycles" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda _: 400_000, id="flat"),
        pytest.param(lambda c: 400_000 - 20_000 * (c >= 90), id="one-off step"),
        pytest.param(lambda c: 400_000 - 300 * min(c, 70), id="cache that is full at cycle 70"),
        pytest.param(lambda c: 400_000 - 500 * (c % 12), id="garbage collector's sawtooth"),
    ],
)
def test_innocent_curves_are_not_called_a_leak(runs: type[Runs], shape: object) -> None:
    noise = random.Random(5)
    frees = [shape(cycle) - 8 * noise.randrange(20) for cycle in range(200)]  # type: ignore[operator]
    assert judge(Evidence(samples=runs.readings(frees)), JudgeSettings()).verdict != "leak"


def test_time_takes_the_place_of_cycles() -> None:
    samples = tuple(
        HeapSample(line=i, t_s=10.0 * i, free_bytes=500_000 - 10 * i - 400 * (i % 3 == 0)) for i in range(1000)
    )
    verdict = judge(Evidence(samples=samples), JudgeSettings())
    assert verdict.verdict == "leak"
    assert verdict.rate_bytes_per_cycle is None
    assert verdict.rate_bytes_per_hour is not None
    assert verdict.rate_bytes_per_hour.estimate == pytest.approx(3600, rel=0.02)


def night(hours: int, per_hour: float = 0.0) -> Evidence:
    """A reading a minute, no cycle marks, some noise."""
    return Evidence(
        samples=tuple(
            HeapSample(line=1, t_s=60.0 * k, free_bytes=round(400_000 - per_hour * k / 60 - 40 * (k * 7 % 5)))
            for k in range(60 * hours)
        )
    )


def test_without_cycles_a_run_of_minutes_is_not_called_one_of_0_hours() -> None:
    minute = Evidence(
        samples=tuple(HeapSample(line=1, t_s=float(k), free_bytes=60_000 - 96 * k) for k in range(40)),
    )
    assert " over 35 seconds after the warm-up" in judge(minute, JudgeSettings()).reasons[0]


def test_without_cycles_a_long_night_is_proven_to_lose_less_per_hour() -> None:
    verdict = judge(night(24), JudgeSettings())
    assert verdict.verdict == "no_leak"
    bound = verdict.upper_bound
    assert bound is not None
    assert bound.bytes_per_cycle is None
    # the rule of three, over seven eighths of 22 hours after the first readings: ln(2 x 156 / 0.01) x 256 / 19.3
    assert 100 < (bound.bytes_per_hour or 0) < 200
    assert "bytes per hour with 99 % confidence" in verdict.reasons[0]
    assert " hours of this workload; tolerated are 556" in verdict.reasons[0], "400,000 B over 30 days"


def test_without_cycles_a_short_run_says_how_many_more_hours_would_do() -> None:
    verdict = judge(night(2), JudgeSettings(tolerate_bytes_per_hour=100))
    assert verdict.verdict == "inconclusive"
    (reason,) = [reason for reason in verdict.reasons if "Too few hours" in reason]
    hours = int(reason.split("about ")[1].split()[0])
    later = judge(night(2 + hours + 3), JudgeSettings(tolerate_bytes_per_hour=100))
    assert later.verdict == "no_leak"


def test_without_cycles_a_loss_below_what_is_tolerated_an_hour_is_none() -> None:
    assert judge(night(24, per_hour=300), JudgeSettings()).verdict == "leak"
    assert judge(night(24, per_hour=300), JudgeSettings(tolerate_bytes_per_hour=900)).verdict == "no_leak"


def test_a_warmup_in_cycles_without_cycles_is_said_to_be_left_out() -> None:
    samples = tuple(HeapSample(line=i, t_s=10.0 * i, free_bytes=500_000 - 10 * i) for i in range(1000))
    verdict = judge(Evidence(samples=samples), JudgeSettings(warmup_cycles=20))
    assert any("warm-up of 20 cycles could not be applied" in reason for reason in verdict.reasons)


def test_boots_are_not_joined(runs: type[Runs]) -> None:
    """Each boot starts lower than the last and is itself flat: no line may be drawn across."""
    samples = tuple(
        runs.reading(cycle, 500_000 - 10_000 * boot - 8 * (cycle % 2), boot=boot)
        for boot in (1, 2, 3)
        for cycle in range(40)
    )
    verdict = judge(Evidence(samples=samples, boots=3), JudgeSettings())
    assert verdict.verdict != "leak"
    assert [fit.boot for fit in verdict.fits] == [1, 2, 3]


def test_readings_with_the_tracer_on_are_not_compared_with_those_without(runs: type[Runs]) -> None:
    """Arming costs 60 KB of the same heap; that is no loss."""
    samples = runs.readings([500_000] * 30, tracer="off")
    samples += tuple(runs.reading(cycle, 440_000, tracer="on") for cycle in range(30, 60))
    verdict = judge(Evidence(samples=samples), JudgeSettings())
    assert verdict.verdict == "no_leak"
    assert any("tracer on were left out" in reason for reason in verdict.reasons)


def test_readings_with_the_tracer_on_serve_when_there_are_no_others(runs: type[Runs]) -> None:
    samples = runs.readings([400_000 - 100 * cycle for cycle in range(60)], tracer="on")
    verdict = judge(Evidence(samples=samples), JudgeSettings())
    assert verdict.verdict == "leak"
    assert any("tracer on" in reason for reason in verdict.reasons)


def test_the_worst_heap_decides_and_is_named(runs: type[Runs]) -> None:
    samples = runs.readings([90_000] * 60, heap="sram") + runs.readings(
        [400_000 - 100 * cycle for cycle in range(60)], heap="psram"
    )
    verdict = judge(Evidence(samples=samples), JudgeSettings())
    assert verdict.verdict == "leak"
    assert verdict.reasons[0].startswith("Heap psram")
    assert {fit.heap for fit in verdict.fits} == {"sram", "psram"}


def test_a_shrinking_largest_block_is_fragmentation_and_no_leak(runs: type[Runs]) -> None:
    samples = tuple(
        runs.reading(cycle, 300_000 - 8 * (cycle % 3), largest_free_bytes=200_000 - 900 * cycle) for cycle in range(100)
    )
    verdict = judge(Evidence(samples=samples), JudgeSettings())
    assert verdict.verdict != "leak"
    assert any("fragments" in reason and "no leak" in reason for reason in verdict.reasons)


def test_the_first_request_that_fails_is_foretold_from_the_largest_block(runs: type[Runs]) -> None:
    samples = tuple(
        runs.reading(cycle, 300_000 - 8 * (cycle % 3), largest_free_bytes=200_000 - 900 * cycle) for cycle in range(100)
    )
    verdict = judge(Evidence(samples=samples), JudgeSettings(largest_request_bytes=64_000))
    (sentence,) = [reason for reason in verdict.reasons if "first fails" in reason]
    # 200,000 - 99 x 900 are left; 46,900 of them may go, at 900 a cycle
    assert sentence.startswith("A request of 64,000 B first fails in about 52 cycles: ")
    assert "the largest free block is 110,900 B and shrinks by 900 B per cycle" in sentence
    gone = judge(Evidence(samples=samples), JudgeSettings(largest_request_bytes=120_000))
    assert "A request of 120,000 B fails already: the largest free block is 110,900 B." in gone.reasons


def test_without_a_setting_the_largest_live_block_is_the_request(runs: type[Runs]) -> None:
    hunt = runs.player()
    samples = tuple(
        msgspec.structs.replace(sample, largest_free_bytes=(sample.free_bytes or 0) // 2) for sample in hunt.samples
    )
    verdict = judge(msgspec.structs.replace(hunt, samples=samples), SETTINGS)
    assert any(reason.startswith("A request of 3,840 B (the largest that is live) first") for reason in verdict.reasons)


def test_a_largest_block_that_keeps_its_size_foretells_nothing(runs: type[Runs]) -> None:
    samples = tuple(runs.reading(cycle, 300_000, largest_free_bytes=200_000 - 64 * (cycle % 5)) for cycle in range(100))
    verdict = judge(Evidence(samples=samples), JudgeSettings(largest_request_bytes=64_000))
    assert not any("fails" in reason for reason in verdict.reasons)


def test_one_event_is_said_to_be_one() -> None:
    seen = observe(make_run("single_event", 3)).until(240)
    verdict = judge(seen, JudgeSettings(warmup_cycles=50))
    assert any(
        reason.startswith("One event, 1,500 B live: 1 block added in one single cycle") for reason in verdict.reasons
    )


def test_a_site_that_grew_within_the_warmup_is_not_said_to_be_bounded() -> None:
    seen = observe(make_run("constant", 3)).until(30)
    verdict = judge(seen, JudgeSettings(warmup_cycles=50))
    grown = max(verdict.sites, key=lambda site: site.live_blocks)
    assert grown.site_class == "undecided"
    assert grown.evidence == ("From 9 to 29 blocks within the warm-up, which proves nothing yet.",)


def test_growth_of_sites_not_yet_judged_is_not_unattributed() -> None:
    seen = observe(make_run("endless_table", 3)).until(80)
    verdict = judge(seen, JudgeSettings(warmup_cycles=50))
    assert any("sites that cannot be judged yet grow" in reason for reason in verdict.reasons)
    assert not any("no traced site grows" in reason for reason in verdict.reasons)


def test_listings_alone_say_what_they_prove_where_nothing_is_tolerated_by_name() -> None:
    seen = observe(make_run("flat", 3)).until(240, samples=False)
    verdict = judge(seen, JudgeSettings(warmup_cycles=50))
    assert any("set tolerate_bytes_per_cycle to say whether" in reason for reason in verdict.reasons)


def test_a_falling_min_free_is_not_a_trend(runs: type[Runs]) -> None:
    samples = tuple(runs.reading(cycle, 300_000, min_free_bytes=290_000 - 100 * cycle) for cycle in range(100))
    assert judge(Evidence(samples=samples), JudgeSettings()).verdict == "no_leak"


def test_a_loss_that_no_traced_site_explains_is_unattributed(runs: type[Runs]) -> None:
    hunt = runs.player(leaks=False, measured=40, traced=60, dumps_at=(60, 80, 100))
    samples = runs.readings([400_000 - 100 * cycle for cycle in range(106)])
    verdict = judge(Evidence(samples=samples, dumps=hunt.dumps, footprint=hunt.footprint), SETTINGS)
    assert verdict.verdict == "inconclusive"
    assert any("Unattributed growth" in reason for reason in verdict.reasons)
    assert not any("run out" in reason for reason in verdict.reasons)


def test_where_allocations_failed_a_site_that_stopped_growing_proves_nothing(runs: type[Runs]) -> None:
    """A player with little memory: it had run out before the tracer was armed."""
    hunt = runs.player(leaks=False, measured=40, traced=60, dumps_at=(60, 80, 100))
    samples = runs.readings([400_000 - 100 * cycle for cycle in range(106)])
    failed = Problem(line=1, what="alloc_failed", text="7 allocations failed")
    verdict = judge(Evidence(samples=samples, dumps=hunt.dumps, footprint=hunt.footprint, problems=(failed,)), SETTINGS)
    assert verdict.verdict == "inconclusive"
    assert "Give the device more memory" in verdict.reasons[-1]


def test_a_heap_that_is_used_up_and_no_longer_falls_is_not_cleared(runs: type[Runs]) -> None:
    samples = runs.readings([4_000] * 400)
    settings = msgspec.structs.replace(SETTINGS, tolerate_bytes_per_cycle=40.0)
    failed = Problem(line=1, what="alloc_failed", text="an allocation failed", cycle=200)
    early = Problem(line=1, what="alloc_failed", text="an optional buffer was not to be had", cycle=0)

    assert judge(Evidence(samples=samples), settings).verdict == "no_leak"
    assert judge(Evidence(samples=samples, problems=(early,)), settings).verdict == "no_leak"
    starved = judge(Evidence(samples=samples, problems=(failed,)), settings)
    assert starved.verdict == "inconclusive"
    assert starved.upper_bound is None
    assert starved.reasons[0].startswith("Allocations failed meanwhile")


def test_a_filtered_tracer_does_not_clear_what_it_could_not_see(runs: type[Runs]) -> None:
    hunt = runs.player(leaks=False, measured=40, traced=60, dumps_at=(60, 80, 100))
    samples = runs.readings([400_000 - 100 * cycle for cycle in range(106)])
    filtered = Problem(line=1, what="filter_active", text="only AudioRender is traced")
    verdict = judge(Evidence(samples=samples, dumps=hunt.dumps, problems=(filtered,)), SETTINGS)
    assert verdict.verdict == "leak"


def test_a_loss_below_the_users_own_tolerance_is_no_leak(runs: type[Runs]) -> None:
    samples = runs.readings(400_000 - 2 * cycle for cycle in range(1200))
    tolerant = JudgeSettings(tolerate_bytes_per_cycle=50.0)
    verdict = judge(Evidence(samples=samples), tolerant)
    assert verdict.verdict == "no_leak"
    assert "below the tolerated" in verdict.reasons[0]
    assert judge(Evidence(samples=samples), JudgeSettings()).verdict == "leak"


def test_nothing_to_judge_is_said() -> None:
    verdict = judge(Evidence(), JudgeSettings())
    assert verdict.verdict == "inconclusive"
    assert "nothing to judge" in verdict.reasons[0]
