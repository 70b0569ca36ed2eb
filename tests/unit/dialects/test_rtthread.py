"""RT-Thread: numbers that are not what they look like, and what a listing says about itself."""

from __future__ import annotations

import pytest

from heaptrail.dialects import Line
from heaptrail.dialects.rtthread import RtThread
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.observations import AnyObservation, Block, Dump, HeapSample, Problem

TOTALS = ("memory heap address:", "name    : heap")
LISTING = "--memory item information --"
ITEMS = (
    "[0x20004000 -   128] NONE",
    "[0x20004090 -    12] tshe",
    "[0x200040ac -    36] main",
    "[0x200040e0 -   256]     ",
    "[0x200041f0 -    16] main",
)
HEAP = ("heap_ptr: 0x20004000", "lfree   : 0x200040e0", "heap_end: 0x20004210", LISTING)


def read(*lines: str, dialect: RtThread | None = None) -> list[AnyObservation]:
    dialect = dialect or RtThread(DEFAULT_LIMITS)
    found = [each for number, text in enumerate(lines, 1) for each in dialect.feed(Line(text, number))]
    return found + list(dialect.finish())


def whats(found: list[AnyObservation]) -> list[str]:
    return [each.what for each in found if isinstance(each, Problem)]


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (("0x65536", "0x18208", "0x21000"), (65536, 18208, 21000)),
        (("65536", "18208", "21000"), (65536, 18208, 21000)),
        (("0x10000", "0x471c", "0x5208"), (0x10000, 0x471C, 0x5208)),
    ],
)
def test_totals_behind_a_false_0x_are_decimal(printed: tuple[str, ...], expected: tuple[int, ...]) -> None:
    labels = ("total   ", "used    ", "max_used")

    found = read(*TOTALS, *(f"{label}: {each}" for label, each in zip(labels, printed, strict=True)), LISTING)

    sample = next(each for each in found if isinstance(each, HeapSample))
    assert (sample.total_bytes, sample.used_bytes, sample.max_used_bytes) == expected


def test_the_figures_of_a_memheap_are_truly_hexadecimal() -> None:
    found = read(
        *TOTALS, "free    : 0x00001000", "max_used: 0x00000800", "size    : 0x00002000", "--memory used information --"
    )

    sample = next(each for each in found if isinstance(each, HeapSample))
    assert (sample.total_bytes, sample.free_bytes, sample.max_used_bytes) == (0x2000, 0x1000, 0x800)


def test_blank_owners_are_free_memory_and_none_is_no_thread() -> None:
    blocks = [each for each in read(*TOTALS, *HEAP, *ITEMS) if isinstance(each, Block)]

    assert [(each.address, each.size_bytes, each.task) for each in blocks] == [
        (0x20004000, 128, None),
        (0x20004090, 12, "tshe"),
        (0x200040AC, 36, "main"),
        (0x200041F0, 16, "main"),
    ]


def test_a_listing_from_the_heaps_start_to_its_end_is_whole_and_shows_the_header() -> None:
    dialect = RtThread(DEFAULT_LIMITS)

    found = read(*TOTALS, *HEAP, *ITEMS, dialect=dialect)

    assert next(each for each in found if isinstance(each, Dump)).complete is True
    rule = dialect.footprint()
    assert rule is not None
    assert (rule.header_bytes, rule.footprint_bytes(36)) == (16, 52)


@pytest.mark.parametrize("lost", range(len(ITEMS)))
def test_a_lost_line_is_noticed(lost: int) -> None:
    items = [item for at, item in enumerate(ITEMS) if at != lost]

    found = read(*TOTALS, *HEAP, *items)

    assert next(each for each in found if isinstance(each, Dump)).complete is False
    assert "missing_records" in whats(found)


def test_a_size_in_k_is_a_lower_value_and_said_once() -> None:
    found = read(LISTING, "[0x20004000 -     2K] main", "[0x20004a00 -     3K] main")

    assert [each.size_bytes for each in found if isinstance(each, Block)] == [2048, 3072]
    assert whats(found) == ["rounded_sizes"]


def test_an_item_without_its_magic_is_no_block() -> None:
    found = read(LISTING, "[0x20004000 -    64] main: ***", "[0x20004090 - incorrect magic: 0xdeadbeef")

    assert whats(found) == ["corrupt", "corrupt"]
    assert not any(isinstance(each, Block) for each in found)


def test_words_like_total_elsewhere_are_no_heap() -> None:
    assert read("total    : 12", "used     : 3", "files copied") == []
