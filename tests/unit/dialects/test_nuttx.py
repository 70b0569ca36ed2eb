"""NuttX: what its columns mean, and what a listing says about itself."""

from __future__ import annotations

import pytest

from heaptrail.dialects import Line
from heaptrail.dialects.nuttx import Nuttx
from heaptrail.limits import DEFAULT_LIMITS, Limits
from heaptrail.model.observations import AnyObservation, Block, Dump, HeapSample, Problem, Task

HEADING = "   PID        Size Overhead    Sequence    Address Backtrace"


def read(*lines: str, limits: Limits = DEFAULT_LIMITS) -> list[AnyObservation]:
    dialect = Nuttx(limits)
    found = [each for number, text in enumerate(lines, 1) for each in dialect.feed(Line(text, number))]
    return found + list(dialect.finish())


def whats(found: list[AnyObservation]) -> list[str]:
    return [each.what for each in found if isinstance(each, Problem)]


def test_a_size_holds_the_overhead_and_a_frame_is_a_return_address() -> None:
    found = read("Memdump task ALL", HEADING, "  12   64   16   5321 0x3fc98840 0x4200a1c4")

    block = next(each for each in found if isinstance(each, Block))
    assert (block.size_bytes, block.size_kind, block.task_id, block.sequence) == (64, "block", 12, 5321)
    assert [frame.kind for frame in block.frames] == ["return"]


def test_a_listing_of_free_memory_holds_no_live_blocks() -> None:
    found = read(
        "Dump all free memory node info", HEADING, "  701440  16 0x3fca0000", "Total Blks  Total Size", "1 701440"
    )

    assert found == []


def test_totals_that_do_not_agree_make_the_listing_incomplete() -> None:
    found = read("Memdump task ALL", HEADING, "  3 64 16 1 0x3fc98840", "  Total Blks  Total Size", "   2   128")

    dump = next(each for each in found if isinstance(each, Dump))
    assert (dump.declared_blocks, dump.declared_bytes, dump.complete) == (2, 128, False)
    assert whats(found) == ["missing_records"]


def test_a_listing_without_its_totals_was_cut() -> None:
    found = read("Memdump task ALL", HEADING, "  3 64 16 1 0x3fc98840 0x4200a1c4", "  3 64 16 2 0x3fc988")

    assert [each.address for each in found if isinstance(each, Block)] == [0x3FC98840]
    assert whats(found) == ["torn_record", "missing_records"]


def test_a_listing_of_part_of_the_blocks_says_so() -> None:
    for title in ("Memdump mempool", "Dump allocated orphan nodes", "Memdump biggest allocated top 8"):
        assert whats(read(title, HEADING, "  3 64 16 1 0x3fc98840", "Total Blks  Total Size", "1 64")) == [
            "filter_active"
        ]


def test_the_kernels_own_list_of_leaks_says_that_the_owners_have_ended() -> None:
    found = read("Memdump leak", HEADING, "  3 64 16 1 0x3fc98840", "Total Blks  Total Size", "1 64")

    assert whats(found) == ["filter_active", "dead_owner"]


PS = "  PID GROUP PRI POLICY   TYPE    NPX STATE    EVENT     SIGMASK    STACK COMMAND"


@pytest.mark.parametrize(
    ("tables", "owner", "ended"),
    [
        ([(4, 9), (4,)], 9, True),  # listed, then no more
        ([(4, 9)], 7, True),  # numbers rise, so it is older than 9 and gone
        ([(4, 9)], 12, False),  # born after the list
        ([(4, 9)], 4, False),
        ([], 4, False),
    ],
)
def test_an_owner_has_ended_where_ps_shows_it(tables: list[tuple[int, ...]], owner: int, *, ended: bool) -> None:
    lines: list[str] = []
    for numbers in tables:
        rows = [f"  {n}  {n} 100 RR       Task    --- Waiting  Semaphore 00000000 002024 task{n}" for n in numbers]
        lines += ["nsh> ps", PS, *rows]

    found = read(
        *lines,
        "Dump all used memory node info:",
        HEADING,
        f"  {owner} 64 16 1 0x3fc98840",
        "Total Blks  Total Size",
        "1 64",
    )

    assert ("dead_owner" in whats(found)) == ended


def test_a_torn_list_of_tasks_shows_nobodys_end() -> None:
    torn = "    4     4 100 RR       Task    --- Waiting  Semaphore 0000nsh: ps: read failed: 22"
    whole = "    9     9 100 RR       Task    --- Waiting  Semaphore 00000000 002024 gnss"

    found = read(PS, torn, whole, "Dump all used memory node info:", HEADING, "  4 64 16 1 0x3fc98840")

    assert "dead_owner" not in whats(found)


def test_a_listing_without_a_title_is_in_use_only_when_it_has_owners() -> None:
    row = ["Total Blks  Total Size", "1 64"]

    owners = read(HEADING, "  3 64 16 1 0x3fc98840", *row)
    unknown = read("        Size Overhead    Address", "  64 16 0x3fc98840", *row)

    assert [type(each) for each in owners] == [Block, Dump]
    assert whats(unknown) == ["torn_record"]
    assert not any(isinstance(each, Block) for each in unknown)


def test_equal_blocks_put_together_by_the_debugger_are_not_taken_for_one() -> None:
    found = read(
        "Dump all used memory node info, use '*' mark pid is not exist:",
        "   CNT   PID        Size    Sequence    Address Callstack",
        "     7    12          64        5321 0x3fc98840 0x4200a1c4",
    )

    assert not any(isinstance(each, Block) for each in found)


def test_a_row_of_free_that_lost_digits_is_left_out() -> None:
    heading = "      total       used       free    maxused    maxfree  nused  nfree name"

    found = read(heading, "    1048576     312480      36096     358112     701440    914     17 Umem")

    assert whats(found) == ["torn_record"]
    assert not any(isinstance(each, HeapSample) for each in found)


def test_the_table_of_linux_is_not_taken_for_nuttx() -> None:
    assert (
        read(
            "              total        used        free      shared  buff/cache   available",
            "Mem:        8054528     2163456     3213456      123456     2677616     5512345",
        )
        == []
    )


def test_the_owner_of_proc_heap_is_named_as_ps_names_it() -> None:
    found = read(
        "  PID PRI POLICY   TYPE    NPX STATE    EVENT     SIGMASK   STACK COMMAND",
        "   12 100 RR       Task    --- Running            00000000 002048 mqtt 0x20001000",
        "nsh> cat /proc/12/heap",
        "AllocSize:         640",
    )

    assert [(each.name, each.heap_bytes) for each in found if isinstance(each, Task)] == [("mqtt", None), ("mqtt", 640)]


def test_records_beyond_the_limit_are_counted_and_said() -> None:
    rows = [f"  3 64 16 {n} 0x3fc9{n:04x} 0x4200a1c4" for n in range(5)]

    found = read(
        "Memdump task ALL", HEADING, *rows, "Total Blks Total Size", "5 320", limits=Limits(records_per_dump=3)
    )

    assert sum(isinstance(each, Block) for each in found) == 3
    assert whats(found) == ["too_many"]
    assert next(each for each in found if isinstance(each, Dump)).complete is False


def test_an_older_title_does_not_say_that_one_task_was_asked_for() -> None:
    rows = ("Dump all used memory node info:", HEADING, "  35 64 16 1 0x3fc98840", "Total Blks  Total Size", "1 64")

    assert whats(read("ap> echo 35 > /proc/memdump", *rows)) == ["filter_active"]
    assert whats(read("ap> echo used > /proc/memdump", *rows)) == []
