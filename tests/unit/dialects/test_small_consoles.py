"""What the lines of Mbed OS, Ameba, stock FreeRTOS and Flipper mean, one rule a test; whole logs are in the goldens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptrail.dialects import REGISTRY, Line
from heaptrail.limits import Limits
from heaptrail.model.observations import Block, Dump, Event, HeapSample, Problem, Task
from heaptrail.reading.cleaning import clean
from heaptrail.reading.stamps import strip_prefixes
from heaptrail.registry import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "dialects"
NAMES = ("ameba", "flipper", "freertos", "mbed")


def read(name: str, *lines: str, limits: Limits | None = None) -> list[Any]:
    dialect = resolve(REGISTRY, name, kind="dialect")(limits or Limits())
    found: list[Any] = []
    for number, text in enumerate(lines, 1):
        if dialect.wants or any(trigger.decode() in text for trigger in dialect.triggers):
            found += dialect.feed(Line(text=text, number=number))
    return found + list(dialect.finish())


def only(kind: type, found: Iterable[object]) -> list[Any]:
    return [each for each in found if isinstance(each, kind)]


# --- Mbed OS ---------------------------------------------------------------------------------------------------------


def test_mbed_keeps_the_thumb_bit_of_a_caller() -> None:
    (event,) = read("mbed", "#m:0x20003080;0x182f-50")

    assert (event.op, event.address, event.size_bytes) == ("alloc", 0x20003080, 50)
    assert [(frame.pc, frame.kind) for frame in event.frames] == [(0x182F, "return")]


@pytest.mark.parametrize(
    ("text", "op", "address", "new_address"),
    [
        ("#r:0x20003400;0x1a01-0x20003200;96", "realloc", 0x20003200, 0x20003400),
        ("#r:0x20003200;0x1a01-0x20003200;96", "realloc", 0x20003200, 0x20003200),
        ("#r:0x20003600;0x1a01-0x0;96", "alloc", 0x20003600, None),
        ("#r:20003600;00001a01-00000000;96", "alloc", 0x20003600, None),
    ],
)
def test_mbed_a_reallocated_block_moves(text: str, op: str, address: int, new_address: int | None) -> None:
    (event,) = read("mbed", text)

    assert (event.op, event.address, event.new_address, event.size_bytes) == (op, address, new_address, 96)


def test_mbed_a_failed_reallocation_moves_nothing() -> None:
    (failure,) = read("mbed", "#r:0x0;0x1a01-0x20003200;96")

    assert (type(failure), failure.what) == (Problem, "alloc_failed")


def test_mbed_a_calloc_counts_its_product() -> None:
    (event,) = read("mbed", "#c:0x20003080;0x182f-10;12")

    assert event.size_bytes == 120


def test_mbed_an_operation_printed_with_the_calls_inside_it_is_counted_once() -> None:
    calloc = read("mbed", "#m:0x20003080;0x2001-120", "#c:0x20003080;0x182f-10;12")
    moved = read("mbed", "#m:0x20003100;0x2001-8", "#f:0x0;0x2003-0x20003080", "#r:0x20003100;0x1a01-0x20003080;8")

    assert [event.op for event in only(Event, calloc)] == ["alloc"]
    assert [event.op for event in only(Event, moved)] == ["alloc", "free"]
    assert [each.what for each in only(Problem, calloc + moved)] == ["duplicate_entries"] * 2


def test_mbed_a_cut_address_is_none() -> None:
    found = read("mbed", "#m:0x20003080;0x182f-50", "#f:0x0;0x1923-0x2000")

    assert [each.what for each in only(Problem, found)] == ["torn_record"]
    assert len(only(Event, found)) == 1


@pytest.mark.parametrize("text", ["Max heap size: 512", "Heap size: 1 / 2 bytes", "color #f:ff0000", "#m: note"])
def test_mbed_says_nothing_of_words_that_may_be_anyones(text: str) -> None:
    assert read("mbed", text) == []


# --- Ameba -----------------------------------------------------------------------------------------------------------

AMEBA = "64 bytes (@ 0x20010040) allocated, caller bakctrace: 0x0e01a2b4 0x0e01b000 "


def test_ameba_sizes_are_the_allocators() -> None:
    (block,) = only(Block, read("ameba", AMEBA))

    assert (block.size_kind, block.freed, len(block.frames)) == ("block", False, 2)


def test_ameba_a_record_without_a_line_end_was_freed() -> None:
    blocks = only(Block, read("ameba", AMEBA + AMEBA.replace("40)", "80)")))

    assert [(block.address, block.freed) for block in blocks] == [(0x20010040, True), (0x20010080, False)]


def test_ameba_a_buffer_that_was_full_leaves_it_open_whether_the_dump_is_whole() -> None:
    found = read(
        "ameba",
        "********** Heap Trace Log Count: 1 records (log buffer capacity: 1) **********",
        AMEBA,
        "========================= Heap Trace Summary =========================",
        "64 bytes 'leaked' in trace (1 allocations)",
        "records: 1 (1 capacity, 1 high water mark)",
    )

    assert only(Dump, found)[0].complete is None
    assert [each.what for each in only(Problem, found)] == ["overflow"]


def test_ameba_a_deleted_task_keeps_its_bytes() -> None:
    (task,) = read("ameba", "Deleted Task: wifi_join, task heap usage: 0x2c0")

    assert (task.name, task.state, task.heap_bytes) == ("wifi_join", "Deleted", 704)


# --- FreeRTOS --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "words", "size_bytes"),
    [
        ("Tmr Svc\tB\t6\t374\t3", 374, None),
        ("Tmr Svc\tB\t6\t374\t3\t0x3", 374, None),
        ("Tmr Svc\tB\t6\t374\t3\t-1", None, 374),
    ],
)
def test_freertos_counts_stacks_in_words_but_esp_idf_in_bytes(
    row: str, words: int | None, size_bytes: int | None
) -> None:
    (task,) = read("freertos", row)

    assert (task.name, task.state, task.id) == ("Tmr Svc", "B", 3)
    assert (task.stack_free_min_words, task.stack_free_min_bytes) == (words, size_bytes)


def test_freertos_reads_squeezed_rows_behind_a_heading_only() -> None:
    rows = ["CLI X 1 200 4", "Tmr Svc B 6 180 3"]

    assert read("freertos", *rows) == []
    assert [task.name for task in read("freertos", "Task State Priority Stack #", *rows)] == ["CLI", "Tmr Svc"]


def test_freertos_reads_the_cpu_share_of_run_time_statistics() -> None:
    rows = ["CLI\t\t1200\t\t<1%", "IDLE\t\t98000\t\t99%", "run over\t\t98000\t\t24446%"]

    found = read("freertos", "Task            Abs Time      % Time", *rows)

    assert [(task.name, task.cpu_percent) for task in found] == [("CLI", None), ("IDLE", 99.0), ("run over", None)]


def test_freertos_leaves_the_tables_behind_tinas_heap_to_tina() -> None:
    lines = ["       Min Free :   536208 Bytes    (  523 KB)", "Task          State  Priority  Stack      #"]

    assert read("freertos", *lines, "IDLE\tR\t0\t52\t2") == []


def test_freertos_figures_near_one_another_are_one_sample() -> None:
    found = read(
        "freertos",
        "xAvailableHeapSpaceInBytes: 0xa100",
        "another task",
        "xNumberOfSuccessfulAllocations=120;",
        "xNumberOfSuccessfulFrees=80;",
        "xAvailableHeapSpaceInBytes: 41200",
    )

    assert [(s.line, s.free_bytes, s.allocations, s.frees) for s in found] == [
        (1, 0xA100, 120, 80),
        (5, 41200, None, None),
    ]


def test_freertos_counts_alone_are_no_reading() -> None:
    assert read("freertos", "xNumberOfSuccessfulAllocations: 41") == []


# --- Flipper ---------------------------------------------------------------------------------------------------------


def test_flipper_a_thread_that_is_not_tracked_has_unknown_bytes() -> None:
    header = "Name                 Stack start    Heap     Stack    Stack min free"

    found = read("flipper", header, "Tmr Svc  0x20001ac8  -1  1024  412", "GuiSrv  0x20005000  5120  2048  900")

    assert [(task.name, task.heap_bytes, task.stack_free_min_bytes) for task in found] == [
        ("Tmr Svc", None, 412),
        ("GuiSrv", 5120, 900),
    ]


def test_flipper_what_a_thread_did_not_free_is_its_bytes() -> None:
    (task,) = read("flipper", "90 [E][FuriThread] My App allocation balance: 512")

    assert (task.name, task.heap_bytes) == ("My App", 512)


def test_flipper_one_figure_of_its_table_is_not_enough() -> None:
    assert read("flipper", "Free heap size: 104096") == []


# --- All of them -----------------------------------------------------------------------------------------------------

LOGS = sorted(log for name in NAMES for log in (GOLDEN / name).glob("*.txt"))
NOISE = st.sampled_from(["wifi: bcn 100", "", "tick 4711 face", "[I] x: 0x12", "=====", "é│"])


def facts(found: list[Any]) -> list[Any]:
    return [
        {name: getattr(each, name) for name in each.__struct_fields__ if name not in {"line", "text"}} for each in found
    ]


@given(st.sampled_from(LOGS), st.data())
def test_noise_between_lines_does_not_matter(log: Path, data: st.DataObject) -> None:
    name = log.parent.name
    lines = [strip_prefixes(clean(raw)).text for raw in log.read_bytes().split(b"\n")]
    mixed: list[str] = []
    for line in lines:
        mixed += [*data.draw(st.lists(NOISE, max_size=1)), line]

    def key(fact: dict[str, Any]) -> str:
        return repr(sorted(fact.items(), key=repr))

    # A sample waits a few lines for more figures, so the order of what is found may differ.
    assert sorted(facts(read(name, *mixed)), key=key) == sorted(facts(read(name, *lines)), key=key)


@given(st.sampled_from(LOGS), st.data())
def test_lines_cut_anywhere_never_stop_a_reader(log: Path, data: st.DataObject) -> None:
    lines = [strip_prefixes(clean(raw)).text for raw in log.read_bytes().split(b"\n")]
    cut = [line[: data.draw(st.integers(0, 1 + len(line)))] for line in lines]

    for found in read(log.parent.name, *cut):
        assert isinstance(found, HeapSample | Task | Block | Dump | Event | Problem)
