"""Tina RTOS's console, line by line. Whole logs stand in tests/golden/dialects/tina."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

from heaptrail.dialects import Line
from heaptrail.dialects.tina import Tina
from heaptrail.limits import Limits
from heaptrail.model.observations import AnyObservation, Block, Dump, HeapSample, Mark, Problem, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = TypeVar("Kind")


def tina(text: str, *, limits: Limits | None = None) -> list[AnyObservation]:
    """What the dialect says of a console text, the end included."""
    dialect = Tina(limits or Limits())
    found: list[AnyObservation] = []
    for number, line in enumerate(text.splitlines(), 1):
        found += dialect.feed(Line(line, number))
    return found + dialect.finish()


def of(kind: type[Kind], found: Iterable[object]) -> list[Kind]:
    return [each for each in found if isinstance(each, kind)]


def problems(found: Iterable[object]) -> list[str]:
    return [problem.what for problem in of(Problem, found)]


# --- free ---

HEAPS = [
    pytest.param(
        "==> Round [1] <==\n"
        "Total Heap Size :  1907128 Bytes    ( 1862 KB)\n"
        "           Free :   547632 Bytes    (  534 KB)\n"
        "       Min Free :   536208 Bytes    (  523 KB)\n",
        [(None, 1907128, 547632, 536208)],
        id="one heap",
    ),
    pytest.param(
        "Total Heap Size : 3893696 Bytes ( 3802 KB)\nFree : 3893696 Bytes ( 3802 KB)\n"
        "Min Free:3893000 Bytes(3801 KB)\n",
        [(None, 3893696, 3893696, 3893000)],
        id="squeezed",
    ),
    pytest.param(
        "sram Heap:\n"
        "    Total Size :   409600 Bytes    (  400 KB)\n"
        "          Free :   102400 Bytes    (  100 KB)\n"
        "      Min Free :    51200 Bytes    (   50 KB)\n"
        "dram Heap:\n"
        "    Total Size :  8388608 Bytes    ( 8192 KB)\n"
        "          Free :  4194304 Bytes    ( 4096 KB)\n"
        "      Min Free :  4194304 Bytes    ( 4096 KB)\n",
        [("sram", 409600, 102400, 51200), ("dram", 8388608, 4194304, 4194304)],
        id="several heaps",
    ),
    pytest.param(
        "".join(
            f"==> Round [{i}] <==\nTotal Heap Size : 2048 Bytes (2 KB)\nFree : {1024 - i} Bytes (0 KB)\n"
            "Min Free : 100 Bytes (0 KB)\n"
            for i in (1, 2, 3)
        ),
        [(None, 2048, 1023, 100), (None, 2048, 1022, 100), (None, 2048, 1021, 100)],
        id="rounds",
    ),
    pytest.param(
        "       KiB Mem:  1862 total,  1327 used,   534 free,   523 min_free\n"
        "       Total Heap Size :  1907128 Bytes    ( 100.00% )\n"
        "                  Free :   547632 Bytes    (  28.71% )\n"
        "\n" * 20,
        [(None, 1907128, 547632, None)],
        id="top",
    ),
]


@pytest.mark.parametrize(("text", "expected"), HEAPS)
def test_heap_totals(text: str, expected: list[tuple[object, ...]]) -> None:
    found = tina(text)

    assert [(s.heap, s.total_bytes, s.free_bytes, s.min_free_bytes) for s in of(HeapSample, found)][
        : len(expected)
    ] == (expected)
    assert not problems(found)


def test_a_figure_whose_kilobytes_disagree_lost_digits_and_is_left_out() -> None:
    found = tina(
        "Total Heap Size : 1907128 Bytes ( 1862 KB)\nFree : 54763 Bytes ( 534 KB)\nMin Free : 453440 Bytes (442 KB)"
    )

    (sample,) = of(HeapSample, found)
    assert sample.free_bytes is None
    assert sample.min_free_bytes == 453440
    assert problems(found) == ["torn_record"]


def test_a_table_that_contradicts_itself_is_left_out() -> None:
    found = tina("Total Heap Size : 1000 Bytes\nFree : 2000 Bytes\nMin Free : 100 Bytes\n")

    assert not of(HeapSample, found)
    assert problems(found) == ["torn_record"]


def test_a_table_without_its_last_line_gives_what_it_has_and_says_so() -> None:
    found = tina("Total Heap Size : 2048 Bytes (2 KB)\nFree : 1024 Bytes (1 KB)\n")

    (sample,) = of(HeapSample, found)
    assert (sample.free_bytes, sample.min_free_bytes) == (1024, None)
    assert problems(found) == ["torn_record"]


# --- Task tables ---


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("Tmr Svc         B       6       374     3       0x863f070       0x863e320", ("Tmr Svc", "B", 6, 374, 3)),
        ("adbd-shell-ser- B\t4\t906\t45\t0x8726330\t0x8724660", ("adbd-shell-ser-", "B", 4, 906, 45)),
        ("IDLE           \tR\t0\t52\t2", ("IDLE", "R", 0, 52, 2)),
        ("IDLE R 0 52 2", ("IDLE", "R", 0, 52, 2)),
        ("IDLE           \tR\t0\t52\t2\t0x1", ("IDLE", "R", 0, 52, 2)),
        ("main X 5 100 7 0x0x863f070 0x0x863e320", ("main", "X", 5, 100, 7)),
    ],
)
def test_a_task_row(row: str, expected: tuple[object, ...]) -> None:
    (task,) = of(Task, tina(f"Name\t\tState\tPri\tHWM\tIdx\tStkCur\t\tStkBot\n{row}\n"))

    assert (task.name, task.state, task.priority, task.stack_free_min_words, task.id) == expected


def test_rows_are_read_only_inside_a_table() -> None:
    assert not tina("IDLE            R       0       52      2\n")


def test_a_torn_row_is_said_and_left_out() -> None:
    found = tina("Task State Priority Stack #\n****\nIDLE R 0 52 2\nCLI  B  6  37[I] audio: x\nTmr Svc B 6 374 3\n")

    assert [task.name for task in of(Task, found)] == ["IDLE", "Tmr Svc"]
    assert problems(found) == ["torn_record"]


def test_line_numbers_glued_on_by_a_web_page_are_no_part_of_a_name() -> None:
    found = tina(
        "1hello\n2Name State Pri HWM Idx StkCur StkBot\n3adb-shell X 4 394 44 0x87233a0 0x8722650\n4 2dsp X 4 1 2\n"
    )

    assert [task.name for task in of(Task, found)] == ["adb-shell", "2dsp"]


def test_the_rows_of_top() -> None:
    row = "       44   0x08336aee    R    4   0x08722650      4096    12.50%          394         1.25%   Tmr Svc"
    (task,) = of(Task, tina(f"KiB Mem:  1862 total,  1327 used,   534 free,   523 min_free\n{row}\n"))

    assert (task.name, task.priority, task.id) == ("Tmr Svc", 4, 44)


# --- Live blocks ---

FRAMES = "        backtrace : 0x08336AEE\n        backtrace : 0x08336B46\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "    001: ptr = 0x08760960, size = 0x00000f00, thread = AudioRender\n" + FRAMES,
            (0x08760960, 0xF00, "AudioRender", (0x08336AEE, 0x08336B46)),
        ),
        (
            (
                "\t 001: ptr = 0x08760960, size = 0x00000f00, thread = Tmr Svc\n"
                "                backtrace : 0x0x8336aee\n                backtrace : 0x0x8336b46\n"
            ),
            (0x08760960, 0xF00, "Tmr Svc", (0x08336AEE, 0x08336B46)),
        ),
        (
            "    001: ptr = 0x08760960, size = 0x00000f00.\n" + FRAMES,
            (0x08760960, 0xF00, None, (0x08336AEE, 0x08336B46)),
        ),
        ("001: ptr = 0x404c7800, size = 0x00000400.", (0x404C7800, 0x400, None, ())),
        (
            (
                "001: ptr = 0x000000088760960a, size = 0x0000000000000f00, thread = ISR\n"
                "backtrace : 0X0000000088336AEE : foo\n"
            ),
            (0x88760960A, 0xF00, "ISR", (0x88336AEE,)),
        ),
        ("001:ptr=0X08760960,size=0X00000f00,thread=(null)\n", (0x08760960, 0xF00, None, ())),
        (
            "001: ptr = 0x08760960, size = 0x00000f00, thread = CLI\n        backtrace : 0x00000000\nbacktrace fail!\n"
            "backtrace : invalid lr(0x00000012)\n" + FRAMES,
            (0x08760960, 0xF00, "CLI", (0x08336AEE, 0x08336B46)),
        ),
    ],
    ids=["memleak 0", "memleak show", "memallocate", "old", "16 digits", "squeezed", "failed frames"],
)
def test_the_layouts_of_a_record(text: str, expected: tuple[object, ...]) -> None:
    found = tina(text)

    (block,) = of(Block, found)
    assert (block.address, block.size_bytes, block.task, tuple(frame.pc for frame in block.frames)) == expected
    assert {frame.kind for frame in block.frames} <= {"call"}
    assert block.size_kind == "requested"
    assert not problems(found)


def record(number: int, *, first: int = 0x08336AEE, rest: int = 0x08336B46) -> str:
    return (
        f"    {number:03d}: ptr = 0x{0x08760000 + number * 16:08x}, size = 0x00000f00, thread = AudioRender\n"
        f"        backtrace : 0x{first:08X}\n        backtrace : 0x{rest:08X}\n"
    )


def test_a_whole_listing_is_closed_by_the_prompt() -> None:
    found = tina("c906>memleak 0\n" + record(1) + record(2) + "c906>\n")

    assert [dump.complete for dump in of(Dump, found)] == [True]


def test_a_falling_number_begins_another_dump() -> None:
    found = tina(record(1) + record(2) + record(1))

    assert [block.dump for block in of(Block, found)] == [1, 1, 2]
    assert [dump.line for dump in of(Dump, found)] == [1, 7]


def test_a_heap_table_within_a_listing_does_not_break_it() -> None:
    found = tina(record(1) + "Total Heap Size : 2048 Bytes\nFree : 9 Bytes\nMin Free : 9 Bytes\n" + record(2))

    assert len(of(Dump, found)) == 1
    assert len(of(HeapSample, found)) == 1


def test_records_that_are_not_there_are_named() -> None:
    found = tina(record(3) + record(4) + record(6))

    (dump,) = of(Dump, found)
    assert dump.complete is False
    (problem,) = of(Problem, found)
    assert (problem.what, problem.text) == ("missing_records", "the listing lacks the records 001-002, 005")


def test_frames_of_a_lost_record_are_not_given_to_the_one_before() -> None:
    lost_its_head = "".join(record(2, rest=0x08AAAAAA).splitlines(keepends=True)[1:])
    found = tina(record(1) + lost_its_head + record(3))

    assert [len(block.frames) for block in of(Block, found)] == [2, 2]
    assert sorted(problems(found)) == ["missing_records", "torn_record"]


def test_a_torn_head_takes_its_frames_with_it() -> None:
    torn = record(2).replace("0x08760020", "0x0876[I] audio: underrun\n0020")
    found = tina(record(1) + torn + record(3))

    assert [block.address for block in of(Block, found)] == [0x08760010, 0x08760030]
    assert [len(block.frames) for block in of(Block, found)] == [2, 2]
    assert "torn_record" in problems(found)


@pytest.mark.parametrize(
    "torn", ["backtrace : 0x0833", "backtrace : 0x083[I] audio", "backtrace : 0x08336Azz", "backtra"]
)
def test_a_torn_frame_ends_the_stack_where_it_is_sure(torn: str) -> None:
    found = tina(record(1) + f"        {torn}\n        backtrace : 0x08396D52\n")

    (block,) = of(Block, found)
    assert [frame.pc for frame in block.frames] == [0x08336AEE, 0x08336B46]
    assert problems(found) == ["torn_record"]


def test_a_number_behind_which_another_line_begins_is_whole() -> None:
    (block,) = of(Block, tina(record(1).replace("0x08336B46", "0x08336B46[I] audio: underrun")))

    assert len(block.frames) == 2


def test_a_name_that_runs_into_another_line_is_left_out() -> None:
    found = tina(record(1).replace("AudioRender", "AudioRen[I] audio: underrun in the middle of it"))

    assert of(Block, found)[0].task is None
    assert problems(found) == ["torn_record"]


def test_more_frames_than_the_limit_are_cut_and_said() -> None:
    found = tina(record(1) + FRAMES * 9, limits=Limits(frames_per_block=4))

    assert len(of(Block, found)[0].frames) == 4
    assert problems(found) == ["too_many"]


# --- Commands, filters, misuse ---


@pytest.mark.parametrize("prompt", ["c906>", "c906> ", "root@tina:/# ", "$ ", "msh />"])
def test_echoed_commands_tell_the_tracers_state(prompt: str) -> None:
    table = "Total Heap Size : 2048 Bytes\nFree : 9 Bytes\nMin Free : 9 Bytes\n"
    found = tina(f"{table}{prompt}memleak 1\n{table}{prompt}memleak 0\n{table}")

    assert [sample.tracer for sample in of(HeapSample, found)] == [None, "on", "off"]
    assert [(mark.line, mark.label) for mark in of(Mark, found)] == [(4, "tracer on"), (8, "tracer off")]


@pytest.mark.parametrize(
    "text", ["memleak 0 关闭内存泄露分析", "用法 memleak 1", "Usage: memleak [<1/0/show>]", "see memleak 1"]
)
def test_prose_about_the_command_is_no_command(text: str) -> None:
    assert not tina(text)


def test_a_dump_of_nothing_is_a_dump_when_the_tracer_was_on() -> None:
    found = tina("c906>memleak 1\nc906>memleak 0\nc906>\n")

    (dump,) = of(Dump, found)
    assert (dump.line, dump.complete) == (2, True)
    assert not of(Dump, tina("c906>memleak 0\nc906>\n")), "nobody knows that it was on"


def test_a_filter_is_a_problem_and_so_is_the_next_unfiltered_run() -> None:
    found = tina("c906>memleak 1 AudioRender CLI\nc906>memleak 0\nc906>memleak 1\n")

    assert problems(found) == ["filter_active", "filter_active"]
    assert "AudioRender, CLI" in of(Problem, found)[0].text


def test_filter_lines_of_a_listing() -> None:
    found = tina(record(1) + "\t 001: filter thread = Tmr Svc\nc906>\n")

    assert [problem.text for problem in of(Problem, found)] == ["only allocations of Tmr Svc are recorded"]


def test_memallocate_lists_one_task() -> None:
    found = tina("c906>memallocate CLI\n    001: ptr = 0x08760960, size = 0x00000f00.\nc906>\n")

    assert [block.task for block in of(Block, found)] == ["CLI"]
    assert problems(found) == ["filter_active"]


@pytest.mark.parametrize(
    ("text", "what"), [("double free checked!!!!", "double_free"), ("free null pointer!!!!", "free_null")]
)
def test_misuse_is_reported_with_its_stack(text: str, what: str) -> None:
    found = tina(f"{text}\nbacktrace : 0X08336AEE\n[I] audio: x\nbacktrace : 0X08396D52\n" + record(1))

    (problem,) = of(Problem, found)
    assert (problem.what, [frame.pc for frame in problem.frames]) == (what, [0x08336AEE, 0x08396D52])
    assert len(of(Block, found)[0].frames) == 2


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("    memleak: 12 blocks not recorded (pool of 1024 full)", "overflow"),
        ("    memleak: 3 blocks counted under other (table of 64 stacks full)", "overflow"),
        ("    memleak: 2 allocations failed", "alloc_failed"),
        ("    memleak: 7 blocks freed without a hook", "missed_frees"),
    ],
)
def test_what_the_tracer_and_the_firmware_complain_of(text: str, what: str) -> None:
    assert problems(tina(text)) == [what]


def test_good_news_is_no_problem() -> None:
    assert not tina("memory check: no memory leak found\n")


def test_a_listing_that_overflowed_is_not_complete() -> None:
    found = tina("c906>memleak 0\n" + record(1) + "    memleak: 12 blocks not recorded (pool of 1024 full)\nc906>\n")

    assert [dump.complete for dump in of(Dump, found)] == [False]


# --- The allocator's rule ---


@pytest.mark.parametrize(("address", "expected"), [("0x08760960", None), ("0x08760968", 8), ("0x0000000008760960", 16)])
def test_the_footprint_is_known_only_where_the_log_shows_it(address: str, expected: int | None) -> None:
    dialect = Tina(Limits())
    dialect.feed(Line(f"001: ptr = {address}, size = 0x00000f00, thread = CLI", 1))

    rule = dialect.footprint()

    assert (rule.header_bytes if rule else None) == expected


def test_a_size_that_lost_digits_at_the_lines_end_is_torn() -> None:
    found = tina("c906>memleak show\n\t 001: ptr = 0x0000000008770a18, size = 0x00000000\n")

    assert not of(Block, found)
    assert problems(found) == ["torn_record"]
