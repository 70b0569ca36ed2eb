"""TizenRT: two kinds of size, one frame, and what a listing says about itself."""

from __future__ import annotations

import pytest

from heaptrail.dialects import Line
from heaptrail.dialects.tizenrt import TizenRt
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.observations import AnyObservation, Block, Dump, HeapSample, Problem

LEAKS = "Type   |    Addr    | Size(byte) |    Owner   | PID "
REGION = "REGION #0 Start=0x02020000, End=0x02020300, Size=784"
NODES = "  MemAddr |   Size   | Status |    Owner   |  Pid  |"
ROWS = (
    "0x2020000 |       16 |   A    | 0x       0 |   0   |",
    "0x2020010 |      240 |   A    | 0x e00a4d1 |   3(S)|",
    "0x2020100 |      512 |   F    |            |       |",
)
END = "** PID(S) in Pid colum means that mem is used for stack of PID"


def read(*lines: str) -> list[AnyObservation]:
    dialect = TizenRt(DEFAULT_LIMITS)
    found = [each for number, text in enumerate(lines, 1) for each in dialect.feed(Line(text, number))]
    return found + list(dialect.finish())


def whats(found: list[AnyObservation]) -> list[str]:
    return [each.what for each in found if isinstance(each, Problem)]


def test_heapinfo_prints_whole_nodes_and_mem_leak_what_the_caller_got() -> None:
    found = read(
        REGION, NODES, *ROWS, END, LEAKS, "LEAK   |  0x2020430 |  128  |  0xe00b210 | 12", "*** 1 LEAKS, 0 BROKENS."
    )

    blocks = [each for each in found if isinstance(each, Block)]
    assert [(each.size_bytes, each.size_kind, each.task_id) for each in blocks] == [
        (16, "block", 0),
        (240, "block", 3),
        (128, "requested", 12),
    ]
    assert [[(frame.pc, frame.kind) for frame in each.frames] for each in blocks] == [
        [],
        [(0xE00A4D1, "return")],
        [(0xE00B210, "return")],
    ]


def test_a_region_listed_from_start_to_end_is_whole() -> None:
    assert next(each for each in read(REGION, NODES, *ROWS, END) if isinstance(each, Dump)).complete is True


@pytest.mark.parametrize("lost", [1])
def test_a_lost_node_is_noticed(lost: int) -> None:
    found = read(REGION, NODES, *(row for at, row in enumerate(ROWS) if at != lost), END)

    assert next(each for each in found if isinstance(each, Dump)).complete is False
    assert whats(found) == ["missing_records"]


def test_the_nodes_of_one_task_cannot_tell_whether_one_is_missing() -> None:
    assert next(each for each in read(NODES, *ROWS[:2], END) if isinstance(each, Dump)).complete is None


def test_no_leak_is_a_complete_listing_of_nothing() -> None:
    dump = read("*** NO MEMORY LEAK.")[0]

    assert isinstance(dump, Dump)
    assert (dump.declared_blocks, dump.complete) == (0, True)


def test_leaks_that_are_declared_and_not_shown_are_missing() -> None:
    found = read(LEAKS, "LEAK   |  0x2020430 |  128  |  0xe00b210 | 12", "*** 3 LEAKS, 0 BROKENS.")

    assert whats(found) == ["missing_records"]
    assert next(each for each in found if isinstance(each, Dump)).complete is False


def test_a_summary_without_a_line_is_left_out() -> None:
    found = read("     Summary of Heap Usages (Size in Bytes)", "Total                           : 1024000 (100%)")

    assert whats(found) == ["torn_record"]
    assert not any(isinstance(each, HeapSample) for each in found)


def test_owners_of_loadable_apps_are_said_to_need_rebasing() -> None:
    assert whats(read("[app1] Text Addr : 0x2600000, Text Size : 180224")) == ["relocated_text"]


def test_the_node_that_marks_a_regions_end_is_nobodys() -> None:
    found = read(REGION, NODES, "0x2020000 |       16 |   A    | 0x    dead |  17   |", ROWS[1])

    assert [[frame.pc for frame in each.frames] for each in found if isinstance(each, Block)] == [[], [0xE00A4D1]]
