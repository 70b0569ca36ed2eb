"""Zephyr: units are not bytes, and what a dump says about itself."""

from __future__ import annotations

import pytest

from heaptrail.dialects import Line
from heaptrail.dialects.zephyr import Zephyr
from heaptrail.limits import DEFAULT_LIMITS, Limits
from heaptrail.model.observations import AnyObservation, Block, Dump, HeapSample, Problem, Task

INFO = "Heap at 0x20004000 contains 64 units in 4 buckets"
CHUNKS = (
    "chunk    0: [*] size=6    left=0    right=6",
    "chunk    6: [*] size=20   left=6    right=26",
    "chunk   26: [-] size=38   left=20   right=64",
    "chunk   64: [*] size=0    left=38   right=64",
)


def read(*lines: str, limits: Limits = DEFAULT_LIMITS) -> list[AnyObservation]:
    dialect = Zephyr(limits)
    found = [each for number, text in enumerate(lines, 1) for each in dialect.feed(Line(text, number))]
    return found + list(dialect.finish())


def whats(found: list[AnyObservation]) -> list[str]:
    return [each.what for each in found if isinstance(each, Problem)]


@pytest.mark.parametrize(
    ("totals", "size_bytes", "address"),
    [
        ("300 free bytes, 156 allocated bytes, overhead = 60 bytes (11.6%)", 160, 0x20004030),
        ("148 free bytes, 76 allocated bytes, overhead = 36 bytes (13.8%)", 80, 0x20004018),
    ],
)
def test_the_totals_tell_what_a_unit_is(totals: str, size_bytes: int, address: int) -> None:
    found = read(INFO, *CHUNKS, totals)

    block = next(each for each in found if isinstance(each, Block))
    assert (block.size_bytes, block.size_kind, block.address, block.task) == (size_bytes, "block", address, None)
    assert next(each for each in found if isinstance(each, Dump)).complete is True


def test_without_the_totals_the_sizes_are_unknown_and_left_out() -> None:
    found = read(INFO, *CHUNKS)

    assert whats(found) == ["unknown_unit"]
    assert not any(isinstance(each, Block | Dump) for each in found)


def test_a_lost_chunk_is_noticed() -> None:
    found = read(INFO, CHUNKS[0], *CHUNKS[2:], "300 free bytes, 156 allocated bytes, overhead = 60 bytes (11.6%)")

    assert whats(found) == ["missing_records"]
    assert next(each for each in found if isinstance(each, Dump)).complete is False


def test_kernel_heap_prints_no_total_so_none_is_made_up() -> None:
    sample = read("free:           10216", "allocated:      6104", "max. allocated: 7320")[0]

    assert isinstance(sample, HeapSample)
    assert (sample.heap, sample.total_bytes, sample.free_bytes, sample.max_used_bytes) == (None, None, 10216, 7320)


def test_the_second_stack_of_a_user_thread_is_no_thread() -> None:
    found = read(
        " rx_q[0]             : STACK: unused 1336 usage 200 / 1536 (13 %); CPU: 2 %",
        "                     : PRIV_STACK: unused 900 usage 124 / 1024 (12 %)",
    )

    assert [each.name for each in found if isinstance(each, Task)] == ["rx_q[0]"]


def test_frames_of_heaptrace_are_return_addresses_and_totals_are_checked() -> None:
    record = "[heaptrace] ptr=0x20004068 size=100 heap=h alloc_tid=0x20000a10 alloc_thread=main alloc_cpu=0 alloc_ms=1"

    found = read(
        "=============== heaptrace dump begin ===============",
        record,
        "[heaptrace]   backtrace: 0x8005d31 0x8004a22",
        "[heaptrace] outstanding_blocks=2 outstanding_bytes=200",
    )

    block = next(each for each in found if isinstance(each, Block))
    assert [(frame.pc, frame.kind) for frame in block.frames] == [(0x8005D31, "return"), (0x8004A22, "return")]
    assert whats(found) == ["missing_records"]


def test_chunks_beyond_the_limit_are_counted_and_said() -> None:
    chunks = [f"chunk {n}: [*] size=1 left=1 right={n + 1}" for n in range(1, 10)]

    found = read(
        INFO.replace("64", "10"),
        "chunk 0: [*] size=1 left=0 right=1",
        *chunks,
        "chunk 10: [*] size=0 left=1 right=10",
        "0 free bytes, 36 allocated bytes, overhead = 48 bytes (57.1%)",
        limits=Limits(records_per_dump=4),
    )

    assert sum(isinstance(each, Block) for each in found) == 4
    assert whats(found)[:1] == ["too_many"]
    assert next(each for each in found if isinstance(each, Dump)).complete is False
