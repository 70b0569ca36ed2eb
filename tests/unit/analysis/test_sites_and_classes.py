"""Blocks followed from dump to dump, and the class that each kind of site gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from heaptrail.analysis.cohorts import cohort_of, window_of
from heaptrail.analysis.sites import histories
from heaptrail.analysis.verdict import judge
from heaptrail.model.evidence import Evidence
from heaptrail.model.observations import RawFrame
from heaptrail.model.verdict import JudgeSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Runs

    from heaptrail.model.evidence import LiveDump
    from heaptrail.model.observations import Block
    from heaptrail.model.verdict import SiteVerdict

STACK = (RawFrame(0x1000, "call"), RawFrame(0x2000, "call"))
SETTINGS = JudgeSettings(warmup_cycles=10)
DUMPS_AT = tuple(range(10, 121, 10))


def site_of(runs: type[Runs], live_at: Callable[[int], list[Block]]) -> SiteVerdict:
    """The verdict on one site whose live blocks at each dump `live_at` tells."""
    dumps = tuple(runs.listing(number, cycle, live_at(cycle), 0) for number, cycle in enumerate(DUMPS_AT))
    samples = runs.readings([300_000] * 121)
    return judge(Evidence(samples=samples, dumps=dumps, footprint=runs.HEAP_4), SETTINGS).sites[0]


def test_what_never_stops_arriving_is_a_leak(runs: type[Runs]) -> None:
    dumps = tuple(
        runs.listing(number, cycle, [runs.block(STACK, born, number, 40) for born in range(0, cycle, 7)], 0)
        for number, cycle in enumerate(DUMPS_AT)
    )
    samples = runs.readings(300_000 - 48 * (cycle // 7) for cycle in range(121))
    verdict = judge(Evidence(samples=samples, dumps=dumps, footprint=runs.HEAP_4), SETTINGS)
    assert verdict.verdict == "leak"
    assert verdict.sites[0].site_class == "leak"
    assert verdict.sites[0].per_cycle_blocks == pytest.approx(1 / 7, rel=0.15)
    assert "still arriving" in verdict.sites[0].evidence[0]


def test_what_was_there_from_the_start_is_one_time(runs: type[Runs]) -> None:
    site = site_of(runs, lambda _: [runs.block(STACK, born, 0) for born in (1, 2, 3)])
    assert site.site_class == "one_time"
    assert "set up once" in site.evidence[0]


def test_one_block_added_later_is_one_event(runs: type[Runs]) -> None:
    site = site_of(runs, lambda cycle: [runs.block(STACK, born, 0) for born in (1, 47) if born <= cycle])
    assert site.site_class == "one_time"
    assert "one event is never a leak" in site.evidence[0]


def test_a_buffer_in_use_at_every_dump_is_in_flight(runs: type[Runs]) -> None:
    site = site_of(runs, lambda cycle: [runs.block(STACK, cycle, 0)])
    assert site.site_class == "in_flight"
    assert site.per_cycle_blocks is None


def test_a_cache_that_replaces_its_entries_is_bounded(runs: type[Runs]) -> None:
    site = site_of(runs, lambda cycle: [runs.block(STACK, born, 0) for born in range(max(0, cycle - 35), cycle)])
    assert site.site_class == "bounded"


def test_a_cache_that_is_full_is_bounded(runs: type[Runs]) -> None:
    site = site_of(runs, lambda cycle: [runs.block(STACK, born, 0) for born in range(min(cycle, 45))])
    assert site.site_class == "bounded"
    assert "over" in site.evidence[0]


def test_a_table_whose_keys_become_rarer_is_not_a_leak(runs: type[Runs]) -> None:
    births = [round(1.32**k) for k in range(18)]
    site = site_of(runs, lambda cycle: [runs.block(STACK, b, 0, 40 + 8 * k) for k, b in enumerate(births) if b < cycle])
    assert site.site_class in {"undecided", "bounded"}


def test_blocks_without_a_stack_are_told_apart_by_size(runs: type[Runs]) -> None:
    blocks = [runs.block((), 1, 0, 32), runs.block((), 2, 0, 64)]
    found = histories((runs.listing(0, 5, blocks, 0),), None)
    assert found is not None
    assert {site.key for site in found.sites} == {((), 32), ((), 64)}


def test_births_lie_between_the_dumps_that_show_them(runs: type[Runs]) -> None:
    first, second = runs.block(STACK, 3, 0), runs.block(STACK, 17, 1)
    found = histories((runs.listing(0, 10, [first]), runs.listing(1, 20, [first, second])), None)
    assert found is not None
    births = found.sites[0].spans[0].births
    assert births[0] == -np.inf  # before the first dump, and the arming is unknown
    assert 10 < births[1] <= 20
    assert not found.exact


def test_a_birth_stamp_is_taken_as_it_is(runs: type[Runs]) -> None:
    found = histories((runs.listing(0, 20, [runs.block(STACK, 3, 0, born_cycle=3)], 0),), None)
    assert found is not None
    assert found.exact
    assert found.sites[0].spans[0].births.tolist() == [3.0]


def test_sequence_numbers_date_blocks_between_two_dumps(runs: type[Runs]) -> None:
    early = [runs.block(STACK, 1, 0, sequence=100)]
    late = [*early, runs.block(STACK, 2, 1, sequence=125), runs.block(STACK, 3, 1, sequence=200)]
    found = histories((runs.listing(0, 10, early, 0), runs.listing(1, 20, late, 0)), None)
    assert found is not None
    assert found.sites[0].spans[0].births.tolist() == [10.0, 12.5, 20.0]


@pytest.mark.parametrize("numbered_after", [False, True])
def test_blocks_are_known_again_in_a_layout_without_sequence_numbers(runs: type[Runs], *, numbered_after: bool) -> None:
    """The agent's compact listing has them, the one that `memleak 0` prints has not."""

    def at(number: int, cycle: int, *, numbered: bool, workload: str = "running") -> LiveDump:
        stamps = [{"sequence": 100 * born} if numbered else {} for born in range(1, 5)]
        blocks = [runs.block(STACK, born, number, **stamps[born - 1]) for born in range(1, 5) if born <= cycle]
        return runs.listing(number, cycle, blocks, 0, workload)

    found = histories(
        (
            at(0, 2, numbered=True),
            at(1, 4, numbered=not numbered_after),
            at(2, 5, numbered=numbered_after, workload="stopped"),
        ),
        None,
    )

    assert found is not None
    span = found.sites[0].spans[0]
    assert (span.deaths, span.kept_at_stop, span.freed_at_stop) == (0, 4, 0)


def test_another_block_at_the_same_address_is_told_by_its_sequence_number(runs: type[Runs]) -> None:
    first, second = ([runs.block(STACK, 1, number, sequence=100 * number)] for number in (1, 2))
    found = histories((runs.listing(1, 10, first, 0), runs.listing(2, 20, second, 0)), None)
    assert found is not None
    assert found.sites[0].spans[0].deaths == 1


def test_absence_from_a_torn_dump_is_no_death(runs: type[Runs]) -> None:
    whole = runs.listing(0, 10, [runs.block(STACK, 1, 0), runs.block(STACK, 2, 0)], 0)
    torn = runs.listing(1, 20, [runs.block(STACK, 1, 1)], 0)
    torn = type(torn)(
        dump=type(torn.dump)(line=1, dump=1, cycle=20, complete=False),
        blocks=torn.blocks,
        armed_cycle=0,
        workload="running",
    )
    found = histories((whole, torn), None)
    assert found is not None
    assert found.sites[0].spans[0].deaths == 0


def test_arming_again_starts_a_new_record(runs: type[Runs]) -> None:
    """The tracer forgets what it knew: blocks missing afterwards have not been freed."""
    dumps = (
        runs.listing(0, 10, [runs.block(STACK, 1, 0)], 0),
        runs.listing(1, 20, [runs.block(STACK, 15, 1)], 12),
    )
    found = histories(dumps, None)
    assert found is not None
    assert len(found.spans) == 2
    assert sum(blocks.deaths for blocks in found.sites[0].spans.values()) == 0


def test_the_books_use_the_allocators_rule_and_say_so(runs: type[Runs]) -> None:
    hunt = runs.player()
    with_rule = judge(hunt, JudgeSettings(warmup_cycles=5)).books
    bare = judge(Evidence(samples=hunt.samples, dumps=hunt.dumps), JudgeSettings(warmup_cycles=5)).books
    assert with_rule is not None
    assert bare is not None
    assert with_rule.explained_bytes == with_rule.lost_bytes == 2 * 3848 * with_rule.window_cycles
    assert bare.explained_bytes == 2 * 3840 * bare.window_cycles
    assert "heap_4" in with_rule.basis
    assert "unknown" in bare.basis


def test_growing_sites_survive_a_reboot(runs: type[Runs]) -> None:
    """Each boot starts empty; what grows in both is judged over both."""
    dumps = []
    samples = []
    for boot in (1, 2):
        for number, cycle in enumerate(range(10, 61, 10)):
            blocks = [runs.block(STACK, born, number, 40, boot=boot) for born in range(cycle)]
            live = runs.listing(number, cycle, blocks, 0)
            dumps.append(
                type(live)(
                    dump=type(live.dump)(line=1, dump=number, cycle=cycle, boot=boot),
                    blocks=live.blocks,
                    armed_cycle=0,
                    workload="running",
                )
            )
        samples += [runs.reading(cycle, 300_000 - 48 * cycle, boot=boot) for cycle in range(61)]
    verdict = judge(Evidence(samples=tuple(samples), dumps=tuple(dumps), boots=2, footprint=runs.HEAP_4), SETTINGS)
    assert verdict.verdict == "leak"
    assert verdict.sites[0].per_cycle_blocks == pytest.approx(1.0)


def renewed(runs: type[Runs], boots: dict[int, tuple[int, ...]], again: int = 0, every: int = 0) -> Evidence:
    """Seventeen tasks that hold one buffer each and renew it each cycle, in one boot or more.

    At the last dump of each boot, `again` of them happen to lie where they lay at the dump before. One block of 40
    bytes in `every` cycles is never freed.
    """
    dumps, samples = [], []
    for boot, dumped_at in boots.items():
        for number, cycle in enumerate(dumped_at):
            last = number == len(dumped_at) - 1
            places = [dumped_at[number - 1] if last and n < again else cycle for n in range(17)]
            blocks = [runs.block(STACK, at * 40 + n, number, 40 + 8 * n, boot=boot) for n, at in enumerate(places)]
            blocks += [
                runs.block(STACK, 20_000 + n, number, 40, boot=boot) for n in range(cycle // every if every else 0)
            ]
            live = runs.listing(number, cycle, blocks, 0)
            head = type(live.dump)(line=1, dump=number, cycle=cycle, boot=boot)
            dumps.append(type(live)(dump=head, blocks=live.blocks, armed_cycle=0, workload="running"))
        frees = [300_000 - (48 * (cycle // every) if every else 0) for cycle in range(dumped_at[-1] + 1)]
        samples += [runs.reading(cycle, free, boot=boot) for cycle, free in enumerate(frees)]
    return Evidence(samples=tuple(samples), dumps=tuple(dumps), boots=len(boots), footprint=runs.HEAP_4)


@pytest.mark.parametrize("again", [0, 3, 5])
@pytest.mark.parametrize(
    "boots",
    [
        {1: (13, 21, 29, 38, 43, 52, 64, 79, 97), 2: (13, 42, 77, 122, 178)},  # began anew after 97 cycles
        {1: (13, 21, 29, 39, 44, 52, 64, 79, 97), 2: (15, 44, 79, 124, 180)},
        {1: (13, 60), 2: (13, 60), 3: (13, 60), 4: (13, 60)},
        {1: (10, 60, 300)},  # read ever less often, so that the renewed ones seem born all over the gap
        {1: (8, 12, 16, 60)},
        {1: (14, 21, 29, 117)},  # a busy host came late for the fourth
    ],
)
def test_buffers_that_are_renewed_do_not_grow_over_boots_or_gaps(
    runs: type[Runs], boots: dict[int, tuple[int, ...]], again: int
) -> None:
    verdict = judge(renewed(runs, boots, again), JudgeSettings(warmup_cycles=5))
    assert {site.site_class for site in verdict.sites} <= {"bounded", "in_flight"}
    assert verdict.verdict != "leak"


def test_a_leak_among_renewed_buffers_is_found(runs: type[Runs]) -> None:
    boots = {1: (13, 21, 29, 38, 43, 52, 64, 79, 97), 2: (10, 15, 20, 30, 42, 60, 77, 100, 122, 150, 178)}
    verdict = judge(renewed(runs, boots, every=2), JudgeSettings(warmup_cycles=5))
    assert verdict.verdict == "leak"
    assert verdict.sites[0].site_class == "leak"


def test_a_block_of_an_earlier_boot_grows_no_older_after_it(runs: type[Runs]) -> None:
    """The first boot's last buffers were seen for 18 cycles, whatever comes in the second boot."""
    boots = {1: (13, 21, 29, 38, 43, 52, 64, 79, 97), 2: (13, 42, 77, 122, 178)}
    found = histories(renewed(runs, boots).dumps, None)
    assert found is not None
    window = window_of(found, 5.0)
    cohort = cohort_of(found.sites[0], window, 0.01)
    assert cohort.oldest < 178 - 122
    assert cohort.watched < 97 + 178 - 2 * 40  # nor can the end of either boot show a loss


def test_a_site_whose_count_stays_is_level_although_its_blocks_are_new(runs: type[Runs]) -> None:
    """Renewed once each, at different times, a dozen buffers look as if they had arrived one by one and stayed."""

    def live_at(cycle: int) -> list[Block]:
        return [runs.block(STACK, 1_000 * n + min(cycle, 10 + 8 * n), 0, 40) for n in range(12)]

    site = site_of(runs, live_at)
    assert site.site_class == "bounded"
    assert "they replace others" in site.evidence[0]


def test_one_listing_with_an_order_of_births_and_nothing_else_is_undecided(runs: type[Runs]) -> None:
    """NuttX prints sequence numbers: two of them in a single listing do not show that a growth is over."""
    blocks = [runs.block(STACK, born, 1, sequence=262 + born) for born in range(2)]

    verdict = judge(Evidence(dumps=(runs.listing(1, None, blocks, workload=None),)), JudgeSettings())

    assert [site.site_class for site in verdict.sites] == ["undecided"]


def test_a_site_that_grew_between_two_dumps_without_cycles_is_undecided(runs: type[Runs]) -> None:
    """An ESP-IDF or NuttX log with two dumps: three blocks, then six. That is no single event, and no proof either."""
    dumps = tuple(
        runs.listing(number, None, [runs.block(STACK, born, number) for born in range(3 * number)], workload=None)
        for number in (1, 2)
    )

    (site,) = judge(Evidence(dumps=dumps), JudgeSettings()).sites

    assert site.site_class == "undecided"
    assert "third" in site.evidence[0]
