"""Does this site have a bound? Once the user has said so, a cache that still fills is bounded, and over it is said."""

from __future__ import annotations

import msgspec
import pytest

from heaptrail.diagnose import diagnose
from heaptrail.model.evidence import Evidence, FootprintRule, LiveDump
from heaptrail.model.observations import Block, Dump, HeapSample, RawFrame
from heaptrail.model.report import Frame, Report
from heaptrail.model.verdict import Capacity, JudgeSettings
from heaptrail.symbols import FakeSymbolizer

MALLOC, INSERT, TASK = 0x8000, 0x8100, 0x8200
NAMES = {
    MALLOC: (Frame(pc=MALLOC, kind="call", function="pvPortMalloc", wrapper=True),),
    INSERT: (Frame(pc=INSERT, kind="call", function="dns_cache_insert", file="/src/net/dns.c", line=81),),
    TASK: (Frame(pc=TASK, kind="call", function="net_task", file="/src/net/task.c", line=12),),
}
STACK = tuple(RawFrame(pc, "call") for pc in (MALLOC, INSERT, TASK))


def cache_run(entries: int) -> Evidence:
    """A cache of 56-byte entries (64 on the heap) gets one every other cycle until it holds so many; 120 cycles."""
    held = [min(cycle // 2, entries) for cycle in range(121)]
    dumps = tuple(
        LiveDump(
            dump=Dump(line=1, dump=number, cycle=cycle),
            blocks=tuple(
                Block(
                    line=1,
                    dump=number,
                    address=0x2000_0000 + 64 * k,
                    size_bytes=56,
                    size_kind="requested",
                    frames=STACK,
                )
                for k in range(held[cycle])
            ),
            armed_cycle=0,
            workload="running",
        )
        for number, cycle in enumerate(range(10, 121, 10))
    )
    samples = tuple(
        HeapSample(line=1, cycle=cycle, t_s=60.0 * cycle, free_bytes=200_000 - 64 * count)
        for cycle, count in enumerate(held)
    )
    rule = FootprintRule(header_bytes=8, align_bytes=8, basis="8-byte header")
    return Evidence(samples=samples, dumps=dumps, cycles_from="marks", footprint=rule)


def report(entries: int, *capacity: Capacity, tolerate: float | None = None) -> Report:
    settings = JudgeSettings(warmup_cycles=10, capacity=capacity, tolerate_bytes_per_cycle=tolerate)
    return diagnose(cache_run(entries), FakeSymbolizer(NAMES), settings, versions={})


def test_without_an_answer_a_cache_that_still_fills_is_a_leak() -> None:
    assert report(1000).verdict == "leak"


@pytest.mark.parametrize("pattern", ["dns_cache_*", "net/dns.c", "^dns_cache_insert$", "0x00008100"])
def test_within_its_declared_capacity_it_is_bounded_and_the_report_says_why(pattern: str) -> None:
    found = report(1000, Capacity(site=pattern, max_blocks=64), tolerate=40)
    assert found.verdict == "no_leak"
    (finding,) = found.findings
    assert finding.finding_class == "bounded"
    sentence = f"Declared bounded: {pattern} may hold 64 blocks at most, and 60 blocks (3,360 B) were live."
    assert finding.evidence[0] == sentence
    assert sentence in found.reasons


def test_the_rest_of_the_heap_must_still_be_shown_to_lose_nothing() -> None:
    found = report(1000, Capacity(site="dns_cache_*", max_blocks=64), tolerate=4)
    assert found.verdict == "inconclusive"
    assert any("go to sites that are declared bounded and still fill" in reason for reason in found.reasons)


@pytest.mark.parametrize("limit", [{"max_blocks": 32}, {"max_bytes": 2_000}])
def test_over_its_capacity_it_is_what_the_listings_say_and_that_is_said(limit: dict[str, int]) -> None:
    found = report(1000, Capacity(site="dns_cache_*", **limit))
    assert found.verdict == "leak"
    assert found.findings[0].evidence[0].startswith("Over its declared capacity: 60 blocks (3,360 B) were live, and")


def test_a_full_cache_over_its_capacity_is_no_longer_taken_for_innocent() -> None:
    assert report(20).findings[0].finding_class == "bounded"
    over = report(20, Capacity(site="dns_cache_*", max_blocks=16)).findings[0]
    assert over.finding_class == "undecided"


def test_a_declaration_that_fits_nothing_is_said() -> None:
    found = report(1000, Capacity(site="dsn_cache", max_blocks=64))
    assert found.verdict == "leak"
    assert [problem.text for problem in found.problems if problem.what == "capacity_unused"] == [
        "the capacity declared for 'dsn_cache' fits no site of this run"
    ]


def test_an_undecided_site_that_grows_is_asked_about_with_the_line_to_answer() -> None:
    settings = JudgeSettings(warmup_cycles=100)
    found = diagnose(cache_run(1000), FakeSymbolizer(NAMES), settings, versions={})
    assert found.verdict == "inconclusive"
    assert any('{ site = "dns_cache_insert", max_blocks = 120 }' in line for line in found.findings[0].advice)


def test_terms_with_capacities_survive_a_capture() -> None:
    terms = JudgeSettings(capacity=(Capacity(site="dns_cache_*", max_blocks=64),))
    assert msgspec.json.decode(msgspec.json.encode(terms), type=JudgeSettings) == terms
