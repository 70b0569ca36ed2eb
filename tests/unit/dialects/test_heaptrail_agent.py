"""The agent's text: whole dumps are known as whole, cut and damaged ones as such, and nothing is read twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptrail.dialects.overheads import MeasuredOverheads
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.evidence import FootprintRule
from heaptrail.model.observations import Block, Dump, HeapSample, Problem, SiteCount
from heaptrail.reading import ReadOptions, observe
from heaptrail.reading.session import Session, make_dialects
from heaptrail.reading.sources import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.observations import AnyObservation

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "dialects" / "heaptrail"
LOGS = sorted(GOLDEN.glob("*.txt"))
ALL = (GOLDEN / "all.txt").read_text(encoding="utf-8").splitlines()
COMPACT = ALL[ALL.index("c906>memleak show compact") : ALL.index("c906>memleak show")]
SITES = ALL[ALL.index("c906>memleak sites") : ALL.index("c906>memleak show compact")]
SHOW = ALL[ALL.index("c906>memleak show") : ALL.index("c906>memleak 0")]


def read(lines: list[str], dialect: str = "auto") -> list[AnyObservation]:
    session = Session(make_dialects(dialect, DEFAULT_LIMITS), DEFAULT_LIMITS)
    found = list(session.chunk(Chunk("".join(f"{line}\n" for line in lines).encode())))
    return found + list(session.finish())


def dumps(found: list[AnyObservation]) -> list[Dump]:
    return [each for each in found if isinstance(each, Dump)]


def blocks(found: list[AnyObservation]) -> list[Block]:
    return [each for each in found if isinstance(each, Block)]


def problems(found: list[AnyObservation]) -> set[str]:
    return {each.what for each in found if isinstance(each, Problem)}


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_a_golden_log_reads_as_accepted(log: Path, golden: Callable[[Path, str], None]) -> None:
    found = observe(log, ReadOptions(dialect="heaptrail"))

    golden(log.with_suffix(".jsonl"), "".join(f"{msgspec.json.encode(each).decode()}\n" for each in found))


@pytest.mark.parametrize("dialect", ["auto", "heaptrail", "freertos"])
def test_the_agent_on_a_stock_freertos_console_has_both_read(dialect: str) -> None:
    found = read(["c906>free", "xAvailableHeapSpaceInBytes: 41216", *COMPACT], dialect)

    assert [each.free_bytes for each in found if isinstance(each, HeapSample)] == [41216]
    assert blocks(found)


@pytest.mark.parametrize("listing", [COMPACT, SHOW], ids=["compact", "show"])
@pytest.mark.parametrize("dialect", ["auto", "tina", "heaptrail"])
def test_a_dump_cut_anywhere_is_never_whole_and_never_counted_twice(listing: list[str], dialect: str) -> None:
    for cut in range(2, len(listing) - 2):
        found = read(listing[:cut], dialect)

        assert [each.complete for each in dumps(found)] == [False]
        assert len({each.address for each in blocks(found)}) == len(blocks(found))
        assert "missing_records" in problems(found)


@pytest.mark.parametrize("listing", [COMPACT, SHOW, SITES], ids=["compact", "show", "sites"])
def test_a_lost_line_is_noticed_wherever_it_was(listing: list[str]) -> None:
    end = next(i for i, line in enumerate(listing) if "heaptrail: end" in line)
    for lost in range(2, end):
        found = read(listing[:lost] + listing[lost + 1 :])

        assert problems(found) & {"missing_records", "torn_record"}
        assert all(each.complete is False for each in dumps(found))


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10_000), letter=st.sampled_from("0123456789ABCDEFabcdef~"))
def test_a_changed_letter_is_noticed(at: int, letter: str) -> None:
    text = "\n".join(COMPACT)
    begin, end = text.index("text=1") + 6, text.index("    heaptrail: end")
    at = begin + at % (end - begin)
    changed = text[:at] + letter + text[at + 1 :]

    for each in dumps(read(changed.split("\n"))):
        assert each.complete is (changed == text)


@settings(max_examples=40, deadline=None)
@given(places=st.lists(st.integers(2, len(COMPACT) - 1), max_size=6))
def test_lines_of_other_tasks_between_those_of_a_dump_do_no_harm(places: list[int]) -> None:
    lines = list(COMPACT)
    for place in places:
        lines.insert(place, "wifi: beacon received rssi -57 channel 11")

    found = read(lines)
    assert [each.complete for each in dumps(found)] == [True]
    assert len(blocks(found)) == 5


def test_a_console_that_ends_lines_and_stamps_them_in_its_own_way_changes_nothing() -> None:
    found = read([f"[00:00:{number:02d}.000] {line}\r" for number, line in enumerate(COMPACT)])

    assert [each.complete for each in dumps(found)] == [True]


def test_a_dump_of_a_tracer_that_is_off_is_no_proof_of_anything() -> None:
    found = [each for each in observe(GOLDEN / "limits.txt", ReadOptions()) if isinstance(each, Problem | Dump)]

    assert "tracer_off" in problems(list(found))
    assert [each.complete for each in dumps(list(found))] == [False, False], "its pool was full: blocks are missing"


def test_a_newer_format_is_left_alone_and_said() -> None:
    found = read([line.replace("text=1", "text=9") for line in COMPACT])

    assert problems(found) >= {"newer_format"}
    assert not blocks(found)


def test_a_reset_in_the_middle_ends_the_dump() -> None:
    session = Session(make_dialects("auto", DEFAULT_LIMITS), DEFAULT_LIMITS)
    found = list(session.chunk(Chunk(("\n".join(COMPACT[:12]) + "\nESP-ROM:esp32c3-api1\nrst:0x1\n").encode())))
    found += session.finish()

    assert [each.complete for each in dumps(found)] == [False]


def test_the_dumps_own_line_is_its_begin_line_and_other_tables_are_read_around_it() -> None:
    heap = [
        "c906>free",
        "Total Heap Size :  1907128 Bytes    ( 1862 KB)",
        "           Free :   547632 Bytes    (  534 KB)",
    ]
    heap += ["       Min Free :   536208 Bytes    (  523 KB)", "c906>"]
    found = read([*heap, *COMPACT, *heap])

    assert [each.line for each in dumps(found)] == [len(heap) + 2]
    assert sum(type(each).__name__ == "HeapSample" for each in found) == 2


def test_sites_are_kept_in_the_evidence() -> None:
    found = [each for each in read(SITES) if isinstance(each, SiteCount)]

    assert [each.site for each in found] == [1, 2, 3, 4]
    assert sum(each.live_bytes for each in found) == 11596
    assert found[0].frames == (), "no stack"
    assert found[0].oldest_death_allocations is None, "nothing of it was freed"


def footprint_of(*records: str) -> FootprintRule | None:
    """The rule that a compact listing of these blocks leads to, on a console that shows nothing else of its heap."""
    begin, end = COMPACT[1], next(line for line in COMPACT if "heaptrail: end" in line)
    session = Session(make_dialects("heaptrail", DEFAULT_LIMITS), DEFAULT_LIMITS)
    list(session.chunk(Chunk("".join(f"{line}\n" for line in (begin, *records, end)).encode())))
    list(session.finish())
    return session.footprint()


def test_the_overhead_that_the_agent_measured_counts_more_than_what_an_address_suggests() -> None:
    # On a 64-bit CPU heap_4 would take 64 bytes for a block of 40. This allocator took 56, and 528 for 512.
    rule = footprint_of("@b 0000559D578112F0 28 16 s2 t0 q1", "@b 0000559D57811340 200 16 s2 t0 q2")

    assert rule is not None
    assert (rule.footprint_bytes(40), rule.footprint_bytes(512)) == (56, 528)
    assert "as the tracer measured" in rule.basis


def test_a_block_that_kept_a_rest_too_small_to_split_off_changes_no_rule() -> None:
    rule = footprint_of("@b 0000559D578112F0 f00 48 s2 t0 q1", "@b 0000559D57812340 f00 16 s2 t0 q2")

    assert rule is not None
    assert rule.basis.startswith("heap_4 on a 64-bit CPU")


def test_an_overhead_that_the_agent_does_not_know_leaves_the_rule_that_the_address_suggests() -> None:
    rule = footprint_of("@b 0000559D578112F0 28 255 s2 t0 q1")

    assert rule is not None
    assert rule.footprint_bytes(40) == 64


@given(
    header=st.sampled_from([0, 4, 8, 16, 32]),
    align=st.sampled_from([1, 4, 8, 16]),
    sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=300),
)
def test_every_size_that_was_measured_is_booked_as_measured(header: int, align: int, sizes: list[int]) -> None:
    truth = FootprintRule(header_bytes=-(-header // align) * align, align_bytes=align, basis="the allocator's")
    measured = MeasuredOverheads()
    for size in sizes:
        measured.add(size, truth.footprint_bytes(size) - size)

    rule = measured.rule(None)

    assert rule is not None
    assert [rule.footprint_bytes(size) for size in sizes[:256]] == [truth.footprint_bytes(size) for size in sizes[:256]]
