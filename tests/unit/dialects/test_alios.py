"""AliOS Things: doubled prefixes, headers between blocks, and owners that have ended."""

from __future__ import annotations

import pytest

from heaptrail.dialects import Line
from heaptrail.dialects.alios import AliOs
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.observations import AnyObservation, Block, Dump, HeapSample, Problem, Task

HEADING = "Blk_Addr    Stat     Len  Chk      Caller    Point"
REGION = (
    "0x0x20008b40  used       8   OK  0x0        ",
    "0x0x20008b58  used     128   OK  0x0801c2f0  (0x0801c2f0 <- 0x0801d014 <- 0x0)",
    "0x0x20008be8  free      64   OK  0x0        ",
    "0x0x20008c38  used      16   OK  0x0801c33e ",
    "0x0x20008c58  used  sentinel   OK  0x0        ",
)


def read(*lines: str, dialect: AliOs | None = None) -> list[AnyObservation]:
    dialect = dialect or AliOs(DEFAULT_LIMITS)
    found = [each for number, text in enumerate(lines, 1) for each in dialect.feed(Line(text, number))]
    return found + list(dialect.finish())


def whats(found: list[AnyObservation]) -> list[str]:
    return [each.what for each in found if isinstance(each, Problem)]


def test_the_trace_counts_before_the_caller_and_both_are_return_addresses() -> None:
    blocks = [each for each in read(HEADING, *REGION) if isinstance(each, Block)]

    assert [[(frame.pc, frame.kind) for frame in each.frames] for each in blocks] == [
        [],
        [(0x0801C2F0, "return"), (0x0801D014, "return")],
        [(0x0801C33E, "return")],
    ]
    assert [each.address for each in blocks] == [0x20008B40, 0x20008B58, 0x20008C38]


def test_a_region_up_to_its_sentinel_is_whole_and_shows_the_header() -> None:
    dialect = AliOs(DEFAULT_LIMITS)

    found = read(HEADING, *REGION, dialect=dialect)

    assert next(each for each in found if isinstance(each, Dump)).complete is True
    rule = dialect.footprint()
    assert rule is not None
    assert rule.footprint_bytes(128) == 144


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_lost_line_is_noticed(lost: int) -> None:
    found = read(HEADING, *(row for at, row in enumerate(REGION) if at != lost))

    assert next(each for each in found if isinstance(each, Dump)).complete is False
    assert whats(found) == ["missing_records"]


def test_memory_of_tasks_that_have_ended_is_said() -> None:
    found = read("Allocated in ISR 640, Allocated by deleted task 288")

    assert [(each.name, each.heap_bytes) for each in found if isinstance(each, Task)] == [("ISR", 640)]
    assert whats(found) == ["dead_owner"]


def test_the_stack_of_an_older_table_has_no_known_unit() -> None:
    found = read("Name   State    Prio StackSize MinFreesize Runtime Candidate", "cli    RDY   33   8192   3007  0   Y")

    task = next(each for each in found if isinstance(each, Task))
    assert (task.stack_size_bytes, task.stack_free_min_bytes) == (None, None)


def test_a_row_of_totals_that_lost_a_digit_is_left_out() -> None:
    found = read("[HEAP]| TotalSz    | FreeSz     | UsedSz     |", "      | 0x00080000 | 0x0006A10 | 0x00015F00 |")

    assert whats(found) == ["torn_record"]
    assert not any(isinstance(each, HeapSample) for each in found)
