"""Sites judged from whole lives: streams made by hand, one event after the other."""

from __future__ import annotations

import dataclasses

import pytest
from streams import FREER, Row, alloc, cycle, freed, stream

from heaptrail.analysis.lifetimes import judge_histories
from heaptrail.model.stream import Events, Kind, MarkKind
from heaptrail.model.verdict import JudgeSettings

SETTINGS = JudgeSettings()


STOP = Row(Kind.MARK, task=MarkKind.WORKLOAD_STOP)


def leaking(cycles: int) -> list[Row]:
    return [row for n in range(cycles) for row in (alloc(0x100 * n, 1), alloc(0x9000, 2), freed(0x9000), cycle(n))]


def test_a_block_of_every_cycle_that_nobody_frees_is_a_leak() -> None:
    judged = judge_histories(stream([*leaking(20), STOP]), SETTINGS)

    (site,) = judged.verdict.sites
    assert (judged.verdict.verdict, site.site_class, judged.cycles) == ("leak", "leak", 20)
    assert site.per_cycle_blocks == pytest.approx(1, abs=0.06)
    assert site.tasks == ("Audio",)
    assert site.counts[-1] == (20, 20)
    assert judged.traffic[0].freers == ()


def test_the_one_who_frees_is_named_though_all_that_it_freed_was_born_after_the_stop() -> None:
    """A stop that comes between two rounds: the next round begins before the device obeys; the teardown frees it."""
    rows = [*leaking(20), STOP, alloc(0x8000, 1), freed(0x8000)]

    judged = judge_histories(stream(rows), SETTINGS)

    (freer,) = judged.traffic[0].freers
    assert (freer.frames[0].pc, freer.times, freer.while_running) == (0x1000 * FREER, 1, 0)


def test_what_only_the_teardown_frees_is_held_until_then_and_its_freer_is_named() -> None:
    rows = [*leaking(20), STOP, *(freed(0x100 * n) for n in range(20))]

    judged = judge_histories(stream(rows), SETTINGS)

    assert judged.verdict.sites[0].site_class == "held_until_teardown"
    (freer,) = judged.traffic[0].freers
    assert (freer.frames[0].pc, freer.times, freer.while_running) == (0x1000 * FREER, 20, 0)


def test_blocks_that_live_some_cycles_and_die_are_in_flight() -> None:
    rows: list[Row] = []
    for n in range(30):
        rows += [alloc(0x100 * n, 1), *([freed(0x100 * (n - 4))] if n >= 4 else []), cycle(n)]

    judged = judge_histories(stream([*rows, STOP]), SETTINGS)

    assert [site.site_class for site in judged.verdict.sites] == ["in_flight"]
    assert judged.verdict.verdict == "no_leak"


def test_a_cache_that_is_full_is_bounded() -> None:
    rows = [row for n in range(30) for row in (*([alloc(0x100 * n, 1)] if n < 12 else []), cycle(n))]

    judged = judge_histories(stream([*rows, STOP]), SETTINGS)

    assert [site.site_class for site in judged.verdict.sites] == ["bounded"]
    assert judged.verdict.verdict == "no_leak"
    assert judged.verdict.upper_bound is not None


def test_what_was_made_at_the_beginning_is_one_time() -> None:
    rows = [alloc(0x100, 1), alloc(0x200, 1), *(cycle(n) for n in range(12)), STOP]

    judged = judge_histories(stream(rows), SETTINGS)

    assert [site.site_class for site in judged.verdict.sites] == ["one_time"]


def test_frees_that_may_have_been_lost_accuse_nobody() -> None:
    judged = judge_histories(stream([*leaking(20), STOP], lost=25), SETTINGS)

    assert judged.verdict.verdict == "inconclusive"
    assert judged.verdict.sites[0].site_class == "undecided"


def test_an_address_that_comes_again_ends_the_life_that_was_there() -> None:
    rows = [row for n in range(20) for row in (alloc(0x100, 1), cycle(n))]

    judged = judge_histories(stream([*rows, STOP]), SETTINGS)

    assert [site.live_blocks for site in judged.verdict.sites] == [1]
    assert judged.verdict.verdict == "no_leak"


@pytest.mark.parametrize("rows", [[], [alloc(0x100, 1)], leaking(3)], ids=["nothing", "no cycle", "three cycles"])
def test_too_little_is_inconclusive(rows: list[Row]) -> None:
    assert judge_histories(stream(rows), SETTINGS).verdict.verdict == "inconclusive"


# --- runs without marked cycles: equal parts of the time take their place ---


def set_up(blocks: int) -> list[Row]:
    return [alloc(0x100_0000 + 0x100 * n, 3) for n in range(blocks)]


def wait(rows: int) -> list[Row]:
    """Time passes: the clock of these streams is their rows."""
    return [row for _ in range(rows // 2) for row in (alloc(0x9000, 2), freed(0x9000))]


def growing(blocks: int) -> list[Row]:
    return [row for n in range(blocks) for row in (alloc(0x100 * n, 1), *wait(20))]


def test_without_cycles_a_site_that_grows_over_the_whole_run_is_a_leak_and_its_set_up_is_not() -> None:
    judged = judge_histories(stream([*set_up(3), *growing(24)]), SETTINGS)

    assert [(site.site_class, site.live_blocks) for site in judged.verdict.sites] == [("leak", 24), ("one_time", 3)]
    assert (judged.verdict.verdict, judged.cycles) == ("leak", None)
    assert judged.verdict.rate_bytes_per_cycle is None
    assert "24 equal parts" in judged.verdict.reasons[0]


def test_without_cycles_what_stopped_growing_is_bounded() -> None:
    judged = judge_histories(stream([*growing(24), *wait(900)]), SETTINGS)

    (site,) = judged.verdict.sites
    assert (site.site_class, judged.verdict.verdict) == ("bounded", "inconclusive")


def test_without_cycles_growth_with_one_straggler_is_no_leak() -> None:
    judged = judge_histories(stream([*growing(24), *wait(900), alloc(0xF000, 1), *wait(200)]), SETTINGS)

    assert [site.site_class for site in judged.verdict.sites] == ["undecided"]


def test_without_cycles_innocence_is_never_claimed() -> None:
    judged = judge_histories(stream([*set_up(3), *wait(600)]), SETTINGS)

    assert judged.verdict.verdict == "inconclusive"
    assert "without marked cycles no bound" in judged.verdict.reasons[0]


def test_without_cycles_lost_events_protect_from_an_accusation() -> None:
    judged = judge_histories(stream(growing(24), lost=100), SETTINGS)

    assert [site.site_class for site in judged.verdict.sites] == ["undecided"]


def test_a_clock_that_stands_still_leaves_a_run_undecided() -> None:
    rows = stream(growing(24))
    still = Events(
        **{name: getattr(rows.events, name) for name in rows.events.__slots__} | {"time": 0 * rows.events.time}
    )

    judged = judge_histories(dataclasses.replace(rows, events=still), SETTINGS)

    assert [site.site_class for site in judged.verdict.sites] == ["undecided"]
