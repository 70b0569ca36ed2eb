"""What ESP-IDF's lines mean, one rule a test; whole logs are in the goldens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptrail.dialects import Line
from heaptrail.dialects.espidf import EspIdf
from heaptrail.limits import Limits
from heaptrail.model.observations import Block, Dump, Event, HeapSample, Problem, Task
from heaptrail.reading.cleaning import clean
from heaptrail.reading.stamps import strip_prefixes

if TYPE_CHECKING:
    from collections.abc import Iterable

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "dialects" / "espidf"
HEAD = "36 bytes (@ 0x3ffb5e10) allocated CPU 0 ccount 0x0a8b1e60 caller "


def read(*lines: str, limits: Limits | None = None) -> list[Any]:
    dialect = EspIdf(limits or Limits())
    found: list[Any] = []
    for number, text in enumerate(lines, 1):
        if dialect.wants or any(trigger.decode() in text for trigger in dialect.triggers):
            found += dialect.feed(Line(text=text, number=number, system="espidf"))
    return found + list(dialect.finish())


def only(kind: type, found: Iterable[object]) -> list[Any]:
    return [each for each in found if isinstance(each, kind)]


def pcs(block: Block | Event) -> list[int]:
    return [frame.pc for frame in block.frames]


def test_callers_are_return_addresses_kept_as_printed() -> None:
    (block,) = only(Block, read(HEAD + "0x800d2b6c:0x400d2f64:"))

    assert pcs(block) == [0x800D2B6C, 0x400D2F64]
    assert {frame.kind for frame in block.frames} == {"return"}
    assert (block.size_kind, block.task, block.sequence) == ("requested", None, None)


@pytest.mark.parametrize("column", range(20, len(HEAD) + 21))
def test_a_record_broken_at_any_column_reads_as_if_whole(column: int) -> None:
    whole = HEAD + "0x400d2b6c:0x400d2f64"

    found = read(
        "1 allocations trace (8 entry buffer)",
        whole[:column],
        whole[column:],
        "36 bytes 'leaked' in trace (1 allocations)",
    )

    (block,) = only(Block, found)
    assert (block.address, block.size_bytes) == (0x3FFB5E10, 36)
    assert pcs(block) == [0x400D2B6C, 0x400D2F64]


def test_lines_that_the_monitor_decoded_are_no_frames() -> None:
    (block,) = only(Block, read(HEAD + "0x400d2b6c:", "0x400d2f64: app_main at main.c:7", "--- 0x400d2f70: f at m.c:8"))

    assert pcs(block) == [0x400D2B6C]


def test_a_lone_number_behind_a_record_without_callers_is_no_caller() -> None:
    (block,) = only(Block, read(HEAD, "another task's line", "0x400d2f64"))

    assert block.frames == ()


def test_who_freed_a_block_is_not_who_allocated_it() -> None:
    (block,) = only(Block, read(HEAD + "0x400d2b6c:0x400d2f64", "freed by 0x400d2b80:0x4", "00d2f64"))

    assert block.freed
    assert pcs(block) == [0x400D2B6C, 0x400D2F64]


def test_a_stack_cut_by_another_line_is_said_and_kept_up_to_there() -> None:
    found = read(HEAD + "0x400d2b6c:0x400dI (12) wifi: up", HEAD + "0x400d2b6c:0x400d2f64")

    assert [problem.what for problem in only(Problem, found)] == ["torn_record"]
    assert [pcs(block) for block in only(Block, found)] == [[0x400D2B6C], [0x400D2B6C, 0x400D2F64]]


@pytest.mark.parametrize(
    ("lines", "complete"),
    [
        (["1 allocations trace (8 entry buffer)", HEAD, "36 bytes 'leaked' in trace (1 allocations)"], True),
        (["2 allocations trace (8 entry buffer)", HEAD, "72 bytes 'leaked' in trace (2 allocations)"], False),
        (["1 allocations trace (8 entry buffer)", HEAD], None),
        ([HEAD], None),
        (["====== Heap Trace: 0 records (8 capacity) ======", "0 bytes 'leaked' in trace (0 allocations)"], True),
        (
            [
                "1 allocations trace (1 entry buffer)",
                HEAD,
                "36 bytes 'leaked' in trace (1 allocations)",
                "total allocations 9 total frees 8",
                "(NB: Buffer has overflowed, so trace data is incomplete.)",
            ],
            False,
        ),
    ],
)
def test_a_dump_is_complete_only_when_it_shows_so(lines: list[str], *, complete: bool | None) -> None:
    (dump,) = only(Dump, read(*lines))

    assert dump.complete is complete


def test_counts_of_the_trace_are_no_reading_of_a_heap() -> None:
    found = read("1 allocations trace (8 entry buffer)", HEAD, "total allocations 41 total frees 52")

    (sample,) = only(HeapSample, found)
    assert (sample.heap, sample.allocations, sample.frees) == ("heap trace", 41, 52)
    assert sample.free_bytes is None


def test_a_trace_of_ameba_is_left_to_its_own_reader() -> None:
    assert not read(
        "********** Heap Trace Log Count: 1 records (log buffer capacity: 8) **********",
        "48 bytes (@ 0x20010000) allocated, caller bakctrace: 0x0e001234 ",
        "========================= Heap Trace Summary =========================",
        "48 bytes 'leaked' in trace (1 allocations)",
    )


def test_records_and_frames_beyond_the_limits_are_cut_and_said() -> None:
    limits = Limits(records_per_dump=2, frames_per_block=1)

    found = read(*[HEAD + "0x400d2b6c:0x400d2f64"] * 4, limits=limits)

    assert [pcs(block) for block in only(Block, found)] == [[0x400D2B6C], [0x400D2B6C]]
    assert [problem.what for problem in only(Problem, found)] == ["too_many"] * 3
    assert only(Dump, found)[0].complete is False


def test_a_region_and_its_detail_line_are_one_sample_whatever_stands_between() -> None:
    found = read(
        "  At 3ffb2b6c len 185748 free 183588 allocated 160 min_free 183000",
        "I (12) wifi: connected",
        "    largest_free_block 114688 alloc_blocks 1 free_blocks 8 total_blocks 9",
    )

    (sample,) = only(HeapSample, found)
    assert (sample.heap, sample.total_bytes, sample.free_bytes) == ("0x3ffb2b6c", 185748, 183588)
    assert (sample.largest_free_bytes, sample.used_blocks, sample.free_blocks) == (114688, 1, 8)


def test_a_detail_line_without_its_region_is_said_and_left_out() -> None:
    found = read("    largest_free_block 114688 alloc_blocks 1 free_blocks 8 total_blocks 9")

    assert [problem.what for problem in found] == ["torn_record"]


def test_totals_say_which_capabilities() -> None:
    found = read(
        "Heap summary for capabilities 0x00001800:",
        "  Totals:",
        "    free 80112 allocated 33156 min_free 76896 largest_free_block 59392",
    )

    (sample,) = found
    assert (sample.heap, sample.free_bytes, sample.total_bytes) == ("caps 0x00001800", 80112, None)


def test_a_deleted_task_keeps_its_bytes() -> None:
    (task,) = only(
        Task, read("└ DELETED: http worker, CURRENT MEMORY USAGE 4096, PEAK MEMORY USAGE 9000, TOTAL HEAP USED 1:")
    )

    assert (task.name, task.state, task.heap_bytes) == ("http worker", "DELETED", 4096)


@pytest.mark.parametrize(
    ("text", "heap", "free", "low"),
    [
        ("Free heap: 123456", None, 123456, None),
        ("free heap size: 123456 bytes", None, 123456, None),
        ("[APP] Free memory: 181720 bytes", None, 181720, None),
        ("free_heap_size = 270848", None, 270848, None),
        ("ESP.getFreeHeap(): 243000", None, 243000, None),
        ("Minimum free heap size: 210552 bytes", None, None, 210552),
        ("minimum_free_heap_size=9", None, None, 9),
        ("internal free heap: 5", "internal", 5, None),
        ("Free PSRAM: 4100000 B", "psram", 4100000, None),
        ("Heap free: 77 min: 55", None, 77, 55),
    ],
)
def test_a_line_of_the_users_own_is_read(text: str, heap: str | None, free: int | None, low: int | None) -> None:
    (sample,) = read(text)

    assert (sample.heap, sample.free_bytes, sample.min_free_bytes) == (heap, free, low)


@pytest.mark.parametrize(
    "text",
    [
        "Free heap: 238 KB",
        "Free heap: 238k",
        "Free heap: 238kB",
        "Free heap: 180,432",
        "Free heap: 175.2",
        "Free heap: 60 %",
        "Free heap: 0x1000",
        "Free heap: -36",
        "Free memory: 12 of 20 slots",
        "Free memory: 123456",
        "Free heap before: 1000",
        "Max free heap: 1000",
        "initial_free_heap=1000",
        "lowest free heap: 1000",
        "Free heap: 2000 -> 1000",
        "Free heap 1000",
        "Remaining heap tight:100 k",
        "largest free block: 108000",
        "1234 [I][Loader] Application stopped. Free heap: 135080",
    ],
)
def test_a_line_that_may_mean_something_else_is_left_alone(text: str) -> None:
    assert read(text) == []


def test_the_first_line_of_the_flippers_table_is_left_to_its_own_reader() -> None:
    assert read("Free heap size: 104096", "Total heap size: 186064", "noise", "Maximum heap block: 99000") == []
    assert len(read("Free heap size: 104096", "noise")) == 1


def test_a_hook_takes_the_backtrace_behind_it_as_addresses_of_calls() -> None:
    (event,) = read("alloc: 0x3ffb5e10 allocated 36 bytes", "Backtrace: 0x400d2b69:0x3ffb4a10 0x400d2f61:0x3ffb4a30")

    assert pcs(event) == [0x400D2B69, 0x400D2F61]
    assert {frame.kind for frame in event.frames} == {"call"}


def test_the_backtrace_of_a_panic_belongs_to_no_allocation() -> None:
    panic = ["Guru Meditation Error", "", "", "", "", "Backtrace: 0x400d2b69:0x3ffb4a10"]

    (event,) = read("alloc: 0x3ffb5e10 allocated 36 bytes", *panic)

    assert event.frames == ()


def golden_lines(name: str) -> list[str]:
    raw = (GOLDEN / name).read_bytes().split(b"\n")
    return [strip_prefixes(clean(line)).text for line in raw]


NOISE = st.sampled_from(["wifi: bcn 100", "", "tick 4711 face", "[I] x: 0x12", "0x400d0000: f at g.c:1", "é│"])


@given(
    st.sampled_from(["trace_v4.txt", "trace_v5.txt", "totals.txt", "tasks.txt", "oneliners.txt", "events.txt"]),
    st.data(),
)
def test_noise_between_lines_does_not_matter(name: str, data: st.DataObject) -> None:
    lines = golden_lines(name)
    mixed: list[str] = []
    for line in lines:
        mixed += [*data.draw(st.lists(NOISE, max_size=1)), line]

    assert facts(read(*mixed)) == facts(read(*lines))


def facts(found: list[Any]) -> list[Any]:
    return [
        {name: getattr(each, name) for name in each.__struct_fields__ if name not in {"line", "text"}} for each in found
    ]


@given(st.lists(st.text(st.sampled_from("0123456789abcdefx: ()@freedbycaller"), max_size=90), max_size=8))
def test_torn_lines_never_stop_the_reader(tail: list[str]) -> None:
    found = read("3 allocations trace (8 entry buffer)", HEAD + "0x400d2b6c:0x4", *tail)

    assert len(only(Dump, found)) >= 1


def test_the_bluetooth_hosts_listing_says_how_many_blocks_it_has() -> None:
    found = read("--> p 0x3ffdc600, s 20, f osi_calloc_func, l 150", "--> count 1", "--> count 7")

    assert [(block.size_bytes, block.size_kind) for block in only(Block, found)] == [(20, "requested")]
    assert [(dump.declared_blocks, dump.complete) for dump in only(Dump, found)] == [(1, True)]


def test_free_of_total_is_one_reading() -> None:
    (sample,) = read("INFO | Heap: 118432/294912 bytes free (-2144 since last), min 96204, largest block 65524")

    assert (sample.free_bytes, sample.total_bytes, sample.min_free_bytes) == (118432, 294912, 96204)


def test_sizes_that_do_not_add_up_to_what_the_trace_says_are_told() -> None:
    copied_from_a_page = "3" + HEAD + "0x400d2b6c"  # the page's line number stuck to the size

    found = read(
        "1 allocations trace (8 entry buffer)", copied_from_a_page, "36 bytes 'leaked' in trace (1 allocations)"
    )

    assert [problem.what for problem in only(Problem, found)] == ["torn_record"]
    assert only(Dump, found)[0].complete is False


@pytest.mark.parametrize(
    "line",
    [
        "Mem alloc fail. size 099999 cap 5120",
        "E (1) heap: failed to allocate 0099 bytes with 0x1800 capabilities",
    ],
)
def test_zeros_before_a_size_are_no_octal(line: str) -> None:
    (failed,) = only(Problem, read(line))

    assert "99" in failed.text


@given(st.sampled_from(sorted(log.name for log in GOLDEN.glob("*.txt"))), st.data())
def test_lines_cut_anywhere_never_stop_the_reader(name: str, data: st.DataObject) -> None:
    lines = golden_lines(name)
    cut = [line[: data.draw(st.integers(0, 1 + len(line)))] for line in lines]

    for found in read(*cut):
        assert isinstance(found, HeapSample | Task | Block | Dump | Event | Problem)
